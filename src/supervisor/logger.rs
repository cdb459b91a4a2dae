//! The logger that all services share whose `log/` has no `run`: started when
//! the first of them needs it, told what to read, its answers taken.
//!
//! To its slot such a service has a log service like any other, which is the
//! logger's work on its pipe: it starts when the logger is told of it, gets
//! signals as orders, has ended when the logger says so, or has ended itself.
//! So the pauses, the wants, the states and the order of the end are those of
//! `machine::slot`, and there are no others.

use crate::{
    machine::slot::{Actions, Role},
    sys::{
        self, AsFd, Errno, Fd,
        child::{self, End, Program, Setup},
        clock, file, parent,
        wait::Wake,
    },
    wire::{
        control::Signal,
        order::{Order, pack},
    },
};

use super::{Supervisor, TOKEN_LOGGER};

/// The applet.
const NAME: &core::ffi::CStr = c"svlogger";

/// A logger that runs.
#[derive(Debug)]
pub(super) struct Logger {
    pid: u32,
    orders: Fd,
    answers: Fd,
}

impl Supervisor {
    /// Whether a slot's log service is the logger's work: its `log/` has no
    /// `run` now, whatever it may lead to.
    pub(super) fn shares_logger(&mut self, index: usize) -> bool {
        let slot = self.slot(index);
        let service = slot.and_then(|slot| slot.service.as_ref());
        service.is_some_and(|service| {
            file::info_of_link(service.dir(), c"log/run")
                .is_err_and(|errno| errno == Errno::ENOENT)
        })
    }

    /// Starts the log service of a slot that shares the logger.
    pub(super) fn attach(&mut self, index: usize) -> Actions {
        let attached = match &self.logger {
            Some(_) => Ok(()),
            None => self.start_logger(),
        };
        let attached = attached.and_then(|()| self.order(index, b'u'));
        let pid = self.logger.as_ref().map_or(0, |logger| logger.pid);
        let Some(slot) = self.slot(index) else {
            return Actions::new();
        };
        let now = clock::now();
        let told = core::mem::replace(&mut slot.unforked, attached.is_err());
        let Err(errno) = attached else {
            return slot.machine.started(Role::Log, pid, now);
        };
        let actions = slot.machine.refused(Role::Log, now);
        if !told {
            let what = "unable to use the logger, retrying";
            self.voice.warn(what, b"", errno);
        }
        actions
    }

    /// Starts the logger: this program once more.
    fn start_logger(&mut self) -> Result<(), Errno> {
        let mut complaint = self.voice.head.clone();
        complaint.text("unable to start the logger");
        let pipes = sys::pipe(true).and_then(|one| Ok([one, sys::pipe(true)?]));
        let [[stdin, orders], [answers, stdout]] = pipes?;
        let program = Program {
            path: child::OWN,
            arguments: &[NAME],
            environ: self.environ,
        };
        let setup = Setup {
            dir: None,
            sub: None,
            stdin: Some(stdin.as_fd()),
            stdout: Some(stdout.as_fd()),
            session: self.sessions,
            group: false,
            terminal: false,
            files: None,
            complaint: Some(&complaint),
            code: 111,
        };
        // It leaves the set when it is closed.
        self.waiter
            .add(answers.as_fd(), Wake::Readable, TOKEN_LOGGER)?;
        let pid = child::spawn(&program, &setup)?;
        self.logger = Some(Logger {
            pid,
            orders,
            answers,
        });
        Ok(())
    }

    /// Tells the logger what is to happen to a slot's stream.
    fn order(&mut self, index: usize, byte: u8) -> Result<(), Errno> {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let service = slot.and_then(|slot| slot.service.as_ref());
        let (Some(logger), Some(slot), Some(service)) =
            (&self.logger, slot, service)
        else {
            return Err(Errno::ESRCH);
        };
        let order = Order {
            stream: u16::try_from(index).unwrap_or(u16::MAX),
            byte,
            dirs: [service.dir(), service.base()].map(parent::number),
            name: &slot.name,
        };
        sys::write_once(logger.orders.as_fd(), &pack(order)).map(drop)
    }

    /// Whether a slot's log service is the logger's work now: if so, passes a
    /// signal on, as an order. KILL is the process's.
    pub(super) fn passes(&mut self, index: usize, signal: Signal) -> bool {
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
        self.passes_on(index, byte)
    }

    /// As [`Supervisor::passes`], for the byte of an order.
    pub(super) fn passes_on(&mut self, index: usize, byte: u8) -> bool {
        let pid = self.slot(index).and_then(|s| s.machine.pid(Role::Log));
        let ours = self.logger.as_ref().map(|logger| logger.pid);
        if pid.is_none() || pid != ours {
            return false;
        }
        if let Err(errno) = self.order(index, byte) {
            self.voice.warn("unable to tell the logger", b"", errno);
        }
        true
    }

    /// Takes what the logger has answered: it is done with a stream.
    pub(super) fn take_answers(&mut self) {
        while let Some(logger) = &self.logger
            && let Some(index) = answer(logger)
        {
            self.ended(index, Role::Log, End::Exited(0));
        }
    }

    /// Whether a child that has ended was the logger: then it has ended for
    /// each that shares it.
    pub(super) fn was_logger(&mut self, pid: u32, end: End) -> bool {
        let Some(logger) = self.logger.take_if(|logger| logger.pid == pid)
        else {
            return false;
        };
        if end != End::Exited(0) {
            let mut line = self.voice.head.clone();
            self.voice
                .say(line.text("the logger has ended, restarting"));
        }
        while let Some(index) = answer(&logger) {
            self.ended(index, Role::Log, End::Exited(0));
        }
        for index in 0..self.table.len() {
            let slot = self.slot(index);
            if slot.is_some_and(|s| s.machine.pid(Role::Log) == Some(pid)) {
                self.ended(index, Role::Log, end);
            }
        }
        true
    }
}

/// The next stream that a logger is done with.
fn answer(logger: &Logger) -> Option<usize> {
    let mut answer = [0; 2];
    match sys::read(logger.answers.as_fd(), &mut answer) {
        Ok(2) => Some(u16::from_le_bytes(answer).into()),
        Ok(_) | Err(_) => None,
    }
}
