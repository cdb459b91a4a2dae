//! Writes a package of Alpine, in version 2 of the format: two tars, each
//! compressed on its own, one after the other. It takes the place of Alpine's
//! package runit. It is not signed.

use anyhow::Result;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::{
    archive::{Archive, gzip},
    hex,
};
use crate::{
    rootfs::{Entries, Entry},
    version::version,
};

/// Alpine's release of the package.
const RELEASE: u32 = 0;

/// The version of runit that the package is compatible with.
const RUNIT: &str = "2.3.1";

/// Programs of runit, which scripts find in PATH.
const LINKS: [&str; 9] = [
    "chpst",
    "runit",
    "runit-init",
    "runsv",
    "runsvchdir",
    "runsvdir",
    "sv",
    "svlogd",
    "utmpset",
];

/// Returns the name of the package's file. A repository has a directory for
/// each architecture; here the name tells it.
pub(super) fn name(arch: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("runt-{version}-r{RELEASE}.{arch}.apk")
}

/// Returns the package for an architecture. `entries` are the files of all
/// packages.
pub(super) fn package(arch: &str, mut entries: Entries) -> Result<Vec<u8>> {
    for link in LINKS.map(|name| format!("usr/sbin/{name}")) {
        super::insert(&mut entries, &link, Entry::Link(super::program(&link)));
    }
    let data = data(&entries)?;
    let size: usize = entries.values().map(size).sum();
    let sum = hex(&Sha256::digest(&data));
    let built = version()?;
    let mut info = format!(
        "pkgname = runt\npkgver = {}-r{RELEASE}\n\
         pkgdesc = runit in one static file\n\
         builddate = {}\ncommit = {}\npackager = the runt authors\n\
         size = {size}\narch = {arch}\norigin = runt\n\
         license = MIT OR Apache-2.0\nprovides = runit={RUNIT}\n",
        env!("CARGO_PKG_VERSION"),
        built.time,
        built.commit
    );
    for name in LINKS {
        info += &format!("provides = cmd:{name}={RUNIT}\n");
    }
    info += &format!("datahash = {sum}\n");
    let mut control = Archive::new(Vec::new())?;
    control.add(".PKGINFO", &Entry::File(0o644, info.into_bytes()))?;
    let mut control = control.end()?;
    // The two zero blocks that end a tar would end both.
    control.truncate(control.len() - 1024);
    let mut packer = gzip(Vec::new());
    std::io::Write::write_all(&mut packer, &control)?;
    let mut package = packer.finish()?;
    package.extend(data);
    Ok(package)
}

/// Returns the tar with the files, each with the SHA-1 that the installed
/// package is checked with.
fn data(entries: &Entries) -> Result<Vec<u8>> {
    let mut tar = Archive::new(gzip(Vec::new()))?;
    for (path, entry) in entries {
        let summed = match entry {
            Entry::File(_, content) => Some(content.as_slice()),
            Entry::Link(target) => Some(target.as_bytes()),
            Entry::Directory | Entry::Device(..) => None,
        };
        if let Some(content) = summed {
            let sum = hex(&Sha1::digest(content));
            tar.describe("APK-TOOLS.checksum.SHA1", &sum)?;
        }
        tar.add(path, entry)?;
    }
    Ok(tar.end()?.finish()?)
}

/// Returns the number of bytes of an entry.
fn size(entry: &Entry) -> usize {
    match entry {
        Entry::File(_, content) => content.len(),
        Entry::Directory | Entry::Link(_) | Entry::Device(..) => 0,
    }
}
