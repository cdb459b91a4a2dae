//! The loggers that services share whose `log/` has no `run`: each started when
//! the first that is to have it needs it, told what to read, its answers taken.
//!
//! To its slot such a service has a log service like any other, which is a
//! logger's work on its pipe: it starts when the logger is told of it, gets
//! signals as orders, has ended when the logger says so, or has ended itself.
//! So the pauses, the wants, the states and the order of the end are those of
//! `machine::slot`, and there are no others.
//!
//! A medium that stalls holds up its logger. So there is one for each medium,
//! as long as there are loggers (`config::LOGGERS`); the rest share the last.

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

/// The applet.
const NAME: &core::ffi::CStr = c"svlogger";

/// The medium of all log rings: no device has this number.
const RINGS: u64 = 0;

/// One of the loggers.
#[derive(Debug, Default)]
pub(super) struct Logger {
    /// The device whose streams it has, once it was the first to come.
    medium: Option<u64>,
    /// It runs.
    process: Option<LoggerProcess>,
}

/// The loggers, none of which runs.
pub(super) fn none() -> [Logger; config::LOGGERS] {
    core::array::from_fn(|_| Logger::default())
}

/// A logger that runs.
#[derive(Debug)]
struct LoggerProcess {
    pid: u32,
    /// Orders go there, answers come from there.
    socket: Fd,
}

impl Supervisor {
    /// Whether a slot's log service is a logger's work: its `log/` has no
    /// `run` now, whatever it may lead to.
    pub(super) fn shares_logger(&mut self, index: usize) -> bool {
        let slot = self.slot(index);
        let service = slot.and_then(|slot| slot.service.as_ref());
        service.is_some_and(|service| {
            file::info_of_link(service.dir(), c"log/run")
                .is_err_and(|errno| errno == Errno::ENOENT)
        })
    }

