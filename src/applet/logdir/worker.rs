//! Who does what takes its time with a directory: this process, or where
//! there are other streams a copy of it, the directory's hand.
//!
//! ```text
//!         rotation, a write that fails, fdatasync, the end
//!   ours -------------------------------------------------> the hand's
//!     ^                                                         |
//!     +---------------------------------------------------------+
//!       it has ended; `current` is marked as closed in order
//! ```
//!
//! The copy has everything that there is to do in its memory and goes on with
//! it as `svlogd` would, which may wait for ever; it has the directory's lock.
//! This process drops the same, and does not read that stream meanwhile: its
//! pipe holds the lines. So the others do not notice, nothing is lost, and
//! the order stays. When nothing waits for a processor any more the hand is
//! told so by USR1: that is a child of this process. HUP and TERM are passed on
//! to it. When this process dies the hand gets TERM: it waits for no processor
//! then, and for nothing else longer than TERM's limit.

use crate::sys::{
    AsFd, Errno,
    child::{self, ExitStatus},
    signal::{self, Number},
};

use super::{
    context::{LogContext, Mode},
    directory::Directory,
    job::Job,
    stall::DROPPED,
};

impl Directory {
    /// Whether what takes its time is done here: else a copy of this process
    /// does it, and all that follows.
    ///
    /// When there can be no copy it is done here.
    pub(in crate::applet) fn in_worker(
        &mut self,
        context: &mut LogContext,
    ) -> bool {
        if context.mode != Mode::Shared {
            return true;
        }
        if self.worker.is_none() {
            match self.fork_worker(context, Number::TERM) {
                Ok(worker) => self.worker = worker,
                Err(errno) => {
                    let what = "unable to fork, all streams wait";
                    context.warn("warning", what, self.subject(), errno);
                }
            }
        }
        self.worker.is_none()
    }

    /// Makes a copy of this process for this directory; answers its number,
    /// or `None` in the copy. `death` ends it when this process dies.
    pub(in crate::applet) fn fork_worker(
        &mut self,
        context: &mut LogContext,
        death: Number,
    ) -> Result<Option<u32>, Errno> {
        let files = [
            self.dir.as_fd(),
            self.lock.as_fd(),
            self.current.as_fd(),
            context.signals.as_fd(),
        ];
        let (is_copy, pid) = child::fork_with(&files, Some(death))?;
        if is_copy {
            context.mode = Mode::Worker;
            self.socket = None;
        }
        Ok((!is_copy).then_some(pid))
    }

    /// The end of what a hand was made for, in the hand: it hands over.
    pub(in crate::applet) fn worker_done(&mut self, context: &LogContext) {
        if context.is_worker() {
            self.mark(context, self.access.closed());
            let dropped = self.report_dropped(context);
            child::exit(if dropped { DROPPED } else { 0 });
        }
    }

    /// Returns whether a hand is at work; one that waits for the processor is
    /// told when there is no need to.
    pub(in crate::applet) fn worker_runs(&mut self) -> bool {
        if let Some(worker) = self.worker {
            if let Some(end) = child::try_wait(worker) {
                self.worker = None;
                if end == ExitStatus::Exited(DROPPED) {
                    self.stall.go_on_dropping();
                }
            } else if self.job == Job::Idle {
                // ESRCH: its end is about to be seen.
                let _gone = signal::kill(worker, Number::USR1).is_err();
            }
        }
        self.worker.is_some()
    }

    /// Passes a signal on to the hand, if there is one.
    pub(in crate::applet) fn signal_worker(&self, signal: Number) {
        if let Some(worker) = self.worker {
            // ESRCH: its end is about to be seen.
            let _gone = signal::kill(worker, signal).is_err();
        }
    }
}
