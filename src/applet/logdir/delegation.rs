//! Slow work on a directory, done in this process or, where there are other
//! streams, in a copy of it: the directory's worker.
//!
//! ```text
//!         rotation, a write that fails, fdatasync, the end
//!   ours -----------------------------------------------> the worker's
//!     ^                                                         |
//!     +---------------------------------------------------------+
//!       it has ended; `current` is marked as closed properly
//! ```
//!
//! The copy has all remaining work in its memory and continues as `svlogd`
//! would, which may take forever; it holds the directory's lock. This process
//! discards the same work and does not read that stream meanwhile: its pipe
//! holds the lines. So the other streams are not delayed, nothing is lost, and
//! the order is kept. When no log waits for a processor any more, USR1 tells
//! the worker so, since the processor is a child of this process. HUP and TERM
//! are passed on to the worker. When this process dies the worker gets TERM:
//! it then waits for no processor, and for nothing else longer than TERM's
//! limit.

use crate::sys::{
    child::{self, ExitStatus},
    signal::Number,
};

use super::{
    context::{LogContext, Mode},
    directory::Directory,
    stall::{DROPPED, Interrupt, Step},
    worker::Worker,
};

impl Directory {
    /// Returns the worker.
    pub(in crate::applet) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Takes the result of a step, and returns whether the step is to be
    /// repeated in this process.
    ///
    /// This is the only place that handles [`Interrupt::NeedsWorker`]: it
    /// forks a worker, which repeats the step. In this process the directory
    /// is the worker's then. If the fork fails this process repeats the step
    /// and may block.
    pub(super) fn must_repeat(
        &mut self,
        context: &mut LogContext,
        done: Step,
    ) -> bool {
        if done != Err(Interrupt::NeedsWorker) {
            if context.mode == Mode::Unshared {
                context.mode = Mode::Shared;
            }
            return false;
        }
        let files = self.store.files();
        match context.fork(&files, Number::TERM) {
            Ok(Some(pid)) => self.worker.set(pid),
            // The copy has closed it.
            Ok(None) => self.udp.close(),
            Err(errno) => {
                let what = "unable to fork, all streams wait";
                context.warn("warning", what, self.subject(), errno);
                context.mode = Mode::Unshared;
            }
        }
        !self.worker.has_directory()
    }

    /// Ends a worker that has done its work: marks `current` as closed and
    /// exits. Does nothing in any other process.
    pub(in crate::applet) fn worker_done(&mut self, context: &LogContext) {
        if context.is_worker() {
            self.store.mark_closed(context);
            let dropped = self.stall.report_dropped(context, self.subject());
            child::exit(if dropped { DROPPED } else { 0 });
        }
    }

    /// Returns whether a worker is running. Tells it by USR1 when no processor
    /// is running that it could wait for.
    pub(in crate::applet) fn worker_runs(&mut self) -> bool {
        if let Some(end) = self.worker.try_wait() {
            if end == ExitStatus::Exited(DROPPED) {
                self.stall.continue_dropping();
            }
        } else if self.is_processed() {
            self.worker.signal(Number::USR1);
        }
        self.worker.has_directory()
    }
}
