//! What svlogd says, and which signals it has been sent.

use core::time::Duration;

use crate::{
    args::svlogd::Request,
    sys::{
        self, Errno,
        child::Environ,
        clock, error,
        signal::{Number, Signals},
        wait,
    },
    text::Line,
    wire::clock::Instant,
};

/// How long svlogd waits before it tries again what was refused.
pub(super) const PAUSE: Duration = Duration::from_secs(3);

/// Signals that were sent and not yet obeyed.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// TERM, how often.
    pub(super) end: u8,
    /// HUP.
    pub(super) reopen: bool,
    /// ALRM.
    pub(super) rotate: bool,
    /// CHLD.
    pub(super) child: bool,
}

/// Who speaks, and what it has been told.
pub(super) struct Voice {
    pub(super) name: &'static [u8],
    pub(super) request: Request<'static>,
    pub(super) environ: Environ,
    pub(super) signals: Signals,
    pub(super) asked: Asked,
}

impl Voice {
    /// `svlogd: LEVEL: `.
    pub(super) fn line(&self, level: &str) -> Line {
        let mut line = Line::new();
        line.bytes(self.name).text(": ").text(level).text(": ");
        line
    }

    /// Says `svlogd: LEVEL: WHAT: SUBJECT: CAUSE`.
    pub(super) fn warn(
        &self,
        level: &str,
        what: &str,
        subject: &[u8],
        errno: Errno,
    ) {
        let mut line = self.line(level);
        line.text(what).text(": ").bytes(subject);
        line.text(": ").text(error::text(errno));
        sys::complain(line.finish());
    }

    /// Says what it does, if it was asked to.
    pub(super) fn info(&self, parts: &[&[u8]]) {
        if self.request.verbose {
            self.say("info", parts);
        }
    }

    /// Says `svlogd: LEVEL: ` and the parts.
    pub(super) fn say(&self, level: &str, parts: &[&[u8]]) {
        let mut line = self.line(level);
        for part in parts {
            line.bytes(part);
        }
        sys::complain(line.finish());
    }

    /// Says `svlogd: warning: WHAT (CAPACITY: the bound is BOUND)`.
    pub(super) fn bound(&self, what: &[&[u8]], capacity: &str, bound: usize) {
        let mut line = self.line("warning");
        for part in what {
            line.bytes(part);
        }
        line.text(" (").text(capacity).text(": the bound is ");
        line.number(u64::try_from(bound).unwrap_or(u64::MAX));
        sys::complain(line.text(")").finish());
    }

    /// Takes the signals that came.
    pub(super) fn listen(&mut self) {
        while let Some(signal) = self.signals.next() {
            let said: &[u8] = match signal {
                Number::TERM => {
                    self.asked.end = self.asked.end.saturating_add(1);
                    b"sigterm"
                }
                Number::HUP => {
                    self.asked.reopen = true;
                    b"sighangup"
                }
                Number::ALARM => {
                    self.asked.rotate = true;
                    b"sigalarm"
                }
                Number::CHILD => {
                    self.asked.child = true;
                    b"sigchild"
                }
                _ => continue,
            };
            self.info(&[said, b" received."]);
        }
    }

    /// Sleeps until signals come, and takes them, or until it is time.
    pub(super) fn wait(&mut self, until: Option<Instant>) {
        let rest = until.map(|until| until.since(clock::mono()));
        match wait::readable([self.signals.as_fd()], rest) {
            Ok(_) => self.listen(),
            Err(_) => wait::sleep(rest.unwrap_or(PAUSE)),
        }
    }

    /// Says why it waits, and waits before the next try. Signals are noted
    /// meanwhile: what was read must be written before any is obeyed.
    pub(super) fn pause(&mut self, what: &str, subject: &[u8], errno: Errno) {
        self.warn("pausing", what, subject, errno);
        let until = clock::mono().after(PAUSE);
        while clock::mono() < until {
            self.wait(Some(until));
        }
    }

    /// Does `work` until it succeeds (contract §5.6).
    pub(super) fn insist<T>(
        &mut self,
        what: &str,
        subject: &[u8],
        mut work: impl FnMut() -> Result<T, Errno>,
    ) -> T {
        loop {
            match work() {
                Ok(done) => return done,
                Err(errno) => self.pause(what, subject, errno),
            }
        }
    }
}
