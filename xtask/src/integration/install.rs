//! Installs the packages of the external tree into a root, with a makefile in
//! place of Buildroot's, and runs the tree's own check of that root.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{board, build, run};

use super::{Report, Verdict};

/// Stands in for Buildroot's makefiles.
const MAKEFILE: &str = include_str!("buildroot.mk");

/// Selections that every root here has.
const COMMON: &[&str] = &[
    "BR2_PACKAGE_RUNT=y",
    "BR2_PACKAGE_RUNT_INIT=y",
    "BR2_PACKAGE_BUSYBOX=y",
    "BR2_TARGET_GENERIC_GETTY=y",
    "BR2_PACKAGE_RUNT_INITD=y",
    "BR2_PACKAGE_RUNT_SERVICES=y",
    "BR2_PACKAGE_CHRONY=y",
    "BR2_PACKAGE_DNSMASQ=y",
    "BR2_PACKAGE_DROPBEAR=y",
    "BR2_PACKAGE_HOSTAPD=y",
    "BR2_PACKAGE_LIGHTTPD=y",
    "BR2_PACKAGE_NTP_NTPD=y",
];

/// The services of a root with these selections.
const SERVICES: [&str; 8] = [
    "chrony", "dnsmasq", "dropbear", "getty", "hostapd", "initd", "lighttpd",
    "ntpd",
];

/// The kinds of root: name, selections, lines that its fstab must have.
const ROOTS: [(&str, &[&str], &[&str]); 4] = [
    (
        "prebuilt",
        &[
            "BR2_PACKAGE_RUNT_PREBUILT=y",
            "BR2_PACKAGE_SKELETON_INIT_RUNT=y",
            "BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW=y",
        ],
        &["/dev/root\t/\tauto\trw"],
    ),
    (
        "source",
        &[
            "BR2_PACKAGE_RUNT_SOURCE=y",
            "BR2_PACKAGE_SKELETON_INIT_RUNT=y",
            "BR2_TARGET_GENERIC_REMOUNT_ROOTFS_RW=y",
        ],
        &["/dev/root\t/\tauto\trw"],
    ),
    (
        "read-only",
        &[
            "BR2_PACKAGE_RUNT_PREBUILT=y",
            "BR2_PACKAGE_SKELETON_INIT_RUNT=y",
        ],
        &["/dev/root\t/\tauto\tro", "tmpfs\t/var/log\ttmpfs"],
    ),
    (
        "BR2_INIT_NONE",
        &[
            "BR2_PACKAGE_RUNT_PREBUILT=y",
            "BR2_PACKAGE_SKELETON_INIT_NONE=y",
        ],
        &["tmpfs\t/tmp\ttmpfs"],
    ),
];

/// Adds the checks to the report.
pub(super) fn check(report: &mut Report) {
    for (name, selections, fstab) in ROOTS {
        let title = format!("buildroot: root, {name}");
        report.add(&title, root(selections, fstab));
    }
    report.add("buildroot: check-root refuses", refusals());
    report.add("buildroot: build command", build_command());
}

/// Returns the external tree.
fn external() -> PathBuf {
    board::root().join("boards/buildroot")
}

/// Installs a root and checks what is in it.
fn root(selections: &[&str], fstab: &[&str]) -> Result<Verdict> {
    let dir = tempfile::tempdir()?;
    install(dir.path(), selections)?;
    let root = dir.path().join("target");
    for name in SERVICES {
        let link = root.join("etc/service").join(name);
        let run = link.join("run");
        let mode = run.metadata().with_context(|| {
            format!("etc/service/{name}/run is not in the root")
        })?;
        ensure!(
            mode.permissions().mode() & 0o777 == 0o755,
            "etc/service/{name}/run has another mode than 755"
        );
        ensure!(
            fs::read_link(&link)?.is_relative(),
            "the link etc/service/{name} is absolute"
        );
    }
    let getty = fs::read_to_string(root.join("etc/sv/getty/run"))?;
    let wanted = "getty -L -n ttyS0 115200 vt100\n";
    ensure!(getty.ends_with(wanted), "etc/sv/getty/run:\n{getty}");
    let table = fs::read_to_string(root.join("etc/fstab"))?;
    for line in fstab {
        ensure!(table.contains(line), "etc/fstab lacks {line:?}:\n{table}");
    }
    for applet in build::applets() {
        let link = root.join("sbin").join(applet);
        let target = fs::read_link(&link)
            .with_context(|| format!("sbin/{applet} is missing in the root"))?;
        ensure!(target == Path::new("runt"), "sbin/{applet} is another file");
    }
    ensure!(
        !root.join("etc/init.d/S50dropbear").exists(),
        "the start script of dropbear is still in the root"
    );
    Ok(Verdict::Passed(format!("{} services", SERVICES.len())))
}

