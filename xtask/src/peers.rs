//! Where the peers come from: Debian's packages, unpacked and not installed.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{apt, board};

/// Where a peer's programs and libraries are.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The directories of its programs.
    pub programs: Vec<PathBuf>,
    /// The directory of its own shared libraries.
    pub libraries: PathBuf,
}

/// The suite that tests compare with: contract.md was tried with its runit.
/// Its libc is older than those of its successors, so that its programs run
/// there too.
pub const TRIED: &str = "bookworm";

/// The peers that the tests compare ours with or let it work with; each its
/// packages, the one that names it first.
pub const TESTED: [&[&str]; 3] =
    [&["runit"], &["daemontools"], &["s6", "libskarnet2.13"]];

/// A peer of these packages, of the host's own suite: its programs then find
/// the host's libc.
pub fn of_host(packages: &[&str]) -> Result<Peer> {
    fetch(&host()?, packages)
}

/// A peer of these packages of a suite.
pub fn fetch(suite: &str, packages: &[&str]) -> Result<Peer> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let first = packages.first().context("no package")?;
    let dir = board::workshop().join("peers").join(suite).join(first);
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
        fs::write(dir.join("ready"), "")?;
    }
    let places = ["usr/bin", "usr/sbin", "bin", "sbin"];
    let programs = places.map(|place| dir.join(place));
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let libraries = ["usr/lib", "lib"].map(|lib| dir.join(lib).join(&triple));
    let found = libraries.iter().find(|lib| lib.is_dir());
    Ok(Peer {
        programs: programs.into_iter().filter(|p| p.is_dir()).collect(),
        libraries: found.unwrap_or(&dir).clone(),
    })
}

/// The host's suite.
fn host() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .context("/etc/os-release names no suite")?;
    Ok(suite.trim_matches('"').to_string())
}
