//! Recovery of a log directory from a failed step: wait, retry, drop lines.

use crate::{
    sys::{Errno, clock},
    text::Line,
    wire::clock::{Instant, earliest},
};

use super::{
    context::{LogContext, is_due},
    directory::Directory,
    output::Output,
    stall::{Interrupt, Stall, StallSignals, Step},
};

impl Directory {
    /// Records that a step failed and schedules the next attempt after
    /// a pause. Reports a cause unless it is the one that was reported last.
    pub(super) fn stalled(
        &mut self,
        context: &LogContext,
        what: &'static str,
        errno: Errno,
    ) -> Interrupt {
        if self.stall.fail(what, errno) {
            context.warn("pausing", what, self.subject(), errno);
        }
        Interrupt::Stalled
    }

    /// Returns whether lines are dropped now instead of kept waiting: the
    /// directory is not open, TERM's limit has passed, or the config's `d`
    /// time.
    pub(super) fn drops(&self, context: &LogContext, now: Instant) -> bool {
        !self.is_open || context.is_late(now) || is_due(self.drop_time(), now)
    }

    /// Returns the moment from which on lines are dropped, if the config sets
    /// one.
    fn drop_time(&self) -> Option<Instant> {
        self.stall.drop_time(self.config.limits().lossy)
    }

    /// Ends a stall after a successful write; reports the lines dropped in it.
    pub(super) fn recover(&mut self, context: &LogContext) {
        if self.stall.is_on() {
            let _some = self.report_dropped(context);
            self.stall = Stall::default();
        }
    }

    /// Reports the start of dropping, once in a stall.
    pub(super) fn report_dropping(&self, context: &LogContext) {
        if !self.stall.has_dropped() {
            context
                .report("warning", &[b"lines are dropped: ", self.subject()]);
        }
    }

    /// Reports how many lines were dropped, if any, and resets the count.
    /// Returns whether there were any.
    pub(super) fn report_dropped(&mut self, context: &LogContext) -> bool {
        let count = self.stall.take_dropped();
        if count > 0 {
            let mut text = Line::new();
            text.number(count).text(" lines were dropped: ");
            context.report("warning", &[text.as_bytes(), self.subject()]);
        }
        count > 0
    }

    /// Returns the moment at which a stalled step must be looked at again: for
    /// a retry, to drop lines, or to restart the processor.
    pub(in crate::applet) fn stalled_until(&self) -> Option<Instant> {
        earliest(&[self.stall.retry(), self.drop_time(), self.job_due()])
    }

    /// Applies what happened during a wait to a stalled step: the end of the
    /// processor, HUP (reread the config, retry), TERM (retry).
    pub(in crate::applet) fn after_wait(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        signals: StallSignals,
    ) {
        self.check_job(context, clock::mono());
        if signals.reread {
            self.reread(context, output);
        }
        if signals.reread || signals.ends {
            self.stall.retry_now();
        }
    }

    /// Waits until a stalled step may be retried. Serves no other directory
    /// meanwhile.
    pub(in crate::applet) fn wait(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
    ) {
        let signals = context.wait_stalled(self.stalled_until());
        self.after_wait(context, output, signals);
    }

    /// Repeats a step until it succeeds or lines may be dropped.
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
