//! Implements `cargo xtask bench`: measures speed and size of the programs and
//! compares them with their peers and with the cost of the kernel alone.
//!
//! Runs are interleaved: each round visits every contender once, in an order
//! that rotates, and figures of the same round are compared. Tables show
//! median, minimum and maximum. Boots are counted in instructions, which are
//! the same in each run. Nothing outside of a temporary directory on a
//! tmpfs is changed, and no processes are affected but our own.

mod boot;
mod chart;
mod contender;
mod figures;
mod log;
mod many;
mod measure;
mod process;
mod recover;
mod report;
mod supervise;
mod tight;
mod tree;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Subcommand;

use crate::{board, build};

/// The subject of the measurement.
#[derive(Clone, Debug, Subcommand)]
pub enum Subject {
    /// Measure supervisors: memory, start, restart, control, idling, stop.
    Supervise {
        /// Run only a few rounds, as a smoke test.
        #[arg(long)]
        quick: bool,
        /// Number of rounds.
        #[arg(long)]
        rounds: Option<usize>,
        /// Measure only runt and the bare floor, not the peers.
        #[arg(long)]
        alone: bool,
    },
    /// Measure loggers: speed, memory, processor time per line.
    Log {
        /// Run only a few rounds, as a smoke test.
        #[arg(long)]
        quick: bool,
        /// Number of rounds.
        #[arg(long)]
        rounds: Option<usize>,
    },
    /// Measure process 1 in QEMU, in instructions: boot, restart, idling, end.
    Boot {
        /// Only this board; default: qemu-riscv64 and qemu-armv7.
        #[arg(long)]
        board: Option<String>,
        /// Measure only runt and the limits, not the peers.
        #[arg(long)]
        alone: bool,
    },
    /// Measure the recovery from a fault, and an upgrade: a supervisor of 64
    /// services, against an execve of the same file.
    Recover {
        /// Number of rounds.
        #[arg(long, default_value_t = 100)]
        rounds: usize,
    },
    /// Run the rotating copy that loggers are compared with.
    #[command(hide = true)]
    Copy {
        /// The directory to write to.
        dir: PathBuf,
    },
}

/// Implements `cargo xtask bench`.
pub fn run(subject: Subject) -> Result<()> {
    match subject {
        Subject::Supervise {
            quick,
            rounds,
            alone,
        } => supervise::run(quick, rounds, alone),
        Subject::Log { quick, rounds } => log::run(quick, rounds),
        Subject::Boot { board, alone } => boot::run(board.as_deref(), alone),
        Subject::Recover { rounds } => {
            anyhow::ensure!(rounds > 0, "there is nothing to measure");
            recover::run(rounds)
        }
        Subject::Copy { dir } => log::copy(&dir),
    }
}

/// Returns the directory of tables, charts and what the benchmarks build.
fn output_dir() -> Result<PathBuf> {
    let dir = board::work_dir().join("bench");
    std::fs::create_dir_all(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Creates a temporary directory, in memory if possible.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.context("cannot make a temporary directory")
}

/// Builds the floor for this machine.
fn floor() -> Result<PathBuf> {
    let board = board::load(board::HOST)?;
    Ok(build::floor(&board.target)?.join("floor"))
}
