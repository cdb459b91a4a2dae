//! Builds roots of Debian in which runt takes the place of Debian's runit:
//! all its stage scripts, service directories and tools stay as they are.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{
    apt,
    board::{self, Board},
    build,
    disk::{self, Disk},
    run, tool,
};

/// Directories of a root that may hold programs of runit.
const PROGRAM_DIRS: [&str; 3] = ["usr/bin", "usr/sbin", "usr/lib/runit"];

/// Path of runt in the root.
const RUNT: &str = "usr/lib/runit/runt";

/// The packages of a root, in the form of a scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Packages {
    suite: String,
    packages: Vec<String>,
}

impl Packages {
    /// Creates a disk with the root, on which root can log in without a
    /// password. The packages are installed once; only root can do that, since
    /// the root keeps the owners of its files.
    pub fn make(&self, board: &Board, dir: &Path) -> Result<Disk> {
        let id = run::quiet(Command::new("id").arg("-u"))?;
        ensure!(
            id.trim() == "0",
            "a root of Debian can only be made by root"
        );
        let installed = self.install(&board.debian()?.arch)?;
        let root = tempfile::tempdir_in(dir)?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(root.path()).arg("-xf").arg(&installed);
        run::quiet(&mut tar)?;
        replace_programs(root.path(), &build::release(board)?)?;
        let shadow = root.path().join("etc/shadow");
        let text = fs::read_to_string(&shadow)?;
        let lines = text.lines().map(open_root);
        fs::write(&shadow, lines.collect::<String>())?;
        fs::write(root.path().join("etc/hostname"), "debian\n")?;
        disk::from_dir(root.path(), dir.join("debian.img"))
    }

    /// Returns the archive of a root with the packages installed.
    fn install(&self, arch: &str) -> Result<PathBuf> {
        let Self { suite, packages } = self;
        let dir = board::work_dir().join("debian");
        fs::create_dir_all(&dir)?;
        let names = packages.join(",");
        let archive = dir.join(format!("{suite}-{arch}.tar"));
        let list = archive.with_extension("packages");
        let same = fs::read_to_string(&list).is_ok_and(|old| old == names);
        if same && archive.exists() {
            return Ok(archive);
        }
        println!("installing {} packages of {suite}/{arch}", packages.len());
        let program = tool::program("mmdebstrap", &["mmdebstrap"])?;
        let new = archive.with_extension("new.tar");
        let mut command = Command::new(program);
        command
            .arg("--quiet")
            .args(["--variant=apt", "--mode=root", "--format=tar"])
            .arg(format!("--architectures={arch}"))
            .arg(format!("--include={names}"));
        for line in apt::network()? {
            command.arg("--aptopt").arg(line);
        }
        command.arg(suite).arg(&new);
        command.arg(format!("deb {} {suite} main", apt::mirror()?));
        run::quiet(&mut command)?;
        fs::rename(new, &archive)?;
        fs::write(list, names)?;
        Ok(archive)
    }
}

/// Replaces every program of runit by a link to runt. What has the name of an
/// applet but is no compiled program is a script of Debian's, and stays.
fn replace_programs(root: &Path, runt: &Path) -> Result<()> {
    fs::copy(runt, root.join(RUNT)).context("there is no /usr/lib/runit")?;
    let mut replaced = Vec::new();
    for dir in PROGRAM_DIRS {
        for applet in build::applets() {
            let path = root.join(dir).join(applet);
            let is_file =
                path.symlink_metadata().is_ok_and(|data| data.is_file());
            if is_file && fs::read(&path)?.starts_with(b"\x7fELF") {
                fs::remove_file(&path)?;
                symlink(Path::new("/").join(RUNT), &path)?;
                replaced.push(applet);
            }
        }
    }
    ensure!(
        replaced.contains(&"runit-init"),
        "the root has no runit-init: only {}",
        replaced.join(" ")
    );
    Ok(())
}

/// Returns a line of /etc/shadow, without root's password.
fn open_root(line: &str) -> String {
    match line
        .strip_prefix("root:")
        .and_then(|rest| rest.split_once(':'))
    {
        Some((_, rest)) => format!("root::{rest}\n"),
        None => format!("{line}\n"),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_roots_password_is_removed() {
        assert_eq!(
            open_root("root:*:19000:0:9:7:::"),
            "root::19000:0:9:7:::\n"
        );
        assert_eq!(open_root("sshd:*:1:::::"), "sshd:*:1:::::\n");
    }

    #[test]
    fn programs_are_replaced_and_scripts_stay() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for dir in PROGRAM_DIRS {
            fs::create_dir_all(path(dir)).unwrap();
        }
        fs::write(path("usr/bin/sv"), b"\x7fELF").unwrap();
        fs::write(path("usr/bin/halt"), "#!/bin/sh\n").unwrap();
        let runt = path("runt");
        fs::write(&runt, "runt").unwrap();
        let missing = replace_programs(root.path(), &runt).unwrap_err();
        assert!(missing.to_string().ends_with("only sv"), "{missing}");
        fs::write(path("usr/lib/runit/runit-init"), b"\x7fELF").unwrap();
        replace_programs(root.path(), &runt).unwrap();
        for name in ["usr/bin/sv", "usr/lib/runit/runit-init"] {
            let target = fs::read_link(path(name)).unwrap();
            assert_eq!(target, Path::new("/usr/lib/runit/runt"));
        }
        assert!(path("usr/bin/halt").is_file());
    }
}
