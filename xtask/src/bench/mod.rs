//! `cargo xtask bench`: how fast and how small the programs are, measured
//! against their peers and against what the kernel alone costs.
//!
//! Runs are interleaved: each round visits every contender once, in an order
//! that turns, and what is compared are figures of the same round. Tables
//! show medians, least and most. Nothing outside of a temporary directory on
//! a tmpfs is touched, and no process but our own.

mod chart;
mod contender;
mod figures;
mod log;
mod many;
mod measure;
mod process;
mod report;
mod supervise;
mod tight;
mod tree;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::{board, build, run};

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
pub enum Subject {
    /// Supervisors: memory, start, restart, control, idle, stop.
    Supervise {
        /// A few rounds: shows whether all is well, not how well.
        #[arg(long)]
        quick: bool,
        /// How many rounds.
        #[arg(long)]
        rounds: Option<usize>,
        /// Leave the peers out: only ours and the floor.
        #[arg(long)]
        alone: bool,
    },
    /// Loggers: speed, memory, processor time a line.
    Log {
        /// A few rounds: shows whether all is well, not how well.
        #[arg(long)]
        quick: bool,
        /// How many rounds.
        #[arg(long)]
        rounds: Option<usize>,
    },
    /// The rotating copy that loggers are held against.
    #[command(hide = true)]
    Copy {
        /// Where it writes.
        dir: PathBuf,
    },
}

/// `cargo xtask bench`.
pub fn run(subject: Subject) -> Result<()> {
    match subject {
        Subject::Supervise {
            quick,
            rounds,
            alone,
        } => supervise::run(quick, rounds, alone),
        Subject::Log { quick, rounds } => log::run(quick, rounds),
        Subject::Copy { dir } => log::copy(&dir),
    }
}

/// Where tables, charts and what the bench builds are kept.
fn shop() -> Result<PathBuf> {
    let dir = board::workshop().join("bench");
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// A temporary directory, in memory if there is such a place.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.context("cannot make a temporary directory")
}

/// Builds xtask/floor with the compiler alone, as the release is built.
fn floor() -> Result<PathBuf> {
    let file = shop()?.join("floor");
    let source = board::root().join("xtask/floor/main.rs");
    let mut rustc = Command::new("rustc");
    rustc
        .args(["--edition", "2024", "--crate-name", "floor"])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Clto=fat"])
        .args(["-Ccodegen-units=1", "-Cstrip=symbols"])
        .args(build::FLAGS)
        .arg("-o")
        .arg(&file)
        .arg(source);
    run::quiet(&mut rustc).context("cannot build the floor")?;
    Ok(file)
}
