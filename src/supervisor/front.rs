//! Connects runsvdir's parent, the front, to its supervisor, so that a later
//! front finds it again.
//!
//! The connection is what `sv` and a supervisor have, a directory `supervise`
//! (contract §1), here in the run directory. It belongs to the services
//! directory's entry in its parent, so that it stays the same when that entry
//! is a link and is retargeted:
//!
//! | file | supervisor | front |
//! |---|---|---|
//! | `lock` | holds it | tests whether there is a supervisor |
//! | `control` | obeys: `x` all exit, `a` scan, `1` front leaves, `2` is back | writes |
//! | `ok` | keeps a reader open | writes nothing, polls: an error is the end of the last reader |
//! | `log` | writes what comes on descriptor 2, when there is room | reads |
//! | `errors` | descriptor 2 of all services, if the front has a LOG; reads it in any case | - |
//! | `front` | - | holds its lock: there is one front, or PID 1 supervises |
//!
//! The kernel closes all of it when a process dies, however that happens.
//! Where there is no run directory, because it cannot be created, unnamed
//! pipes do the same, except for the next front: it does not find the
//! supervisor, and its services are locked, as with runit.

use core::{ffi::CStr, time::Duration};

use heapless::VecView;

use crate::sys::{
    self, AsFd, At, Errno, Fd, child, clock, fault, file,
    poller::{self, Interest, Poller},
    secure::{self, FifoEnds},
};

use super::{
    service,
    source::Source,
    supervise::{self, Failure, PIPE, SERVICE},
};

/// Time within which a supervisor that runs reads a command.
const TAKE_LIMIT: Duration = Duration::from_secs(5);

/// Interval at which that is checked.
const TAKE_INTERVAL: Duration = Duration::from_millis(2);

/// Maximum number of bytes of descriptor 2 forwarded per iteration.
const LOG_BYTES: usize = 512;

/// The pipe behind descriptor 2, in the directory of the connection.
const ERRORS: &CStr = c"supervise/errors";

/// Command of a front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Tell every service to exit.
    ExitAll,
    /// Scan now.
    Scan,
    /// The front exits; its services continue.
    Detach,
    /// A new front is attached.
    Attach,
}

/// Every command and its byte.
const COMMANDS: [(u8, Command); 4] = [
    (b'x', Command::ExitAll),
    (b'a', Command::Scan),
    (b'1', Command::Detach),
    (b'2', Command::Attach),
];

/// The supervisor's end of the connection.
#[derive(Debug)]
pub struct ServerEnd {
    _lock: Option<Fd>,
    control: Fd,
    ok: Fd,
    log: Fd,
    /// Read end of the pipe behind descriptor 2.
    errors: Option<Fd>,
    /// That pipe, if it has a name: both ends.
    stderr: Option<Fd>,
}

/// The front's end of the connection.
#[derive(Debug)]
pub struct ClientEnd {
    /// Takes commands.
    control: Fd,
    /// Polls as an error when the supervisor has ended.
    pub ok: Fd,
    /// Carries what is written to the supervisor's descriptor 2.
    pub log: Fd,
}

/// Locks a services directory, by its state directory, against another front
/// process, for as long as the returned descriptor is open. A failure names
/// what has failed.
pub fn lock(dir: At<'_>) -> Result<Fd, (&'static str, Errno)> {
    let lock = secure::append(dir, c"front")
        .map_err(|errno| ("unable to open the front's lock", errno))?;
    file::lock_now(lock.as_fd())
        .map_err(|errno| ("unable to lock: another runsvdir runs", errno))?;
    Ok(lock)
}

impl ClientEnd {
    /// Returns the numbers of the descriptors, for [`ClientEnd::resume`].
    pub fn numbers(&self) -> [Option<u32>; 3] {
        [&self.control, &self.ok, &self.log]
            .map(|file| Some(fault::number_of(file)))
    }

    /// Returns the end that the front had before a fault, if any.
    pub fn resume(numbers: [Option<u32>; 3]) -> Option<Self> {
        let [control, ok, log] =
            numbers.map(|number| number.and_then(fault::take_inherited));
        Some(Self {
            control: control?,
            ok: ok?,
            log: log?,
        })
    }
}

/// Result of a front's search for its supervisor.
#[derive(Debug)]
pub enum Connection {
    /// There is no supervisor: the two ends of a new connection. After a fork,
    /// the child keeps the [`ServerEnd`], and the parent drops its copy.
    New(ClientEnd, ServerEnd),
    /// There is a running supervisor.
    Found(ClientEnd),
}

