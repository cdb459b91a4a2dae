//! One service's way from its pipe into its log directory.
//!
//! ```text
//!   free --u--> used: the directory is
//!    ^            shut <--- 3 s, HUP, or it fails --- open <---> the hand's
//!    |                                                 |    (logdir::hand)
//!    +-- reported to end, the pipe ends, or an heir: settled, nothing waits for a processor
//! ```
//!
//! [`Row::turn`] takes every edge but the first; the pipe is read while the
//! directory is open and no hand has it.

use core::time::Duration;

use crate::{
    config,
    machine::restart_delay::RESTART_PAUSE,
    sys::{
        self, AsFd, Errno, Fd, clock, fd, file, poller::Interest,
        signal::Number,
    },
    text::{self, Name, copy},
    wire::{clock::Instant, order::LoggerOrder},
};

use super::{
    console::ConsoleCopy,
    ring::LogRing,
    shared::{Buffers, Shared, TOKEN_STREAMS},
};
use crate::applet::{
    logdir::{
        Directory, Job, LineReader, Words,
        context::{LIMIT, PAUSE},
    },
    sv::service::{Silent, probe},
};

/// Bytes in a pipe that nobody can log from which on they are dropped: half
/// of what it holds on Linux.
const SURPLUS: u64 = 32_768;

/// Answers that the socket has room for at least: 277 on Linux, where a short
/// message costs 768 bytes of 212992.
const ANSWERS: usize = 256;

/// Reads of one turn of a stream that is about to end: what a pipe holds.
const LAST_READS: usize = 65_536 / config::LOG_READ_BYTES + 1;

/// Time that a hand has beyond TERM's limit, before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// How a stream is, and what is to be done with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    /// To be read to where nothing is in the pipe, and ended then.
    pub(super) drains: bool,
    /// To be ended with the line at hand.
    pub(super) ends: bool,
    /// The directory is to be opened anew.
    pub(super) reopen: bool,
    /// The log is to be rotated.
    pub(super) rotate: bool,
    /// It is not to be read now.
    pub(super) paused: bool,
    /// Its pipe wakes the loop.
    listens: bool,
    /// The hand at work is the last one of this opening.
    sealing: bool,
    /// The hand at work was reported that there is no time left.
    killed: bool,
}

/// A stream.
pub(super) struct Stream {
    /// Somebody has it.
    pub(super) used: bool,
    pub(super) flags: Flags,
    /// When the directory is tried again.
    retry: Option<Instant>,
    /// When it is seen whether another supervisor has the service: its own is
    /// gone.
    pub(super) next_check: Option<Instant>,
    /// It is to be ended: when nothing of it is waited for any more.
    limit: Option<Instant>,
    /// Why it could not be opened the last time.
    reported: Option<Errno>,
    /// How often it could not be since it was open.
    failures: u32,
    /// Its number.
    number: u16,
    /// The service directory.
    at: Fd,
    /// It has a log directory, not a ring.
    has_dir: bool,
    /// The service's.
    name: Name,
    pipe: Fd,
    reader: LineReader,
    kept: &'static mut [u8],
    directory: Directory,
    /// Where there is no directory.
    ring: Option<LogRing>,
    /// What it shows on the console.
    console: ConsoleCopy,
}

impl Stream {
    /// A dir that nobody has.
    #[inline(never)]
    pub(super) fn new(room: &'static mut Buffers) -> Self {
        Self {
            used: false,
            flags: Flags::default(),
            retry: None,
            next_check: None,
            limit: None,
            reported: None,
            failures: 0,
            number: 0,
            at: Fd::none(),
            has_dir: false,
            name: Name::new(),
            pipe: Fd::none(),
            reader: LineReader::new(1),
            kept: &mut room.kept,
            directory: Directory::new(c"log", Words::new(&mut room.text)),
            ring: None,
            console: ConsoleCopy::disabled(),
        }
    }

