//! How a service is, in a line for people (contract §4.5).

use super::{
    Sv, json,
    page::Page,
    service::{self, Silent, is_normally_up, probe},
};
use crate::{
    sys::{self, AsFd, At, Errno, clock, error, file},
    text::Line,
    wire::status::{State, Status, Want},
};

/// The word for a state.
pub(in crate::applet) fn word(state: State) -> &'static str {
    match state {
        State::Down => "down",
        State::Run => "run",
        State::Finish => "finish",
    }
}

/// How long a service is in its state, in whole seconds; 0 when the record
/// is from the future.
pub(in crate::applet) fn seconds(status: &Status) -> u64 {
    clock::wall().secs.saturating_sub(status.since.secs)
}

/// The flag that daemontools does not know.
pub(in crate::applet) const GOT_TERM: &str = "got TERM";

/// What there is to add to a state, in runit's order.
pub(in crate::applet) fn flags(
    status: &Status,
    normally_up: bool,
) -> impl DoubleEndedIterator<Item = &'static str> {
    let lives = status.pid != 0;
    let up = status.want == Want::Up;
    let all = [
        (lives && !normally_up, "normally down"),
        (!lives && normally_up, "normally up"),
        (lives && status.paused, "paused"),
        (!lives && up, "want up"),
        (lives && !up, "want down"),
        (lives && status.term, GOT_TERM),
    ];
    let holding = all.into_iter().filter(|(holds, _)| *holds);
    holding.map(|(_, text)| text)
}

/// Appends the status line of a service; nothing when its `down` cannot be
/// looked at, which is said.
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
    if status.state != State::Down {
        line.text("(pid ").number(status.pid.into()).text(") ");
    }
    line.number(seconds(status)).text("s");
    for flag in flags(status, normally_up) {
        line.text(", ").text(flag);
    }
}

/// Says `warning: WHAT NAME PATH: CAUSE` on descriptor 2.
pub(super) fn warn_of(name: &[u8], what: &str, path: &str, errno: Errno) {
    let mut line = Line::new();
    line.text("warning: ").text(what).bytes(name).text(path);
    line.text(": ").text(error::text(errno));
    sys::print_error(line.finish());
}

impl Sv {
    /// `status` of one service; answers its code as an init script.
    pub(super) fn status(
        &mut self,
        page: &mut Page,
        name: &[u8],
        dir: At<'_>,
    ) -> u8 {
        if self.json {
            let said = json::service(page, dir, name);
            page.text("}\n");
            let silent = u8::from(said.is_err());
            self.failed = self.failed.saturating_add(silent);
            return 0;
        }
        let mut line = Line::new();
        let status = match probe(dir) {
            Ok(status) => status,
            Err(silent) => {
                self.silent(name, silent);
                return super::LSB_UNKNOWN;
            }
        };
        describe(&mut line, dir, name, name, &status);
        self.log(&mut line, dir, name);
        sys::print(line.finish());
        if status.pid == 0 { super::LSB_DOWN } else { 0 }
    }

    /// Appends what there is to say of a log service.
    fn log(&mut self, line: &mut Line, dir: At<'_>, name: &[u8]) {
        let mut label = Line::new();
        label.bytes(name).text("/log");
        let silent = match file::open_dir(dir, c"log") {
            Err(Errno::ENOENT) => return,
            Err(errno) => Silent::Trouble("change directory", Some(errno)),
            Ok(log) => match probe(log.as_fd()) {
                Err(silent) => silent,
                Ok(status) => {
                    line.text("; ");
                    let name = label.as_bytes();
                    describe(line, log.as_fd(), b"log", name, &status);
                    return;
                }
            },
        };
        line.text("; ");
        if !silent.is_new() {
            return self.count(line, label.as_bytes(), silent);
        }
        // Its service is supervised, so that it would be too had it been there
        // when that was started.
        line.text("warning: ").bytes(label.as_bytes());
        line.text(": no logger yet: log/ was added later, restart ");
        line.bytes(name);
        self.failed = self.failed.saturating_add(1);
    }

    /// Appends `LEVEL: NAME: REASON` and counts it.
    pub(super) fn count(
        &mut self,
        line: &mut Line,
        name: &[u8],
        silent: Silent,
    ) {
        let fails = silent == Silent::Unsupervised
            || matches!(silent, Silent::Trouble(service::ENTER, _));
        line.text(if fails { "fail: " } else { "warning: " });
        silent.text(line.bytes(name).text(": "));
        self.failed = self.failed.saturating_add(1);
    }

    /// Says why a service is silent. Told to exit, that is what was wanted.
    pub(super) fn silent(&mut self, name: &[u8], silent: Silent) {
        let mut line = Line::new();
        if silent == Silent::Unsupervised && self.command.tests == b"x" {
            silent.text(line.text("ok: ").bytes(name).text(": "));
        } else {
            self.count(&mut line, name, silent);
        }
        sys::print(line.finish());
    }
}
