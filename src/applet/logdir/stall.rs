//! State of a directory that cannot continue, and waiting for its next retry.
//!
//! The directory waits and retries until it may drop lines instead:
//!
//! ```text
//!           a step fails                 PAUSE later, HUP, TERM
//!   fine ----------------> stalled ----------------------------+
//!    ^                      ^   |                              v
//!    |                      |   +--- `d` has passed, or   the step again
//!    |                      |        TERM's limit, or          |
//!    |                      |        nothing can be opened:    |
//!    |                      |        the block is dropped      |
//!    |                      +-------------- it fails ----------+
//!    +------------------------------------- it works ----------+
//! ```

use core::time::Duration;

use crate::{
    sys::{Errno, clock},
    text::Line,
    wire::clock::{Instant, earliest},
};

use super::context::{LogContext, Mode, PAUSE, is_due};

/// Exit code of a worker that dropped lines: the parent drops further ones
/// without a worker.
pub(super) const DROPPED: u8 = 2;

/// Reason why a step is not done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::applet) enum Interrupt {
    /// It failed. [`Stall`] has the cause and the moment of the next attempt.
    Stalled,
    /// It may block: a worker is to repeat it.
    NeedsWorker,
}

/// Result of a step that may be interrupted.
pub(in crate::applet) type Step<T = ()> = Result<T, Interrupt>;

/// Cause and start of a stall; the default value is no stall.
#[derive(Debug, Default)]
pub(in crate::applet) struct Stall {
    /// The cause that was reported last: the failed action and its error.
    cause: Option<(&'static str, Errno)>,
    /// The first failure; `None` while nothing fails.
    since: Option<Instant>,
    /// The next attempt; `None` in a stall means that it waits for the
    /// processor.
    retry: Option<Instant>,
    /// Lines dropped since `since`.
    dropped: u64,
}

impl Stall {
    /// Records that a step on the directory `subject` failed and schedules the
    /// next attempt after [`PAUSE`]. Reports the cause unless it is the one
    /// that was reported last.
    pub(super) fn pause(
        &mut self,
        context: &LogContext,
        subject: &[u8],
        what: &'static str,
        errno: Errno,
    ) -> Interrupt {
        let cause = Some((what, errno));
        self.retry = Some(clock::mono().after(PAUSE));
        self.begin();
        if core::mem::replace(&mut self.cause, cause) != cause {
            context.warn("pausing", what, subject, errno);
        }
        Interrupt::Stalled
    }

    /// Starts a stall, unless there is one. Without a failure it waits for the
    /// processor.
    pub(super) fn begin(&mut self) {
        self.since.get_or_insert_with(clock::mono);
    }

    /// Ends a stall after a successful write; reports the lines dropped in it.
    pub(super) fn recover(&mut self, context: &LogContext, subject: &[u8]) {
        if self.since.is_some() {
            let _some = self.report_dropped(context, subject);
            *self = Self::default();
        }
    }

    /// Returns the moment from which on lines are dropped, if they are kept
    /// for a limited time.
    pub(super) fn drop_time(&self, kept: Option<Duration>) -> Option<Instant> {
        Some(self.since?.after(kept?))
    }

    /// Returns whether the next attempt is not due yet.
    pub(super) fn waits(&self, now: Instant) -> bool {
        self.retry.is_some_and(|retry| now < retry)
    }

    /// Makes the next attempt due at once.
    pub(super) fn retry_now(&mut self) {
        self.retry = None;
    }

    /// Returns the moment of the next attempt.
    pub(super) fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// Counts a dropped line.
    pub(super) fn count(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Reports the start of dropping, once in a stall.
    pub(super) fn report_dropping(&self, context: &LogContext, subject: &[u8]) {
        if self.dropped == 0 {
            context.report("warning", &[b"lines are dropped: ", subject]);
        }
    }

    /// Reports how many lines were dropped, if any, and resets the count.
    /// Returns whether there were any.
    pub(super) fn report_dropped(
        &mut self,
        context: &LogContext,
        subject: &[u8],
    ) -> bool {
        let count = self.take_dropped();
        if count > 0 {
            let mut text = Line::new();
            text.number(count).text(" lines were dropped: ");
            context.report("warning", &[text.as_bytes(), subject]);
        }
        count > 0
    }

    /// Returns the number of dropped lines, and resets it.
    pub(super) fn take_dropped(&mut self) -> u64 {
        core::mem::take(&mut self.dropped)
    }

    /// Starts a stall that drops at once, after a worker dropped lines.
    pub(super) fn continue_dropping(&mut self) {
        self.since = Some(Instant::at(0));
        self.retry = Some(clock::mono().after(PAUSE));
    }
}

/// Signals that arrived during a stall.
#[derive(Clone, Copy, Debug)]
pub(in crate::applet) struct StallSignals {
    /// HUP: read the config again for settings that may help.
    pub(super) reread: bool,
    /// TERM.
    pub(super) ends: bool,
}

impl LogContext {
    /// Waits for signals, at most until `until` or TERM's limit.
    pub(in crate::applet) fn wait_stalled(
        &mut self,
        until: Option<Instant>,
    ) -> StallSignals {
        let before = self.pending.end;
        let until = earliest(&[until, self.deadline]);
        self.wait(until);
        StallSignals {
            reread: core::mem::take(&mut self.pending.reread),
            ends: self.pending.end != before,
        }
    }

    /// Returns whether TERM's limit has passed.
    pub(in crate::applet) fn is_late(&self, now: Instant) -> bool {
        is_due(self.deadline, now)
    }

    /// Returns [`Interrupt::NeedsWorker`] where other streams would wait while
    /// this process is blocked.
    pub(super) fn check_may_block(&self) -> Step {
        match self.mode {
            Mode::Shared => Err(Interrupt::NeedsWorker),
            Mode::Alone | Mode::Unshared | Mode::Worker => Ok(()),
        }
    }

    /// Returns whether this process is a worker, which serves one directory.
    pub(super) fn is_worker(&self) -> bool {
        self.mode == Mode::Worker
    }
}
