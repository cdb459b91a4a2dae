//! One log directory: opening, configuring, closing (contract §5.2, §5.3).

use core::{ffi::CStr, time::Duration};

use crate::{
    machine::rotate::Fill,
    sys::{AsFd, At, Errno, Fd, buffer::Buffer, clock, file, secure},
    wire::{
        clock::Instant,
        logconfig::{self, Invalid, Udp},
        logname::LogName,
        stamp::Style,
    },
};

use super::{
    access::Access,
    config_text::ConfigText,
    context::{LogContext, Mode, is_due},
    job::Job,
    output::Output,
    progress::{BlockProgress, Phase},
    stall::Stall,
};

/// A log directory of the command line, open or not.
pub(in crate::applet) struct Directory {
    /// Path as given on the command line.
    pub(in crate::applet) name: &'static CStr,
    /// `true` while lines can be written.
    pub(in crate::applet) is_open: bool,
    /// The directory. Stays open when it cannot be reopened: a processor may
    /// be at work in it.
    pub(in crate::applet) dir: Fd,
    /// The file `lock`; open while the lock is held.
    pub(in crate::applet) lock: Fd,
    /// The file `current`.
    pub(in crate::applet) current: Fd,
    /// Texts of the config.
    pub(in crate::applet) text: ConfigText,
    /// `true` once a config was read.
    configured: bool,
    /// `true` if lines are logged unchanged: no stamp, prefix, pattern or
    /// address.
    pub(super) plain: bool,
    pub(in crate::applet) fill: Fill,
    pub(in crate::applet) keep: u64,
    pub(in crate::applet) keep_full: u64,
    pub(in crate::applet) age: Duration,
    /// Maximum time between a write and its fdatasync; zero: no sync before
    /// the next rotation.
    pub(in crate::applet) durable: Duration,
    /// Address that lines are sent to.
    pub(in crate::applet) udp: Option<Udp>,
    /// Socket for `udp`, opened when it is first needed.
    pub(in crate::applet) socket: Option<Fd>,
    /// Moment at which `current` is rotated because of its age.
    pub(in crate::applet) due: Option<Instant>,
    /// Moment at which written data must be synced.
    pub(in crate::applet) sync_due: Option<Instant>,
    /// Newest name of an old log here. New names are never older, even when
    /// the clock was set back.
    pub(in crate::applet) newest: Option<LogName>,
    /// State of the processor.
    pub(in crate::applet) job: Job,
    /// Next step of the current rotation.
    pub(super) phase: Phase,
    /// Progress of the current block of lines.
    pub(super) block: BlockProgress,
    /// Cause and start of a stall.
    pub(super) stall: Stall,
    /// Time for which lines that cannot be written are kept before they are
    /// dropped; zero: no limit.
    pub(super) lossy: Duration,
    /// Mode and group of the files.
    pub(super) access: Access,
    /// `current` was found removed or moved.
    pub(super) missing: bool,
    /// The move was reported, and the name does not lead to the open file yet.
    pub(super) move_reported: bool,
    /// Moment of the next check whether the name leads to the open file.
    pub(super) next_check: Instant,
    /// `true` if `current` is empty or ends with a newline.
    pub(super) is_at_start: bool,
    /// `true` if a cut line must be ended with a newline before the next one.
    pub(super) needs_newline: bool,
    /// Process id of the worker, the copy of this process that has the
    /// directory.
    pub(in crate::applet) worker: Option<u32>,
    /// A failure to set the mode or group was reported.
    pub(in crate::applet) mode_warned: bool,
    /// The open line is selected for the file.
    pub(in crate::applet) selected: bool,
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
            current: Fd::none(),
            text,
            configured: false,
            plain: false,
            fill: Fill {
                size: 0,
                bound: 0,
                line: 0,
            },
            keep: 0,
            keep_full: 0,
            age: Duration::ZERO,
            durable: Duration::ZERO,
            udp: None,
            socket: None,
            due: None,
            sync_due: None,
            newest: None,
            job: Job::Idle,
            phase: Phase::Idle,
            block: BlockProgress::NONE,
            stall: Stall::default(),
            lossy: Duration::ZERO,
            access: Access::PLAIN,
            missing: false,
            move_reported: false,
            next_check: Instant::at(0),
            is_at_start: true,
            needs_newline: false,
            worker: None,
            mode_warned: false,
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
        self.current = Fd::none();
        self.lock = Fd::none();
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
        if !keep_config || !self.configured {
            scratch.lend(|buffer| {
                self.configure(context, dir.as_fd(), buffer, true)
            })?;
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
        let _read = scratch
            .lend(|buffer| self.configure(context, dir.as_fd(), buffer, false));
        self.dir = dir;
        self.prune(context);
    }

