//! svlogger: the logger that services share whose `log/` has no `run`.
//!
//! # Synopsis
//! `svlogger`, started by a supervisor
//!
//! # Description
//! Writes what each service says into the log directory of that service:
//! `log/main` if there is one, else `log` itself, which may be links. Of its
//! `config` all that svlogd(8) knows holds; what it does not say, and whether
//! lines are stamped, the board says (`log-size`, `log-keep`, `log-stamp`).
//! Old logs, processors and modes are as with svlogd.
//!
//! The supervisor tells it on descriptor 0, a socket, which services there
//! are, and hears there of each that is done with. It is reported, and does
//! not look, since who supervises knows best which directory a name meant when
//! it was taken up, and when it has ended. That directory and the pipe,
//! `supervise/log`, come open with what it is reported; so the kernel must have
//! CONFIG_UNIX, and /proc must be there to start it from.
//!
//! A service without `log/` has a log ring instead, if `runt/log-ring` names a
//! number of bytes, or else the board (`log-ring`): a file of that size in the
//! run directory that keeps the newest lines, as they are. `sv log` shows
//! them. It outlives supervisor and logger, and goes with the run directory.
//!
//! With a file `runt/log-console` each line is shown on the console too, or on
//! the device that the file names, behind `NAME: `: what fits `log-console`
//! bytes in a second, and what the console takes at once; then how many lines
//! were left out. Nobody waits for it, and control characters are `?`.
//! Patterns and stamps are the log's.
//!
//! # Loggers
//! There is one for each medium, as long as there are any (`loggers`), so that
//! one that stalls holds up only those that log there. A medium is the file
//! system that the log directory is on, when its stream begins; all log rings
//! are one. The first to come get a logger each, which stays that medium's,
//! and all further ones share the last.
//!
//! # Streams
//! Each has its turn: one read of at most `log-read-bytes`, all whole lines
//! of which are in the file before anything else is read. What takes its time
//! (a rotation with its fsync, a processor, a disk that is full) does a copy
//! of the process, for one directory; the others go on. A service whose logger
//! is busy so finds its pipe full, and waits.
//!
//! All streams of a logger are one process with one user: what keeps them
//! apart is that each has a pipe, an open line, a directory and a lock of its
//! own, and that a copy has only those of its own stream open. Who must not
//! share a process with others has a `log/run`.
//!
//! # User
//! The supervisor's, or where the board names one (`logger-user`) that one,
//! with no other groups, no capabilities and no way to privileges; processors
//! are it too. What else it may write is what everybody may. Before it is
//! reported of a stream the supervisor makes the ring and gives it that, or
//! makes
//! `log/main` and gives it that with the logs in it: if that and `log` are
//! root's, nobody else may write to them, and `log/main` holds only what a log
//! directory holds, every log a file of one name. `log` itself stays root's:
//! its `run` is. What is the user's already is left as it is; all else must be
//! given by who made it, and it is said that it was not. `config` stays root's
//! and must be readable, the service directory must let everybody through, and
//! a device that lines are shown on must be the user's to write. A log
//! directory that was removed it can make only where it may write.
//!
//! # Trouble
//! While a log directory cannot be opened that is tried again each 3 seconds;
//! lines stay in the pipe, and when that is nearly full one read of them is
//! dropped with each try, which is said: the service goes on as fast. One that
//! was removed while it was written to is made again then, if what it was in
//! is still there, and goes on with what is in the pipe. Of one that was
//! moved, or of which `current` was removed or moved, a new one begins at
//! once. What cannot be written or rotated, on a full disk or a medium that
//! became read-only, waits, and so does its service, until it can: that is
//! said once, and no line is lost. With a `d` line in the config the lines are
//! dropped and counted instead, as with svlogd; HUP helps as there.
//!
//! A config longer than `log-config-bytes` is not read on HUP: the one before
//! stays in force. Where there was none before, what fits of it is obeyed, but
//! no pattern: every line is logged.
//!
//! Messages, and the lines that an `e` in a config copies to descriptor 2,
//! wait for no reader there: see runsv(8).
//!
//! # Control
//! `sv hup NAME/log` reads the config again, `sv alarm NAME/log` rotates,
//! `sv pause`, `cont`, `down`, `up`, `restart` are as for any log service, for
//! this one stream. `sv kill NAME/log` kills the logger: it is started again
//! and goes on with all, on the same pipes.
//!
//! # Without a supervisor
//! A logger that loses its supervisor goes on with each service until nobody
//! has that one's pipe open to write any more, or until another supervisor has
//! taken it up (`supervise/ok`, looked at each second): then it finishes with
//! the line at hand, and the next logger goes on with what is in the pipe.
//! That one finds the log locked before, and tries again. Who may not look, as
//! a user of its own, or finds that the log cannot be written, does not stay.
//!
//! # Signals
//! HUP, ALRM: the same for every stream. TERM: finish the open lines, end; a
//! second one does not wait for their rest, nor for processors, and neither is
//! waited for longer than 4 s, nor is a directory that stalls: 1 s later its
//! copy is killed.
//!
//! # Exit codes
//! 0 reported to end, or no stream is left without a supervisor; 111 it cannot
//! work.

