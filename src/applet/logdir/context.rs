//! Context of a logger process: messages, pending signals and options.

use core::time::Duration;

use crate::{
    args::svlogd::Request,
    sys::{
        self, Errno,
        child::Environ,
        clock,
        console::Console,
        error, fd, poller,
        signal::{Number, Signals},
        stderr,
    },
    text::{Line, Name, mask},
    wire::{
        clock::{Instant, Wall},
        stamp::{Stamps, Style},
    },
};

/// Time before a failed action is tried again.
pub(in crate::applet) const PAUSE: Duration = Duration::from_secs(3);

/// Maximum time from TERM to the end of the program, whatever cannot be
/// written or does not end by itself.
pub(in crate::applet) const LIMIT: Duration = Duration::from_secs(4);

/// Signals that were received and not yet handled.
#[derive(Debug, Default)]
pub(in crate::applet) struct PendingSignals {
    /// Number of TERM signals; never reset.
    pub(in crate::applet) end: u8,
    /// HUP, for the main loop.
    pub(in crate::applet) reopen: bool,
    /// HUP, for a stalled step.
    pub(in crate::applet) reread: bool,
    /// ALRM.
    pub(in crate::applet) rotate: bool,
    /// CHLD.
    pub(in crate::applet) child: bool,
    /// USR1: no log waits for a processor any more.
    pub(in crate::applet) job_done: bool,
}

/// Process that does slow work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::applet) enum Mode {
    /// This one, and everything else waits: there is only one stream.
    Alone,
    /// Copies of this one (workers), since there are other streams.
    Shared,
    /// This one although there are other streams: it cannot be forked.
    Unshared,
    /// This process is such a copy.
    Worker,
}

/// Name, options, pending signals and message channel of a logger process.
pub(in crate::applet) struct LogContext {
    pub(in crate::applet) name: &'static [u8],
    /// Service that messages are about; empty in svlogd.
    pub(in crate::applet) service: Name,
    /// Default size in bytes and count of logs where a config sets none.
    pub(in crate::applet) bounds: (u64, u64),
    pub(in crate::applet) request: Request<'static>,
    pub(in crate::applet) environ: Environ,
    pub(in crate::applet) signals: Signals,
    pub(in crate::applet) pending: PendingSignals,
    pub(in crate::applet) mode: Mode,
    /// Non-blocking destination of messages, used in [`Mode::Shared`].
    pub(in crate::applet) console: Option<&'static Console>,
    /// Moment after TERM from which on nothing is waited for.
    pub(in crate::applet) deadline: Option<Instant>,
    /// Last reported reason for a pause in reading the input.
    pub(in crate::applet) pause_reported: Option<Errno>,
}

impl LogContext {
    /// Begins a message: `svlogd: LEVEL: ` or `svlogger SERVICE: LEVEL: `.
    pub(in crate::applet) fn line(&self, level: &str) -> Line {
        let mut line = Line::new();
        line.bytes(self.name);
        if !self.service.is_empty() {
            line.text(" ").bytes(&self.service);
        }
        line.text(": ").text(level).text(": ");
        line
    }

    /// Reports `svlogd: LEVEL: WHAT: SUBJECT: CAUSE`.
    pub(in crate::applet) fn warn(
        &self,
        level: &str,
        what: &str,
        subject: &[u8],
        errno: Errno,
    ) {
        let mut line = self.line(level);
        line.text(what).text(": ").bytes(subject);
        line.text(": ").text(error::text(errno));
        self.write(line.finish());
    }

