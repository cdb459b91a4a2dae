//! How a face reaches its supervisor, and the next face finds it again.
//!
//! Between them are what `sv` and a supervisor have between them, a directory
//! `supervise` (contract §1), here in a place of the run directory that
//! belongs to the services directory's entry in its parent, so that it stays
//! the same when that entry is a link and is retargeted:
//!
//! | file | supervisor | face |
//! |---|---|---|
//! | `lock` | holds it | finds out whether there is one |
//! | `control` | obeys: `x` all exit, `a` scan, `1` face leaves, `2` is back | writes |
//! | `ok` | reads, that is: lives | writes nothing, polls: an error is the end of the last reader |
//! | `log` | writes what comes on descriptor 2, when there is room | reads |
//! | `face` | - | holds its lock: there is one face |
//!
//! The kernel closes all of it for who dies, whatever the way. Where there is
//! no place, because the run directory cannot be made, pipes without a name
//! do the same but for the next face: it does not find the supervisor, and
//! its services are locked, as with runit.

use crate::{
    sys::{
        self, AsFd, At, Errno, Fd, child,
        poller::Interest,
        secure::{self, Ends},
    },
    wire::control::{Control, Signal, decode},
};

use super::{
    Events, Failure, Supervisor, TOKEN_FRONT, TOKEN_LOG,
    supervise::{self, PIPE, SERVICE},
};

/// Bytes of descriptor 2 that one turn passes on.
const LOG_BYTES: usize = 512;

/// What the supervisor holds.
#[derive(Debug)]
pub struct ServerEnd {
    _lock: Option<Fd>,
    control: Fd,
    _ok: Fd,
    log: Fd,
    /// Where descriptor 2 comes out.
    errors: Option<Fd>,
}

/// What the face holds.
#[derive(Debug)]
pub struct ClientEnd {
    /// Takes commands.
    pub control: Fd,
    /// Shows an error when the supervisor has ended.
    pub ok: Fd,
    /// What comes on the supervisor's descriptor 2.
    pub log: Fd,
}

/// What a face finds.
#[derive(Debug)]
pub enum Connection {
    /// No supervisor: the two ends of a new link. Who forks gives `Rear` to
    /// the child and lets go of its own.
    New(ClientEnd, ServerEnd),
    /// A supervisor that runs.
    Found(ClientEnd),
}

impl Connection {
    /// Looks for a supervisor in a `place`.
    pub fn open(place: Option<At<'_>>) -> Result<Self, Failure> {
        let Some(at) = place else {
            return Self::unnamed()
                .map_err(supervise::failure("make", c"a pipe"));
        };
        match supervise::lock(at, at, &SERVICE) {
            Ok(lock) => {
                let (control, _) = supervise::open_ends(at, &SERVICE, false)?;
                let rear = ServerEnd {
                    _lock: Some(lock),
                    control,
                    _ok: supervise::open_ok(at, &SERVICE)?,
                    log: supervise::open_fifo(at, PIPE)?,
                    errors: None,
                };
                Ok(Self::New(open_client_end(at)?, rear))
            }
            Err(busy) if busy.errno == Errno::EAGAIN => {
                open_client_end(at).map(Self::Found)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// A link that no other face finds.
    fn unnamed() -> Result<Self, Errno> {
        let [control, to_control] = sys::pipe(true)?;
        let [ok, to_ok] = sys::pipe(true)?;
        let [from_log, log] = sys::pipe(true)?;
        let front = ClientEnd {
            control: to_control,
            ok: to_ok,
            log: from_log,
        };
        let rear = ServerEnd {
            _lock: None,
            control,
            _ok: ok,
            log,
            errors: None,
        };
        Ok(Self::New(front, rear))
    }
}

/// Opens the face's ends. ENXIO: the supervisor has just ended or not quite
/// begun.
fn open_client_end(at: At<'_>) -> Result<ClientEnd, Failure> {
    let ok = secure::fifo(at, SERVICE.ok, Ends::Writer)
        .map_err(supervise::failure("open", SERVICE.ok))?;
    Ok(ClientEnd {
        control: supervise::open_fifo(at, SERVICE.control)?,
        ok,
        log: supervise::open_fifo(at, PIPE)?,
    })
}

impl ServerEnd {
    /// Makes descriptor 2, from now on and for all children, a pipe that
    /// this process empties: who writes there never waits for a face, nor is
    /// killed for want of one.
    pub fn capture_stderr(&mut self) -> Result<(), Errno> {
        let [read, write] = sys::pipe(false)?;
        super::spawn::let_services_open(write.as_fd());
        child::set_standard(&write, 2)?;
        self.errors = Some(read);
        Ok(())
    }
}

impl Supervisor {
    /// Obeys a face from now on.
    pub fn accept_front(&mut self, rear: ServerEnd) -> Result<(), Errno> {
        self.poller.add(
            rear.control.as_fd(),
            Interest::Readable,
            TOKEN_FRONT,
        )?;
        if let Some(errors) = &rear.errors {
            self.poller
                .add(errors.as_fd(), Interest::Readable, TOKEN_LOG)?;
        }
        self.front = Some(rear);
        Ok(())
    }

    /// Takes what a face asks for: signals that it got, or stands for.
    pub(super) fn read_front_commands(&self, heard: &mut Events) {
        let Some(face) = &self.front else { return };
        let mut byte = [0];
        while !heard.signals.is_full()
            && sys::read(face.control.as_fd(), &mut byte) == Ok(1)
        {
            let [byte] = byte;
            let signal = if let Some(Control::Send(signal)) = decode(byte) {
                signal
            } else if byte == b'x' {
                Signal::Terminate
            } else {
                continue;
            };
            let _room = heard.signals.push(sys::signal::number(signal)).is_ok();
        }
    }

    /// Passes on what came on descriptor 2; what the face has no room for is
    /// dropped.
    pub(super) fn forward_stderr(&self) {
        let Some(face) = &self.front else { return };
        let Some(errors) = &face.errors else { return };
        let mut bytes = [0; LOG_BYTES];
        if let Ok(count) = sys::read(errors.as_fd(), &mut bytes) {
            let bytes = bytes.get(..count).unwrap_or(&[]);
            let _room = sys::write_once(face.log.as_fd(), bytes).is_ok();
        }
    }
}
