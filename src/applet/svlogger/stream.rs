//! A stream: reads the pipe of one service and writes its log.
//!
//! ```text
//!   free --u--> used: the directory is
//!    ^            shut <--- 3 s, HUP, or it fails --- open <---> the worker's
//!    |                                                 |    (logdir::worker)
//!    +-- ordered to end, end of the pipe, or another supervisor: the log is
//!        synced and marked as closed, nothing waits for a processor
//! ```
//!
//! [`Stream::step`] makes every transition but the first. The pipe is read
//! while the directory is open and no worker has it.

use core::time::Duration;

use crate::{
    config,
    machine::restart_delay::RESTART_PAUSE,
    sys::{
        self, AsFd, Errno, Fd, buffer::Buffer, clock, fd, file,
        poller::Interest, signal::Number,
    },
    text::{self, Name},
    wire::{
        clock::{Instant, earliest},
        order::LoggerOrder,
    },
};

use super::{
    console::ConsoleCopy,
    flags::Flags,
    ring::LogRing,
    shared::{Buffers, Shared, TOKEN_STREAMS},
};
use crate::applet::{
    logdir::{
        ConfigText, Directory, LineReader,
        context::{LIMIT, PAUSE},
    },
    sv::service::{Unavailable, probe},
};

/// Bytes in a pipe above which input is dropped while the log cannot be
/// opened: half of a pipe's capacity on Linux.
const SURPLUS: u64 = 32_768;

/// Minimum number of answers that the socket holds: 277 on Linux, where a
/// short message takes 768 bytes of 212992.
const ANSWERS: usize = 256;

/// Reads in one step of a stream that is about to end: the content of a full
/// pipe.
const LAST_READS: usize = 65_536 / config::LOG_READ_BYTES + 1;

/// Time after which a lock is tried again that another logger may be about to
/// release.
const HANDOVER: Duration = Duration::from_millis(100);

/// Number of times that this is done before it is a failure.
const HANDOVERS: u32 = 10;

/// Time from TERM's limit until a worker is killed.
const GRACE: Duration = Duration::from_millis(500);

/// One service's stream from its pipe to its log.
pub(super) struct Stream {
    /// The stream belongs to a service.
    pub(super) used: bool,
    pub(super) flags: Flags,
    /// Next attempt to open the log.
    retry: Option<Instant>,
    /// Next check whether another supervisor has the service; set when its own
    /// is gone.
    pub(super) next_check: Option<Instant>,
    /// Moment from which on a stream that ends waits for nothing.
    limit: Option<Instant>,
    /// Last reported reason why the log could not be opened.
    reported: Option<Errno>,
    /// Failed attempts since the log was last open.
    failures: u32,
    /// Attempts since then that found the lock held and do not count yet.
    handovers: u32,
    /// Number in the orders and answers.
    number: u16,
    /// The service directory.
    service_dir: Fd,
    /// The service has a log directory, not a ring.
    has_dir: bool,
    /// Name of the service.
    name: Name,
    pipe: Fd,
    reader: LineReader,
    /// Bytes of an incomplete line.
    kept: Buffer,
    directory: Directory,
    /// The open ring, if there is no directory.
    ring: Option<LogRing>,
    /// Copy of the lines on the console.
    console: ConsoleCopy,
}

