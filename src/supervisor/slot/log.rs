//! Connects a slot's log service: one that was added later, or a stream of a
//! shared logger.

use crate::{
    config::family::SHARED_LOGS,
    machine::slot::{Actions, Role},
    sys::{Errno, clock, file},
    wire::{control::Signal, order::LoggerOrder},
};

use super::{
    super::{
        chown_log,
        context::Context,
        logger::{Loggers, RINGS, logger_user},
        supervise::Failure,
        warned::Warning,
    },
    Slot,
};

impl Slot {
    /// Returns whether its log service is a shared logger: it has a log ring,
    /// or its `log/` has no `run` now; a dangling link counts as one. A `log/`
    /// that has been removed may come back with a `run`, whose start is
    /// retried meanwhile.
    pub(super) fn shares_logger(&self) -> bool {
        SHARED_LOGS
            && self.open.as_ref().is_some_and(|service| {
                let dir = service.dir();
                let run = file::info_of_link(dir, c"log/run");
                run.is_err_and(|errno| errno == Errno::ENOENT)
                    && (!service.has_log_dir()
                        || file::info(dir, c"log").is_ok())
            })
    }

    /// Adds the log service if `log` was created while the slot was
    /// supervised. To be called before its service is started: the service
    /// gets the pipe, and the log service is started next.
    pub(super) fn add_log(&mut self, context: &Context) {
        let Some(service) = &mut self.open else {
            return;
        };
        let added = match service.add_log() {
            Ok(None) => return,
            Ok(Some(down)) => {
                self.data.machine.add_log(down, clock::now());
                service.listen(&context.poller, self.key.index)
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = added
            // It is tried with each start.
            && self.warned.note_file(failure.path)
        {
            context.reporter.warn_failure(&self.key.name, failure);
        }
    }

    /// Starts the log service of a slot that shares a logger.
    pub(super) fn attach(&mut self, context: &mut Context) -> Actions {
        if let Some(user) = logger_user() {
            self.chown_log(user, context);
        }
        let attached = self.attach_to_logger(context);
        let now = clock::now();
        let reports = self.warned.note(Warning::FORK, attached.is_err());
        let errno = match attached {
            Ok(pid) => return self.data.machine.started(Role::Log, pid, now),
            Err(errno) => errno,
        };
        let actions = self.data.machine.refused(Role::Log, now);
        if reports {
            let what = "unable to use the logger, retrying";
            context.reporter.warn(what, b"", errno);
        }
        actions
    }

    /// Gives the stream to the logger of its medium; returns that logger's
    /// process id.
    fn attach_to_logger(&self, context: &mut Context) -> Result<u32, Errno> {
        let Context {
            poller,
            reporter,
            spawner,
            loggers,
            ..
        } = context;
        let pid = loggers.pid_of(self.medium(), spawner, poller, reporter)?;
        self.order(loggers, pid, b'u')?;
        Ok(pid)
    }

    /// Returns the device of its log: `None` if that is unknown.
    fn medium(&self) -> Option<u64> {
        let service = self.open.as_ref()?;
        if !service.has_log_dir() {
            return Some(RINGS);
        }
        let at = service.dir();
        let info = file::info(at, c"log/main");
        let info = info.or_else(|_| file::info(at, c"log"));
        info.ok().map(|info| info.identity.device)
    }

    /// Changes the owner of its log to the loggers' user.
    fn chown_log(&self, user: [u32; 2], context: &Context) {
        let changed = self.open.as_ref().map_or(Ok(()), |service| {
            chown_log::to_user(service.dir(), service.has_log_dir(), user)
        });
        if let Err(errno) = changed {
            let (verb, path) = ("give to the logger", c"log");
            let failure = Failure { verb, path, errno };
            context.reporter.warn_failure(&self.key.name, failure);
        }
    }

    /// Sends the logger `pid` an order for the slot's stream.
    fn order(
        &self,
        loggers: &Loggers,
        pid: u32,
        byte: u8,
    ) -> Result<(), Errno> {
        let service = self.open.as_ref().ok_or(Errno::ESRCH)?;
        let order = LoggerOrder {
            stream: self.key.index,
            byte,
            has_dir: service.has_log_dir(),
            name: &self.key.name,
        };
        let pipe = service.pipe(Role::Log).filter(|_| byte == b'u');
        loggers.send(pid, order, pipe.map(|pipe| [service.dir(), pipe]))
    }

    /// Passes a signal on as an order if the log service is a shared logger
    /// now, and returns whether it is. KILL is not passed on: it is for a
    /// process.
    pub(super) fn forward_signal(
        &mut self,
        signal: Signal,
        context: &mut Context,
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
        self.forward_order(byte, context)
    }

    /// Does the same as [`Slot::forward_signal`] for the byte of an order.
    pub(super) fn forward_order(
        &mut self,
        byte: u8,
        context: &mut Context,
    ) -> bool {
        if !SHARED_LOGS {
            return false;
        }
        self.data.orders.add(byte);
        self.send_orders(context)
    }

    /// Sends the pending orders to the logger, as far as there is room;
    /// returns false if there is no logger. The rest is sent in the next
    /// iteration, which [`Loggers::due`] limits.
    pub(super) fn send_orders(&mut self, context: &mut Context) -> bool {
        if !SHARED_LOGS {
            return false;
        }
        let pid = self.pid(Role::Log).unwrap_or(0);
        while let Some(byte) = self.data.orders.first() {
            match self.order(&context.loggers, pid, byte) {
                Err(Errno::ESRCH) => {
                    self.data.orders.clear();
                    return false;
                }
                Err(Errno::EAGAIN) => {
                    context.loggers.retry_later();
                    break;
                }
                // Any other failure means that its end is about to be noticed.
                Ok(()) | Err(_) => self.data.orders.remove(byte),
            }
        }
        true
    }
}
