//! A directory that cannot go on: how long it is waited for, and when lines
//! are dropped instead.
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

use crate::{
    sys::{Errno, clock},
    wire::clock::Instant,
};

use super::context::{LogContext, Mode, PAUSE, is_due};

/// Exit code of a hand that dropped lines: more of them need no hand.
pub(super) const DROPPED: u8 = 2;

/// The step at hand cannot be done now. The directory knows why and until
/// when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::applet) struct Stalled;

/// Result of a step that may stall.
pub(in crate::applet) type Step<T = ()> = Result<T, Stalled>;

/// Why and since when a directory does not go on.
#[derive(Debug, Default)]
pub(in crate::applet) struct Stall {
    /// The cause that was reported last.
    pub(super) cause: Option<(&'static str, Errno)>,
    /// The first failure; `None` while all is well.
    pub(super) since: Option<Instant>,
    /// The next try; without one a processor is waited for.
    pub(super) retry: Option<Instant>,
    /// Lines dropped since then.
    pub(super) dropped: u64,
}

impl Stall {
    /// Returns whether the next try is still to come.
    pub(super) fn waits(&self, now: Instant) -> bool {
        self.retry.is_some_and(|retry| now < retry)
    }

    /// Makes the next try due.
    pub(super) fn retry_now(&mut self) {
        self.retry = None;
    }

    /// Returns the moment of the next try.
    pub(super) fn retry(&self) -> Option<Instant> {
        self.retry
    }

    /// Counts a line that was dropped.
    pub(super) fn count(&mut self) {
        self.dropped = self.dropped.saturating_add(1);
    }

    /// Begins where a hand has dropped lines.
    pub(super) fn go_on_dropping(&mut self) {
        self.since = Some(Instant::at(0));
        self.retry = Some(clock::mono().after(PAUSE));
    }
}

/// Signals that came while a step was stalled.
#[derive(Clone, Copy, Debug)]
pub(in crate::applet) struct StallSignals {
    /// HUP: the config is to be read for what helps.
    pub(super) reread: bool,
    /// TERM.
    pub(super) ends: bool,
}

impl LogContext {
    /// Waits for signals, at most until then or until TERM's limit.
    pub(in crate::applet) fn wait_stalled(
        &mut self,
        until: Option<Instant>,
    ) -> StallSignals {
        let before = self.pending.end;
        let until = [until, self.deadline].into_iter().flatten().min();
        self.wait(until);
        StallSignals {
            reread: core::mem::take(&mut self.pending.reread),
            ends: self.pending.end != before,
        }
    }

    /// Returns whether the time that TERM leaves is over.
    pub(in crate::applet) fn is_late(&self, now: Instant) -> bool {
        is_due(self.deadline, now)
    }

    /// Returns whether this process serves one directory only.
    pub(super) fn is_worker(&self) -> bool {
        self.mode == Mode::Worker
    }
}
