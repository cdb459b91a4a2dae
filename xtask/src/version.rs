//! Determines which version of the sources this is: the time and the name of its
//! commit. They are read once, since a commit may be added during a run.

use std::{process::Command, sync::OnceLock};

use anyhow::{Context as _, Result};

use crate::{board, run};

/// The variables that say it where there is no repository: a source archive
/// sets them in its configuration of cargo.
pub const TIME: &str = "SOURCE_DATE_EPOCH";
pub const COMMIT: &str = "RUNT_COMMIT";

/// A version of the sources.
#[derive(Debug)]
pub struct Version {
    /// Seconds from 1970 to the commit. This is not the time of the build, so
    /// that the same sources give the same file.
    pub time: String,
    /// The hash of the commit, with `-dirty` if files differ from it; or
    /// `unknown`.
    pub commit: String,
}

/// Returns the version. Returns an error if there is a repository that git
/// cannot read: a wrong time would give another file.
pub fn version() -> Result<&'static Version> {
    static VERSION: OnceLock<Version> = OnceLock::new();
    if let Some(version) = VERSION.get() {
        return Ok(version);
    }
    let version = Version {
        time: value(TIME, &["log", "-1", "--format=%ct"], "0")?,
        // Never the name of a tag.
        commit: value(
            COMMIT,
            &[
                "describe",
                "--always",
                "--abbrev=40",
                "--dirty",
                "--exclude=*",
            ],
            "unknown",
        )?,
    };
    Ok(VERSION.get_or_init(|| version))
}

/// Returns the value of a variable, or what git prints; `none` if there is no
/// repository.
fn value(variable: &str, arguments: &[&str], none: &str) -> Result<String> {
    if let Ok(value) = std::env::var(variable) {
        return Ok(value);
    }
    if !board::root().join(".git").exists() {
        return Ok(none.into());
    }
    let mut git = Command::new("git");
    // The repository may belong to another user: a container's.
    git.args(["-c", "safe.directory=*"]).args(arguments);
    let text = run::quiet(git.current_dir(board::root()))
        .with_context(|| format!("set {variable} if git cannot be used"))?;
    Ok(text.trim().into())
}
