//! Checks the files of a release with programs that others have written.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use super::{of_board, sbom, source};
use crate::{board, build, cargo, python::Environment, run, toolchain};

/// Validators of CycloneDX and SPDX, and the linter of licences.
const ENVIRONMENT: Environment = Environment {
    name: "python-dist",
    packages: &[
        "cyclonedx-python-lib[json-validation]==11.12.0",
        "spdx-tools==0.8.5",
        "reuse==6.2.0",
    ],
};

/// The maximum size of the crate's archive in bytes.
const PACKAGE: u64 = 512 << 10;

/// Checks every bill of materials in a directory. Returns their number.
pub(super) fn bills(dir: &Path) -> Result<String> {
    ENVIRONMENT.script("dist/bills.py", &[dir])
}

/// Checks the bills and the package of Alpine of this machine's release file.
/// Returns what the checks print.
pub fn release() -> Result<String> {
    let board = board::load(board::HOST)?;
    let file = build::release(&board)?;
    let parts = sbom::parts(&board, &file)?;
    let dir = tempfile::tempdir()?;
    for (name, content) in of_board(&board, &file, &parts)? {
        std::fs::write(dir.path().join(name), content)?;
    }
    let checked = bills(dir.path())?;
    let packages = ENVIRONMENT.script("dist/packages.py", &[dir.path()])?;
    Ok(checked + &packages)
}

/// Directory of what REUSE wants at the top level, which is kept free of it.
const REUSE: &str = ".reuse";

/// Checks that every file of the repository has a licence and a copyright, in a
/// copy of it with the content of [`REUSE`] at the top.
pub fn licences() -> Result<String> {
    let root = board::root();
    let tree = tempfile::tempdir()?;
    // A link has no licence of its own.
    let files = source::files(&root)?.into_iter();
    for path in files.filter(|path| !root.join(path).is_symlink()) {
        let to = tree.path().join(path.strip_prefix(REUSE).unwrap_or(&path));
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(root.join(&path), to)?;
    }
    let mut reuse = Command::new(ENVIRONMENT.program("reuse")?);
    reuse.current_dir(&tree).args(["lint", "--lines"]);
    run::quiet(&mut reuse)
}

/// Checks that cargo packs the crate, that it is small, and that the release
/// file can be built from it. Returns its size.
pub fn package() -> Result<String> {
    let dir = board::work_dir().join("package");
    let mut package = cargo::command("package")?;
    package
        .args(["--quiet", "--locked", "--allow-dirty"])
        .args(["--package", "runt-init", "--target-dir"])
        .arg(&dir);
    run::quiet(&mut package)?;
    let title = format!("runt-init-{}", env!("CARGO_PKG_VERSION"));
    let packed = dir.join(format!("package/{title}.crate"));
    let size = packed.metadata()?.len();
    ensure!(size <= PACKAGE, "the crate has {size} bytes");
    // Outside of the workspace.
    let unpacked = tempfile::tempdir()?;
    // All files of a crate are of 2006: without times of their own, cargo takes
    // what it has built from other contents for up to date.
    let mut tar = Command::new("tar");
    tar.args(["--touch", "-C"]).arg(unpacked.path());
    run::quiet(tar.arg("-xf").arg(&packed))?;
    toolchain::from_sources(unpacked.path().join(title))?;
    Ok(format!("bytes: {size}"))
}