    /// Begins with a service. What cannot be read has ended at once: the
    /// supervisor comes back with it.
    pub(super) fn start(
        &mut self,
        order: LoggerOrder<'_>,
        files: [Fd; 2],
        shared: &mut Shared,
    ) {
        self.number = order.stream;
        self.has_dir = order.has_dir;
        [self.at, self.pipe] = files;
        self.name = text::name(order.name).unwrap_or_default();
        self.used = true;
        self.reported = None;
        self.limit = None;
        self.failures = 0;
        self.reader = LineReader::new(shared.context.request.length);
        self.flags = Flags {
            reopen: true,
            ..Flags::default()
        };
        // The last one to come is the first that there is no room for.
        if let Err(errno) = file::info_of(self.pipe.as_fd()) {
            self.flags.ends = true;
            shared.context.service.clone_from(&self.name);
            let what = "unable to take over pipe";
            shared
                .context
                .warn("warning", what, b"supervise/log", errno);
        }
    }

    /// When there is something to do at the latest.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.used {
            return None;
        }
        let (due, shown) = (self.directory.next_due(), self.console.due());
        let due = [self.retry, self.next_check, self.limit, due, shown];
        due.into_iter().flatten().min()
    }

    /// There is something to read.
    pub(super) fn on_readable(&mut self, shared: &mut Shared) {
        shared.context.service.clone_from(&self.name);
        self.read(shared);
        let stays = self.is_open() && self.directory.worker.is_none();
        if self.flags.ends || self.flags.drains || !stays {
            self.step(shared);
        }
    }

    /// Does what there is to do.
    pub(super) fn step(&mut self, shared: &mut Shared) {
        if !self.used {
            return;
        }
        shared.context.service.clone_from(&self.name);
        self.advance(shared);
        let listens = self.used
            && self.is_open()
            && self.directory.worker.is_none()
            && !self.flags.paused;
        let pipe = self.pipe.as_fd();
        if core::mem::replace(&mut self.flags.listens, listens) != listens {
            let token = TOKEN_STREAMS.saturating_add(self.number.into());
            // It is in the set as long as it listens.
            let _set = if listens {
                shared.poller.add(pipe, Interest::Readable, token).is_err()
            } else {
                shared.poller.remove(pipe).is_err()
            };
        }
        if !self.used {
            self.pipe = Fd::none();
            self.at = Fd::none();
            self.console = ConsoleCopy::disabled();
            self.directory.dir = Fd::none();
        }
    }

    /// Takes the edges of the directory's state.
    fn advance(&mut self, shared: &mut Shared) {
        let now = clock::mono();
        let reported = self.console.summarize(self.at.as_fd(), &self.name, now);
        report(shared, reported);
        self.directory.look_after_job(&mut shared.context, now);
        if self.next_check.is_some_and(|look| look <= now) {
            self.next_check = Some(now.after(RESTART_PAUSE));
            // Nobody is left who could have it go on.
            self.flags.paused = false;
            // Who may not look does not stand in the way.
            if !probe(self.at.as_fd()).is_err_and(Silent::may_pass) {
                (self.flags.ends, self.flags.drains) = (true, true);
            }
        }
        if self.flags.ends && self.limit.is_none() {
            self.limit = Some(now.after(LIMIT));
            self.directory.signal_worker(Number::TERM);
        }
        if self.directory.worker.is_some() {
            if self.directory.worker_runs() {
                if self.is_late(now) {
                    self.limit = Some(now.after(GRACE));
                    if core::mem::replace(&mut self.flags.killed, true) {
                        let what = b"lines at hand are lost: ";
                        let name = self.directory.subject();
                        shared.context.report("warning", &[what, name]);
                        self.directory.signal_worker(Number::KILL);
                    } else {
                        self.directory.signal_worker(Number::TERM);
                    }
                }
                return;
            }
            self.worker_ended(shared);
        }
        if self.retry.is_some_and(|retry| retry <= now) {
            self.flags.reopen = true;
        }
        if self.flags.reopen && self.is_open() && !self.seal(shared) {
            return;
        }
        if core::mem::take(&mut self.flags.reopen) {
            self.open(shared);
        }
        self.drain(shared);
        if self.directory.worker.is_some() {
            return;
        }
        // Where nothing can be written nothing is waited for, but once: a
        // hand of a logger that was killed may still have the lock.
        if self.flags.ends && self.reader.is_open() && self.is_late(now) {
            self.read(shared);
            if self.directory.worker.is_some() {
                return;
            }
        }
        let shut = !self.is_open();
        let ends = self.flags.ends && !self.reader.is_open();
        let last = self.flags.drains || self.next_check.is_some();
        let gives_up = self.flags.ends || last && self.failures > 1;
        if ends || shut && gives_up {
            if !shut && !self.seal(shared) {
                return;
            }
            let late = self.is_late(now) || shared.context.pending.end > 1;
            if late {
                self.directory.end_job(&shared.context);
            }
            if self.directory.job == Job::Idle {
                self.release(shared);
            }
            return;
        }
        let rotate = core::mem::take(&mut self.flags.rotate);
        let (context, output) = (&mut shared.context, &mut *shared.output);
        self.directory.attend(context, output, now, rotate);
        self.directory.worker_done(&shared.context);
    }

    /// Asks for the directory to be opened anew; a hand reads its config at
    /// once, where that may help.
    pub(super) fn reopen(&mut self) {
        self.flags.reopen = true;
        self.directory.signal_worker(Number::HUP);
    }

    /// Returns whether the stream had all the time that its end may take.
    fn is_late(&self, now: Instant) -> bool {
        self.limit.is_some_and(|limit| limit <= now)
    }

    /// Whether lines can be written.
    fn is_open(&self) -> bool {
        self.directory.is_open || self.ring.is_some()
    }

    /// The hand has ended: goes on where it has left off.
    fn worker_ended(&mut self, shared: &mut Shared) {
        if core::mem::take(&mut self.flags.sealing) {
            return self.shut();
        }
        if let Err(errno) = self.directory.begin(&mut shared.context) {
            self.fail(shared, "unable to open current", errno);
        }
    }

    /// Brings the log to its end; false when a hand does.
    fn seal(&mut self, shared: &mut Shared) -> bool {
        if self.ring.take().is_some() {
            return true;
        }
        self.flags.sealing = true;
        if !self.directory.in_worker(&mut shared.context) {
            return false;
        }
        let (context, output) = (&mut shared.context, &mut *shared.output);
        self.directory
            .retry_until_done(context, output, |it, context, _| {
                it.seal(context)
            });
        self.directory.worker_done(&shared.context);
        self.flags.sealing = false;
        self.shut();
        true
    }

    /// Closes the directory as it is.
    fn shut(&mut self) {
        self.directory.release();
    }

    /// Opens the directory.
    fn open(&mut self, shared: &mut Shared) {
        self.retry = None;
        let at = self.at.as_fd();
        self.console.look(at);
        let mut what = "unable to open log ring";
        let opened = if self.has_dir {
            let main = file::info(at, c"log/main").is_ok();
            self.directory.name = if main { c"log/main" } else { c"log" };
            let _made = self.directory.make(at);
            let (context, output) = (&mut shared.context, &mut *shared.output);
            let name = self.directory.name;
            self.directory
                .enter(context, output, at, name, false, &mut what)
        } else {
            LogRing::open(at).map(|ring| self.ring = Some(ring))
        };
        match opened {
            Ok(()) => {
                self.reported = None;
                self.failures = 0;
            }
            Err(errno) => self.fail(shared, what, errno),
        }
    }

    /// The directory cannot be had: says so once for each reason, and tries
    /// again later. What is too much for the pipe then is dropped.
    fn fail(&mut self, shared: &mut Shared, what: &str, errno: Errno) {
        self.shut();
        self.retry = Some(clock::mono().after(PAUSE));
        self.failures = self.failures.saturating_add(1);
        let subject = self.directory.subject();
        if self.reported.replace(errno) != Some(errno) {
            shared.context.warn("warning", what, subject, errno);
        }
        // The first time another logger may be about to leave it.
        if self.failures > 1 && sys::waiting(self.pipe.as_fd()) > SURPLUS {
            let what = "cannot be written, lines are dropped: ";
            shared
                .context
                .report("warning", &[what.as_bytes(), subject]);
            let _some = sys::read(self.pipe.as_fd(), shared.input);
            self.reader = LineReader::new(shared.context.request.length);
        }
    }

    /// Reads once.
    fn read(&mut self, shared: &mut Shared) {
        let (now, at) = (clock::mono(), self.at.as_fd());
        if self.directory.is_lost(at, now) {
            let (context, output) = (&mut shared.context, &mut *shared.output);
            let renewed = self.directory.renew(context, output, at);
            if let Err((what, errno)) = renewed {
                // What is in the pipe waits for the next one.
                return self.fail(shared, what, errno);
            }
        }
        let kept = self.reader.kept;
        let old = self.kept.get(..kept).unwrap_or(&[]);
        // It came from there.
        let _fits = copy(shared.input, old);
        // An open line is finished byte by byte: what is behind it stays in
        // the pipe for the next logger.
        let byte = self.flags.ends && !self.flags.drains;
        let most = if byte { 1 } else { config::LOG_READ_BYTES };
        let until = kept.saturating_add(most);
        let room = shared.input.get_mut(kept..until).unwrap_or(&mut []);
        let count = if self.flags.ends && self.is_late(now) {
            Ok(0)
        } else {
            sys::read(self.pipe.as_fd(), room)
        };
        let Shared {
            context,
            output,
            input,
            ..
        } = shared;
        let (request, input) = (context.request, &mut input[..]);
        let (directory, ring) = (&mut self.directory, &mut self.ring);
        let (shown, at, name) =
            (&mut self.console, self.at.as_fd(), &self.name);
        let (mut failed, mut unseen) = (None, Ok(()));
        let mut log = |lines, block: &[u8]| {
            let seen = shown.show(at, name, lines, block);
            if seen.is_err() {
                unseen = seen;
            }
            if let Some(ring) = ring {
                failed = ring.log(block).err();
                return;
            }
            let stamps = context.stamps();
            directory.log_whole(context, output, lines, block, &stamps);
        };
        match count {
            Ok(count @ 1..) => {
                self.reader.take(&request, input, count, &mut log);
            }
            Err(Errno::EAGAIN) if !self.flags.drains => {}
            Ok(0) | Err(_) => {
                self.flags.ends = true;
                self.reader.end(input, &mut log);
            }
        }
        if let Some(errno) = failed {
            self.ring = None;
            self.fail(shared, "unable to write to log ring", errno);
        }
        self.directory.worker_done(&shared.context);
        report(shared, unseen);
        let rest = shared.input.get(..self.reader.kept).unwrap_or(&[]);
        // It is shorter than a line.
        let _fits = copy(self.kept, rest);
    }

    /// Reads what is left, if that is to be all; a bounded part of it.
    fn drain(&mut self, shared: &mut Shared) {
        let mut reads = LAST_READS;
        while self.flags.drains
            && (!self.flags.ends || self.reader.is_open())
            && self.is_open()
            && self.directory.worker.is_none()
            && reads > 0
        {
            self.read(shared);
            reads = reads.saturating_sub(1);
        }
    }

    /// The stream has come to its end: the supervisor hears of it, unless
    /// this process's end tells all.
    fn release(&mut self, shared: &mut Shared) {
        self.used = false;
        if shared.context.pending.end == 0 {
            let answer = self.number.to_le_bytes();
            let reported = sys::write_once(fd::STDIN, &answer);
            // One answer of each stream may be too much for the socket, which
            // then holds ANSWERS: as if it ended later.
            if config::SLOTS > ANSWERS && reported == Err(Errno::EAGAIN) {
                self.used = true;
                self.retry = Some(clock::mono().after(PAUSE));
            }
        }
    }
}

/// Says why nothing is shown on the console, if that is so.
fn report(shared: &Shared, shown: Result<(), Errno>) {
    if let Err(errno) = shown {
        let what = "unable to show lines";
        shared
            .context
            .warn("warning", what, b"runt/log-console", errno);
    }
}
