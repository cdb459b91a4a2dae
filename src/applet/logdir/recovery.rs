//! Recovery of a log directory from a failed step: wait, retry, drop lines.

use crate::{
    sys::{Errno, clock},
    wire::clock::{Instant, earliest},
};

use super::{
    context::{LogContext, is_due},
    directory::Directory,
    output::Output,
    stall::{Interrupt, StallSignals, Step},
};

impl Directory {
    /// Records that a step failed; the next attempt follows after a pause.
    pub(super) fn stalled(
        &mut self,
        context: &LogContext,
        what: &'static str,
        errno: Errno,
    ) -> Interrupt {
        self.stall.pause(context, self.subject(), what, errno)
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
        self.stall.drop_time(self.store.config.limits().lossy)
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
