//! The logs of a directory: `current`, the old ones, and the processor that
//! works on them (contract §5.6, §5.7).

use core::ffi::CStr;

use crate::{
    machine::rotate::OldLogs,
    sys::{At, Errno},
    text::Line,
    wire::{
        clock::Instant,
        logname::{Kind, LogName},
    },
};

use super::{
    archive::Archive,
    config::{Config, Limits},
    config_text::ConfigText,
    context::LogContext,
    current::Current,
    processor::{Processor, Site},
};

/// The logs of a directory, open or not.
pub(super) struct Store {
    /// Path as given on the command line.
    name: &'static CStr,
    /// The directory, its lock and its old logs.
    pub(super) archive: Archive,
    /// The file `current`.
    pub(super) current: Current,
    /// The config in force.
    pub(super) config: Config,
    /// State of the processor.
    processor: Processor,
}

impl Store {
    /// Returns a store that is not open.
    pub(super) fn closed(name: &'static CStr, text: ConfigText) -> Self {
        Self {
            name,
            archive: Archive::closed(),
            current: Current::closed(),
            config: Config::new(text),
            processor: Processor::IDLE,
        }
    }

    /// Returns the path as given on the command line.
    pub(super) fn path(&self) -> &'static CStr {
        self.name
    }

    /// Changes the path of a store that is not open.
    pub(super) fn set_path(&mut self, path: &'static CStr) {
        self.name = path;
    }

    /// Returns the path for messages.
    pub(super) fn subject(&self) -> &'static [u8] {
        self.name.to_bytes()
    }

    /// Returns the state of the processor.
    pub(super) fn job(&self) -> &Processor {
        &self.processor
    }

    /// Kills a processor that still runs at TERM's limit. Its log is processed
    /// after the next start.
    pub(super) fn end_job(&mut self, context: &LogContext) {
        self.processor.end(context, self.name.to_bytes());
    }

    /// Returns the directory, its `lock` and `current`.
    pub(super) fn files(&self) -> [At<'_>; 3] {
        let (dir, lock) = (self.archive.dir(), self.archive.lock_file());
        [dir, lock, self.current.as_fd()]
    }

    /// Returns whether the config has a processor for rotated logs.
    pub(super) fn has_processor(&self) -> bool {
        !self.config.texts().command().is_empty()
    }

    /// Starts the processor on the log that waits for it.
    pub(super) fn begin_job(
        &mut self,
        context: &mut LogContext,
        pending: Option<LogName>,
    ) {
        let (processor, site) = self.processor();
        processor.begin(context, &site, pending);
    }

    /// Checks whether the processor has ended, or must be started again;
    /// `is_open` while the directory is.
    pub(super) fn check_job(
        &mut self,
        context: &mut LogContext,
        is_open: bool,
        now: Instant,
    ) {
        let (processor, site) = self.processor();
        if processor.check(context, &site, is_open, now) {
            self.prune(context);
        }
    }

    /// Returns the processor, and the rest of the directory for it.
    fn processor(&mut self) -> (&mut Processor, Site<'_>) {
        let (dir, lock) = (self.archive.dir(), self.archive.lock_file());
        let site = Site {
            name: self.name.to_bytes(),
            files: [dir, lock, self.current.as_fd()],
            config: &self.config,
        };
        (&mut self.processor, site)
    }

    /// Opens or creates `current` for appending.
    pub(super) fn create(&mut self, context: &LogContext) -> Result<(), Errno> {
        let (dir, name) = (self.archive.dir(), self.name.to_bytes());
        self.current.open(context, dir, name, self.config.limits())
    }

    /// Marks `current` as closed properly.
    pub(super) fn mark_closed(&mut self, context: &LogContext) {
        let mode = self.config.limits().access.closed();
        self.current.mark(context, self.name.to_bytes(), mode);
    }

    /// Renames `current` to an old log of the given kind.
    pub(super) fn rename_current(
        &mut self,
        context: &LogContext,
        kind: Kind,
        size: u64,
    ) -> Result<(), Errno> {
        let new = self.archive.add_current(kind)?;
        let mut text = Line::new();
        text.bytes(new.as_bytes()).text(" ").number(size);
        let parts: [&[u8]; 4] =
            [b"rename: ", self.subject(), b"/current ", text.as_bytes()];
        context.info(&parts);
        Ok(())
    }

    /// Deletes the oldest log if there are more than the config's `N`, for use
    /// on a full disk. Returns whether it did.
    pub(super) fn free_space(&mut self, context: &LogContext) -> bool {
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
        self.archive.delete(oldest).is_ok()
    }

    /// Deletes the oldest logs until no more than the config's `n` are left,
    /// and starts the processor on a log that waits for it.
    pub(super) fn prune(&mut self, context: &mut LogContext) {
        let name = self.subject();
        let keep = self.config.limits().keep;
        let mut found = self.list_old_logs();
        while let Ok(olds) = &mut found
            && keep > 0
            && let Some(oldest) = olds.excess(keep)
        {
            context.info(&[b"delete: ", name, b"/", oldest.as_bytes()]);
            if let Err(errno) = self.archive.delete(oldest) {
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

    /// Lists the old logs.
    pub(super) fn list_old_logs(&self) -> Result<OldLogs, Errno> {
        let busy = self.processor.at_work_on();
        self.archive.list(self.has_processor(), busy)
    }

    /// Renames anything called `current` that is not a regular file, where the
    /// file was removed.
    pub(super) fn move_other(&self, context: &LogContext) -> Result<(), Errno> {
        if let Some(name) = self.archive.move_other()? {
            let subject = self.subject();
            let what = b"/current is no file, it is now called ";
            context.report("warning", &[subject, what, name.as_bytes()]);
        }
        Ok(())
    }
}
