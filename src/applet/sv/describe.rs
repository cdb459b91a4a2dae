//! The words for the status of a service, shared by the status line, JSON,
//! the table of `sv list` and runit 1.x's programs (contract §4.5).

use super::service::is_normally_up;
use crate::{
    sys::{self, At, Errno, clock, error},
    text::Line,
    wire::status::{State, Status, Want},
};

/// Returns the word for a state.
pub(in crate::applet) fn word(state: State) -> &'static str {
    match state {
        State::Down => "down",
        State::Run => "run",
        State::Finish => "finish",
    }
}

/// Returns the time that a service has been in its state, in whole seconds;
/// 0 when the record is from the future.
pub(in crate::applet) fn seconds(status: &Status) -> u64 {
    clock::wall().secs.saturating_sub(status.since.secs)
}

/// Flag that daemontools does not know.
pub(in crate::applet) const GOT_TERM: &str = "got TERM";

/// Flag of a service that is not started before a process has ended that may
/// be its own.
const MAY_RUN: &str = "may still run";

/// Returns whether a service is not started because its process may still run:
/// no supervisor knows.
pub(super) fn may_run(status: &Status) -> bool {
    status.state == State::Down && status.pid != 0
}

/// Returns the flags that follow a state, in runit's order, and [`MAY_RUN`].
/// `normally_up`: the service directory has no file `down`.
pub(in crate::applet) fn flags(
    status: &Status,
    normally_up: bool,
) -> impl DoubleEndedIterator<Item = &'static str> {
    let held = may_run(status);
    let runs = status.pid != 0 && !held;
    let up = status.want == Want::Up;
    let all = [
        (runs && !normally_up, "normally down"),
        (!runs && normally_up, "normally up"),
        (runs && status.paused, "paused"),
        (!runs && up, "want up"),
        (runs && !up, "want down"),
        (runs && status.term, GOT_TERM),
        (held, MAY_RUN),
    ];
    let holding = all.into_iter().filter(|(holds, _)| *holds);
    holding.map(|(_, text)| text)
}

/// Appends the status line of a service, which is called `label` in it.
/// Appends nothing when its file `down` cannot be examined: then prints a
/// warning that calls it `name`.
pub(super) fn describe(
    line: &mut Line,
    dir: At<'_>,
    label: &[u8],
    name: &[u8],
    status: &Status,
) {
    let normally_up = match is_normally_up(dir) {
        Ok(normally_up) => normally_up,
        Err(errno) => {
            warn_of(name, "unable to stat ", "/down", errno);
            return;
        }
    };
    line.text(word(status.state)).text(": ");
    line.bytes(label).text(": ");
    if status.state != State::Down || may_run(status) {
        line.text("(pid ").number(status.pid.into()).text(") ");
    }
    line.number(seconds(status)).text("s");
    for flag in flags(status, normally_up) {
        line.text(", ").text(flag);
    }
}

/// Prints `warning: WHAT NAME PATH: CAUSE` on descriptor 2.
pub(super) fn warn_of(name: &[u8], what: &str, path: &str, errno: Errno) {
    let mut line = Line::new();
    line.text("warning: ").text(what).bytes(name).text(path);
    line.text(": ").text(error::text(errno));
    sys::print_error(line.finish());
}
