//! One log directory: opening, configuring, closing (contract §5.2, §5.3).

use core::ffi::CStr;

use crate::{
    sys::{AsFd, At, Errno, Fd, file, secure},
    wire::{clock::Instant, logname::LogName},
};

use super::{
    config::Config,
    config_text::ConfigText,
    context::LogContext,
    current::Current,
    name_check::NameCheck,
    output::Output,
    processor::Processor,
    progress::{BlockProgress, Phase},
    stall::{Interrupt, Stall, Step},
    udp::UdpLink,
};

/// A log directory of the command line, open or not.
pub(in crate::applet) struct Directory {
    /// Path as given on the command line.
    pub(in crate::applet) name: &'static CStr,
    /// `true` while lines can be written.
    pub(in crate::applet) is_open: bool,
    /// The directory. Stays open when it cannot be reopened: a processor may
    /// be at work in it.
    pub(super) dir: Fd,
    /// The file `lock`; open while the lock is held.
    pub(super) lock: Fd,
    /// The file `current`.
    pub(super) current: Current,
    /// The config in force.
    pub(super) config: Config,
    /// Socket for the address that lines are sent to.
    pub(super) udp: UdpLink,
    /// Newest name of an old log here. New names are never older, even when
    /// the clock was set back.
    pub(super) newest: Option<LogName>,
    /// State of the processor.
    pub(super) processor: Processor,
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
    /// Process id of the worker, the copy of this process that has the
    /// directory.
    pub(super) worker: Option<u32>,
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
            name,
            is_open: false,
            dir: Fd::none(),
            lock: Fd::none(),
            current: Current::closed(),
            config: Config::new(text),
            udp: UdpLink::CLOSED,
            newest: None,
            processor: Processor::IDLE,
            phase: Phase::Idle,
            block: BlockProgress::NONE,
            stall: Stall::default(),
            name_check: NameCheck::NEW,
            needs_newline: false,
            worker: None,
            selected: true,
        }
    }

    /// Returns the name for messages.
    pub(in crate::applet) fn subject(&self) -> &'static [u8] {
        self.name.to_bytes()
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
        let opened =
            self.enter(context, scratch, at, self.name, false, &mut what);
        if let Err(errno) = opened {
            context.warn("warning", what, name, errno);
            self.release();
        }
        opened
    }

    /// Closes `current` without marking it, and unlocks the directory.
    ///
    /// Unlocks explicitly: a processor that was just started may still be a
    /// copy of this process, which has the lock file open.
    pub(in crate::applet) fn release(&mut self) {
        file::unlock(self.lock.as_fd());
        self.is_open = false;
        self.current.close();
        self.lock = Fd::none();
    }

    /// Closes the directory itself, where it will not be opened again.
    pub(in crate::applet) fn close_dir(&mut self) {
        self.dir = Fd::none();
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
        self.lock = secure::append(dir.as_fd(), c"lock")?;
        file::lock_now(self.lock.as_fd())?;
        *what = "unable to read config";
        if !keep_config || !self.config.is_known() {
            self.configure(context, dir.as_fd(), scratch, true)?;
        }
        *what = "unable to open current";
        self.dir = dir;
        self.begin(context)
    }

    /// Reads the config again during a stall for bounds and times, which may
    /// help. The texts stay unchanged for the current block.
    pub(super) fn reread(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
    ) {
        let dir = core::mem::replace(&mut self.dir, Fd::none());
        // A config was read before, so one that is too long changes nothing.
        let _read = self.configure(context, dir.as_fd(), scratch, false);
        self.dir = dir;
        self.prune(context);
    }

    /// Reads the config in `dir`; its texts only if `with_texts` is set.
    fn configure(
        &mut self,
        context: &LogContext,
        dir: At<'_>,
        scratch: &mut Output,
        with_texts: bool,
    ) -> Result<(), Errno> {
        let (config, name) = (&mut self.config, self.name.to_bytes());
        scratch.lend(|buffer| {
            config.read(context, dir, name, buffer, with_texts)
        })?;
        let size = self.config.limits().size;
        self.current.set_bounds(size, context.request.length);
        Ok(())
    }

    /// Syncs `current`, marks it as closed and closes the directory. If the
    /// sync fails it is not marked, and the next opening keeps it as a
    /// separate file.
    pub(in crate::applet) fn close(&mut self, context: &mut LogContext) {
        let _some = self.report_dropped(context);
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
        self.processor.is_idle()
    }

    /// Returns the moment at which a processor that failed is started again.
    pub(in crate::applet) fn job_due(&self) -> Option<Instant> {
        self.processor.due()
    }

    /// Kills a processor that still runs at TERM's limit. Its log is processed
    /// after the next start.
    pub(in crate::applet) fn end_job(&mut self, context: &LogContext) {
        self.processor.end(context, self.name.to_bytes());
    }

    /// Returns the next moment at which [`Directory::handle_timers`] has work
    /// to do.
    pub(in crate::applet) fn next_due(&self) -> Option<Instant> {
        let due = match self.phase {
            _ if !self.is_open || self.worker.is_some() => None,
            Phase::Idle => self.current.next_due(),
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
        if !self.is_open || self.worker.is_some() {
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
            if self.current.must_sync(now) {
                context.check_may_block()?;
                if let Err(errno) = self.current.sync_data() {
                    let what = "unable to fdatasync current";
                    context.warn("warning", what, self.subject(), errno);
                }
            }
            let is_old = self.current.is_old(self.config.limits(), now);
            if self.current.size() == 0 || !is_old && !rotate {
                return Ok(());
            }
        } else if self.stall.waits(now) {
            return Ok(());
        }
        self.rotate(context)?;
        self.recover(context);
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
