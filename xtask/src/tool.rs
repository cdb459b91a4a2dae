//! Finds the programs of Debian packages, and installs what is missing.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{apt, run};

/// Returns the path of a program: on PATH, or installed from these packages
/// when run as root.
pub fn program(program: &str, packages: &[&str]) -> Result<PathBuf> {
    if let Some(found) = run::on_path(program) {
        return Ok(found);
    }
    let install = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    ensure!(
        run::quiet(Command::new("id").arg("-u"))?.trim() == "0",
        "{program} is missing, and only root can install it. Type:\n  sudo {install}"
    );
    println!("installing {}", packages.join(" "));
    let shell = |text: &str| {
        let mut command = Command::new("sh");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["-c", text]);
        run::quiet(&mut command)
    };
    let plain = shell(&format!("apt-get -q update && {install}"));
    if let Err(error) = plain {
        // A machine that has other QEMU packages from backports must take this
        // one from there too.
        let sources = tempfile::tempdir()?;
        let list = sources.path().join("backports.list");
        let mirror = apt::mirror()?;
        fs::write(&list, format!("deb {mirror} bookworm-backports main\n"))?;
        let extra = format!(
            "cp -r /etc/apt/sources.list.d/. {dir}/; o='-o Dir::Etc::sourceparts={dir}'; \
             apt-get $o -q update && apt-get $o install -y --no-install-recommends \
             -t bookworm-backports {}",
            packages
                .join(" ")
                .replace("qemu-system-misc", "qemu-system-riscv"),
            dir = sources.path().display(),
        );
        shell(&extra).with_context(|| format!("first attempt: {error:#}"))?;
    }
    run::on_path(program).with_context(|| {
        format!("{program} is still missing. Type:\n  {install}")
    })
}
