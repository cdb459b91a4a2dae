//! The worker of a directory: a copy of this process that does slow work there
//! (see `delegation`).

use crate::sys::{
    At, Errno,
    child::{self, ExitStatus},
    signal::{self, Number},
};

use super::context::{LogContext, Mode};

/// The worker of a directory, if it has one.
pub(in crate::applet) struct Worker {
    /// Its process id.
    pid: Option<u32>,
}

impl Worker {
    /// No worker.
    pub(super) const NONE: Self = Self { pid: None };

    /// Returns whether a worker has the directory.
    pub(in crate::applet) fn has_directory(&self) -> bool {
        self.pid.is_some()
    }

    /// Sends a signal to the worker, if there is one.
    pub(in crate::applet) fn signal(&self, signal: Number) {
        if let Some(worker) = self.pid {
            // ESRCH: it has ended and is reaped soon.
            let _gone = signal::kill(worker, signal).is_err();
        }
    }

    /// Takes the process id of a worker that was forked.
    pub(super) fn set(&mut self, pid: u32) {
        self.pid = Some(pid);
    }

    /// Reaps the worker if it has ended, and returns how.
    pub(super) fn try_wait(&mut self) -> Option<ExitStatus> {
        let end = self.pid.and_then(child::try_wait)?;
        self.pid = None;
        Some(end)
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
