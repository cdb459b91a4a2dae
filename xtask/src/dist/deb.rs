//! Writes a package of Debian. It takes the place of the programs of Debian's
//! runit, whose scripts and services stay: these programs are diverted, and come
//! back when the package is removed.

use anyhow::Result;

use super::archive::packed;
use crate::{
    rootfs::{Entries, Entry},
    version::version,
};

/// Debian's revision of the package.
const REVISION: u32 = 1;

/// The links that take the place of runit's programs, at each path that
/// these have in a release of Debian from bookworm on.
const LINKS: [&str; 11] = [
    "/usr/bin/chpst",
    "/usr/bin/runsv",
    "/usr/bin/runsvchdir",
    "/usr/bin/runsvdir",
    "/usr/bin/sv",
    "/usr/bin/svlogd",
    "/usr/lib/runit/runit-init",
    "/usr/sbin/runit",
    "/usr/sbin/runit-init",
    "/usr/sbin/runsvchdir",
    "/usr/sbin/utmpset",
];

/// Other names for some of these paths, under which bookworm's runit has them:
/// for dpkg they are other files.
const OTHER_NAMES: [&str; 2] = ["/lib/runit/runit-init", "/sbin/runit"];

/// Returns the name of the package's file.
pub(super) fn name(arch: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("runt_{version}-{REVISION}_{arch}.deb")
}

/// Returns the package for an architecture. `entries` are the files of all
/// packages.
pub(super) fn package(arch: &str, mut entries: Entries) -> Result<Vec<u8>> {
    for link in LINKS.map(|link| link.trim_start_matches('/')) {
        super::insert(&mut entries, link, Entry::Link(super::program(link)));
    }
    let size: usize = entries.values().map(kilobytes).sum();
    let version = env!("CARGO_PKG_VERSION");
    let control = format!(
        "Package: runt\nVersion: {version}-{REVISION}\nArchitecture: {arch}\n\
         Maintainer: the runt authors\nInstalled-Size: {size}\n\
         Section: admin\nPriority: optional\nEnhances: runit, runit-init\n\
         Description: runit in one static file\n \
         PID 1, service supervisor, sv, svlogd, chpst and the other programs of\n \
         runit, without libc, heap or threads. Where runit is installed, they\n \
         take the place of its programs; its scripts and services stay.\n"
    );
    let control = Entries::from([
        ("control".into(), Entry::File(0o644, control.into_bytes())),
        ("preinst".into(), script("install|upgrade", "--add")),
        (
            "postrm".into(),
            script("remove|abort-install|disappear", "--remove"),
        ),
    ]);
    ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &packed(&control)?),
        ("data.tar.gz", &packed(&entries)?),
    ])
}

/// Returns a script of the package that adds or removes its diversions when
/// dpkg calls it for one of `reasons`.
fn script(reasons: &str, action: &str) -> Entry {
    let paths = LINKS.iter().chain(&OTHER_NAMES);
    let paths = paths.map(|path| format!(" \\\n        {path}"));
    let text = format!(
        "#!/bin/sh\nset -e\ncase $1 in\n{reasons})\n    for path in{}\n    do\n        \
         dpkg-divert --quiet --package runt --rename {action} \"$path\"\n    \
         done\n    ;;\nesac\n",
        paths.collect::<String>()
    );
    Entry::File(0o755, text.into_bytes())
}

/// Returns the size of an entry as Debian counts it, in kB.
fn kilobytes(entry: &Entry) -> usize {
    match entry {
        Entry::File(_, content) => content.len().div_ceil(1024),
        Entry::Directory | Entry::Link(_) | Entry::Device(..) => 1,
    }
}

/// Returns files as an archive of ar(1).
fn ar(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let time = &version()?.time;
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in files {
        let size = content.len();
        let header = format!(
            "{name:<16}{time:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
            0, 0, "100644"
        );
        out.extend(header.as_bytes());
        out.extend(*content);
        // Each begins at an even offset.
        if size % 2 == 1 {
            out.push(b'\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod test {
    use std::process::Command;

    use super::*;
    use crate::run;

    #[test]
    fn dpkg_reads_a_package() {
        let mut entries = Entries::new();
        let file = Entry::File(0o755, b"odd".to_vec());
        super::super::insert(&mut entries, "usr/lib/runt/runt", file);
        let dir = tempfile::tempdir().unwrap();
        let deb = dir.path().join("x.deb");
        std::fs::write(&deb, package("riscv64", entries).unwrap()).unwrap();
        let dpkg = |verb| {
            run::quiet(Command::new("dpkg-deb").arg(verb).arg(&deb)).unwrap()
        };
        assert!(dpkg("--field").contains("\nArchitecture: riscv64\n"));
        let contents = dpkg("--contents");
        for name in [
            "usr/lib/runt/runt\n",
            "usr/bin/sv -> ../lib/runt/runt\n",
            "usr/lib/runit/runit-init -> ../../lib/runt/runt\n",
        ] {
            assert!(contents.contains(name), "{contents}");
        }
        let scripts = dir.path().join("control");
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--control").arg(&deb).arg(&scripts);
        run::quiet(&mut unpack).unwrap();
        for name in ["preinst", "postrm"] {
            let mut sh = Command::new("sh");
            run::quiet(sh.arg("-n").arg(scripts.join(name))).unwrap();
        }
    }
}
