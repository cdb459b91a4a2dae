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
    machine::slot::{Actions, Role},
    sys::{
        self, AsFd, Errno, Fd,
        child::{self, ExitStatus, Program, Setup},
        clock, fd_passing, file, identity,
        poller::Interest,
        signal,
    },
    wire::{
        control::Signal,
        order::{LoggerOrder, pack},
    },
};

use super::{Failure, Supervisor, TOKEN_LOGGER, chown_log, listen};

/// Name of the applet.
const NAME: &core::ffi::CStr = c"svlogger";

/// Medium of all log rings: no device has this number.
const RINGS: u64 = 0;

/// Shared logger.
#[derive(Debug, Default)]
pub(super) struct Logger {
    /// Device whose streams it handles; set by its first stream.
    medium: Option<u64>,
    /// Its process, while it runs.
    process: Option<LoggerProcess>,
}

/// Returns the loggers, none of which runs.
pub(super) fn none() -> [Logger; config::LOGGERS] {
    core::array::from_fn(|_| Logger::default())
}

/// Returns user and group of the shared loggers, if the board has a user for
/// them and this process may change to it.
pub fn logger_user() -> Option<[u32; 2]> {
    let user = config::LOGGER_USER;
    (user != [0, 0] && identity::is_root()).then_some(user)
}

/// Process of a running logger.
#[derive(Debug)]
struct LoggerProcess {
    pid: u32,
    /// Socket for orders and answers.
    socket: Fd,
}

impl Supervisor {
    /// Returns whether a slot's log service is a shared logger: its `log/` has
    /// no `run` now; a dangling link counts as one.
    pub(super) fn shares_logger(&mut self, index: usize) -> bool {
        let slot = self.slot(index);
        let service = slot.and_then(|slot| slot.service.as_ref());
        service.is_some_and(|service| {
            file::info_of_link(service.dir(), c"log/run")
                .is_err_and(|errno| errno == Errno::ENOENT)
        })
    }