mod console;
mod ring;
mod shared;
mod stream;

use heapless::{Vec, VecView};

use crate::{
    args::svlogd::Request,
    config,
    machine::restart_delay::RESTART_PAUSE,
    sys::{
        self, Errno, Fd,
        console::Console,
        fd, fd_passing, identity, limits,
        poller::{Interest, Poller},
        signal::{Number, Signals},
        start::Start,
        static_cell::StaticCell,
    },
    text::Name,
    wire::{
        clock::Instant,
        order::{self, LoggerOrder},
    },
};

use self::{
    shared::{Buffers, Shared, TOKEN_STREAMS},
    stream::Stream,
};
use super::logdir::{BYTES, LogContext, Mode, PendingSignals};

/// Streams by number, up to the highest one used so far.
static STREAMS: StaticCell<Vec<Stream, { config::SLOTS }>> =
    StaticCell::new(Vec::new());
/// Buffers of the streams.
static BUFFERS: StaticCell<[Buffers; config::SLOTS]> =
    StaticCell::new([const { Buffers::NEW }; config::SLOTS]);

/// Poller token of the signal descriptor.
const TOKEN_SIGNALS: u64 = 0;
/// Poller token of the supervisor's orders.
const TOKEN_ORDERS: u64 = 1;
/// Poller token of descriptor 2, while messages wait to be written to it.
const TOKEN_CONSOLE: u64 = 2;

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    match work(start) {
        Ok(()) => 0,
        Err(errno) => {
            super::fatal(b"svlogger: fatal: ", "unable to start", b"", errno)
        }
    }
}

/// Sets up the logger and runs it to its end.
fn work(start: Start) -> Result<(), Errno> {
    if let Some(user) = identity::of_loggers() {
        identity::become_only(user)?;
    }
    let wanted = [
        Number::TERM,
        Number::HUP,
        Number::ALARM,
        Number::CHILD,
        Number::PIPE,
        Number::USR1,
    ];
    let signals = Signals::take(&wanted)?;
    let (Some(streams), Some(buffers), Some(bytes)) =
        (STREAMS.take(), BUFFERS.take(), BYTES.take())
    else {
        return Err(Errno::EBUSY);
    };
    limits::raise_files(config::SLOTS);
    // It may be inherited as blocking, but the loop must not block.
    sys::file::set_blocking(fd::STDIN, false)?;
    let poller = Poller::new()?;
    poller.add(signals.as_fd(), Interest::Readable, TOKEN_SIGNALS)?;
    poller.add(fd::STDIN, Interest::Readable, TOKEN_ORDERS)?;
    let bound = |count| u64::try_from(count).unwrap_or(u64::MAX);
    let context = LogContext {
        name: b"svlogger",
        service: Name::new(),
        bounds: (bound(config::LOG_SIZE), bound(config::LOG_KEEP)),
        request: Request::stamped(config::LOG_STAMP),
        environ: start.environ,
        signals,
        pending: PendingSignals::default(),
        deadline: None,
        mode: Mode::Shared,
        console: Console::stderr("svlogger"),
        pause_reported: None,
    };
    let shared = Shared {
        context,
        output: &mut bytes.output,
        input: &mut bytes.input,
        poller,
    };
    let buffers = buffers.iter_mut();
    let orphan = false;
    Svlogger {
        shared,
        streams,
        buffers,
        orphan,
    }
    .run()
}

