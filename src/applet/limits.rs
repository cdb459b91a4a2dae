//! runt limits: prints every bound of this build, and the worst latency that a
//! supervisor has measured.
//!
//! # Synopsis
//! `runt limits [DIR]`
//!
//! # Description
//! Prints one line for each capacity of the board file, under its name there,
//! see runt-board(5); then what follows from them for a supervisor with all
//! slots in use:
//!
//! - `descriptors`: maximum number of open files.
//! - `processes`: maximum number of children: for each slot the service, its
//!   log service and a script, and the shared loggers.
//! - `code`, `variables`: bytes of the program, shared by all processes that
//!   run it, and of its tables, of which each process has the pages that it
//!   uses. There is no other memory but the stack: no heap.
//! - `latency`: microseconds of the longest time so far in which the supervisor
//!   of DIR, or of the directory that sv(8) uses, took no events. A record is
//!   at least a second old; without a supervisor there may be none.
//! - `faults`: number of faults of that supervisor and of its front process
//!   since the boot, if there were any: see runsv(8) and runit(8).
//!
//! # Exit status
//! 0; 111 when descriptor 1 cannot be written to.

use crate::{
    config,
    supervisor::rundir,
    sys::{self, AsFd, file, memory, start::Start},
    text::Line,
};

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let processes = config::SLOTS
        .saturating_mul(3)
        .saturating_add(config::LOGGERS);
    let files = usize::try_from(config::descriptors(config::SLOTS))
        .unwrap_or(usize::MAX);
    let [code, variables] = memory::bytes();
    let more = [
        ("descriptors", files),
        ("processes", processes),
        ("code", code),
        ("variables", variables),
    ];
    let printed = config::LIMITS.iter().chain(&more).all(|(name, value)| {
        let mut line = Line::new();
        line.text(name).text(" ");
        line.number(u64::try_from(*value).unwrap_or(u64::MAX));
        sys::print(line.finish())
    });
    let dir = start.argv.skip(1).first();
    let dir = dir.unwrap_or_else(|| super::sv::services(start.environ));
    let mut buffer = [0; 24];
    let latency = rundir::find_for(dir).and_then(|rundir| {
        file::read_whole(rundir.as_fd(), rundir::LATENCY[0], &mut buffer)
    });
    let printed = match latency {
        Ok(latency) if printed => {
            let mut line = Line::new();
            line.text("latency ").bytes(latency.trim_ascii_end());
            sys::print(line.finish())
        }
        _ => printed,
    };
    let faults = rundir::faults(rundir::find_for(dir));
    let printed = printed
        && (faults == 0 || {
            let mut line = Line::new();
            line.text("faults ").number(faults);
            sys::print(line.finish())
        });
    if printed { 0 } else { super::FATAL }
}
