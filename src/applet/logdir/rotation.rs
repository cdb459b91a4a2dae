//! Rotation of `current` and deletion of old logs (contract §5.6, §5.8).

use crate::{
    machine::rotate::OldLogs,
    sys::{AsFd, Errno, child, clock, dir, file},
    text::Line,
    wire::{
        clock::Instant,
        logname::{Kind, LogName},
    },
};

use super::{
    config::Limits,
    context::LogContext,
    directory::Directory,
    processor::{Processor, Site},
    progress::Phase,
    stall::{Interrupt, Step},
};

impl Directory {
    /// Returns whether the config has a processor for rotated logs.
    fn has_processor(&self) -> bool {
        !self.config.texts().command().is_empty()
    }

    /// Opens `current`: continues one that was closed properly; renames one
    /// that was not to an old log, and reports that.
    pub(in crate::applet) fn begin(
        &mut self,
        context: &mut LogContext,
    ) -> Result<(), Errno> {
        let olds = self.list_old_logs()?;
        self.newest = olds.newest;
        if self.name_check.is_missing() {
            self.move_other(context)?;
        }
        let name = self.subject();
        let found = match file::info(self.dir.as_fd(), c"current") {
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
                self.rename_current(context, Kind::Unsafe, info.size)?;
                b"new: "
            }
            Some(info) => {
                size = info.size;
                b"append: "
            }
            None => b"new: ",
        };
        self.create(context)?;
        context.info(&[what, name, b"/current"]);
        self.current.resume(size);
        self.is_open = true;
        self.name_check.set_missing(false);
        self.phase = Phase::Idle;
        self.stall.retry_now();
        if unclean {
            self.prune(context);
        } else {
            self.begin_job(context, olds.pending);
        }
        Ok(())
    }

    /// Starts the processor on the log that waits for it.
    fn begin_job(
        &mut self,
        context: &mut LogContext,
        pending: Option<LogName>,
    ) {
        let (processor, site) = self.processor();
        processor.begin(context, &site, pending);
    }

    /// Checks whether the processor has ended, or must be started again.
    pub(in crate::applet) fn check_job(
        &mut self,
        context: &mut LogContext,
        now: Instant,
    ) {
        let is_open = self.is_open;
        let (processor, site) = self.processor();
        if processor.check(context, &site, is_open, now) {
            self.prune(context);
        }
    }

    /// Returns the processor, and the rest of the directory for it.
    fn processor(&mut self) -> (&mut Processor, Site<'_>) {
        let (dir, lock) = (self.dir.as_fd(), self.lock.as_fd());
        let site = Site {
            name: self.name.to_bytes(),
            files: [dir, lock, self.current.as_fd()],
            config: &self.config,
        };
        (&mut self.processor, site)
    }

    /// Opens or creates `current` for appending.
    fn create(&mut self, context: &LogContext) -> Result<(), Errno> {
        let (dir, name) = (self.dir.as_fd(), self.name.to_bytes());
        self.current.open(context, dir, name, self.config.limits())
    }

    /// Marks `current` as closed properly.
    pub(super) fn mark_closed(&mut self, context: &LogContext) {
        let mode = self.config.limits().access.closed();
        self.current.mark(context, self.name.to_bytes(), mode);
    }

    /// Renames `current` to an old log of the given kind; its name is newer
    /// than every other.
    fn rename_current(
        &mut self,
        context: &LogContext,
        kind: Kind,
        size: u64,
    ) -> Result<(), Errno> {
        let at = self.dir.as_fd();
        loop {
            let new = LogName::after(self.newest, clock::wall(), kind);
            self.newest = Some(new);
            let to = new.as_c_str();
            let renamed = match file::rename_new(at, c"current", to) {
                // Not supported by the file system or kernel. No other
                // process makes such names: the directory is locked.
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    match file::info(at, to) {
                        Err(Errno::ENOENT) => file::rename(at, c"current", to),
                        Ok(_) => Err(Errno::EEXIST),
                        Err(errno) => Err(errno),
                    }
                }
                other => other,
            };
            match renamed {
                Ok(()) => {
                    let mut text = Line::new();
                    text.bytes(new.as_bytes()).text(" ").number(size);
                    let name = self.subject();
                    let parts: [&[u8]; 4] =
                        [b"rename: ", name, b"/current ", text.as_bytes()];
                    context.info(&parts);
                    return Ok(());
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Ends `current` and begins a new one. After a step that stalled, the
    /// next call continues with that step.
    pub(super) fn rotate(&mut self, context: &mut LogContext) -> Step {
        if self.phase == Phase::Idle {
            if self.current.size() == 0 {
                return Ok(());
            }
            self.phase = Phase::Seal;
        }
        context.check_may_block()?;
        if self.phase == Phase::Seal {
            self.check_job(context, clock::mono());
            // A growing queue would fill the disk. After TERM it may grow.
            if !self.processor.is_idle() && context.pending.end == 0 {
                self.stall.begin();
                return Err(Interrupt::Stalled);
            }
            self.seal(context)?;
            self.phase = Phase::Rename;
        }
        if self.phase == Phase::Rename {
            let kind = if self.has_processor() {
                Kind::Unsafe
            } else {
                Kind::Safe
            };
            if !self.is_in_place() {
                let _before = self.name_check.set_reported();
                let what = b"current was removed or moved: ";
                context.report("warning", &[what, self.subject()]);
            } else if let Err(errno) =
                self.rename_current(context, kind, self.current.size())
            {
                let what = "unable to rename current";
                return Err(self.stalled(context, what, errno));
            }
            self.phase = Phase::Create;
        }
        while let Err(errno) = self.create_new(context) {
            self.exit_if_removed(context, errno);
            if errno != Errno::ENOSPC || !self.free_space(context) {
                if errno == Errno::ENOENT {
                    self.name_check.set_missing(true);
                }
                let what = "unable to create new current";
                return Err(self.stalled(context, what, errno));
            }
        }
        self.phase = Phase::Idle;
        if self.config.limits().durable.is_some() {
            // Otherwise the new file could be on the medium without a name.
            let _synced = file::sync(self.dir.as_fd()).is_ok();
        }
        self.prune(context);
        Ok(())
    }

    /// Returns whether the name `current` leads to the open file, is a link,
    /// or cannot be examined.
    fn is_in_place(&self) -> bool {
        let named = file::info_of_link(self.dir.as_fd(), c"current");
        let open = file::info_of(self.current.as_fd());
        match (named, open) {
            (Ok(named), Ok(open)) => {
                named.identity == open.identity
                    || named.kind == file::Kind::Link
            }
            (named, _) => named != Err(Errno::ENOENT),
        }
    }

    /// Opens a new `current`, and renames anything else that took its name.
    fn create_new(&mut self, context: &LogContext) -> Result<(), Errno> {
        if self.name_check.is_reported() {
            self.move_other(context)?;
        }
        self.create(context)
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
        if let Err(errno) = self.current.sync() {
            let what = "unable to fsync current logfile";
            return Err(self.stalled(context, what, errno));
        }
        self.mark_closed(context);
        Ok(())
    }

    /// Deletes the oldest log if there are more than the config's `N`, for use
    /// on a full disk. Returns whether it did.
    pub(in crate::applet) fn free_space(
        &mut self,
        context: &LogContext,
    ) -> bool {
        let &Limits {
            keep, keep_full, ..
        } = self.config.limits();
        if keep_full >= keep {
            return false;
        }
        let oldest = self.list_old_logs().map(|olds| olds.excess(keep_full));
        let Ok(Some(oldest)) = oldest else {
            return false;
        };
        context.report(
            "warning",
            &[
                b"out of disk space, delete: ",
                self.subject(),
                b"/",
                oldest.as_bytes(),
            ],
        );
        file::remove(self.dir.as_fd(), oldest.as_c_str()).is_ok()
    }

    /// Deletes the oldest logs until no more than the config's `n` are left,
    /// and starts the processor on a log that waits for it.
    pub(in crate::applet) fn prune(&mut self, context: &mut LogContext) {
        let name = self.subject();
        let keep = self.config.limits().keep;
        let mut found = self.list_old_logs();
        while let Ok(olds) = &mut found
            && keep > 0
            && let Some(oldest) = olds.excess(keep)
        {
            context.info(&[b"delete: ", name, b"/", oldest.as_bytes()]);
            let removed = file::remove(self.dir.as_fd(), oldest.as_c_str());
            if let Err(errno) = removed {
                let what = "unable to unlink oldest logfile";
                context.warn("warning", what, name, errno);
                break;
            }
            if olds.removed_oldest(keep) {
                found = self.list_old_logs();
            }
        }
        match found {
            Ok(olds) => self.begin_job(context, olds.pending),
            Err(errno) => {
                let what = "unable to read directory";
                context.warn("warning", what, name, errno);
            }
        }
    }

    /// Lists the old logs. Deletes the unfinished output of earlier
    /// processors.
    fn list_old_logs(&self) -> Result<OldLogs, Errno> {
        let mut olds = OldLogs::new(self.newest, self.has_processor());
        let busy = self
            .processor
            .at_work_on()
            .map(|name| name.with(Kind::Temporary));
        // A new descriptor: the offset of a listing belongs to the open file.
        let listed = file::open_dir(self.dir.as_fd(), c".")?;
        let at = listed.as_fd();
        dir::list(at, |name| {
            let Some(name) = LogName::parse(name.to_bytes()) else {
                return;
            };
            if name.kind() != Some(Kind::Temporary) {
                olds.add(name);
            } else if busy.is_none_or(|busy| busy != name) {
                // The next listing deletes what stays.
                let _stays = file::remove(at, name.as_c_str()).is_err();
            }
        })?;
        Ok(olds)
    }
}