/// Breaks a root in several ways, each of which check-root must refuse.
fn refusals() -> Result<Verdict> {
    type Harm = fn(&Path) -> std::io::Result<()>;
    let harms: [(&str, Harm); 8] = [
        ("/proc is missing", |root| fs::remove_dir(root.join("proc"))),
        ("/sbin/init is missing", |root| {
            fs::remove_file(root.join("sbin/init"))
        }),
        ("/sbin/init is not runt", |root| {
            fs::remove_file(root.join("sbin/init"))?;
            symlink("../bin/busybox", root.join("sbin/init"))
        }),
        ("/etc/service/gone leads nowhere", |root| {
            symlink("../sv/gone", root.join("etc/service/gone"))
        }),
        ("/etc/sv/getty has no run", |root| {
            fs::remove_file(root.join("etc/sv/getty/run"))
        }),
        ("/etc/sv/initd/finish is not executable", |root| {
            let file = root.join("etc/sv/initd/finish");
            fs::set_permissions(file, fs::Permissions::from_mode(0o644))
        }),
        ("/bin/sh is missing", |root| {
            fs::remove_file(root.join("bin/sh"))
        }),
        ("/bin/bash is missing", |root| {
            // An absolute link leads into the root, not into the host's.
            symlink("/etc/sv/own", root.join("etc/service/own"))?;
            fs::create_dir(root.join("etc/sv/own"))?;
            let run = root.join("etc/sv/own/run");
            fs::write(&run, "#!/bin/bash -e\n")?;
            fs::set_permissions(run, fs::Permissions::from_mode(0o755))
        }),
    ];
    for (text, harm) in harms {
        let dir = tempfile::tempdir()?;
        install(dir.path(), ROOTS[0].1)?;
        let root = dir.path().join("target");
        harm(&root)?;
        let output = Command::new(external().join("package/runt/check-root"))
            .arg(&root)
            .output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && errors.contains(text),
            "expected `{text}` ({}): {errors}",
            output.status
        );
    }
    Ok(Verdict::Passed(format!("{} broken roots", harms.len())))
}

/// Checks that the package is built with its own profile.
fn build_command() -> Result<Verdict> {
    let dir = tempfile::tempdir()?;
    let mut make = make(dir.path(), ROOTS[1].1)?;
    let text = run::quiet(make.arg("build-commands"))?;
    for words in [
        "cargo build --offline --locked",
        "--profile board",
        "--features freestanding",
    ] {
        ensure!(text.contains(words), "no `{words}` in:\n{text}");
    }
    ensure!(!text.contains("--release"), "`--release` in:\n{text}");
    Ok(Verdict::Passed("profile board".into()))
}

/// Installs a root in the directory `target` of `dir`.
fn install(dir: &Path, selections: &[&str]) -> Result<()> {
    let root = dir.join("target");
    // What other packages have installed before.
    for part in [
        "bin",
        "sbin",
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "etc/init.d",
    ] {
        fs::create_dir_all(root.join(part))?;
    }
    for file in ["bin/busybox", "etc/init.d/rcS", "etc/init.d/S50dropbear"] {
        let file = root.join(file);
        fs::write(&file, "#!/bin/sh\n")?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    }
    symlink("busybox", root.join("bin/sh"))?;
    symlink("../bin/busybox", root.join("sbin/init"))?;
    let build = dir.join("build");
    for place in [&build, &build.join("target/target/board")] {
        fs::create_dir_all(place)?;
        fs::write(place.join("runt"), "")?;
    }
    fs::create_dir(build.join("src"))?;
    let table = include_str!("../../../src/applets.txt");
    fs::write(build.join("src/applets.txt"), table)?;
    for applet in build::applets() {
        symlink("runt", build.join(applet))?;
    }
    run::quiet(make(dir, selections)?.arg("install")).map(drop)
}

/// Returns a `make` for these selections that works in `dir`.
fn make(dir: &Path, selections: &[&str]) -> Result<Command> {
    let makefile = dir.join("Makefile");
    fs::write(&makefile, MAKEFILE)?;
    let mut make = Command::new("make");
    make.arg("-s").arg("-f").arg(makefile);
    make.arg(format!("EXTERNAL={}", external().display()));
    make.arg(format!("OUT={}", dir.display()));
    make.args(COMMON).args(selections);
    Ok(make)
}
