//! Prints the supervisor's messages.

use core::ffi::CStr;

use crate::{
    config,
    sys::{self, Errno, console::Console, error},
    text::Line,
};

use super::supervise::{self, Failure};

/// Destination of messages, and the prefix of each.
#[derive(Clone)]
pub struct Reporter {
    /// Prefix: `runsvdir DIR: warning: `, `- runit: warning: ` or
    /// `runsv DIR: warning: `.
    pub prefix: Line,
    /// Non-blocking output: the console, or descriptor 2.
    pub console: Option<&'static Console>,
}

impl Reporter {
    /// Prints a line.
    pub fn print(&self, line: &mut Line) {
        let bytes = line.finish();
        if !self
            .console
            .is_some_and(|console| console.write_line(bytes))
        {
            sys::try_print_error(bytes);
        }
    }

    /// Reports that a capacity was reached: prefix, WHAT, its name and value.
    pub fn capacity_reached(&self, what: &str, name: &str, value: usize) {
        let mut line = self.prefix.clone();
        line.text(what).text(" (").text(name).text(" = ");
        line.number(u64::try_from(value).unwrap_or(u64::MAX));
        self.print(line.text(")"));
    }

    /// Prints a warning: prefix, WHAT, SUBJECT and the cause.
    pub fn warn(&self, what: &str, subject: &[u8], errno: Errno) {
        let mut line = self.prefix.clone();
        line.text(what)
            .bytes(subject)
            .text(": ")
            .text(error::text(errno));
        self.print(&mut line);
    }

    /// Prints a warning about a service: WHAT and the cause.
    pub(super) fn warn_service(&self, name: &[u8], what: &str, cause: &str) {
        let mut line = service_prefix(name, "warning");
        self.print(line.text(what).text(cause));
    }

    /// Prints a warning about a failed operation in a service directory.
    pub(super) fn warn_failure(&self, name: &[u8], failure: Failure) {
        let mut line = service_prefix(name, "warning");
        self.print(append_failure(&mut line, failure));
    }
}

/// Returns the line that `program` writes in the place of `count` lines that
/// descriptor 2, or else the console, did not accept in time.
pub fn dropped_lines(program: &str, count: u64, to_stderr: bool) -> Line {
    let output = if to_stderr {
        "standard error"
    } else {
        "the console"
    };
    let mut line = Line::new();
    line.text(program).text(": warning: ").text(output);
    line.text(" was blocked: ").number(count);
    line.text(" lines left out (console-bytes = ");
    line.number(u64::try_from(config::CONSOLE_BYTES).unwrap_or(0));
    line.text(")");
    line
}

/// Reason why a service directory is not supervised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A capacity was reached: its name and its value.
    Full(&'static str, usize),
    /// An operation in the directory failed.
    Failed(Failure),
}

impl Refusal {
    /// Creates the refusal for a failed operation.
    pub(super) fn of(
        verb: &'static str,
        path: &'static CStr,
        errno: Errno,
    ) -> Self {
        Self::Failed(Failure { verb, path, errno })
    }

    /// Returns whether the only reason is that another supervisor holds the
    /// log service's lock, which is temporary.
    pub fn is_temporary(self) -> bool {
        self == Self::of("lock", supervise::LOG_LOCK, Errno::EAGAIN)
    }

    /// Returns the message, as `runsv` would print it.
    pub fn line(self, name: &[u8], level: &str) -> Line {
        let mut line = service_prefix(name, level);
        match self {
            Self::Failed(failure) => {
                append_failure(&mut line, failure);
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

/// Returns `runsv NAME: LEVEL: `.
pub fn service_prefix(name: &[u8], level: &str) -> Line {
    let mut line = Line::new();
    line.text("runsv ")
        .bytes(name)
        .text(": ")
        .text(level)
        .text(": ");
    line
}

/// Appends `unable to VERB PATH: CAUSE`, or runit's message for a name that is
/// in use by something else.
pub fn append_failure(line: &mut Line, failure: Failure) -> &mut Line {
    let whole = match failure.verb {
        supervise::USE_AS_FIFO => " exists but is not a fifo",
        supervise::KEEP => " was removed or replaced",
        _ => "",
    };
    if !whole.is_empty() {
        return line.bytes(failure.path.to_bytes()).text(whole);
    }
    line.text("unable to ").text(failure.verb).text(" ");
    line.bytes(failure.path.to_bytes()).text(": ");
    line.text(error::text(failure.errno))
}