/// A running logger.
struct Svlogger {
    shared: Shared,
    streams: &'static mut VecView<Stream>,
    /// Buffers of streams not made yet.
    buffers: core::slice::IterMut<'static, Buffers>,
    /// The supervisor has died or closed the socket.
    orphan: bool,
}

impl Svlogger {
    /// Logs until no stream is left after TERM or the loss of the supervisor.
    fn run(&mut self) -> Result<(), Errno> {
        loop {
            let ends = self.shared.context.pending.end > 0 || self.orphan;
            if ends && !self.streams.iter().any(|stream| stream.used) {
                return Ok(());
            }
            let due = self.streams.iter().filter_map(Stream::next_due).min();
            let mut all = due.is_some_and(|due| due <= sys::clock::mono());
            let until = if all { Some(Instant::at(0)) } else { due };
            let console = self.shared.context.console;
            if let Some(console) = console {
                console.attend(&self.shared.poller, TOKEN_CONSOLE);
            }
            for token in &self.shared.poller.wait(until)? {
                match *token {
                    TOKEN_SIGNALS => {
                        self.shared.context.take_signals();
                        self.obey();
                        all = true;
                    }
                    TOKEN_ORDERS => self.take_orders(),
                    TOKEN_CONSOLE => {
                        if let Some(console) = console {
                            console.write_on();
                        }
                    }
                    token => {
                        let index = token.saturating_sub(TOKEN_STREAMS);
                        let index = usize::try_from(index).unwrap_or(0);
                        if let Some(stream) = self.streams.get_mut(index) {
                            stream.on_readable(&mut self.shared);
                        }
                    }
                }
            }
            if all {
                for stream in self.streams.iter_mut() {
                    stream.step(&mut self.shared);
                }
            }
        }
    }

    /// Passes signals on to every stream.
    fn obey(&mut self) {
        let pending = &mut self.shared.context.pending;
        let reopen = core::mem::take(&mut pending.reopen);
        let rotate = core::mem::take(&mut pending.rotate);
        pending.reread = false;
        for stream in self.streams.iter_mut() {
            if reopen {
                stream.reopen();
            }
            stream.flags.rotate |= rotate;
            // No later logger reads the rest of a service that has ended.
            let last = pending.end > 1;
            stream.flags.ends |=
                last || pending.end > 0 && !stream.flags.drains;
            stream.flags.drains |= last;
        }
    }

    /// Receives and carries out the supervisor's orders. The end of the socket
    /// means that the supervisor is gone.
    fn take_orders(&mut self) {
        let mut record = [0; order::BYTES];
        loop {
            let files = match fd_passing::receive(fd::STDIN, &mut record) {
                Ok((0, _)) => break,
                Ok((_, files)) => files,
                Err(_) => return,
            };
            let Some(order) = order::unpack(&record) else {
                continue;
            };
            if let Some((stream, shared)) = self.stream(order.stream.into()) {
                carry_out(stream, order, files, shared);
            }
        }
        // No further orders can come.
        let _gone = self.shared.poller.remove(fd::STDIN).is_err();
        self.orphan = true;
        // The supervisor's descriptors may not all be closed yet.
        let next_check = sys::clock::mono().after(RESTART_PAUSE);
        for stream in self.streams.iter_mut() {
            stream.next_check = Some(next_check);
        }
    }

    /// Returns the stream with this number, which is made if necessary; `None`
    /// beyond the capacity.
    fn stream(&mut self, index: usize) -> Option<(&mut Stream, &mut Shared)> {
        while self.streams.len() <= index {
            let stream = Stream::new(self.buffers.next()?);
            self.streams.push(stream).ok()?;
        }
        Some((self.streams.get_mut(index)?, &mut self.shared))
    }
}

/// Carries out an order for a stream.
fn carry_out(
    stream: &mut Stream,
    order: LoggerOrder<'_>,
    files: [Fd; 2],
    shared: &mut Shared,
) {
    match order.byte {
        b'u' if !stream.used && shared.context.pending.end == 0 => {
            stream.start(order, files, shared);
        }
        b't' => stream.flags.ends |= !stream.flags.drains,
        b'x' => stream.flags.drains = true,
        b'h' => stream.reopen(),
        b'a' => stream.flags.rotate = true,
        b'p' => stream.flags.paused = true,
        b'c' => stream.flags.paused = false,
        _ => {}
    }
    stream.step(shared);
}