impl Connection {
    /// Looks for a supervisor in `run_dir`; without one, creates an unnamed
    /// connection.
    pub fn open(run_dir: Option<At<'_>>) -> Result<Self, Failure> {
        let Some(at) = run_dir else {
            return Self::unnamed()
                .map_err(supervise::failure("make", c"a pipe"));
        };
        match supervise::lock(at, at, &SERVICE) {
            Ok(lock) => {
                let (control, _) = supervise::open_ends(at, &SERVICE, false)?;
                let server = ServerEnd {
                    _lock: Some(lock),
                    control,
                    ok: supervise::open_ok(at, &SERVICE)?,
                    log: supervise::open_fifo(at, PIPE)?,
                    errors: Some(supervise::open_fifo(at, ERRORS)?),
                    stderr: Some(supervise::open_fifo(at, ERRORS)?),
                };
                Ok(Self::New(open_client_end(at)?, server))
            }
            Err(failure) if failure.errno == Errno::EAGAIN => {
                open_client_end(at).map(Self::Found)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Creates a connection that no other front can find.
    fn unnamed() -> Result<Self, Errno> {
        let [control, to_control] = sys::pipe(true)?;
        let [ok, to_ok] = sys::pipe(true)?;
        let [from_log, log] = sys::pipe(true)?;
        let client = ClientEnd {
            control: to_control,
            ok: to_ok,
            log: from_log,
        };
        let server = ServerEnd {
            _lock: None,
            control,
            ok,
            log,
            errors: None,
            stderr: None,
        };
        Ok(Self::New(client, server))
    }
}

/// Opens the front's end. Returns ENXIO if the supervisor has just ended or is
/// still starting.
fn open_client_end(at: At<'_>) -> Result<ClientEnd, Failure> {
    let ok = secure::fifo(at, SERVICE.ok, FifoEnds::Writer)
        .map_err(supervise::failure("open", SERVICE.ok))?;
    Ok(ClientEnd {
        control: supervise::open_fifo(at, SERVICE.control)?,
        ok,
        log: supervise::open_fifo(at, PIPE)?,
    })
}

impl ClientEnd {
    /// Sends the supervisor a command; returns whether it may be read. If the
    /// supervisor has ended, `ok` polls as an error, unless a child that it was
    /// about to start still has its files open.
    pub fn send(&self, command: Command) -> bool {
        let found = COMMANDS.iter().find(|(_, known)| *known == command);
        found.is_some_and(|(byte, _)| {
            sys::write_once(self.control.as_fd(), &[*byte]).is_ok()
        })
    }

    /// Waits until the supervisor has read its commands. Returns false if it
    /// has ended before. One that does not read them within [`TAKE_LIMIT`] is
    /// stopped or hangs, and counts as one that will read them.
    pub fn await_taken(&self) -> bool {
        let until = clock::mono().after(TAKE_LIMIT);
        let waits = || sys::waiting(self.control.as_fd()) > 0;
        while waits() && clock::mono() < until {
            match poller::readable([self.ok.as_fd()], Some(TAKE_INTERVAL)) {
                Ok([false]) => {}
                Ok([true]) => return !waits(),
                Err(_) => return true,
            }
        }
        true
    }
}

impl ServerEnd {
    /// Returns the numbers of the descriptors, for [`ServerEnd::resume`].
    pub fn numbers(&self) -> [Option<u32>; 4] {
        let errors = self.errors.as_ref().map(fault::number_of);
        let [control, ok, log] = [&self.control, &self.ok, &self.log]
            .map(|file| Some(fault::number_of(file)));
        [control, ok, log, errors]
    }

    /// Returns the end that the supervisor had before a fault, and takes its
    /// lock in `run_dir` again. EAGAIN if another supervisor has that now.
    pub fn resume(
        numbers: [Option<u32>; 4],
        run_dir: Option<At<'_>>,
    ) -> Result<Self, Failure> {
        let lock = run_dir.map(|at| supervise::lock(at, at, &SERVICE));
        let lock = lock.transpose()?;
        let [control, ok, log, errors] =
            numbers.map(|number| number.and_then(fault::take_inherited));
        Ok(Self {
            _lock: lock,
            control: control.unwrap_or(Fd::none()),
            ok: ok.unwrap_or(Fd::none()),
            log: log.unwrap_or(Fd::none()),
            errors,
            stderr: None,
        })
    }

    /// Makes descriptor 2, from now on and for all children, a pipe that this
    /// process empties: a writer never waits for a front, nor is killed
    /// because there is none. If it has a name, its writers have both ends
    /// open: they are not killed either while there is no supervisor, and the
    /// next one reads what they have written.
    pub fn capture_stderr(&mut self) -> Result<(), Errno> {
        let write = if let Some(fifo) = self.stderr.take() {
            // Writers block when it is full.
            file::set_blocking(fifo.as_fd(), true)?;
            fifo
        } else {
            let [read, write] = sys::pipe(false)?;
            // Another process may read the pipe first; writers still block.
            file::set_blocking(read.as_fd(), false)?;
            self.errors = Some(read);
            write
        };
        service::allow_services_to_open(write.as_fd());
        child::set_standard(&write, 2)
    }

    /// Makes commands and captured output wake the loop.
    pub(super) fn listen(&self, poller: &Poller) -> Result<(), Errno> {
        let add = |fd: At<'_>, source: Source| {
            poller.add(fd, Interest::Readable, source.token())
        };
        add(self.control.as_fd(), Source::Front)?;
        if let Some(errors) = &self.errors {
            add(errors.as_fd(), Source::Output)?;
        }
        Ok(())
    }

    /// Reads a front's commands. Bytes that are none are ignored.
    pub(super) fn read_commands(
        &self,
        poller: &Poller,
        commands: &mut VecView<Command>,
    ) {
        let mut byte = [0];
        while !commands.is_full() {
            match sys::read(self.control.as_fd(), &mut byte) {
                Ok(1) => {}
                Ok(_) => {
                    // The last front of a connection without a name is gone:
                    // the end of the pipe would wake the loop for ever.
                    let control = self.control.as_fd();
                    let _left = poller.remove(control).is_err();
                    return;
                }
                Err(_) => return,
            }
            let [byte] = byte;
            let found = COMMANDS.iter().find(|(known, _)| *known == byte);
            if let Some((_, command)) = found {
                let _room = commands.push(*command).is_ok();
            }
        }
    }

    /// Forwards what came on descriptor 2; what does not fit into the front's
    /// pipe is dropped.
    pub(super) fn forward_stderr(&self) {
        let Some(errors) = &self.errors else { return };
        let mut bytes = [0; LOG_BYTES];
        if let Ok(count) = sys::read(errors.as_fd(), &mut bytes) {
            let bytes = bytes.get(..count).unwrap_or(&[]);
            let _room = sys::write_once(self.log.as_fd(), bytes).is_ok();
        }
    }
}
