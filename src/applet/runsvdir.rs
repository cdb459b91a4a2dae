//! runsvdir: supervises all service directories in a directory.
//!
//! # Synopsis
//! `runsvdir [-P] DIR [LOG]`
//!
//! # Description
//! Supervises every directory, and every link to one, in DIR whose name does
//! not begin with a dot, as soon as it appears. A directory that is created in
//! DIR, rather than moved there, is supervised when nothing was added to it
//! for a second.
//!
//! A service whose directory can no longer be reached from DIR is told to exit
//! if that still holds after 2 seconds: a link that is removed and made again,
//! or a DIR that is rewritten, restarts nothing. It is told at once when its
//! name leads to something else, when its directory itself was removed, and on
//! ALRM. While DIR is missing, all services continue.
//!
//! The same holds when the supervisor faults or is killed meanwhile; the 2
//! seconds then begin again. An entry that is made again after its service was
//! told to exit starts the service once the old process has ended. A service
//! that `sv exit` has ended stays down after a fault until its entry is made
//! again; after a kill it is started. An entry that is removed and made again
//! before the next supervisor reads DIR counts as unchanged.
//!
//! An entry that cannot be supervised is reported once for as long as the
//! cause lasts. It is tried again after 1, 2, 4 and up to 30 seconds, and at
//! once when its entry in DIR changes, when a service has exited and been
//! removed, and on ALRM. Where changes cannot be watched, DIR is read every 5
//! seconds.
//!
//! Two processes share the work: a front process, which handles the signals
//! below, and its child, the supervisor, which runs the services. The end of
//! the front process does not affect a service; a supervisor that dies is
//! started again and takes the running services over. After a fault either
//! process goes on as the same process. See runsv(8).
//! `runsvdir DIR` becomes the front process of a supervisor that runs already,
//! however the last front process ended, and has it supervise again what was
//! told to exit. `-P`, and whether there is a LOG, stay as they were.
//!
//! With LOG, which must have at least seven bytes, the front process shows
//! what services write to descriptor 2 in its title, as printed by `ps`: the
//! last bytes of the output replace those of LOG after its first five. A dot
//! is added every quarter of an hour.
//!
//! With LOG, descriptor 2 of all services is the FIFO `supervise/errors` in
//! the state directory of DIR, which the supervisor reads. It has its readers
//! and writers even without a supervisor, so a service that writes there is
//! not killed when the supervisor is; when the FIFO is full it waits for the
//! next supervisor, which reads what was left. Without a run directory
//! descriptor 2 is an unnamed pipe, and a service that writes there after the
//! supervisor was killed gets SIGPIPE.
//!
//! # Options
//! - `-P`: puts each service into a session of its own.
//! - `--help`: as the only argument, prints a summary. Any other word that
//!   begins with `-` is DIR, as in runit.
//!
//! # Signals
//! TERM: the front process exits with 0; the services continue and can still
//! be controlled, and the supervisor exits with the last of them. HUP: every
//! service is told to exit; the front process exits with 111. ALRM: scan now,
//! and supervise again what was told to exit. The front process exits when the
//! supervisor has read its command, or has not done so for 5 seconds.
//!
//! As process 1 of a container, whose end ends all other processes, it exits
//! on TERM and HUP when the services have ended. Each is told to exit and has
//! the time of its `timeout-kill`, or as long as the container's engine waits.
//! Loggers write what is left. All other processes then get TERM and at most 5
//! seconds.
//!
//! # Environment
//! - `RUNT_RUN`: the run directory.
//! - `RUNT_SERVICES_OVERLAY`: the overlay directory.
//!
//! # Files
//! /run/runt, or $RUNT_RUN: the run directory, by which a running supervisor
//! is found. It is used only if it is not a link, its owner is this user or
//! root, and no other user may write to it. The same holds for the directories
//! in it. A directory that is refused is reported, and runsvdir works without
//! it.
//!
//! A `supervise` directory that a mount hides, or the run directory that
//! replaces one, is created again at once, or on ALRM where there is no
//! /proc/self/mountinfo. The lock of the hidden directory stays held.
//!
//! The state directory of DIR is `DEVICE-INODE-NAME` in the run directory,
//! with the numbers of the directory that contains DIR, and DIR's name there.
//! It holds `front`, locked by the front process; `ledger`, see runsv(8);
//! `turn`, the `latency` of runt-limits(8); and in `supervise` the files by
//! which front and supervisor talk: `lock`, `control`, `ok`, `log` and `errors`.
//!
//! With an overlay directory (the board's, for the board's services directory,
//! or $RUNT_SERVICES_OVERLAY), each of its entries hides the entry of that
//! name in DIR: a link to a service directory adds or replaces a service, a
//! link to /dev/null removes it.
//!
//! # Capacity
//! `slots` services; one more is reported and waits for a free slot. Of the
//! entries that cannot be used, as many are reported by name, then the number
//! of the rest.
//!
//! # Exit status
//! 0 on TERM; 1 usage; 111 on HUP, when nothing can be started, or when DIR
//! has a front process already. The same as process 1.
//!
//! # Differences from runit
//! There is one supervisor for all services, and no `runsv`. Changes in DIR
//! are noticed at once, where runit looks every 5 seconds; the service of a
//! removed link is told to exit after 2 seconds. ALRM is Debian's. What
//! services write to descriptor 2 survives the supervisor.

