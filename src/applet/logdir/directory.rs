//! One log directory: opening, configuring, closing (contract §5.2, §5.3).

use core::ffi::CStr;

use crate::{
    sys::{AsFd, At, Errno, Fd, file},
    wire::clock::Instant,
};

use super::{
    config_text::ConfigText,
    context::LogContext,
    name_check::NameCheck,
    output::Output,
    progress::{BlockProgress, Phase},
    stall::{Interrupt, Stall, Step},
    store::Store,
    udp::UdpLink,
    worker::Worker,
};

/// A log directory of the command line, open or not.
pub(in crate::applet) struct Directory {
    /// `true` while lines can be written.
    pub(in crate::applet) is_open: bool,
    /// `current`, the old logs, the config and the processor.
    pub(super) store: Store,
    /// Socket for the address that lines are sent to.
    pub(super) udp: UdpLink,
    /// Next step of the current rotation.
    pub(super) phase: Phase,
    /// Progress of the current block of lines.
    pub(super) block: BlockProgress,
    /// Cause and start of a stall.
    pub(super) stall: Stall,
    /// Checks whether the names lead to the open file.
    pub(super) name_check: NameCheck,
    /// `true` if a cut line must be ended with a newline before the next one.
    pub(super) needs_newline: bool,
    /// The copy of this process that has the directory.
    pub(super) worker: Worker,
    /// The open line is selected for the file.
    pub(super) selected: bool,
}

impl Directory {
    /// Returns a directory that is not open.
    pub(in crate::applet) fn new(
        name: &'static CStr,
        text: ConfigText,
    ) -> Self {
        Self {
            is_open: false,
            store: Store::closed(name, text),
            udp: UdpLink::CLOSED,
            phase: Phase::Idle,
            block: BlockProgress::NONE,
            stall: Stall::default(),
            name_check: NameCheck::NEW,
            needs_newline: false,
            worker: Worker::NONE,
            selected: true,
        }
    }

