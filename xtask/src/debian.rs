//! Builds roots of Debian in which our package is installed: runt takes the
//! place of Debian's runit, and all stage scripts, service directories and tools
//! stay as they are.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{
    apt,
    binfmt::Foreign,
    board::{self, Board},
    disk::{self, Disk},
    dist, run, tool,
};

/// Programs of runit, and the link to the first of them, by the names that
/// they have in a root.
const PROGRAMS: [&str; 4] =
    ["usr/bin/runsvdir", "usr/bin/sv", "sbin/runit", "sbin/init"];

/// The file of our package, which these are after its installation.
const RUNT: &str = "usr/lib/runt/runt";

/// Directories with files that the package replaces.
const REPLACED_IN: [&str; 4] =
    ["usr/bin", "usr/sbin", "usr/lib/runit", "var/lib/dpkg/info"];

/// The program of Debian's runit that enables the service directories of what
/// is installed. dpkg runs it as a trigger, but not while policy-rc.d forbids
/// that services are started, as it does during the installation of a root.
const ENABLE: &str = "usr/lib/runit/trigger_sv";

/// The directory of Debian's default runlevel, which has a link for each
/// enabled service.
const ENABLED: &str = "etc/runit/runsvdir/default";

/// The packages of a root, in the form of a scenario file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Packages {
    /// The suite for each board.
    suites: BTreeMap<String, String>,
    packages: Vec<String>,
    /// The services that their packages do not enable in every suite, at least
    /// not while policy-rc.d forbids that services are started.
    enable: Vec<String>,
}

impl Packages {
    /// Returns the names of the boards with a suite.
    pub fn boards(&self) -> Vec<String> {
        self.suites.keys().cloned().collect()
    }

    /// Returns a board's suite.
    fn suite(&self, board: &Board) -> Result<&str> {
        let suite = self.suites.get(&board.name);
        let suite = suite.map(String::as_str);
        suite.with_context(|| format!("{} has no suite", board.name))
    }

    /// Creates a disk with the root, on which root can log in without a
    /// password. The packages are installed once; only root can do that, since
    /// the root keeps the owners of its files.
    pub fn make(&self, board: &Board, dir: &Path) -> Result<Disk> {
        let _foreign = Foreign::register(&board.qemu()?.system)?;
        let root = self.unpack(board, dir)?;
        if root.path().join(ENABLE).exists() {
            chroot(root.path(), &[&format!("/{ENABLE}"), "setup"])?;
        }
        for name in &self.enable {
            let link = root.path().join(ENABLED).join(name);
            if link.symlink_metadata().is_err() {
                symlink(format!("/etc/sv/{name}"), link)?;
            }
        }
        install(root.path(), &dist::debian_package(board)?)?;
        is_replaced(root.path())?;
        let shadow = root.path().join("etc/shadow");
        let text = fs::read_to_string(&shadow)?;
        let lines = text.lines().map(open_root);
        fs::write(&shadow, lines.collect::<String>())?;
        fs::write(root.path().join("etc/hostname"), "debian\n")?;
        disk::from_dir(root.path(), dir.join("debian.img"))
    }

    /// Unpacks the root with the packages into a new directory in `dir`.
    fn unpack(&self, board: &Board, dir: &Path) -> Result<tempfile::TempDir> {
        let id = run::quiet(Command::new("id").arg("-u"))?;
        ensure!(
            id.trim() == "0",
            "a root of Debian can only be made by root"
        );
        let suite = self.suite(board)?;
        let archive = self.archive(suite, &board.debian()?.arch)?;
        let root = tempfile::tempdir_in(dir)?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(root.path()).arg("-xf").arg(&archive);
        run::quiet(&mut tar)?;
        Ok(root)
    }

    /// Checks that our package takes the place of runit's programs, keeps it when
    /// runit is installed again, and leaves everything as it was when it is
    /// removed.
    pub fn check(&self, board: &Board) -> Result<String> {
        let debian = board.debian()?;
        let root = self.unpack(board, &board::work_dir())?;
        let root = root.path();
        let before = programs(root)?;
        install(root, &dist::debian_package(board)?)?;
        is_replaced(root)?;
        let suite = self.suite(board)?;
        let runit = apt::Root::open(suite, &debian.arch)?.fetch("runit")?;
        install(root, &fs::read(runit)?)?;
        is_replaced(root)?;
        dpkg(root, &["--verify", "runt"])?;
        dpkg(root, &["--purge", "runt"])?;
        let after = programs(root)?;
        for (path, content) in &before {
            ensure!(
                after.get(path) == Some(content),
                "{path} is not what it was"
            );
        }
        ensure!(before.len() == after.len(), "a file is left");
        Ok(String::new())
    }

    /// Returns the archive of a root with the packages installed.
    fn archive(&self, suite: &str, arch: &str) -> Result<PathBuf> {
        let packages = &self.packages;
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
        // mmdebstrap needs it for another architecture.
        tool::program("arch-test", &["arch-test"])?;
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

/// Installs a package into a root.
fn install(root: &Path, package: &[u8]) -> Result<()> {
    fs::write(root.join("package.deb"), package)?;
    dpkg(root, &["--install", "/package.deb"])?;
    fs::remove_file(root.join("package.deb"))?;
    Ok(())
}

/// Runs the dpkg of a root.
fn dpkg(root: &Path, arguments: &[&str]) -> Result<()> {
    chroot(root, &[&["dpkg"], arguments].concat())
}

/// Runs a program of a root.
fn chroot(root: &Path, words: &[&str]) -> Result<()> {
    let mut chroot = Command::new("chroot");
    chroot.arg(root).args(words);
    chroot.env("DEBIAN_FRONTEND", "noninteractive");
    chroot.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    run::quiet(&mut chroot).map(drop)
}

/// Checks that runit's programs are ours.
fn is_replaced(root: &Path) -> Result<()> {
    for program in PROGRAMS {
        let mut path = PathBuf::from(program);
        // Links of the root lead to paths in the root.
        let mut links = 0;
        while let Ok(target) = fs::read_link(root.join(&path)) {
            let base = path.parent().unwrap_or(Path::new(""));
            path = base.join(target);
            if let Ok(inside) = path.strip_prefix("/") {
                path = inside.into();
            }
            links += 1;
            ensure!(links < 10, "{program} leads to itself");
        }
        let [found, ours] =
            [root.join(path), root.join(RUNT)].map(|file| file.canonicalize());
        ensure!(found? == ours?, "{program} is not runt");
    }
    Ok(())
}

/// Returns the contents of the files that a package may replace, and where
/// links lead.
fn programs(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut found = BTreeMap::new();
    for dir in REPLACED_IN {
        for entry in walkdir::WalkDir::new(root.join(dir)) {
            let entry = entry?;
            let content = if entry.file_type().is_dir() {
                continue;
            } else if entry.file_type().is_symlink() {
                let target = fs::read_link(entry.path())?;
                target.into_os_string().into_encoded_bytes()
            } else {
                fs::read(entry.path())?
            };
            let path = entry.path().strip_prefix(root)?.display();
            found.insert(path.to_string(), content);
        }
    }
    Ok(found)
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
}
