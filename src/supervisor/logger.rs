//! Manages the loggers shared by services whose `log/` has no `run`: starts
//! each when the first such service needs it, sends it orders and reads its
//! answers.
//!
//! To its slot, such a service has a log service like any other; it consists
//! of a logger's work on the service's pipe. It starts when the logger
//! receives the stream, gets signals as orders, and has ended when the logger
//! says so or has itself ended. So the delays, the wants, the states and the
//! order of the end are those of `machine::slot`, and there are no others.
//!
//! A medium that stalls blocks its logger. So there is one logger for each
//! medium, as long as there are loggers (`config::LOGGERS`); further media
//! share the last one.

use crate::{
    config,
    sys::{
        self, AsFd, At, Errno, Fd,
        child::{self, ExitStatus, Setup},
        clock, fd_passing, file, identity,
        poller::{Interest, Poller},
        signal,
    },
    wire::{
        clock::Instant,
        control::Signal,
        order::{LoggerOrder, pack},
    },
};

use super::{IDLE_DELAY, reporter::Reporter, source::Source, spawner::Spawner};

/// Name of the applet.
const NAME: &core::ffi::CStr = c"svlogger";

/// Medium of all log rings: no device has this number.
pub(super) const RINGS: u64 = 0;

/// Number of shared loggers.
pub(super) const LOGGERS: usize = if config::family::SHARED_LOGS {
    config::LOGGERS
} else {
    0
};

/// Shared logger.
#[derive(Debug, Default)]
struct Logger {
    /// Device whose streams it handles; set by its first stream.
    medium: Option<u64>,
    /// Its process, while it runs.
    process: Option<LoggerProcess>,
}

/// Returns user and group of the shared loggers, if the board has a user for
/// them and this process may change to it.
pub fn logger_user() -> Option<[u32; 2]> {
    let user = config::LOGGER_USER;
    (user != [0, 0] && identity::is_root()).then_some(user)
}

/// All shared loggers.
#[derive(Debug)]
pub(super) struct Loggers {
    /// Those without a medium are behind those that have one.
    loggers: [Logger; LOGGERS],
    /// Time at which orders that found no room are sent again.
    retry_at: Option<Instant>,
}

/// Process of a running logger.
#[derive(Debug)]
struct LoggerProcess {
    pid: u32,
    /// Socket for orders and answers.
    socket: Fd,
}

impl Loggers {
    /// Returns the loggers, none of which runs.
    pub(super) fn new() -> Self {
        Self {
            loggers: core::array::from_fn(|_| Logger::default()),
            retry_at: None,
        }
    }

    /// Returns the process id of the logger for streams of a medium, and
    /// starts it if it does not run: that of the medium, or the first without
    /// a medium, or the last.
    pub(super) fn pid_of(
        &mut self,
        medium: Option<u64>,
        spawner: &Spawner,
        poller: &Poller,
        reporter: &Reporter,
    ) -> Result<u32, Errno> {
        let mut loggers = self.loggers.iter();
        let own =
            loggers.position(|l| l.medium.is_none() || l.medium == medium);
        let at = own.unwrap_or(LOGGERS.saturating_sub(1));
        let logger = self.loggers.get_mut(at).ok_or(Errno::ESRCH)?;
        if own.is_some() {
            logger.medium = medium;
        }
        if let Some(process) = &logger.process {
            return Ok(process.pid);
        }
        let process = LoggerProcess::start(spawner, poller, reporter)?;
        Ok(logger.process.insert(process).pid)
    }

