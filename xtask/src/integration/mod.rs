//! Implements `cargo xtask check-integration`: checks the Buildroot external
//! tree and the Yocto layer in boards/.
//!
//! Most checks need only programs that Debian or PyPI has. Those that need a
//! tree of Buildroot or OpenEmbedded run when it is given. Checks that could
//! not run are listed with the reason.

mod buildroot;
mod install;
mod python;
mod yocto;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::board;

/// Result of a check that found no fault.
pub enum Verdict {
    /// Passed, with a note about what was checked.
    Passed(String),
    /// Not run, with the reason.
    Skipped(String),
}

/// The outcomes of the checks.
#[derive(Default)]
pub struct Report {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Report {
    /// Prints the outcome of one check and counts it.
    pub fn add(&mut self, name: &str, outcome: Result<Verdict>) {
        let (word, note) = match outcome {
            Ok(Verdict::Passed(note)) => {
                self.passed += 1;
                ("ok", note)
            }
            Ok(Verdict::Skipped(reason)) => {
                self.skipped += 1;
                ("not run", reason)
            }
            Err(error) => {
                self.failed += 1;
                ("FAILED", format!("{error:#}"))
            }
        };
        println!("{name:<34} {word:<8} {note}");
    }
}

/// Implements `cargo xtask check-integration`.
pub fn run(
    buildroot_tree: Option<&Path>,
    poky_tree: Option<&Path>,
) -> Result<()> {
    let mut report = Report::default();
    buildroot::check(&mut report);
    install::check(&mut report);
    buildroot::check_tree(&mut report, buildroot_tree);
    yocto::check(&mut report);
    yocto::check_tree(&mut report, poky_tree);
    let Report {
        passed,
        failed,
        skipped,
    } = report;
    println!("{passed} passed, {failed} failed, {skipped} not run");
    ensure!(failed == 0, "{failed} checks failed");
    Ok(())
}

/// Returns the paths of all files below a directory of boards/, sorted.
fn files(dir: &str) -> Vec<PathBuf> {
    let dir = board::root().join("boards").join(dir);
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .filter(|path| !path.iter().any(|part| part == "prebuilt"))
        .collect();
    files.sort();
    files
}

/// Returns the files of a directory of boards/ that a shell runs.
fn shell_scripts(dir: &str) -> Result<Vec<PathBuf>> {
    let mut scripts = Vec::new();
    for file in files(dir) {
        let text = std::fs::read(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        if text.starts_with(b"#!/bin/sh\n") {
            scripts.push(file);
        }
    }
    Ok(scripts)
}
