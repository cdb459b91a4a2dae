//! Records which scenarios have passed on which board, on this machine.

use std::{fs, path::PathBuf, time::SystemTime};

use anyhow::{Context as _, Result};

use crate::board;

/// Returns the directory of a board's records: one file for each scenario.
fn dir(board: &str) -> PathBuf {
    board::work_dir().join("booted").join(board)
}

/// Records that a scenario has passed on a board now.
pub fn record(board: &str, scenario: &str) -> Result<()> {
    let dir = dir(board);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(scenario), "")
        .with_context(|| format!("cannot write in {}", dir.display()))
}

/// Returns the number of scenarios that have passed on a board, and the time
/// of the last one.
pub fn passed(board: &str) -> Option<(usize, SystemTime)> {
    let files = fs::read_dir(dir(board)).ok()?;
    let times = files.filter_map(|file| file.ok()?.metadata().ok());
    let times: Vec<_> = times.filter_map(|it| it.modified().ok()).collect();
    Some((times.len(), times.into_iter().max()?))
}