    /// Returns the name for messages.
    pub(in crate::applet) fn subject(&self) -> &'static [u8] {
        self.store.subject()
    }

    /// Changes the path of a directory that is not open.
    pub(in crate::applet) fn set_path(&mut self, path: &'static CStr) {
        self.store.set_path(path);
    }

    /// Opens the directory. Reports and returns an error. `scratch` must be
    /// empty. The name is relative to `at`.
    pub(in crate::applet) fn open(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
        at: At<'_>,
    ) -> Result<(), Errno> {
        let name = self.subject();
        let mut what = "";
        let opened = self.enter(
            context,
            scratch,
            at,
            self.store.path(),
            false,
            &mut what,
        );
        if let Err(errno) = opened {
            context.warn("warning", what, name, errno);
            self.release();
        }
        opened
    }

    /// Closes `current` without marking it, and unlocks the directory.
    pub(in crate::applet) fn release(&mut self) {
        self.is_open = false;
        self.store.current.close();
        self.store.archive.unlock();
    }

    /// Closes the directory itself, where it will not be opened again.
    pub(in crate::applet) fn close_dir(&mut self) {
        let _old = self.store.archive.set_dir(Fd::none());
    }

    /// Opens and locks the directory `name`, reads its config and opens
    /// `current`. With `keep_config` a config that was read before stays in
    /// force. On an error `what` names the action that failed.
    pub(in crate::applet) fn enter(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
        at: At<'_>,
        name: &CStr,
        keep_config: bool,
        what: &mut &'static str,
    ) -> Result<(), Errno> {
        *what = "unable to open log directory";
        let dir = file::open_dir(at, name);
        if dir.as_ref().err() == Some(&Errno::ENOTDIR) {
            *what = "unable to change directory";
        }
        let dir = dir?;
        *what = "unable to lock directory";
        self.store.archive.lock(dir.as_fd())?;
        *what = "unable to read config";
        if !keep_config || !self.store.config.is_known() {
            self.configure(context, dir.as_fd(), scratch, true)?;
        }
        *what = "unable to open current";
        let _old = self.store.archive.set_dir(dir);
        self.begin(context)
    }

    /// Reads the config again during a stall for bounds and times, which may
    /// help. The texts stay unchanged for the current block.
    pub(super) fn reread(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
    ) {
        let dir = self.store.archive.set_dir(Fd::none());
        // A config was read before, so one that is too long changes nothing.
        let _read = self.configure(context, dir.as_fd(), scratch, false);
        let _none = self.store.archive.set_dir(dir);
        self.store.prune(context);
    }

    /// Reads the config in `dir`; its texts only if `with_texts` is set.
    fn configure(
        &mut self,
        context: &LogContext,
        dir: At<'_>,
        scratch: &mut Output,
        with_texts: bool,
    ) -> Result<(), Errno> {
        let name = self.subject();
        let config = &mut self.store.config;
        scratch.lend(|buffer| {
            config.read(context, dir, name, buffer, with_texts)
        })?;
        let size = self.store.config.limits().size;
        self.store.current.set_bounds(size, context.request.length);
        Ok(())
    }

    /// Syncs `current`, marks it as closed and closes the directory. If the
    /// sync fails it is not marked, and the next opening keeps it as a
    /// separate file.
    pub(in crate::applet) fn close(&mut self, context: &mut LogContext) {
        let _some = self.stall.report_dropped(context, self.subject());
        if self.is_open {
            context.info(&[b"close: ", self.subject()]);
            let _marked = self.seal(context).is_ok();
        }
        self.release();
        self.name_check = NameCheck::NEW;
        self.needs_newline = false;
        self.phase = Phase::Idle;
        self.stall = Stall::default();
    }

    /// Returns whether lines are logged here now, or again once it can be
    /// reopened.
    pub(in crate::applet) fn is_used(&self) -> bool {
        self.is_open || self.name_check.is_missing()
    }

    /// Returns whether no log waits for the processor.
    pub(in crate::applet) fn is_processed(&self) -> bool {
        self.store.job().is_idle()
    }

    /// Returns the moment at which a processor that failed is started again.
    pub(in crate::applet) fn job_due(&self) -> Option<Instant> {
        self.store.job().due()
    }

    /// Kills a processor that still runs at TERM's limit.
    pub(in crate::applet) fn end_job(&mut self, context: &LogContext) {
        self.store.end_job(context);
    }

    /// Checks whether the processor has ended, or must be started again.
    pub(in crate::applet) fn check_job(
        &mut self,
        context: &mut LogContext,
        now: Instant,
    ) {
        self.store.check_job(context, self.is_open, now);
    }

    /// Returns the next moment at which [`Directory::handle_timers`] has work
    /// to do.
    pub(in crate::applet) fn next_due(&self) -> Option<Instant> {
        let due = match self.phase {
            _ if !self.is_open || self.worker.has_directory() => None,
            Phase::Idle => self.store.current.next_due(),
            Phase::Seal | Phase::Rename | Phase::Create => self.stall.retry(),
        };
        [due, self.job_due()].into_iter().flatten().min()
    }

    /// Does the work that is due: checks the processor, syncs data, and
    /// rotates because of age or, with `rotate`, on demand.
    pub(in crate::applet) fn handle_timers(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        now: Instant,
        rotate: bool,
    ) {
        self.check_job(context, now);
        if !self.is_open || self.worker.has_directory() {
            return;
        }
        let done = loop {
            let done = self.sync_and_rotate(context, now, rotate);
            if !self.must_repeat(context, done) {
                break done;
            }
        };
        if done == Err(Interrupt::Stalled) && context.is_worker() {
            self.retry_until_done(context, output, |it, context, _| {
                it.rotate(context)
            });
        }
    }

    /// Makes one attempt at the work that is due on `current`.
    fn sync_and_rotate(
        &mut self,
        context: &mut LogContext,
        now: Instant,
        rotate: bool,
    ) -> Step {
        if self.phase == Phase::Idle {
            if self.store.current.must_sync(now) {
                context.check_may_block()?;
                if let Err(errno) = self.store.current.sync_data() {
                    let what = "unable to fdatasync current";
                    context.warn("warning", what, self.subject(), errno);
                }
            }
            let is_old =
                self.store.current.is_old(self.store.config.limits(), now);
            if self.store.current.size() == 0 || !is_old && !rotate {
                return Ok(());
            }
        } else if self.stall.waits(now) {
            return Ok(());
        }
        self.rotate(context)?;
        self.stall.recover(context, self.subject());
        Ok(())
    }

    /// Syncs `current`, marks it as closed and closes the directory; waits as
    /// long as necessary. Returns `false` if a worker does the same.
    pub(in crate::applet) fn seal_and_release(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
    ) -> bool {
        let allowed = context.check_may_block();
        if allowed.is_err() && !self.must_repeat(context, allowed) {
            return false;
        }
        self.retry_until_done(context, output, |it, context, _| {
            it.seal(context)
        });
        let _done = self.must_repeat(context, Ok(()));
        self.worker_done(context);
        self.release();
        true
    }
}
