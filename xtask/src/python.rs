//! Runs Python programs from PyPI, each in a version that the checks were
//! written for.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{board, run};

/// A virtual environment in target/xtask.
pub struct Environment {
    /// The name of its directory.
    pub name: &'static str,
    /// Its packages of PyPI.
    pub packages: &'static [&'static str],
}

impl Environment {
    /// Returns a program of the packages, which are installed when they are
    /// first needed.
    pub fn program(&self, name: &str) -> Result<PathBuf> {
        let dir = board::work_dir().join(self.name);
        let stamp = dir.join("packages");
        let packages = self.packages.join("\n");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == packages) {
            return Ok(dir.join("bin").join(name));
        }
        println!("installing {}", self.packages.join(" "));
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "--clear"]).arg(&dir);
        run::quiet(&mut venv)
            .context("on Debian, python3-venv makes this possible")?;
        let mut pip = Command::new(dir.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        run::quiet(pip.args(self.packages))?;
        fs::write(&stamp, packages)?;
        Ok(dir.join("bin").join(name))
    }

    /// Runs a script of xtask/src and returns what it prints.
    pub fn script(&self, name: &str, arguments: &[&Path]) -> Result<String> {
        let file = board::root().join("xtask/src").join(name);
        let mut python = Command::new(self.program("python3")?);
        python.current_dir(board::root()).arg("-B").arg(file);
        run::quiet(python.args(arguments))
    }
}
