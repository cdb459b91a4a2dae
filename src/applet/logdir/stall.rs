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

use core::time::Duration;

use crate::{
    sys::{Errno, clock},
    text::Line,
    wire::clock::Instant,
};

use super::{
    context::{LogContext, Mode, PAUSE},
    directory::Directory,
    is_due,
    output::Output,
};

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
    cause: Option<(&'static str, Errno)>,
    /// The first failure; `None` while all is well.
    since: Option<Instant>,
    /// The next try; without one a processor is waited for.
    retry: Option<Instant>,
    /// Lines dropped since then.
    dropped: u64,
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

impl Directory {
    /// Notes that a step failed, and reports each cause once.
    pub(super) fn stalled(
        &mut self,
        context: &LogContext,
        what: &'static str,
        errno: Errno,
    ) -> Stalled {
        if self.stall.cause.replace((what, errno)) != Some((what, errno)) {
            context.warn("pausing", what, self.subject(), errno);
        }
        self.stall.retry = Some(clock::mono().after(PAUSE));
        self.waits_for_job()
    }

    /// Notes that the processor must end first.
    pub(super) fn waits_for_job(&mut self) -> Stalled {
        self.stall.since.get_or_insert_with(clock::mono);
        Stalled
    }

    /// Returns whether lines are dropped now, rather than waited with.
    pub(super) fn drops(&self, context: &LogContext, now: Instant) -> bool {
        !self.is_open || context.is_late(now) || is_due(self.drop_time(), now)
    }

    /// Returns the moment from which on lines are dropped.
    fn drop_time(&self) -> Option<Instant> {
        let since = self.stall.since.filter(|_| self.lossy > Duration::ZERO);
        since.map(|since| since.after(self.lossy))
    }

    /// Notes that a block was written, and says what was dropped before.
    pub(super) fn recover(&mut self, context: &LogContext) {
        if self.stall.since.is_some() {
            let _some = self.report_dropped(context);
            self.stall = Stall::default();
        }
    }

    /// Says that lines are dropped from now on.
    pub(super) fn report_dropping(&self, context: &LogContext) {
        if self.stall.dropped == 0 {
            context
                .report("warning", &[b"lines are dropped: ", self.subject()]);
        }
    }

    /// Says how many lines were dropped, if any were; returns whether.
    pub(super) fn report_dropped(&mut self, context: &LogContext) -> bool {
        let count = core::mem::take(&mut self.stall.dropped);
        if count > 0 {
            let mut text = Line::new();
            text.number(count).text(" lines were dropped: ");
            context.report("warning", &[text.as_bytes(), self.subject()]);
        }
        count > 0
    }

    /// Returns the moment at which a stalled step is to be looked at again.
    pub(in crate::applet) fn stalled_until(&self) -> Option<Instant> {
        let job = self.job.due();
        let all = [self.stall.retry, self.drop_time(), job];
        all.into_iter().flatten().min()
    }

    /// Looks what a signal or the clock changed for a stalled step.
    pub(in crate::applet) fn after_wait(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        signals: StallSignals,
    ) {
        self.look_after_job(context, clock::mono());
        if signals.reread {
            self.reread(context, output);
        }
        if signals.reread || signals.ends {
            self.stall.retry_now();
        }
    }

    /// Waits until a stalled step may be tried again, where no other
    /// directory is to be served.
    pub(in crate::applet) fn wait(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
    ) {
        let signals = context.wait_stalled(self.stalled_until());
        self.after_wait(context, output, signals);
    }

    /// Tries a step until it is done, or not worth more time.
    pub(in crate::applet) fn retry_until_done(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        mut step: impl FnMut(&mut Self, &mut LogContext, &mut Output) -> Step,
    ) {
        while step(self, context, output).is_err()
            && !self.drops(context, clock::mono())
        {
            self.wait(context, output);
        }
    }
}

/// Signals that came while a step was stalled.
#[derive(Clone, Copy, Debug)]
pub(in crate::applet) struct StallSignals {
    /// HUP: the config is to be read for what helps.
    reread: bool,
    /// TERM.
    ends: bool,
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
