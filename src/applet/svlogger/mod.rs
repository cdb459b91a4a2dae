//! svlogger: the logger shared by services whose `log/` has no `run`.
//!
//! # Synopsis
//! `svlogger`, started by a supervisor
//!
//! # Description
//! Writes the output of each service to the log directory of that service:
//! `log/main` if it exists, else `log` itself; both may be links. Its `config`
//! has the same lines as for svlogd(8). The board sets the defaults, and
//! whether lines are stamped (`log-size`, `log-keep`, `log-stamp`). Old logs,
//! processors and modes are as with svlogd.
//!
//! The supervisor names the services on descriptor 0, a socket, and is told
//! there when a service's stream has ended. svlogger does not search for
//! services itself, since only the supervisor knows which directory a name
//! meant when the service was added, and when the service ended. The open
//! service directory and the pipe, `supervise/log`, are passed with the order.
//! The kernel must therefore have CONFIG_UNIX, and /proc must be mounted so
//! that svlogger can be started. `svlogger --help` prints a summary.
//!
//! A service without `log/` has a log ring instead if `runt/log-ring` contains
//! a number of bytes, or else if the board sets one (`log-ring`): a file of
//! that size in the run directory that keeps the newest lines unchanged.
//! `sv log` shows them. The ring outlives supervisor and logger, and is
//! removed with the run directory.
//!
//! With a file `runt/log-console` each line is also shown on the console, or
//! on the device that the file names, behind `NAME: `. Only as many lines are
//! shown as fit in `log-console` bytes a second and as the console takes at
//! once; then a message states how many lines were left out. No process waits
//! for the console. Control characters are shown as `?`. Patterns and stamps
//! apply to the log only.
//!
//! # Loggers
//! There is one logger for each medium, up to a maximum number (`loggers`), so
//! that a medium that stalls delays only the services that log to it. A medium
//! is the file system that holds the log directory when its stream begins; all
//! log rings count as one medium. The first media to appear get a logger each
//! and keep it; all further ones share the last logger.
//!
//! # Streams
//! Streams take turns: one read of at most `log-read-bytes`, of which all
//! whole lines are in the file before anything else is read. A copy of the
//! process does slow work (a rotation with its fsync, a processor, a full
//! disk) for one directory, while the other streams continue. Meanwhile the
//! service of that directory finds its pipe full and waits.
//!
//! All streams of a logger share one process and one user. They are kept apart
//! because each has its own pipe, open line, directory and lock, and a copy
//! keeps only those of its own stream open. A service that must not share a
//! process with others needs a `log/run`.
//!
//! # User
//! svlogger runs as the supervisor's user, or as the user that the board names
//! (`logger-user`), with no other groups, no capabilities and no way to gain
//! privileges. Processors run as the same user. Apart from its logs it can
//! write only what everyone can. Before the supervisor orders a stream it
//! makes the ring and gives it to that user, or makes `log/main` and gives it
//! to that user with the logs in it. It does so only if `log/main` and `log`
//! are root's, no other user may write to them, and `log/main` holds only what
//! a log directory holds, every log being a file with one name. `log` itself
//! stays root's, since its `run` is. Anything that already belongs to the user
//! is left as it is. Everything else must be given to the user by whatever
//! made it; a message states that it was not. `config` stays root's and must
//! be readable, the service directory must be searchable by everyone, and a
//! device that lines are shown on must be writable by the user. A log
//! directory that was removed can be made again only where the user may write.
//!
//! # Failures
//! While a log directory cannot be opened, svlogger tries again every 3
//! seconds. The lines stay in the pipe. When it is nearly full each attempt
//! drops one read of them, with a message, so that the service is not slowed
//! down. A log directory that was removed while in use is then made again, if
//! its parent still exists, and continues with the input in the pipe. If the
//! directory was moved, or `current` was removed or moved, a new one begins at
//! once. Lines that cannot be written or rotated, on a full disk or a medium
//! that became read-only, wait, and so does the service, until they can be:
//! this is reported once, and no line is lost. With a `d` line in the config
//! the lines are dropped and counted instead, as with svlogd; HUP helps as
//! there.
//!
//! A config longer than `log-config-bytes` is not read on HUP: the previous
//! one stays in force. Without a previous one the part that fits is obeyed,
//! but no patterns: every line is logged.
//!
//! Messages, and the lines that an `e` in a config copies to descriptor 2, do
//! not wait for a reader there: see runsv(8).
//!
//! # Control
//! `sv hup NAME/log` reads the config again, `sv alarm NAME/log` rotates.
//! `sv pause`, `cont`, `down`, `up`, `restart` work as for any log service,
//! for this one stream. `sv kill NAME/log` kills the logger: it is started
//! again and continues all streams on the same pipes.
//!
//! # Without a supervisor
//! A logger that loses its supervisor continues each stream until no process
//! has the pipe open for writing any more, or until another supervisor has
//! taken over the service (`supervise/ok`, checked every second). Then it
//! finishes the current line, and the next logger continues with the input in
//! the pipe. Until then that logger finds the log locked, and tries again. A
//! logger that is not permitted to check, because it has a user of its own, or
//! that cannot write the log, does not stay.
//!
//! # Signals
//! HUP, ALRM: the same for every stream. TERM: finish the open lines, then
//! end. A second TERM does not wait for the rest of the lines, nor for
//! processors. Neither is waited for longer than 4 s, nor is a directory that
//! stalls: 1 s later its copy is killed.
//!
//! # Exit status
//! 0 on TERM, or when no stream is left without a supervisor; 111 if it cannot
//! work.

mod console;
mod flags;
mod ring;
mod shared;
mod stream;

use heapless::{Vec, VecView};

use crate::{
    args::svlogd::Request,
    config,
    machine::restart_delay::RESTART_PAUSE,
    supervisor::{dropped_lines, logger_user},
    sys::{
        self, Errno, Fd,
        buffer::Buffer,
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
use super::logdir::{BYTES, LogContext, Mode, Output, PendingSignals};

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
    if let Some(user) = logger_user() {
        identity::switch_to(user)?;
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
    limits::raise_files(config::descriptors(config::SLOTS));
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
        console: Console::stderr(|count, to_stderr| {
            dropped_lines("svlogger", count, to_stderr)
        }),
        pause_reported: None,
    };
    let shared = Shared {
        context,
        output: Output::new(&mut bytes.output),
        input: Buffer::new(&mut bytes.input),
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
            let until = if all { Some(Instant::AT_ONCE) } else { due };
            let console = self.shared.context.console;
            if let Some(console) = console {
                console.update_poller(&self.shared.poller, TOKEN_CONSOLE);
            }
            for token in &self.shared.poller.wait(until)? {
                match *token {
                    TOKEN_SIGNALS => {
                        self.shared.context.take_signals();
                        self.handle_signals();
                        all = true;
                    }
                    TOKEN_ORDERS => self.take_orders(),
                    TOKEN_CONSOLE => {
                        if let Some(console) = console {
                            console.write_backlog();
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
    fn handle_signals(&mut self) {
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
                apply_order(stream, order, files, shared);
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
fn apply_order(
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
