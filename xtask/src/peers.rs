//! Fetches the peers from Debian's packages, which are unpacked but not
//! installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{apt, board};

/// The directories of a peer's programs and libraries.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The directory of its programs.
    pub programs: PathBuf,
    /// The directory of its own shared libraries.
    pub libraries: PathBuf,
}

/// A peer of the tests.
pub struct Tested {
    /// Prefix of the variables that tell the tests where it is.
    pub name: &'static str,
    /// The suite of its packages.
    pub suite: &'static str,
    /// Its packages in the form that apt accepts, the one with the programs
    /// first.
    pub packages: &'static [&'static str],
}

/// The peers that the tests compare ours with or run it together with.
///
/// bookworm's libc is older than those of its successors, so its programs run
/// there too; those of runit 2.3.1 need glibc 2.34, which bookworm has.
pub const TESTED: [Tested; 5] = [
    Tested {
        name: "RUNIT",
        suite: "bookworm",
        packages: &["runit"],
    },
    Tested {
        name: "RUNIT_231",
        suite: "forky",
        packages: &["runit=2.3.1-*"],
    },
    Tested {
        name: "DAEMONTOOLS",
        suite: "bookworm",
        packages: &["daemontools"],
    },
    Tested {
        name: "S6",
        suite: "bookworm",
        packages: &["s6", "libskarnet2.13"],
    },
    // Makes system calls fail.
    Tested {
        name: "STRACE",
        suite: "bookworm",
        packages: &["strace", "libunwind8"],
    },
];

/// Packages of s6 in the host's own suite, for [`of_host`].
pub const S6: [&str; 3] = ["s6", "libs6-2.11", "libskarnet2.13"];

/// Fetches a peer from these packages of the host's own suite, so that its
/// programs can use the host's libc.
pub fn of_host(packages: &[&str]) -> Result<Peer> {
    fetch(&host()?, packages)
}

/// Fetches a peer from these packages of a suite.
pub fn fetch(suite: &str, packages: &[&str]) -> Result<Peer> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let dir = unpack(suite, arch, suite, packages)?;
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = ["usr/lib", "lib"].map(|lib| dir.join(lib).join(&triple));
    let found = libraries.iter().find(|lib| lib.is_dir());
    Ok(Peer {
        programs: dir.join(PROGRAMS),
        libraries: found.unwrap_or(&dir).clone(),
    })
}

/// Fetches these packages of a suite for a board's architecture; returns the
/// directory with their programs and libraries, in which programs are below
/// [`PROGRAMS`].
pub fn of_board(suite: &str, arch: &str, packages: &[&str]) -> Result<PathBuf> {
    unpack(suite, arch, &format!("{suite}-{arch}"), packages)
}

/// Unpacks packages, once, into a directory that is named after the first;
/// returns that.
fn unpack(
    suite: &str,
    arch: &str,
    name: &str,
    packages: &[&str],
) -> Result<PathBuf> {
    let first = packages.first().context("no package")?;
    let (first, _version) = first.split_once('=').unwrap_or((first, ""));
    let dir = board::work_dir().join("peers").join(name).join(first);
    if !dir.join("ready").exists() {
        let root = apt::Root::open(suite, arch)?;
        for package in packages {
            let deb = root.fetch(package)?;
            let part = if package.starts_with("lib") {
                "*/lib/*"
            } else {
                "*bin/*"
            };
            apt::unpack(&deb, &dir, &[part])?;
        }
        collect_programs(&dir)?;
        fs::write(dir.join("ready"), "")?;
    }
    Ok(dir)
}

/// The directory of a peer's programs below its own directory.
pub const PROGRAMS: &str = "usr/bin";

/// Puts all programs of a peer into one directory, regardless of where its
/// packages have them.
fn collect_programs(dir: &Path) -> Result<()> {
    let programs = dir.join(PROGRAMS);
    fs::create_dir_all(&programs)?;
    for place in ["usr/sbin", "bin", "sbin"] {
        let Ok(entries) = fs::read_dir(dir.join(place)) else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            fs::rename(entry.path(), programs.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Returns the host's suite.
fn host() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no suite")?;
    Ok(suite.trim_matches('"').to_string())
}