mod front;
mod serve;

use core::ffi::CStr;

use crate::{
    machine::title,
    supervisor::{self, Reporter, rundir},
    sys::{self, Errno, Fd, console::Console, fault, start::Start},
    text::Line,
};

/// Exit code of a usage error.
const USAGE: u8 = 1;

/// Message about a run directory that is refused.
const UNTRUSTED: &str =
    " is not used: it is a link, or another user owns it or may write to it";

/// Arguments of the command line.
struct Request {
    dir: &'static CStr,
    sessions: bool,
    logs: bool,
}

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.iter();
    let name = words.next().unwrap_or(c"runsvdir");
    let mut sessions = false;
    let mut dir = words.next();
    let mut used = 2_usize;
    // As in runit: only one option, and the next word is a directory.
    if let Some(option @ (b"-P" | b"--")) = dir.map(CStr::to_bytes) {
        sessions = option == b"-P";
        dir = words.next();
        used = 3;
    }
    let Some(dir) = dir else {
        return super::usage(name.to_bytes(), " [-P] dir", USAGE);
    };
    let mut word = start.argv.claim(used);
    if word
        .as_mut()
        .is_some_and(|w| w.bytes().len() < title::LEAST)
    {
        for what in [
            "log must have at least seven characters.",
            "log service disabled.",
        ] {
            sys::print_error(prefix(dir, "warning").text(what).finish());
        }
        word = None;
    }
    let request = Request {
        dir,
        sessions,
        logs: word.is_some(),
    };
    let resumed = fault::resumed();
    let done = if resumed.as_ref().is_some_and(serve::is_supervisor) {
        serve::resume(&request, resumed.as_ref(), start)
    } else {
        front::run(&request, word, resumed.as_ref(), start)
    };
    done.unwrap_or_else(|(what, errno)| {
        super::fatal(prefix(dir, "fatal").as_bytes(), what, b"", errno)
    })
}

/// Returns the reporter of both processes.
fn reporter(request: &Request) -> Reporter {
    Reporter {
        prefix: prefix(request.dir, "warning"),
        console: Console::stderr(|count, to_stderr| {
            supervisor::dropped_lines("runsvdir", count, to_stderr)
        }),
    }
}

/// Opens the state directory of DIR. A failure is reported.
fn open_run_dir(request: &Request, reporter: &Reporter) -> Option<Fd> {
    let opened = rundir::open_for(request.dir);
    if let Err(errno) = opened {
        let run = rundir::run_dir().to_bytes();
        if rundir::is_refusal(errno) {
            let mut line = reporter.prefix.clone();
            line.text("run directory ").bytes(run).text(UNTRUSTED);
            reporter.print(&mut line);
        } else {
            let what = "unable to use the run directory ";
            reporter.warn(what, run, errno);
        }
    }
    opened.ok()
}

/// Returns `runsvdir DIR: LEVEL: `.
fn prefix(dir: &CStr, level: &str) -> Line {
    let mut line = Line::new();
    line.text("runsvdir ").bytes(dir.to_bytes());
    line.text(": ").text(level).text(": ");
    line
}

/// A failed operation and its cause.
type Failure = (&'static str, Errno);