impl Stream {
    /// Returns a stream that is not in use.
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
            handovers: 0,
            number: 0,
            service_dir: Fd::none(),
            has_dir: false,
            name: Name::new(),
            pipe: Fd::none(),
            reader: LineReader::new(1),
            kept: Buffer::new(&mut room.kept),
            directory: Directory::new(c"log", ConfigText::new(&mut room.text)),
            ring: None,
            console: ConsoleCopy::disabled(),
        }
    }

    /// Begins with a service. A stream without a pipe ends at once, and the
    /// supervisor orders it again.
    pub(super) fn start(
        &mut self,
        order: LoggerOrder<'_>,
        files: [Fd; 2],
        shared: &mut Shared,
    ) {
        self.number = order.stream;
        self.has_dir = order.has_dir;
        [self.service_dir, self.pipe] = files;
        self.name = text::name(order.name).unwrap_or_default();
        self.used = true;
        self.reported = None;
        self.limit = None;
        self.failures = 0;
        self.handovers = 0;
        self.reader = LineReader::new(shared.context.request.length);
        self.kept.clear();
        self.flags = Flags {
            reopen: true,
            ..Flags::default()
        };
        // The pipe is received last: when descriptors run out it is missing.
        if let Err(errno) = file::info_of(self.pipe.as_fd()) {
            self.flags.ends = true;
            shared.context.service.clone_from(&self.name);
            let what = "unable to take over pipe";
            shared
                .context
                .warn("warning", what, b"supervise/log", errno);
        }
    }

    /// Returns the next moment at which [`Stream::step`] has work to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.used {
            return None;
        }
        let (due, shown) = (self.directory.next_due(), self.console.due());
        earliest(&[self.retry, self.next_check, self.limit, due, shown])
    }

    /// Handles a readable pipe.
    pub(super) fn on_readable(&mut self, shared: &mut Shared) {
        shared.context.service.clone_from(&self.name);
        self.read(shared);
        if self.flags.ends || self.flags.drains || !self.can_read() {
            self.step(shared);
        }
    }

    /// Does all work that is due, and registers the pipe or removes it.
    pub(super) fn step(&mut self, shared: &mut Shared) {
        if !self.used {
            return;
        }
        shared.context.service.clone_from(&self.name);
        self.advance(shared);
        let listens = self.used && self.can_read() && !self.flags.paused;
        let pipe = self.pipe.as_fd();
        if core::mem::replace(&mut self.flags.listens, listens) != listens {
            let token = TOKEN_STREAMS.saturating_add(self.number.into());
            // It is registered exactly while `listens` is set.
            let _set = if listens {
                shared.poller.add(pipe, Interest::Readable, token).is_err()
            } else {
                shared.poller.remove(pipe).is_err()
            };
        }
        if !self.used {
            self.pipe = Fd::none();
            self.service_dir = Fd::none();
            self.console = ConsoleCopy::disabled();
            self.directory.close_dir();
        }
    }

    /// Makes the transitions of the directory's state.
    fn advance(&mut self, shared: &mut Shared) {
        let now = clock::mono();
        let summarized =
            self.console
                .summarize(self.service_dir.as_fd(), &self.name, now);
        shared.report_console(summarized);
        self.directory.check_job(&mut shared.context, now);
        self.check_supervisor(now);
        if self.flags.ends && self.limit.is_none() {
            self.limit = Some(now.after(LIMIT));
            self.directory.worker().signal(Number::TERM);
        }
        if self.directory.worker().has_directory() {
            if self.directory.worker_runs() {
                return self.limit_worker(shared, now);
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
        if self.directory.worker().has_directory() {
            return;
        }
        // Where nothing can be written nothing is waited for, but once: the
        // worker of a logger that was killed may still have the lock.
        if self.flags.ends && self.reader.is_open() && self.is_late(now) {
            self.read(shared);
            if self.directory.worker().has_directory() {
                return;
            }
        }
        if self.is_at_end() {
            return self.end(shared, now);
        }
        let rotate = core::mem::take(&mut self.flags.rotate);
        let (context, output) = (&mut shared.context, &mut shared.output);
        self.directory.handle_timers(context, output, now, rotate);
        self.directory.worker_done(&shared.context);
    }

    /// Checks whether another supervisor has the service, where the own one is
    /// gone and that is due.
    fn check_supervisor(&mut self, now: Instant) {
        if self.next_check.is_none_or(|check| now < check) {
            return;
        }
        self.next_check = Some(now.after(RESTART_PAUSE));
        // The supervisor that could order it to continue is gone.
        self.flags.paused = false;
        // If the check is not permitted the stream ends, too.
        let probed = probe(self.service_dir.as_fd());
        if !probed.is_err_and(Unavailable::is_transient) {
            (self.flags.ends, self.flags.drains) = (true, true);
        }
    }

    /// Ends a worker that runs beyond the stream's limit: TERM, then KILL.
    fn limit_worker(&mut self, shared: &Shared, now: Instant) {
        if !self.is_late(now) {
            return;
        }
        self.limit = Some(now.after(GRACE));
        if core::mem::replace(&mut self.flags.killed, true) {
            let what = b"lines at hand are lost: ";
            let name = self.directory.subject();
            shared.context.report("warning", &[what, name]);
            self.directory.worker().signal(Number::KILL);
        } else {
            self.directory.worker().signal(Number::TERM);
        }
    }

    /// Returns whether nothing remains to be read, or nothing can be written.
    fn is_at_end(&self) -> bool {
        let ends = self.flags.ends && !self.reader.is_open();
        let last = self.flags.drains || self.next_check.is_some();
        let gives_up = self.flags.ends || last && self.failures > 1;
        ends || !self.is_open() && gives_up
    }

    /// Closes the log and ends the stream once its processor has ended.
    fn end(&mut self, shared: &mut Shared, now: Instant) {
        if self.is_open() && !self.seal(shared) {
            return;
        }
        if self.is_late(now) || shared.context.pending.end > 1 {
            self.directory.end_job(&shared.context);
        }
        if self.directory.is_processed() {
            self.release(shared);
        }
    }

    /// Requests that the log is opened again. A worker rereads the config at
    /// once, where that may help.
    pub(super) fn reopen(&mut self) {
        self.flags.reopen = true;
        self.directory.worker().signal(Number::HUP);
    }

    /// Returns whether the time for the stream's end is used up.
    fn is_late(&self, now: Instant) -> bool {
        self.limit.is_some_and(|limit| limit <= now)
    }

    /// Returns whether the log is open.
    fn is_open(&self) -> bool {
        self.directory.is_open || self.ring.is_some()
    }

    /// Returns whether the log is open and no worker has it.
    fn can_read(&self) -> bool {
        self.is_open() && !self.directory.worker().has_directory()
    }

    /// Handles the end of the worker: continues with the directory where it
    /// stopped.
    fn worker_ended(&mut self, shared: &mut Shared) {
        if core::mem::take(&mut self.flags.sealing) {
            return self.directory.release();
        }
        if let Err(errno) = self.directory.begin(&mut shared.context) {
            self.fail(shared, "unable to open current", errno);
        }
    }

    /// Seals and closes the log. Returns `false` if a worker does that.
    fn seal(&mut self, shared: &mut Shared) -> bool {
        if self.ring.take().is_some() {
            return true;
        }
        let (context, output) = (&mut shared.context, &mut shared.output);
        self.flags.sealing = !self.directory.seal_and_release(context, output);
        !self.flags.sealing
    }

    /// Opens the log directory or ring.
    fn open(&mut self, shared: &mut Shared) {
        self.retry = None;
        let at = self.service_dir.as_fd();
        self.console.look(at);
        let mut what = "unable to open log ring";
        let opened = if self.has_dir {
            let main = file::info(at, c"log/main").is_ok();
            let name = if main { c"log/main" } else { c"log" };
            self.directory.set_path(name);
            let _made = self.directory.make(at);
            let (context, output) = (&mut shared.context, &mut shared.output);
            self.directory
                .enter(context, output, at, name, false, &mut what)
        } else {
            LogRing::open(at).map(|ring| self.ring = Some(ring))
        };
        match opened {
            Ok(()) => {
                self.reported = None;
                self.failures = 0;
                self.handovers = 0;
            }
            Err(errno) => self.fail(shared, what, errno),
        }
    }

    /// Handles a log that cannot be opened: reports each reason once and
    /// schedules the next attempt. Drops input above `SURPLUS`.
    fn fail(&mut self, shared: &mut Shared, what: &str, errno: Errno) {
        self.directory.release();
        if errno == Errno::EAGAIN && self.handovers < HANDOVERS {
            // The logger before this one, after a fault of the supervisor.
            self.handovers = self.handovers.saturating_add(1);
            self.retry = Some(clock::mono().after(HANDOVER));
            return;
        }
        self.retry = Some(clock::mono().after(PAUSE));
        self.failures = self.failures.saturating_add(1);
        let subject = self.directory.subject();
        if self.reported.replace(errno) != Some(errno) {
            shared.context.warn("warning", what, subject, errno);
        }
        // At the first failure another logger may be about to release it.
        if self.failures > 1 && sys::waiting(self.pipe.as_fd()) > SURPLUS {
            let what = "cannot be written, lines are dropped: ";
            shared
                .context
                .report("warning", &[what.as_bytes(), subject]);
            shared.input.clear();
            let most = config::LOG_READ_BYTES;
            let _some = shared.input.read(self.pipe.as_fd(), most);
            self.kept.clear();
            self.reader = LineReader::new(shared.context.request.length);
        }
    }

    /// Begins a new log where the names lead, if the open one was removed or
    /// moved.
    fn renew_if_lost(
        &mut self,
        shared: &mut Shared,
        now: Instant,
    ) -> Result<(), (&'static str, Errno)> {
        let at = self.service_dir.as_fd();
        if !self.directory.is_lost(at, now) {
            return Ok(());
        }
        let (context, output) = (&mut shared.context, &mut shared.output);
        self.directory.renew(context, output, at)
    }

    /// Reads the pipe once and logs the lines.
    fn read(&mut self, shared: &mut Shared) {
        let now = clock::mono();
        if let Err((what, errno)) = self.renew_if_lost(shared, now) {
            // The input waits in the pipe for the next attempt.
            return self.fail(shared, what, errno);
        }
        shared.input.clear();
        // The bytes came from that buffer.
        let _fits = shared.input.append(self.kept.as_slice());
        // An open line is finished byte by byte: the bytes behind it stay in
        // the pipe for the next logger.
        let byte = self.flags.ends && !self.flags.drains;
        let most = if byte { 1 } else { config::LOG_READ_BYTES };
        let count = if self.flags.ends && self.is_late(now) {
            Ok(0)
        } else {
            shared.input.read(self.pipe.as_fd(), most)
        };
        let Shared {
            context,
            output,
            input,
            ..
        } = shared;
        let request = context.request;
        let (directory, ring) = (&mut self.directory, &mut self.ring);
        let (console, at, name) =
            (&mut self.console, self.service_dir.as_fd(), &self.name);
        let (mut failed, mut console_result) = (None, Ok(()));
        let mut log = |lines, block: &[u8]| {
            let copied = console.show(at, name, lines, block);
            if copied.is_err() {
                console_result = copied;
            }
            if let Some(ring) = ring {
                failed = ring.log(block).err();
                return;
            }
            let stamps = context.stamps();
            directory.log_whole(context, output, lines, block, &stamps);
        };
        match count {
            Ok(1..) => self.reader.take(&request, input, &mut log),
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
        shared.report_console(console_result);
        self.kept.clear();
        // The rest is shorter than a line.
        let _fits = self.kept.append(shared.input.as_slice());
    }

    /// Reads the rest of a stream that drains, at most `LAST_READS` times.
    fn drain(&mut self, shared: &mut Shared) {
        let mut reads = LAST_READS;
        while self.flags.drains
            && (!self.flags.ends || self.reader.is_open())
            && self.can_read()
            && reads > 0
        {
            self.read(shared);
            reads = reads.saturating_sub(1);
        }
    }

    /// Ends the stream and tells the supervisor, unless this process is about
    /// to end, which says the same of all streams.
    fn release(&mut self, shared: &mut Shared) {
        self.used = false;
        if shared.context.pending.end == 0 {
            let answer = self.number.to_le_bytes();
            let sent = sys::write_once(fd::STDIN, &answer);
            // The answers of all streams may be more than the socket holds,
            // which is ANSWERS: the stream then ends later.
            if config::SLOTS > ANSWERS && sent == Err(Errno::EAGAIN) {
                self.used = true;
                self.retry = Some(clock::mono().after(PAUSE));
            }
        }
    }
}
