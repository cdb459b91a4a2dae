//! Relays the output of services without a log to the console, through a pipe
//! that the loop reads when the console accepts more.
//!
//! A service that writes more than that blocks, as it would on the console.

use core::time::Duration;

use crate::sys::{
    self, AsFd, Errno, Fd, child, clock,
    console::{self, Console},
    file,
    poller::{Interest, Poller},
};

use super::{Supervisor, TOKEN_LOG, spawn};

/// Maximum number of bytes relayed per iteration.
const BYTES: usize = 512;

/// Read end of the pipe.
#[derive(Debug)]
pub(super) struct Relay {
    pipe: Fd,
    /// Set if the pipe is in the loop's poll set.
    polled: bool,
}

impl Relay {
    /// Makes descriptors 1 and 2 of this process and its children the write
    /// end of a pipe, and descriptor 0 /dev/null.
    fn open() -> Result<Self, Errno> {
        let [pipe, output] = sys::pipe(false)?;
        // Another process may read the pipe first; writers still block.
        file::set_blocking(pipe.as_fd(), false)?;
        spawn::allow_services_to_open(output.as_fd());
        console::detach_standard(false)?;
        child::set_standard(&output, 1)?;
        child::set_standard(&output, 2)?;
        Ok(Self {
            pipe,
            polled: false,
        })
    }

    /// Adds the pipe to the loop's poll set, or removes it while the console
    /// is busy.
    fn set_interest(&mut self, poller: &Poller, idle: bool) {
        let done = match (idle, self.polled) {
            (true, false) => {
                poller.add(self.pipe.as_fd(), Interest::Readable, TOKEN_LOG)
            }
            (false, true) => poller.remove(self.pipe.as_fd()),
            _ => return,
        };
        if done.is_ok() {
            self.polled = idle;
        }
    }

    /// Forwards what is in the pipe; returns false if it is empty.
    fn forward(&self, console: &Console) -> bool {
        let mut bytes = [0; BYTES];
        // This process has the write end too: the pipe never ends, and the read
        // fails when it is empty.
        let Ok(count) = sys::read(self.pipe.as_fd(), &mut bytes) else {
            return false;
        };
        let bytes = bytes.get(..count).unwrap_or(&[]);
        // If it is not accepted, the service's output is lost.
        let _none = !console.write_line(bytes);
        true
    }
}

impl Supervisor {
    /// Makes services write to the console through this process from now on,
    /// and read nothing.
    pub fn relay_output(&mut self) -> Result<(), Errno> {
        self.relay = Some(Relay::open()?);
        Ok(())
    }

    /// Makes the loop wait for the services' output if the console accepts
    /// more.
    pub(super) fn poll_output(&mut self) {
        if let (Some(relay), Some(console)) =
            (&mut self.relay, self.reporter.console)
        {
            relay.set_interest(&self.poller, !console.is_busy());
        }
    }

    /// Forwards what services have written.
    pub(super) fn forward_output(&self) {
        if let (Some(relay), Some(console)) =
            (&self.relay, self.reporter.console)
            && !console.is_busy()
        {
            relay.forward(console);
        }
    }

    /// Forwards all that ended services have written, for at most `limit`.
    pub fn flush_output(&self, limit: Duration) {
        let until = clock::mono().after(limit);
        let left = || until.since(clock::mono());
        if let (Some(relay), Some(console)) =
            (&self.relay, self.reporter.console)
        {
            console.flush(left());
            while !left().is_zero()
                && !console.is_busy()
                && relay.forward(console)
            {
                console.flush(left());
            }
        }
    }
}
