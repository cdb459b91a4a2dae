//! runsv: supervises one service directory.
//!
//! # Synopsis
//! `runsv DIR`
//!
//! # Description
//! Starts `DIR/run` and restarts it when it ends, at most once a second;
//! `DIR/finish` runs after each end. With a directory `DIR/log` it does the
//! same for `DIR/log/run`, whose input is the output of `DIR/run`, through a
//! pipe that outlives both. `DIR/supervise` holds the state and takes
//! commands, see `sv`; where it cannot be made, because the file system is
//! read-only or DIR is somebody else's, it is kept in the run directory,
//! /run/runt or $RUNT_RUN, in a directory DEVICE-INODE with the numbers of DIR
//! (of DIR/log). A file `DIR/down` (`DIR/log/down`) says not to start.
//!
//! # Signals
//! TERM: as `sv exit DIR`.
//!
//! # Exit codes
//! 0 told to exit; 1 usage; 111 the directory cannot be supervised.

use core::ffi::CStr;

use crate::{
    supervisor::{Supervisor, Voice},
    sys::{self, CWD, Errno, file, signal::Number, start::Start},
    text::Line,
};

/// Exit codes, as `runsv` documents them.
const USAGE: u8 = 1;

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.iter();
    let name = words.next().unwrap_or(c"runsv");
    match (words.next(), words.next()) {
        (Some(dir), None) => match supervise(dir, start) {
            Ok(()) => 0,
            Err(line) => {
                sys::complain(line.clone().finish());
                super::FATAL
            }
        },
        _ => super::usage(name.to_bytes(), " dir", USAGE),
    }
}

/// Supervises `dir` until told to exit.
fn supervise(dir: &CStr, start: Start) -> Result<(), Line> {
    let name = dir.to_bytes();
    let failed = |what: &str, errno: Errno| {
        let mut line = Line::new();
        line.text("runsv ").bytes(name).text(": fatal: ").text(what);
        line.text(": ").text(sys::error::text(errno));
        line
    };
    let opened = file::open_dir(CWD, dir)
        .map_err(|errno| failed("unable to change to directory", errno))?;
    let voice = Voice {
        head: Line::new(),
        console: false,
    };
    let wanted = [Number::CHILD, Number::TERM, Number::PIPE];
    let mut supervisor =
        Supervisor::new(1, &wanted, voice, start.environ, false)
            .map_err(|errno| failed("unable to start", errno))?;
    supervisor
        .add(name, opened)
        .map_err(|refusal| refusal.line(name, "fatal"))?;
    while supervisor.live() > 0 {
        let heard = supervisor.turn(None);
        if heard.signals.contains(&Number::TERM) {
            supervisor.exit_all();
        }
    }
    Ok(())
}
