//! runsvdir: supervises every service directory in a directory.
//!
//! # Synopsis
//! `runsvdir [-P] DIR`
//!
//! # Description
//! Takes up every directory and every link to one in DIR whose name does not
//! begin with a dot, at once when it appears, and lets go of it when it
//! disappears. `-P` puts each service into a session of its own.
//!
//! Two processes do this: a face, which has the signals below, and its child,
//! the supervisor, which has the services. What happens to the face does not
//! touch a service; a supervisor that dies is started again.
//!
//! # Signals
//! TERM: the face ends with 0; the services stay, and stay controllable, and
//! the supervisor ends with the last of them. HUP: every service is told to
//! exit; the face ends with 111. ALRM: scan now, and take up again what was
//! told to exit.
//!
//! # Exit codes
//! 0 on TERM; 1 usage; 111 on HUP or when nothing can be started.
//!
//! # Against runit
//! The LOG argument is taken and does nothing yet: what services write to
//! descriptor 2 goes where runsvdir's own goes.

use core::ffi::CStr;

use crate::{
    supervisor::{Supervisor, Voice},
    sys::{
        self, Errno, child, clock,
        signal::{self, Number, Signals},
        start::Start,
        wait,
    },
    text::Line,
};

/// Exit code of a usage error.
const USAGE: u8 = 1;

/// What the face sends to the supervisor before it leaves.
const FACE_LEAVES: Number = Number::USR1;

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.iter();
    let name = words.next().unwrap_or(c"runsvdir");
    let mut sessions = false;
    let mut dir = words.next();
    while let Some(option @ (b"-P" | b"--")) = dir.map(CStr::to_bytes) {
        sessions |= option == b"-P";
        dir = words.next();
        if option == b"--" {
            break;
        }
    }
    let Some(dir) = dir else {
        return super::usage(name.to_bytes(), " [-P] dir", USAGE);
    };
    match face(dir, sessions, start) {
        Ok(code) => code,
        Err((what, errno)) => {
            super::fatal(head(dir, "fatal").as_bytes(), what, b"", errno)
        }
    }
}

/// `runsvdir DIR: LEVEL: `.
fn head(dir: &CStr, level: &str) -> Line {
    let mut line = Line::new();
    line.text("runsvdir ").bytes(dir.to_bytes());
    line.text(": ").text(level).text(": ");
    line
}

/// The parent: keeps a supervisor, passes signals on.
fn face(
    dir: &'static CStr,
    sessions: bool,
    start: Start,
) -> Result<u8, (&'static str, Errno)> {
    let wanted = [
        Number::CHILD,
        Number::TERM,
        Number::HUP,
        Number::ALARM,
        Number::PIPE,
    ];
    let signals = Signals::take(&wanted)
        .map_err(|errno| ("unable to collect signals", errno))?;
    let voice = Voice {
        head: head(dir, "warning"),
        console: false,
    };
    loop {
        let born = clock::mono();
        let (is_child, pid) =
            child::fork().map_err(|errno| ("unable to fork", errno))?;
        if is_child {
            drop(signals);
            return serve(dir, sessions, voice, start);
        }
        loop {
            let asleep = wait::readable([signals.as_fd()], None);
            match signals.next() {
                Some(Number::TERM) => {
                    let _ended = signal::kill(pid, FACE_LEAVES).is_err();
                    return Ok(0);
                }
                Some(Number::HUP) => {
                    let _ended = signal::kill(pid, Number::TERM).is_err();
                    return Ok(super::FATAL);
                }
                Some(Number::ALARM) => {
                    let _ended = signal::kill(pid, Number::ALARM).is_err();
                }
                Some(Number::CHILD) => {
                    if child::reap().is_some_and(|(ended, _)| ended == pid) {
                        break;
                    }
                }
                Some(_) => {}
                None => asleep
                    .map(|_| ())
                    .map_err(|errno| ("unable to wait for signals", errno))?,
            }
        }
        voice.say(
            voice
                .head
                .clone()
                .text("the supervisor has ended, restarting"),
        );
        let pace = crate::machine::slot::PACE;
        wait::sleep(pace.saturating_sub(clock::mono().since(born)));
    }
}

/// The child: supervises until it is told to stop and nothing is left.
fn serve(
    dir: &'static CStr,
    sessions: bool,
    voice: Voice,
    start: Start,
) -> Result<u8, (&'static str, Errno)> {
    let wanted = [
        Number::CHILD,
        Number::TERM,
        Number::ALARM,
        Number::PIPE,
        FACE_LEAVES,
    ];
    let slots = crate::config::SLOTS;
    let mut supervisor =
        Supervisor::new(slots, &wanted, voice, start.environ, sessions)
            .map_err(|errno| ("unable to supervise", errno))?;
    supervisor.serve(dir);
    let mut stays = true;
    while stays || supervisor.live() > 0 {
        for signal in supervisor.turn(None).signals {
            match signal {
                Number::ALARM => supervisor.rescan(),
                Number::TERM => {
                    supervisor.serve_no_more();
                    supervisor.control_all(b'x');
                    stays = false;
                }
                FACE_LEAVES => {
                    supervisor.serve_no_more();
                    stays = false;
                }
                _ => {}
            }
        }
    }
    sys::child::exit(0)
}