    /// Adds the log service of a slot whose `log` was created while it was
    /// supervised. To be called before its service is started: the service
    /// gets the pipe, and the log service is started next.
    pub(super) fn add_log(&mut self, index: usize) {
        let slot = self.table.get_mut(index).and_then(Option::as_mut);
        let Some(slot) = slot else { return };
        let Some(service) = &mut slot.service else {
            return;
        };
        let added = match service.add_log() {
            Ok(None) => return,
            Ok(Some(down)) => {
                slot.machine.add_log(down, clock::now());
                listen(&self.poller, index, service)
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = added
            // It is tried with each start.
            && slot.is_new_bad_option(failure.path)
        {
            self.warn_failure(index, failure);
        }
    }

    /// Starts the log service of a slot that shares a logger.
    pub(super) fn attach(&mut self, index: usize) -> Actions {
        if let Some(user) = logger_user() {
            self.chown_log(index, user);
        }
        let attached = self.logger_for(index).and_then(|pid| {
            self.order(index, pid, b'u')?;
            Ok(pid)
        });
        let Some(slot) = self.slot(index) else {
            return Actions::new();
        };
        let now = clock::now();
        let reported = core::mem::replace(
            &mut slot.fork_failure_reported,
            attached.is_err(),
        );
        let errno = match attached {
            Ok(pid) => return slot.machine.started(Role::Log, pid, now),
            Err(errno) => errno,
        };
        let actions = slot.machine.refused(Role::Log, now);
        if !reported {
            let what = "unable to use the logger, retrying";
            self.reporter.warn(what, b"", errno);
        }
        actions
    }

    /// Changes the owner of a slot's log to the loggers' user.
    fn chown_log(&self, index: usize, user: [u32; 2]) {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let service = slot.and_then(|slot| slot.service.as_ref());
        let changed = service.map_or(Ok(()), |service| {
            chown_log::to_user(service.dir(), service.has_log_dir(), user)
        });
        if let Err(errno) = changed {
            let (verb, path) = ("give to the logger", c"log");
            self.warn_failure(index, Failure { verb, path, errno });
        }
    }

    /// Returns the process id of the logger for a slot's stream, and starts it
    /// if it does not run: that of its medium, or the first without a medium,
    /// or the last.
    fn logger_for(&mut self, index: usize) -> Result<u32, Errno> {
        let slot = self.slot(index);
        let service = slot.and_then(|slot| slot.service.as_ref());
        let medium = service.and_then(|service| {
            if !service.has_log_dir() {
                return Some(RINGS);
            }
            let at = service.dir();
            let info = file::info(at, c"log/main");
            let info = info.or_else(|_| file::info(at, c"log"));
            info.ok().map(|info| info.identity.device)
        });
        // Loggers without a medium are behind those that have one.
        let own = self
            .loggers
            .iter()
            .position(|l| l.medium.is_none() || l.medium == medium);
        let at = own.unwrap_or(config::LOGGERS.saturating_sub(1));
        let logger = self.loggers.get_mut(at).ok_or(Errno::ESRCH)?;
        if own.is_some() {
            logger.medium = medium;
        }
        if let Some(process) = &logger.process {
            return Ok(process.pid);
        }
        let process = self.start_logger()?;
        let pid = process.pid;
        if let Some(logger) = self.loggers.get_mut(at) {
            logger.process = Some(process);
        }
        Ok(pid)
    }

    /// Starts a logger, which is this program again.
    fn start_logger(&mut self) -> Result<LoggerProcess, Errno> {
        let mut prefix = self.reporter.prefix.clone();
        prefix.text("unable to start the logger");
        let [socket, stdin] = fd_passing::socket_pair()?;
        let program = Program {
            path: child::SELF_EXE,
            arguments: &[NAME],
            environ: self.environ,
        };
        let setup = Setup {
            dir: None,
            sub: None,
            stdin: Some(stdin.as_fd()),
            stdout: None,
            stderr: None,
            session: self.sessions,
            group: false,
            cgroup: None,
            terminal: false,
            // It waits on a socket, and sets that up itself.
            blocking: true,
            error_prefix: Some(&prefix),
            error_code: 111,
        };
        // It leaves the set when it is closed.
        self.poller
            .add(socket.as_fd(), Interest::Readable, TOKEN_LOGGER)?;
        // Its end of the socket is closed here at once.
        let pid = child::spawn_with(&program, &setup, None)?;
        Ok(LoggerProcess { pid, socket })
    }

    /// Sends the logger `pid` an order for a slot's stream.
    fn order(&self, index: usize, pid: u32, byte: u8) -> Result<(), Errno> {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let service = slot.and_then(|slot| slot.service.as_ref());
        let (Some(logger), Some(slot), Some(service)) =
            (self.logger(pid), slot, service)
        else {
            return Err(Errno::ESRCH);
        };
        let order = LoggerOrder {
            stream: u16::try_from(index).unwrap_or(u16::MAX),
            byte,
            has_dir: service.has_log_dir(),
            name: &slot.name,
        };
        let files = match service.pipe(Role::Log).filter(|_| byte == b'u') {
            None => None,
            Some(pipe) => {
                // A process that reads many pipes must not block on one.
                file::set_blocking(pipe, false)?;
                Some([service.dir(), pipe])
            }
        };
        fd_passing::send(logger.socket.as_fd(), &pack(order), files)
    }

    /// Returns the process of the logger `pid`.
    fn logger(&self, pid: u32) -> Option<&LoggerProcess> {
        let running = self.loggers.iter().flat_map(|l| &l.process);
        running.into_iter().find(|process| process.pid == pid)
    }

    /// Passes a signal on as an order if a slot's log service is a shared
    /// logger now, and returns whether it is. KILL is not passed on: it is for
    /// a process.
    pub(super) fn forward_signal(
        &mut self,
        index: usize,
        signal: Signal,
    ) -> bool {
        let byte = match signal {
            Signal::Kill => return false,
            Signal::Terminate => b't',
            Signal::Stop => b'p',
            Signal::Continue => b'c',
            Signal::Alarm => b'a',
            Signal::Hangup => b'h',
            Signal::Interrupt
            | Signal::Quit
            | Signal::User1
            | Signal::User2 => b'\n',
        };
        self.forward_order(index, byte)
    }

    /// Does the same as [`Supervisor::forward_signal`] for the byte of an
    /// order.
    pub(super) fn forward_order(&mut self, index: usize, byte: u8) -> bool {
        if let Some(slot) = self.slot(index) {
            if byte == b'p' {
                // Of `p` and `c` the later one counts; `c` is sent after `p`.
                slot.pending_orders &= !bit(b'c');
            }
            slot.pending_orders |= bit(byte);
        }
        self.send_pending_orders(index)
    }

    /// Sends a slot's pending orders to its logger, as far as there is room;
    /// returns false if it has no logger. The rest is sent in the next
    /// iteration, which comes within [`super::IDLE_DELAY`].
    pub(super) fn send_pending_orders(&mut self, index: usize) -> bool {
        let Some(slot) = self.slot(index) else {
            return false;
        };
        let mut left = core::mem::take(&mut slot.pending_orders);
        let pid = slot.machine.pid(Role::Log).unwrap_or(0);
        while left != 0 {
            // The last letter comes first.
            let last = 31 ^ left.leading_zeros();
            let byte = u8::try_from(last | 0x60).unwrap_or(0);
            match self.order(index, pid, byte) {
                Err(Errno::ESRCH) => return false,
                Err(Errno::EAGAIN) => {
                    self.idle_at = Some(clock::mono().after(super::IDLE_DELAY));
                    break;
                }
                // Any other failure means that its end is about to be noticed.
                Ok(()) | Err(_) => left &= !bit(byte),
            }
        }
        if let Some(slot) = self.slot(index) {
            slot.pending_orders = left;
        }
        true
    }

    /// Reads the loggers' answers, which name the streams they have finished.
    /// At most one answer per slot is read, so that a misbehaving logger
    /// cannot occupy the loop. A logger that sends anything else, or closes
    /// its socket, is killed.
    pub(super) fn read_answers(&mut self) {
        for at in 0..self.loggers.len() {
            for _ in 0..self.table.len() {
                let logger = self.loggers.get(at);
                let process = logger.and_then(|l| l.process.as_ref());
                let Some(process) = process else { break };
                let pid = process.pid;
                match answer(process) {
                    Answer::Done(index) => {
                        self.stream_ended(pid, index, ExitStatus::Exited(0));
                    }
                    Answer::Nothing => break,
                    Answer::Invalid => {
                        let socket = process.socket.as_fd();
                        // It is in the set.
                        let _out = self.poller.remove(socket).is_err();
                        // ESRCH: it has ended and is about to be reaped.
                        let kill = signal::number(Signal::Kill);
                        let _ended = signal::kill(pid, kill).is_err();
                        break;
                    }
                }
            }
        }
    }

    /// Handles the end of a stream, if the logger `pid` has that stream.
    fn stream_ended(&mut self, pid: u32, index: usize, end: ExitStatus) {
        let slot = self.slot(index);
        if slot.is_some_and(|s| s.machine.pid(Role::Log) == Some(pid)) {
            self.child_exited(index, Role::Log, end);
        }
    }

    /// Handles the end of a child if it was a logger, and returns whether it
    /// was: the log service has ended for each slot that shares it.
    pub(super) fn logger_ended(&mut self, pid: u32, end: ExitStatus) -> bool {
        // Comes first, so that no stream is given to it again.
        let mut loggers = self.loggers.iter_mut();
        let process = loggers.find_map(|logger| {
            logger.process.take_if(|process| process.pid == pid)
        });
        let Some(process) = process else {
            return false;
        };
        if end != ExitStatus::Exited(0) {
            let mut line = self.reporter.prefix.clone();
            self.reporter
                .print(line.text("the logger has ended, restarting"));
        }
        // A forked child may still have it open until its exec.
        let _out = self.poller.remove(process.socket.as_fd()).is_err();
        for index in 0..self.table.len() {
            self.stream_ended(pid, index, end);
        }
        true
    }
}

/// Returns the bit of an order in [`super::Slot::pending_orders`]: that of its
/// lower case letter.
const fn bit(byte: u8) -> u32 {
    1 << (byte & 0x1f)
}

/// Answer of a logger.
enum Answer {
    /// It has finished this stream.
    Done(usize),
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
            Answer::Done(u16::from_le_bytes([low, high]).into())
        }
        Err(Errno::EAGAIN) => Answer::Nothing,
        Ok(_) | Err(_) => Answer::Invalid,
    }
}
