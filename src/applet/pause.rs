//! pause: does nothing until a signal ends it, for a service that has no
//! process of its own.
//!
//! # Synopsis
//! `pause`
//!
//! # Description
//! A run script sets something up and ends in `exec pause`, or in
//! `exec chpst -b NAME pause` so that `ps` shows NAME; `finish` undoes it. The
//! service is up for as long as `pause` runs. It wakes up for signals only.
//! Arguments are ignored, except for a single `--help`, which prints a
//! summary.
//!
//! # Signals
//! TERM, INT, HUP: exit. All others have their default action.
//!
//! # Exit status
//! 0 after one of these signals; 111 when it cannot wait for them.

use crate::sys::{
    Errno, poller,
    signal::{Number, Signals},
    start::Start,
};

/// Runs the program.
pub(super) fn main(_: Start) -> u8 {
    match until_signal() {
        Ok(()) => 0,
        Err(errno) => {
            super::fatal(b"pause: fatal: ", "unable to wait", b"", errno)
        }
    }
}

/// Sleeps until one of the signals arrives.
fn until_signal() -> Result<(), Errno> {
    let wanted = [Number::TERM, Number::INT, Number::HUP];
    let signals = Signals::collect(&wanted)?;
    while signals.next().is_none() {
        poller::readable([signals.as_fd()], None)?;
    }
    Ok(())
}
