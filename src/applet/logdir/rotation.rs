//! Rotation of `current` (contract §5.6, §5.8).

use crate::{
    sys::{Errno, child, clock, file},
    wire::logname::Kind,
};

use super::{
    context::LogContext,
    directory::Directory,
    progress::Phase,
    stall::{Interrupt, Step},
};

impl Directory {
    /// Opens `current`: continues one that was closed properly; renames one
    /// that was not to an old log, and reports that.
    pub(in crate::applet) fn begin(
        &mut self,
        context: &mut LogContext,
    ) -> Result<(), Errno> {
        let olds = self.store.list_old_logs()?;
        self.store.archive.set_newest(&olds);
        if self.name_check.is_missing() {
            self.store.move_other(context)?;
        }
        let name = self.subject();
        let found = match file::info(self.store.archive.dir(), c"current") {
            Ok(info) => Some(info),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let unclean =
            found.is_some_and(|it| it.size > 0 && it.mode & 0o100 == 0);
        let mut size = 0;
        let what: &[u8] = match found {
            Some(info) if unclean => {
                context.report(
                    "warning",
                    &[name, b"/current was not closed in order: kept as .u"],
                );
                self.store
                    .rename_current(context, Kind::Unsafe, info.size)?;
                b"new: "
            }
            Some(info) => {
                size = info.size;
                b"append: "
            }
            None => b"new: ",
        };
        self.store.create(context)?;
        context.info(&[what, name, b"/current"]);
        self.store.current.resume(size);
        self.is_open = true;
        self.name_check.set_missing(false);
        self.phase = Phase::Idle;
        self.stall.retry_now();
        if unclean {
            self.store.prune(context);
        } else {
            self.store.begin_job(context, olds.pending);
        }
        Ok(())
    }

    /// Ends `current` and begins a new one. After a step that stalled, the
    /// next call continues with that step.
    pub(super) fn rotate(&mut self, context: &mut LogContext) -> Step {
        if self.phase == Phase::Idle {
            if self.store.current.size() == 0 {
                return Ok(());
            }
            self.phase = Phase::Seal;
        }
        context.check_may_block()?;
        if self.phase == Phase::Seal {
            self.check_job(context, clock::mono());
            // A growing queue would fill the disk. After TERM it may grow.
            if !self.is_processed() && context.pending.end == 0 {
                self.stall.begin();
                return Err(Interrupt::Stalled);
            }
            self.seal(context)?;
            self.phase = Phase::Rename;
        }
        if self.phase == Phase::Rename {
            let kind = if self.store.has_processor() {
                Kind::Unsafe
            } else {
                Kind::Safe
            };
            if !self.store.archive.has_current(self.store.current.as_fd()) {
                let _before = self.name_check.set_reported();
                let what = b"current was removed or moved: ";
                context.report("warning", &[what, self.subject()]);
            } else if let Err(errno) = self.store.rename_current(
                context,
                kind,
                self.store.current.size(),
            ) {
                let what = "unable to rename current";
                return Err(self.stalled(context, what, errno));
            }
            self.phase = Phase::Create;
        }
        while let Err(errno) = self.create_new(context) {
            self.exit_if_removed(context, errno);
            if errno != Errno::ENOSPC || !self.store.free_space(context) {
                if errno == Errno::ENOENT {
                    self.name_check.set_missing(true);
                }
                let what = "unable to create new current";
                return Err(self.stalled(context, what, errno));
            }
        }
        self.phase = Phase::Idle;
        if self.store.config.limits().durable.is_some() {
            // Otherwise the new file could be on the medium without a name.
            self.store.archive.sync();
        }
        self.store.prune(context);
        Ok(())
    }

    /// Opens a new `current`, and renames anything else that took its name.
    fn create_new(&mut self, context: &LogContext) -> Result<(), Errno> {
        if self.name_check.is_reported() {
            self.store.move_other(context)?;
        }
        self.store.create(context)
    }

    /// Ends a worker whose directory was removed: its parent opens the
    /// directory again by name.
    fn exit_if_removed(&self, context: &LogContext, errno: Errno) {
        if context.is_worker() && errno == Errno::ENOENT {
            let what = b" was removed: the lines at hand are lost";
            context.report("warning", &[self.subject(), what]);
            child::exit(1);
        }
    }

    /// Syncs `current` and marks it as closed properly.
    pub(in crate::applet) fn seal(&mut self, context: &LogContext) -> Step {
        if let Err(errno) = self.store.current.sync() {
            let what = "unable to fsync current logfile";
            return Err(self.stalled(context, what, errno));
        }
        self.store.mark_closed(context);
        Ok(())
    }
}
