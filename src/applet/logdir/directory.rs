//! One log directory: opened, configured, given lines (contract §5.2, §5.3).

use core::{ffi::CStr, time::Duration};

use crate::{
    machine::rotate::Fill,
    sys::{AsFd, At, Errno, Fd, clock, file, secure},
    wire::{
        clock::Instant,
        logconfig::{self, Invalid, Udp},
        logname::LogName,
        stamp::Style,
    },
};

use super::{
    access::Access,
    context::{LogContext, Mode, is_due},
    job::Job,
    output::Output,
    progress::{BlockProgress, Phase},
    stall::Stall,
    words::Words,
};

/// A log directory of the command line, open or not.
pub(in crate::applet) struct Directory {
    /// As the command line has it.
    pub(in crate::applet) name: &'static CStr,
    /// Whether it takes lines.
    pub(in crate::applet) is_open: bool,
    /// The directory. Kept when it does not open any more: a processor may
    /// be at work in it.
    pub(in crate::applet) dir: Fd,
    /// The lock is held as long as this is open.
    pub(in crate::applet) lock: Fd,
    /// `current`.
    pub(in crate::applet) current: Fd,
    /// The words of the config.
    pub(in crate::applet) text: Words,
    /// Whether a config was read.
    configured: bool,
    /// Whether lines are logged as they come: no stamp, prefix, pattern or
    /// address.
    pub(super) plain: bool,
    pub(in crate::applet) fill: Fill,
    pub(in crate::applet) keep: u64,
    pub(in crate::applet) keep_full: u64,
    pub(in crate::applet) age: Duration,
    /// How long what was written may wait for the medium; zero for the next
    /// rotation.
    pub(in crate::applet) durable: Duration,
    /// Where lines are sent.
    pub(in crate::applet) udp: Option<Udp>,
    /// The socket for that, once it was needed.
    pub(in crate::applet) socket: Option<Fd>,
    /// When `current` is old enough.
    pub(in crate::applet) due: Option<Instant>,
    /// When what was written must be on the medium.
    pub(in crate::applet) sync_due: Option<Instant>,
    /// The newest name here: none is given an older one, also when the clock
    /// was set back.
    pub(in crate::applet) newest: Option<LogName>,
    /// The processor.
    pub(in crate::applet) job: Job,
    /// How far the rotation at hand is.
    pub(super) phase: Phase,
    /// How far the block of lines at hand is.
    pub(super) block: BlockProgress,
    /// Why it does not go on.
    pub(super) stall: Stall,
    /// How long what cannot be written is waited with before lines are
    /// dropped; zero for ever.
    pub(super) lossy: Duration,
    /// Mode and group of its files.
    pub(super) access: Access,
    /// `current` was found removed or moved.
    pub(super) missing: bool,
    /// That was said, and its name still does not lead to the open file.
    pub(super) move_reported: bool,
    /// The next look whether it does.
    pub(super) next_check: Instant,
    /// Whether `current` ends with a whole line.
    pub(super) is_at_start: bool,
    /// Whether a line that was cut must be ended before the next one.
    pub(super) needs_newline: bool,
    /// The copy of this process that goes on with this directory.
    pub(in crate::applet) worker: Option<u32>,
    /// It was said that modes cannot be set here.
    pub(in crate::applet) mode_warned: bool,
    /// The open line goes into the file.
    pub(in crate::applet) selected: bool,
}

impl Directory {
    /// A directory that is not open.
    pub(in crate::applet) fn new(name: &'static CStr, text: Words) -> Self {
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

    /// The name, for messages.
    pub(in crate::applet) fn subject(&self) -> &'static [u8] {
        self.name.to_bytes()
    }

    /// Opens it, or says why it does not work and returns that. `scratch` is
    /// empty. `at` is where its name starts from.
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

    /// Closes it as it is.
    ///
    /// The lock is let go of by name: a processor that was started just now
    /// may be a copy of this process still, which has it open.
    pub(in crate::applet) fn release(&mut self) {
        file::unlock(self.lock.as_fd());
        self.is_open = false;
        self.current = Fd::none();
        self.lock = Fd::none();
    }

