//! Relays the output of services without a log to the console, through a pipe
//! that the loop reads when the console accepts more.
//!
//! A service that writes more than that blocks, as it would on the console.

use core::time::Duration;

use crate::sys::{
    self, AsFd, Errno, Fd, child, clock,
    console::{self, Console},
    fault, file,
    poller::{Interest, Poller},
};

use super::{service, source::Source};

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
    pub(super) fn open() -> Result<Self, Errno> {
        let [pipe, output] = sys::pipe(false)?;
        // Another process may read the pipe first; writers still block.
        file::set_blocking(pipe.as_fd(), false)?;
        service::allow_services_to_open(output.as_fd());
        console::detach_standard(false)?;
        child::set_standard(&output, 1)?;
        child::set_standard(&output, 2)?;
        Ok(Self {
            pipe,
            polled: false,
        })
    }

    /// Returns a relay of the pipe that descriptors 1 and 2 are the write end
    /// of already.
    pub(super) fn resume(pipe: Fd) -> Self {
        Self {
            pipe,
            polled: false,
        }
    }

    /// Returns the number of the pipe's descriptor.
    pub(super) fn number(&self) -> u32 {
        fault::number_of(&self.pipe)
    }

    /// Makes the loop wait for output if the console accepts more.
    pub(super) fn update_poller(&mut self, poller: &Poller, console: &Console) {
        let idle = !console.is_busy();
        let done = match (idle, self.polled) {
            (true, false) => {
                let token = Source::Output.token();
                poller.add(self.pipe.as_fd(), Interest::Readable, token)
            }
            (false, true) => poller.remove(self.pipe.as_fd()),
            _ => return,
        };
        if done.is_ok() {
            self.polled = idle;
        }
    }

    /// Forwards what is in the pipe if the console accepts it; returns whether
    /// there may be more.
    pub(super) fn forward(&self, console: &Console) -> bool {
        if console.is_busy() {
            return false;
        }
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
    /// Forwards all that ended services have written, for at most `limit`.
    pub(super) fn flush(&self, console: &Console, limit: Duration) {
        let until = clock::mono().after(limit);
        let left = || until.since(clock::mono());
        console.flush(left());
        while !left().is_zero() && self.forward(console) {
            console.flush(left());
        }
    }
}