    /// Reads the config; its texts only if `with_texts` is set. If it cannot
    /// be read the previous one stays in force (contract §5.5).
    ///
    /// The same holds for a config longer than the bound. Without a previous
    /// one it is an error (`EFBIG`) in svlogd. The shared logger cannot refuse
    /// to start: it obeys the part that fits but no patterns, so that no line
    /// is left out.
    fn configure(
        &mut self,
        context: &LogContext,
        dir: At<'_>,
        buffer: &mut Buffer,
        with_texts: bool,
    ) -> Result<(), Errno> {
        let name = self.subject();
        let bound = self.text.bound();
        // One byte more than the bound, to detect a longer config.
        let most = bound.saturating_add(1);
        match buffer.read_whole(dir, c"config", most) {
            Ok(()) => context.info(&[b"read: ", name, b"/config"]),
            Err(Errno::ENOENT) => {}
            Err(errno) => {
                context.warn("warning", "unable to read config", name, errno);
                if self.configured {
                    return Ok(());
                }
                buffer.clear();
            }
        }
        let mut text = buffer.as_slice();
        let is_cut = text.len() > bound;
        if is_cut {
            let what: [&[u8]; 2] = [name, b"/config: too long"];
            let alone = context.mode == Mode::Alone;
            let capacity = if alone {
                "file-bytes"
            } else {
                "log-config-bytes"
            };
            context.report_bound("warning", &what, capacity, bound);
            if self.configured {
                return Ok(());
            } else if alone {
                return Err(Errno::EFBIG);
            }
            // The last line is cut, and a part of it may mean something else.
            let end = text.iter().rposition(|byte| *byte == b'\n');
            text = text.get(..end.unwrap_or(0)).unwrap_or(&[]);
        }
        let texts = &mut self.text;
        if with_texts {
            texts.clear();
        }
        let settings = logconfig::settings(
            text,
            context.bounds,
            |line| {
                if with_texts && !is_cut {
                    texts.add_pattern(line);
                }
            },
            |invalid, part| {
                if with_texts {
                    report_invalid(context, name, invalid, part);
                }
            },
        );
        self.fill.bound = settings.size;
        self.keep = settings.keep;
        self.keep_full = settings.keep_full;
        self.age = settings.age;
        self.durable = settings.durable;
        self.lossy = settings.lossy;
        self.access = Access::look_up(context, name, &settings);
        if !with_texts {
            return Ok(());
        }
        texts.finish(settings.prefix, settings.command);
        if self.udp != settings.udp {
            self.socket = None;
        }
        self.udp = settings.udp;
        self.configured = true;
        self.plain = context.request.style == Style::Plain
            && self.udp.is_none()
            && texts.prefix().is_empty()
            && texts.patterns().is_empty();
        self.fill.line =
            u64::try_from(context.request.length).unwrap_or(u64::MAX);
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
        (self.missing, self.move_reported, self.needs_newline) =
            (false, false, false);
        self.phase = Phase::Idle;
        self.stall = Stall::default();
    }

    /// Returns whether lines are logged here now, or again once it can be
    /// reopened.
    pub(in crate::applet) fn is_used(&self) -> bool {
        self.is_open || self.missing
    }

    /// Returns the next moment at which [`Directory::attend`] has work to do.
    pub(in crate::applet) fn next_due(&self) -> Option<Instant> {
        let due = match self.phase {
            _ if !self.is_open || self.worker.is_some() => [None, None],
            Phase::Idle => [self.due, self.sync_due],
            Phase::Seal | Phase::Rename | Phase::Create => {
                [self.stall.retry(), None]
            }
        };
        due.into_iter().flatten().chain(self.job.due()).min()
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
        if self.phase != Phase::Idle {
            if !self.stall.waits(now) {
                self.rotate_now(context, output);
            }
            return;
        }
        if is_due(self.sync_due, now) && self.in_worker(context) {
            self.sync_due = None;
            if let Err(errno) = file::sync_data(self.current.as_fd()) {
                let what = "unable to fdatasync current";
                context.warn("warning", what, self.subject(), errno);
            }
        }
        let due = is_due(self.due, now);
        if self.fill.size > 0 && (due || rotate) {
            self.rotate_now(context, output);
        } else if due {
            // It is empty: its age counts from now.
            self.due = Some(now.after(self.age));
        }
    }

    /// Rotates because of age or on demand. A worker repeats this until it
    /// succeeds or lines may be dropped.
    fn rotate_now(&mut self, context: &mut LogContext, output: &mut Output) {
        if self.rotate(context).is_ok() {
            self.recover(context);
        } else if context.is_worker() {
            self.retry_until_done(context, output, |it, context, _| {
                it.rotate(context)
            });
        }
    }

    /// Schedules the sync of data that was just written.
    pub(super) fn note_written(&mut self) {
        if self.durable > Duration::ZERO && self.sync_due.is_none() {
            self.sync_due = Some(clock::mono().after(self.durable));
        }
    }
}

/// Reports a part of a config that is invalid.
fn report_invalid(
    context: &LogContext,
    name: &[u8],
    invalid: Invalid,
    part: &[u8],
) {
    match invalid {
        Invalid::Ip => {
            context.report("warning", &[b"unable to scan ip address: ", part]);
        }
        Invalid::Port => {
            context.report("warning", &[b"unable to scan port number: ", part]);
        }
        Invalid::Unknown => {
            context
                .report("warning", &[name, b"/config: unknown line: ", part]);
        }
        Invalid::Number => {
            context.report("warning", &[name, b"/config: odd number: ", part]);
        }
    }
}
