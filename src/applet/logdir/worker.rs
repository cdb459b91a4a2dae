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
    AsFd, At, Errno,
    child::{self, ExitStatus},
    signal::{self, Number},
};

use super::{
    context::{LogContext, Mode},
    directory::Directory,
    stall::{DROPPED, Interrupt, Step},
};

impl Directory {
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
        let (dir, lock) = (self.dir.as_fd(), self.lock.as_fd());
        let files = [dir, lock, self.current.as_fd()];
        match context.fork(&files, Number::TERM) {
            Ok(Some(worker)) => self.worker = Some(worker),
            // The copy has closed it.
            Ok(None) => self.udp.close(),
            Err(errno) => {
                let what = "unable to fork, all streams wait";
                context.warn("warning", what, self.subject(), errno);
                context.mode = Mode::Unshared;
            }
        }
        self.worker.is_none()
    }

    /// Ends a worker that has done its work: marks `current` as closed and
    /// exits. Does nothing in any other process.
    pub(in crate::applet) fn worker_done(&mut self, context: &LogContext) {
        if context.is_worker() {
            self.mark_closed(context);
            let dropped = self.report_dropped(context);
            child::exit(if dropped { DROPPED } else { 0 });
        }
    }

    /// Returns whether a worker has the directory.
    pub(in crate::applet) fn has_worker(&self) -> bool {
        self.worker.is_some()
    }

    /// Returns whether a worker is running. Tells it by USR1 when no processor
    /// is running that it could wait for.
    pub(in crate::applet) fn worker_runs(&mut self) -> bool {
        if let Some(worker) = self.worker {
            if let Some(end) = child::try_wait(worker) {
                self.worker = None;
                if end == ExitStatus::Exited(DROPPED) {
                    self.stall.continue_dropping();
                }
            } else if self.processor.is_idle() {
                // ESRCH: it has ended and is reaped soon.
                let _gone = signal::kill(worker, Number::USR1).is_err();
            }
        }
        self.worker.is_some()
    }

    /// Sends a signal to the worker, if there is one.
    pub(in crate::applet) fn signal_worker(&self, signal: Number) {
        if let Some(worker) = self.worker {
            // ESRCH: it has ended and is reaped soon.
            let _gone = signal::kill(worker, signal).is_err();
        }
    }
}

impl LogContext {
    /// Forks a copy of this process that keeps these files of a directory.
    /// Returns its process id, or `None` in the copy. The copy gets `death`
    /// when this process dies.
    pub(super) fn fork(
        &mut self,
        [dir, lock, current]: &[At<'_>; 3],
        death: Number,
    ) -> Result<Option<u32>, Errno> {
        let files = [*dir, *lock, *current, self.signals.as_fd()];
        let (is_copy, pid) = child::fork_with(&files, Some(death))?;
        if is_copy {
            self.mode = Mode::Worker;
        }
        Ok((!is_copy).then_some(pid))
    }
}