    /// Sends the logger `pid` an order, with the files of its stream if that
    /// starts: the service directory and the pipe. Returns ESRCH if that is
    /// not a logger.
    pub(super) fn send(
        &self,
        pid: u32,
        order: LoggerOrder<'_>,
        files: Option<[At<'_>; 2]>,
    ) -> Result<(), Errno> {
        let running = self.loggers.iter().flat_map(|l| &l.process);
        let mut running = running.filter(|process| process.pid == pid);
        let logger = running.next().ok_or(Errno::ESRCH)?;
        if let Some([_, pipe]) = files {
            // A process that reads many pipes must not block on one.
            file::set_blocking(pipe, false)?;
        }
        fd_passing::send(logger.socket.as_fd(), &pack(order), files)
    }

    /// Sends the pending orders again within [`IDLE_DELAY`].
    pub(super) fn retry_later(&mut self) {
        self.retry_at = Some(clock::mono().after(IDLE_DELAY));
    }

    /// Returns when pending orders are to be sent again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Records that pending orders are now sent again.
    pub(super) fn begin_retry(&mut self) {
        self.retry_at = None;
    }

    /// Returns the next answer of the logger `at`: its process id, and the
    /// stream that it has finished. A logger that sends anything else, or
    /// closes its socket, is killed.
    pub(super) fn next_answer(
        &self,
        at: usize,
        poller: &Poller,
    ) -> Option<(u32, u16)> {
        let process = self.loggers.get(at)?.process.as_ref()?;
        match answer(process) {
            Answer::Done(stream) => Some((process.pid, stream)),
            Answer::Nothing => None,
            Answer::Invalid => {
                // It is in the set.
                let _out = poller.remove(process.socket.as_fd()).is_err();
                // ESRCH: it has ended and is about to be reaped.
                let kill = signal::number(Signal::Kill);
                let _ended = signal::kill(process.pid, kill).is_err();
                None
            }
        }
    }

    /// Handles the end of a child if it was a logger, and returns whether it
    /// was: the log service of each slot that uses it has ended too.
    pub(super) fn ended(
        &mut self,
        pid: u32,
        end: ExitStatus,
        poller: &Poller,
        reporter: &Reporter,
    ) -> bool {
        let mut loggers = self.loggers.iter_mut();
        let process = loggers.find_map(|logger| {
            logger.process.take_if(|process| process.pid == pid)
        });
        let Some(process) = process else {
            return false;
        };
        if end != ExitStatus::Exited(0) {
            let mut line = reporter.prefix.clone();
            reporter.print(line.text("the logger has ended, restarting"));
        }
        // A forked child may still have it open until its exec.
        let _out = poller.remove(process.socket.as_fd()).is_err();
        true
    }
}

impl LoggerProcess {
    /// Starts a logger, which is this program again.
    fn start(
        spawner: &Spawner,
        poller: &Poller,
        reporter: &Reporter,
    ) -> Result<Self, Errno> {
        let mut prefix = reporter.prefix.clone();
        prefix.text("unable to start the logger");
        let [socket, stdin] = fd_passing::socket_pair()?;
        let setup = Setup {
            dir: None,
            sub: None,
            stdin: Some(stdin.as_fd()),
            stdout: None,
            stderr: None,
            session: false,
            group: false,
            cgroup: None,
            terminal: false,
            // It waits on a socket, and sets that up itself.
            blocking: true,
            error_prefix: Some(&prefix),
            error_code: 111,
        };
        // It leaves the set when it is closed.
        let token = Source::Loggers.token();
        poller.add(socket.as_fd(), Interest::Readable, token)?;
        // Its end of the socket is closed here at once.
        let pid = spawner.spawn_copy(child::SELF_EXE, &[NAME], &setup)?;
        Ok(Self { pid, socket })
    }
}

/// Orders of a slot for its logger that are not sent yet, as a bit set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PendingOrders(u32);

impl PendingOrders {
    /// Adds an order. Of `p` and `c` the later one counts; `c` is sent after
    /// `p`.
    pub(super) fn add(&mut self, byte: u8) {
        if byte == b'p' {
            self.remove(b'c');
        }
        self.0 |= bit(byte);
    }

    /// Returns the order to be sent first: the last letter.
    pub(super) fn first(self) -> Option<u8> {
        let last = 31_u32.checked_sub(self.0.leading_zeros())?;
        u8::try_from(last | 0x60).ok()
    }

    /// Removes an order.
    pub(super) fn remove(&mut self, byte: u8) {
        self.0 &= !bit(byte);
    }

    /// Removes all orders.
    pub(super) fn clear(&mut self) {
        self.0 = 0;
    }
}

/// Returns the bit of an order in [`PendingOrders`]: that of its lower case
/// letter.
const fn bit(byte: u8) -> u32 {
    1 << (byte & 0x1f)
}

/// Answer of a logger.
enum Answer {
    /// It has finished this stream.
    Done(u16),
    /// No answer now.
    Nothing,
    /// An invalid answer, or end of file.
    Invalid,
}

/// Reads the next answer of a logger.
fn answer(logger: &LoggerProcess) -> Answer {
    // One byte more, to detect an answer that is too long.
    let mut answer = [0; 3];
    match sys::read(logger.socket.as_fd(), &mut answer) {
        Ok(2) => {
            let [low, high, _] = answer;
            Answer::Done(u16::from_le_bytes([low, high]))
        }
        Err(Errno::EAGAIN) => Answer::Nothing,
        Ok(_) | Err(_) => Answer::Invalid,
    }
}