    /// Opens and locks the directory `name`, reads its config, unless the one
    /// in force is kept, and opens `current`. `what` is then what could not be
    /// done.
    pub(in crate::applet) fn enter(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
        at: At<'_>,
        name: &CStr,
        keeps: bool,
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
        if !keeps || !self.configured {
            self.configure(context, dir.as_fd(), scratch, true)?;
        }
        *what = "unable to open current";
        self.dir = dir;
        self.begin(context)
    }

    /// Reads the config again for what may help a step that stalls: bounds and
    /// times. The texts stay as the block at hand knows them.
    pub(super) fn reread(
        &mut self,
        context: &mut LogContext,
        scratch: &mut Output,
    ) {
        let dir = core::mem::replace(&mut self.dir, Fd::none());
        // It was read before: a config that is too long changes nothing.
        let _read = self.configure(context, dir.as_fd(), scratch, false);
        self.dir = dir;
        self.prune(context);
    }

    /// Reads the config, with its texts or without. One that cannot be read
    /// leaves what was read before in force (contract §5.5).
    ///
    /// A config that is longer than the bound does so too. Where there was none
    /// before it is an error in svlogd; the shared logger, which cannot refuse
    /// to start, obeys what fits, without any pattern: no line is left out.
    fn configure(
        &mut self,
        context: &LogContext,
        dir: At<'_>,
        scratch: &mut Output,
        texts: bool,
    ) -> Result<(), Errno> {
        let name = self.subject();
        let bound = self.text.bound();
        // One byte more than the bound, to see a config that is longer.
        let room = scratch.room().get_mut(..=bound).unwrap_or(&mut []);
        let mut text = match file::read_whole(dir, c"config", room) {
            Ok(text) => {
                context.info(&[b"read: ", name, b"/config"]);
                text
            }
            Err(Errno::ENOENT) => &[],
            Err(errno) => {
                context.warn("warning", "unable to read config", name, errno);
                if self.configured {
                    return Ok(());
                }
                &[]
            }
        };
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
            // The last line is cut; a part of it may say another thing.
            let end = text.iter().rposition(|byte| *byte == b'\n');
            text = text.get(..end.unwrap_or(0)).unwrap_or(&[]);
        }
        let words = &mut self.text;
        if texts {
            words.clear();
        }
        let settings = logconfig::settings(
            text,
            context.bounds,
            |line| {
                if texts && !is_cut {
                    words.add_pattern(line);
                }
            },
            |invalid, part| {
                if texts {
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
        if !texts {
            return Ok(());
        }
        words.finish(settings.prefix, settings.command);
        if self.udp != settings.udp {
            self.socket = None;
        }
        self.udp = settings.udp;
        self.configured = true;
        self.plain = context.request.style == Style::Plain
            && self.udp.is_none()
            && words.prefix().is_empty()
            && words.patterns().is_empty();
        self.fill.line =
            u64::try_from(context.request.length).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Closes it in order. What cannot be brought onto the medium is not
    /// marked as closed: the next opening keeps it as a file of its own.
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

    /// Returns whether lines are logged here, or will be when it opens again.
    pub(in crate::applet) fn is_used(&self) -> bool {
        self.is_open || self.missing
    }

    /// The next moment at which there is something to do.
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

    /// Does what is due: looks after the processor, brings data onto the
    /// medium, rotates what is old enough, or on demand.
    pub(in crate::applet) fn attend(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        now: Instant,
        rotate: bool,
    ) {
        self.look_after_job(context, now);
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
            // Nothing in it yet: it is old from now on.
            self.due = Some(now.after(self.age));
        }
    }

    /// Rotates for another reason than a full file; a hand stays with it.
    fn rotate_now(&mut self, context: &mut LogContext, output: &mut Output) {
        if self.rotate(context).is_ok() {
            self.recover(context);
        } else if context.is_worker() {
            self.retry_until_done(context, output, |it, context, _| {
                it.rotate(context)
            });
        }
    }

    /// Notes that something was written: it is to be on the medium in time.
    pub(super) fn note_written(&mut self) {
        if self.durable > Duration::ZERO && self.sync_due.is_none() {
            self.sync_due = Some(clock::mono().after(self.durable));
        }
    }
}

/// Says what a line of a config does not mean.
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
