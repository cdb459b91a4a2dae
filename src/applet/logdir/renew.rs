//! Renewal of a `current` or log directory that was removed or moved.

use crate::{
    sys::{AsFd, At, Errno, Fd, clock, file},
    wire::clock::Instant,
};

use super::{
    context::{LogContext, is_due},
    directory::Directory,
    output::Output,
};

impl Directory {
    /// Returns whether `current` is not the open file any more: it was removed
    /// or moved, by itself or with its directory. The directory's name is
    /// relative to `at`.
    pub(in crate::applet) fn is_lost(
        &mut self,
        at: At<'_>,
        now: Instant,
    ) -> bool {
        if self.is_open && !self.name_check.is_missing() {
            if file::is_removed(self.store.current.as_fd()) {
                self.name_check.set_missing(true);
            } else if self.name_check.is_due(now) {
                let missing = !self.is_named(at);
                self.name_check.checked(missing, now);
            }
        }
        self.name_check.is_missing()
    }

    /// Returns whether the names lead to the open file, or cannot be resolved
    /// for another reason than a missing component.
    fn is_named(&self, at: At<'_>) -> bool {
        let path = file::path_of(&[self.subject(), b"/current"]);
        let named = path.and_then(|path| file::info(at, path.as_c_str()));
        match (named, file::info_of(self.store.current.as_fd())) {
            (Ok(named), Ok(open)) => named.identity == open.identity,
            (Err(Errno::ENOENT | Errno::ENOTDIR), Ok(_)) => false,
            _ => true,
        }
    }

    /// Opens a new `current` where the name leads. Makes the directory if it
    /// is missing, and keeps the config in force for it. If that fails,
    /// continues in the open directory, even if it was moved.
    ///
    /// Fails when nothing can be written anywhere, with the action that failed
    /// and its error.
    pub(in crate::applet) fn renew(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
        at: At<'_>,
    ) -> Result<(), (&'static str, Errno)> {
        if self.is_open && !self.name_check.set_reported() {
            let what = b"current was removed or moved: ";
            context.report("warning", &[what, self.subject()]);
        }
        self.name_check.set_missing(true);
        let made = self.make(at);
        let is_there = file::open_dir(at, self.store.path()).is_ok();
        let removed = file::is_removed(self.store.current.as_fd());
        if !is_there && self.is_open && !removed {
            self.name_check.set_missing(false);
            self.name_check.postpone(clock::mono());
            return Ok(());
        }
        self.release();
        let old = self.store.archive.set_dir(Fd::none());
        let mut what = "";
        let name = self.store.path();
        let opened = self.enter(context, scratch, at, name, made, &mut what);
        self.name_check.checked(opened.is_err(), clock::mono());
        let opened = opened.or_else(|errno| {
            self.name_check.postpone(clock::mono());
            let mut other = "";
            let (old, name) = (old.as_fd(), c".");
            self.enter(context, scratch, old, name, true, &mut other)
                .map_err(|_| errno)
        });
        if opened.is_err() {
            self.release();
            let _none = self.store.archive.set_dir(old);
        }
        opened.map_err(|errno| (what, errno))
    }

    /// Makes the log directory, or the target of its link, if that is missing.
    /// Returns whether it did. A failure shows when the directory is opened.
    pub(in crate::applet) fn make(&self, at: At<'_>) -> bool {
        /// Permission bits of a log directory that is made again.
        const MODE: u32 = 0o755;
        file::info(at, self.store.path()) == Err(Errno::ENOENT)
            && (file::make_dir(at, self.store.path(), MODE).is_ok()
                || file::make_target(at, at, self.store.path(), MODE).is_ok())
    }

    /// Opens a lost directory again when the next attempt is due. Its lines
    /// are dropped until that succeeds.
    pub(in crate::applet) fn reopen_if_due(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
        at: At<'_>,
        now: Instant,
    ) {
        let due = self.is_open || is_due(self.stall.retry(), now);
        if self.is_lost(at, now)
            && due
            && let Err((what, errno)) = self.renew(context, scratch, at)
        {
            let _stalled = self.stalled(context, what, errno);
        }
    }
}
