//! How the supervisor says things, and to whom.

use core::ffi::CStr;

use crate::{
    sys::{self, Errno, console::Console, error},
    text::Line,
};

use super::supervise::{self, Failure};

/// Who speaks: what stands before a message, and where it goes.
#[derive(Clone)]
pub struct Reporter {
    /// `runsvdir DIR: warning: `, `- runit: warning: `, or empty in `runsv`,
    /// where every message is about the one service.
    pub prefix: Line,
    /// What takes messages without blocking: the console, or descriptor 2.
    pub console: Option<&'static Console>,
}

impl Reporter {
    /// Says a line.
    pub fn print(&self, line: &mut Line) {
        let bytes = line.finish();
        if !self.console.is_some_and(|console| console.say(bytes)) {
            sys::try_print_error(bytes);
        }
    }

    /// Says that a capacity was reached: HEAD, WHAT, its name and value.
    pub fn capacity_reached(&self, what: &str, name: &str, value: usize) {
        let mut line = self.prefix.clone();
        line.text(what).text(" (").text(name).text(" = ");
        line.number(u64::try_from(value).unwrap_or(u64::MAX));
        self.print(line.text(")"));
    }

    /// Says HEAD, WHAT, SUBJECT and the cause.
    pub fn warn(&self, what: &str, subject: &[u8], errno: Errno) {
        let mut line = self.prefix.clone();
        line.text(what)
            .bytes(subject)
            .text(": ")
            .text(error::text(errno));
        self.print(&mut line);
    }
}

/// Why a service directory is not supervised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A capacity was reached: its name and its value.
    Full(&'static str, usize),
    /// Something could not be done there.
    Failed(Failure),
}

impl Refusal {
    /// A failed call.
    pub(super) fn of(
        verb: &'static str,
        path: &'static CStr,
        errno: Errno,
    ) -> Self {
        Self::Failed(Failure { verb, path, errno })
    }

    /// Whether it is only that another supervisor has the log service, which
    /// will pass.
    pub fn passes(self) -> bool {
        self == Self::of("lock", supervise::LOG_LOCK, Errno::EAGAIN)
    }

    /// The line that says it, as `runsv` would.
    pub fn line(self, name: &[u8], level: &str) -> Line {
        let mut line = service_prefix(name, level);
        match self {
            Self::Failed(trouble) => {
                append_failure(&mut line, trouble);
            }
            Self::Full(bound, value) => {
                line.text("too many ").text(bound).text(" (the bound is ");
                line.number(u64::try_from(value).unwrap_or(u64::MAX));
                line.text(")");
            }
        }
        line
    }
}

/// `runsv NAME: LEVEL: `.
pub(super) fn service_prefix(name: &[u8], level: &str) -> Line {
    let mut line = Line::new();
    line.text("runsv ")
        .bytes(name)
        .text(": ")
        .text(level)
        .text(": ");
    line
}

/// Appends `unable to VERB PATH: CAUSE`, or what runit says of a name that
/// something else has.
pub fn append_failure(line: &mut Line, trouble: Failure) -> &mut Line {
    let whole = match trouble.verb {
        supervise::USE_AS_FIFO => " exists but is not a fifo",
        supervise::KEEP => " was removed or replaced",
        _ => "",
    };
    if !whole.is_empty() {
        return line.bytes(trouble.path.to_bytes()).text(whole);
    }
    line.text("unable to ").text(trouble.verb).text(" ");
    line.bytes(trouble.path.to_bytes()).text(": ");
    line.text(error::text(trouble.errno))
}