    /// Returns the non-blocking destination of messages, which a process with
    /// many streams has.
    fn shared(&self) -> Option<&'static Console> {
        let owner = matches!(self.mode, Mode::Shared | Mode::Unshared);
        self.console.filter(|_| owner)
    }

    /// Writes a message to descriptor 2.
    fn write(&self, line: &[u8]) {
        match self.shared() {
            Some(console) => {
                let _taken = console.write_line(line);
            }
            None => sys::print_error(line),
        }
    }

    /// Copies a log line to descriptor 2, for a terminal without control
    /// characters. svlogd waits until all of it is written, or until it gets
    /// TERM.
    pub(in crate::applet) fn copy(&mut self, line: &mut [u8]) {
        let line = if stderr::is_terminal() {
            mask::in_place(line)
        } else {
            line
        };
        if self.mode != Mode::Alone {
            return self.write(line);
        }
        let mut rest = line;
        while !rest.is_empty() {
            match stderr::write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
                Err(Errno::EAGAIN) if self.pending.end == 0 => {
                    poller::writable_or_readable(
                        fd::STDERR,
                        self.signals.as_fd(),
                    );
                    self.take_signals();
                }
                Err(_) => return,
            }
        }
    }

    /// Reports an action at level `info`, with `-v` only.
    pub(in crate::applet) fn info(&self, parts: &[&[u8]]) {
        if self.request.verbose {
            self.report("info", parts);
        }
    }

    /// Reports `svlogd: LEVEL: ` followed by the parts.
    pub(in crate::applet) fn report(&self, level: &str, parts: &[&[u8]]) {
        let mut line = self.line(level);
        for part in parts {
            line.bytes(part);
        }
        self.write(line.finish());
    }

    /// Reports `svlogd: LEVEL: WHAT (CAPACITY: the bound is BOUND)`.
    pub(in crate::applet) fn report_bound(
        &self,
        level: &str,
        what: &[&[u8]],
        capacity: &str,
        bound: usize,
    ) {
        let mut line = self.line(level);
        for part in what {
            line.bytes(part);
        }
        line.text(" (").text(capacity).text(": the bound is ");
        line.number(u64::try_from(bound).unwrap_or(u64::MAX));
        self.write(line.text(")").finish());
    }

    /// Returns the time stamps for the lines of one read.
    pub(in crate::applet) fn stamps(&self) -> Stamps {
        let style = self.request.style;
        let wall = match style {
            Style::Plain => Wall { secs: 0, nanos: 0 },
            Style::Label | Style::Date | Style::Iso => clock::wall(),
        };
        Stamps::new(style, wall)
    }

    /// Records the signals that have arrived.
    pub(in crate::applet) fn take_signals(&mut self) {
        while let Some(signal) = self.signals.next() {
            let said: &[u8] = match signal {
                Number::TERM => {
                    self.pending.end = self.pending.end.saturating_add(1);
                    let now = clock::mono();
                    self.deadline = Some(match self.deadline {
                        None => now.after(LIMIT),
                        Some(deadline) => deadline.min(now),
                    });
                    b"sigterm"
                }
                Number::HUP => {
                    self.pending.reopen = true;
                    self.pending.reread = true;
                    b"sighangup"
                }
                Number::ALARM => {
                    self.pending.rotate = true;
                    b"sigalarm"
                }
                Number::CHILD => {
                    self.pending.child = true;
                    b"sigchild"
                }
                Number::USR1 => {
                    self.pending.job_done = true;
                    continue;
                }
                _ => continue,
            };
            self.info(&[said, b" received."]);
        }
    }

    /// Sleeps until signals arrive or `until` has passed; records the signals.
    pub(in crate::applet) fn wait(&mut self, until: Option<Instant>) {
        let rest = until.map(|until| until.since(clock::mono()));
        match poller::readable([self.signals.as_fd()], rest) {
            Ok(_) => self.take_signals(),
            Err(_) => poller::sleep(rest.unwrap_or(PAUSE)),
        }
    }

    /// Waits [`PAUSE`], or until another TERM. Reports a reason that is not
    /// the last reported one. Records signals meanwhile.
    pub(in crate::applet) fn pause(
        &mut self,
        what: &str,
        subject: &[u8],
        errno: Errno,
    ) {
        if self.pause_reported.replace(errno) != Some(errno) {
            self.warn("pausing", what, subject, errno);
        }
        let (until, ends) = (clock::mono().after(PAUSE), self.pending.end);
        while clock::mono() < until && self.pending.end == ends {
            self.wait(Some(until));
        }
    }
}

/// Returns whether a moment is set and has come.
pub(super) fn is_due(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| due <= now)
}
