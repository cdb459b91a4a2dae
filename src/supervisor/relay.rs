//! How the output of services without a log gets to the console: by a pipe
//! that the loop reads when the console takes more.
//!
//! A service that writes more than that waits, as it would at the console.

use core::time::Duration;

use crate::sys::{
    self, AsFd, Errno, Fd, child, clock,
    console::{self, Console},
    poller::{Interest, Poller},
};

use super::{Supervisor, TOKEN_LOG, spawn};

/// Bytes that one turn passes on.
const BYTES: usize = 512;

/// The end of the pipe that is read.
#[derive(Debug)]
pub(super) struct Relay {
    pipe: Fd,
    /// The loop sleeps on it.
    awaited: bool,
}

impl Relay {
    /// Makes descriptors 1 and 2 of this process and its children the end
    /// of a pipe, and descriptor 0 /dev/null.
    fn open() -> Result<Self, Errno> {
        let [pipe, output] = sys::pipe(false)?;
        spawn::let_services_open(output.as_fd());
        console::leave(false)?;
        child::set_standard(&output, 1)?;
        child::set_standard(&output, 2)?;
        Ok(Self {
            pipe,
            awaited: false,
        })
    }

    /// Has the loop sleep on the pipe, or not when the console is busy.
    fn set_interest(&mut self, waiter: &Poller, idle: bool) {
        let done = match (idle, self.awaited) {
            (true, false) => {
                waiter.add(self.pipe.as_fd(), Interest::Readable, TOKEN_LOG)
            }
            (false, true) => waiter.remove(self.pipe.as_fd()),
            _ => return,
        };
        if done.is_ok() {
            self.awaited = idle;
        }
    }

    /// Passes on what has come; false when nothing has.
    fn pass(&self, console: &Console) -> bool {
        let mut bytes = [0; BYTES];
        // This process writes to the pipe itself: it never ends.
        if sys::waiting(self.pipe.as_fd()) == 0 {
            return false;
        }
        let Ok(count) = sys::read(self.pipe.as_fd(), &mut bytes) else {
            return false;
        };
        let bytes = bytes.get(..count).unwrap_or(&[]);
        // It is the service's if nobody takes it.
        let _none = !console.say(bytes);
        true
    }
}

impl Supervisor {
    /// From now on services write to the console by way of this process, and
    /// read nothing.
    pub fn relay_output(&mut self) -> Result<(), Errno> {
        self.relay = Some(Relay::open()?);
        Ok(())
    }

    /// Has the loop sleep on what services write, if the console takes it.
    pub(super) fn poll_output(&mut self) {
        if let (Some(relay), Some(console)) =
            (&mut self.relay, self.reporter.console)
        {
            relay.set_interest(&self.poller, console.is_idle());
        }
    }

    /// Passes on what services have written.
    pub(super) fn forward_output(&self) {
        if let (Some(relay), Some(console)) =
            (&self.relay, self.reporter.console)
            && console.is_idle()
        {
            relay.pass(console);
        }
    }

    /// Passes on all that ended services have written, but not for longer than
    /// `limit`.
    pub fn flush_output(&self, limit: Duration) {
        let until = clock::mono().after(limit);
        let left = || until.since(clock::mono());
        if let (Some(relay), Some(console)) =
            (&self.relay, self.reporter.console)
        {
            while !left().is_zero() && console.is_idle() && relay.pass(console)
            {
                console.flush(left());
            }
        }
    }
}
