//! Finds the programs of Debian packages, and installs what is missing.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{apt, run};

/// The words of apt-get that install packages.
const INSTALL: &str = "install -y --no-install-recommends";

/// Returns the path of a program: on PATH, or installed from these packages
/// when run as root.
pub fn program(program: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(found) = run::on_path(program) {
        return Ok(found);
    }
    let by_hand = format!("apt-get {INSTALL} {}", packages.join(" "));
    ensure!(
        run::quiet(Command::new("id").arg("-u"))?.trim() == "0",
        "{program} is missing, and only root can install it. Type:\n  sudo {by_hand}"
    );
    println!("installing {}", packages.join(" "));
    if let Err(error) = install(&[], packages) {
        // A machine that has other QEMU packages from backports must take this
        // one from there too.
        let sources = tempfile::tempdir()?;
        for entry in fs::read_dir("/etc/apt/sources.list.d")? {
            let entry = entry?;
            fs::copy(entry.path(), sources.path().join(entry.file_name()))?;
        }
        let list = sources.path().join("backports.list");
        let mirror = apt::mirror()?;
        fs::write(&list, format!("deb {mirror} bookworm-backports main\n"))?;
        let sources =
            format!("Dir::Etc::sourceparts={}", sources.path().display());
        let names = packages.iter().map(|package| match *package {
            "qemu-system-misc" => "qemu-system-riscv",
            other => other,
        });
        let words = ["-t", "bookworm-backports"].into_iter().chain(names);
        install(&["-o", &sources], &words.collect::<Vec<_>>())
            .with_context(|| format!("first attempt: {error:#}"))?;
    }
    run::on_path(program).with_context(|| {
        format!("{program} is still missing. Type:\n  {by_hand}")
    })
}

/// Installs packages on this machine from its current lists, with these options
/// of apt-get.
fn install(options: &[&str], packages: &[&str]) -> Result<()> {
    let get = |words: &str, packages: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(options).args(words.split(' ')).args(packages);
        apt::get(&mut command).map(drop)
    };
    get("-q update", &[])?;
    get(INSTALL, packages)
}