    /// Takes up the log service of a slot whose `log` was added while it was
    /// supervised. To be called before its service is started: that gets the
    /// pipe, and the log service is started next.
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
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = added
            // It is tried with each start.
            && slot.bad_option.replace(trouble.path) != Some(trouble.path)
        {
            self.warn_failure(index, trouble);
        }
    }

    /// Starts the log service of a slot that shares a logger.
    pub(super) fn attach(&mut self, index: usize) -> Actions {
        if let Some(user) = identity::of_loggers() {
            self.give(index, user);
        }
        let attached = self.logger_for(index).and_then(|pid| {
            self.order(index, pid, b'u')?;
            Ok(pid)
        });
        let Some(slot) = self.slot(index) else {
            return Actions::new();
        };
        let now = clock::now();
        let told = core::mem::replace(
            &mut slot.fork_failure_reported,
            attached.is_err(),
        );
        let errno = match attached {
            Ok(pid) => return slot.machine.started(Role::Log, pid, now),
            Err(errno) => errno,
        };
        let actions = slot.machine.refused(Role::Log, now);
        if !told {
            let what = "unable to use the logger, retrying";
            self.reporter.warn(what, b"", errno);
        }
        actions
    }

    /// Gives a slot's log to the loggers' user.
    fn give(&self, index: usize, user: [u32; 2]) {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let service = slot.and_then(|slot| slot.service.as_ref());
        let given = service.map_or(Ok(()), |service| {
            chown_log::to_user(service.dir(), service.has_log_dir(), user)
        });
        if let Err(errno) = given {
            let (verb, path) = ("give to the logger", c"log");
            self.warn_failure(index, Failure { verb, path, errno });
        }
    }

    /// The logger that is to have a slot's stream, started if it does not
    /// run: that of its medium, or the first that has none, or the last.
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
        // Those without a medium are behind those that have one.
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

    /// Starts a logger: this program once more.
    fn start_logger(&mut self) -> Result<LoggerProcess, Errno> {
        let mut complaint = self.reporter.prefix.clone();
        complaint.text("unable to start the logger");
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
            complaint: Some(&complaint),
            code: 111,
        };
        // It leaves the set when it is closed.
        self.poller
            .add(socket.as_fd(), Interest::Readable, TOKEN_LOGGER)?;
        // Its end of the socket is closed here at once.
        let pid = child::spawn_with(&program, &setup, None)?;
        Ok(LoggerProcess { pid, socket })
    }

    /// Tells the logger `pid` what is to happen to a slot's stream.
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
                // Who reads many pipes waits for none.
                file::set_blocking(pipe, false)?;
                Some([service.dir(), pipe])
            }
        };
        fd_passing::send(logger.socket.as_fd(), &pack(order), files)
    }

    /// The logger `pid`.
    fn logger(&self, pid: u32) -> Option<&LoggerProcess> {
        let running = self.loggers.iter().flat_map(|l| &l.process);
        running.into_iter().find(|process| process.pid == pid)
    }

    /// Whether a slot's log service is a logger's work now: if so, passes a
    /// signal on, as an order. KILL is the process's.
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

    /// As [`Supervisor::passes`], for the byte of an order.
    pub(super) fn forward_order(&mut self, index: usize, byte: u8) -> bool {
        if let Some(slot) = self.slot(index) {
            if byte == b'p' {
                // Of the two the last one holds; `c` is told behind `p`.
                slot.pending_orders &= !bit(b'c');
            }
            slot.pending_orders |= bit(byte);
        }
        self.send_pending_orders(index)
    }

    /// Tells a slot's logger what it was not told yet, as far as there is room
    /// for it; false when it has none. The rest waits with the slot for the
    /// next turn, which comes within [`super::QUIET`].
    pub(super) fn send_pending_orders(&mut self, index: usize) -> bool {
        let Some(slot) = self.slot(index) else {
            return false;
        };
        let mut left = core::mem::take(&mut slot.pending_orders);
        let pid = slot.machine.pid(Role::Log).unwrap_or(0);
        while left != 0 {
            // The last letter first.
            let last = 31 ^ left.leading_zeros();
            let byte = u8::try_from(last | 0x60).unwrap_or(0);
            match self.order(index, pid, byte) {
                Err(Errno::ESRCH) => return false,
                Err(Errno::EAGAIN) => {
                    self.idle_at = Some(clock::mono().after(super::IDLE_DELAY));
                    break;
                }
                // What fails otherwise is about to be seen to have ended.
                Ok(()) | Err(_) => left &= !bit(byte),
            }
        }
        if let Some(slot) = self.slot(index) {
            slot.pending_orders = left;
        }
        true
    }

    /// Takes what the loggers have answered: they are done with a stream. No
    /// more than one answer for each slot, or a logger gone mad would keep
    /// the loop; one that speaks otherwise, or no more, is killed.
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

    /// The logger `pid` is done with a stream, if it has that.
    fn stream_ended(&mut self, pid: u32, index: usize, end: ExitStatus) {
        let slot = self.slot(index);
        if slot.is_some_and(|s| s.machine.pid(Role::Log) == Some(pid)) {
            self.ended(index, Role::Log, end);
        }
    }

    /// Whether a child that has ended was a logger: then it has ended for
    /// each that shares it.
    pub(super) fn logger_ended(&mut self, pid: u32, end: ExitStatus) -> bool {
        // First, so that no stream is given to it again.
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
        // A child that is not its program yet may have it open.
        let _out = self.poller.remove(process.socket.as_fd()).is_err();
        for index in 0..self.table.len() {
            self.stream_ended(pid, index, end);
        }
        true
    }
}

/// The bit of an order in [`super::Slot::untold`]: its lower case letter.
const fn bit(byte: u8) -> u32 {
    1 << (byte & 0x1f)
}

/// What a logger says.
enum Answer {
    /// It is done with this stream.
    Done(usize),
    /// Nothing now.
    Nothing,
    /// What no logger says, or that it will say nothing more.
    Invalid,
}

/// The next answer of a logger.
fn answer(logger: &LoggerProcess) -> Answer {
    // One byte more, to see one that is too long.
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
