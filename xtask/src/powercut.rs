//! Tests what a power failure leaves on disk: a machine that logs to an ext4
//! at full speed is killed repeatedly, and its disk is compared with what the
//! machine had reported by then.
//!
//! Its logger has `f1` in its config: a line older than a second is on the
//! disk or being written at that moment.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::{board::Board, disk, image, qemu::Session, rootfs::Root, setup};

/// The tree of the image.
pub const TREE: &str = "powercut";
/// Number of power cuts in `cargo xtask test`, and on the default board with
/// --all-boards.
pub const CUTS: [u32; 2] = [3, 20];
/// Estimated time for one cut, in seconds.
pub const SECONDS: u32 = 7;
/// Age in seconds from which a line must be on the disk: `f1` plus the time
/// that an emulated machine takes to write on a busy host.
const AGE: f64 = 2.5;
/// Time for which a machine logs before its power is cut, in seconds of its
/// own clock.
const LOGS: f64 = 4.0;
/// Time limit until the machine begins to log, in seconds of the default
/// board.
const BEGINS: f64 = 60.0;

/// Lines of the console that are shown where a machine does not begin to log.
const SHOWN: usize = 30;

/// A report that a machine prints periodically: the time and the number of its
/// last line.
#[derive(Clone, Copy, Debug)]
struct Tick {
    time: f64,
    line: u32,
}

/// Cuts the power of a board `cuts` times; returns the figures.
pub fn play(board: &Board, cuts: u32) -> Result<String> {
    let kit = setup::ensure(board)?;
    let dir = image::own_dir()?;
    let image = image::make(board, TREE, Root::Ext4, dir.path())?;
    let disk = image.disk.as_ref().context("the image has no disk")?;
    let (mut lines, mut oldest) = (0, 0.0_f64);
    for cut in 1..=cuts {
        let mut board = board.clone();
        board.console.cmdline += &format!(" cut={cut}");
        let session = Session::start(&board, &kit, &image)?;
        // The interval varies, so that the cut is not always at the same
        // moment after a flush.
        let logs = LOGS + f64::from(cut) * 0.07;
        let ticks = listen(session, cut, logs)
            .with_context(|| format!("cut {cut} of {cuts}"))?;
        let ext4 = disk.ext4()?.context("the disk has no ext4")?;
        disk::recover(ext4.path())?;
        disk::is_whole(ext4.path())?;
        let kept = kept(ext4.path(), cut)?;
        let last = ticks.last().map_or(0.0, |tick| tick.time);
        let lost = ticks.iter().find(|tick| !kept.contains(&tick.line));
        if let Some(lost) = lost {
            let age = last - lost.time;
            ensure!(
                age < AGE,
                "cut {cut} of {cuts}: line {} was lost at the age of {age:.2} s",
                lost.line,
            );
            oldest = oldest.max(age);
        }
        lines += kept.len();
    }
    Ok(format!(
        "{cuts} cuts, {lines} lines kept, the oldest one lost: {oldest:.2} s"
    ))
}

/// Lets a machine log for a while, then cuts its power; returns its reports.
fn listen(mut session: Session, cut: u32, logs: f64) -> Result<Vec<Tick>> {
    let tick = Regex::new(&format!(r"tick {cut} (\d+\.\d+) (\d+)\n"))?;
    let error = Regex::new(r"EXT4-fs.*(error|[Cc]orrupt).*")?;
    let mut ticks: Vec<Tick> = Vec::new();
    let over = |ticks: &[Tick]| match (ticks.first(), ticks.last()) {
        (Some(first), Some(last)) => last.time - first.time > logs,
        _ => false,
    };
    while !over(&ticks) {
        let groups = session.expect(&tick, BEGINS);
        let groups = groups.with_context(|| {
            format!("the console's last lines:\n{}", session.tail(SHOWN))
        })?;
        let [_, time, line] = groups.as_slice() else {
            continue;
        };
        let (time, line) = (time.parse()?, line.parse()?);
        ticks.push(Tick { time, line });
    }
    if let Some(error) = error.find(session.text()) {
        anyhow::bail!("`{}` appeared on the console", error.as_str());
    }
    drop(session);
    Ok(ticks)
}

/// Returns the numbers of the lines kept from one run of the machine; checks
/// that each is whole and none is missing before the last.
fn kept(ext4: &Path, cut: u32) -> Result<BTreeSet<u32>> {
    let dir = tempfile::tempdir()?;
    disk::copy_out(ext4, "/var/log/talker", dir.path())?;
    let line = Regex::new(&format!(r"^@\w{{24}} cut {cut} line (\d+) \.+$"))?;
    let mut numbers = BTreeSet::new();
    for file in fs::read_dir(dir.path().join("talker"))? {
        let text = fs::read(file?.path())?;
        // Bytes after the last newline were still being written.
        for text in String::from_utf8_lossy(&text).split_inclusive('\n') {
            if let Some(found) = line.captures(text.trim_end_matches('\n')) {
                numbers.insert(found[1].parse()?);
            }
        }
    }
    let count = u32::try_from(numbers.len())?;
    ensure!(
        numbers.last().copied().unwrap_or(0) == count,
        "cut {cut}: {count} lines are on the disk, the last one is {:?}",
        numbers.last()
    );
    Ok(numbers)
}
