//! Holds a control FIFO: the loop reads it, unless a script runs.

use core::sync::atomic::AtomicU32;

use crate::sys::{
    AsFd, Errno, Fd, file, ledger,
    poller::{Interest, Poller},
};

use super::source::Source;

/// Control FIFO of a supervise directory.
#[derive(Debug)]
pub(super) struct ControlFifo {
    /// Open for reading and writing, so that it never reports end of file.
    fifo: Fd,
    /// Set while it is not read: what is written there stays in it.
    paused: bool,
}

impl ControlFifo {
    /// Takes an open FIFO, of which the loop knows nothing yet.
    pub(super) fn new(fifo: Fd) -> Self {
        Self {
            fifo,
            paused: false,
        }
    }

    /// Returns the open FIFO.
    pub(super) fn file(&self) -> &Fd {
        &self.fifo
    }

    /// Makes bytes in it wake the loop, unless they do so already.
    pub(super) fn listen(
        &self,
        poller: &Poller,
        source: Source,
    ) -> Result<(), Errno> {
        let fifo = self.fifo.as_fd();
        match poller.add(fifo, Interest::Readable, source.token()) {
            Err(Errno::EEXIST) => Ok(()),
            added => added,
        }
    }

    /// Reads a byte, if there is one, into `cell` as [`ledger::read_byte`]
    /// does. There is none too if the slot is a new one and its predecessor's
    /// byte is gone.
    pub(super) fn read(&self, cell: &AtomicU32) -> Option<u8> {
        ledger::read_byte(self.fifo.as_fd(), cell)
    }

    /// Makes bytes in it wake the loop no longer (`paused`), or again.
    pub(super) fn set_paused(
        &mut self,
        paused: bool,
        poller: &Poller,
        source: Source,
    ) {
        if self.paused != paused {
            self.paused = paused;
            let interest = if paused {
                Interest::Never
            } else {
                Interest::Readable
            };
            let fifo = self.fifo.as_fd();
            // It is in the set as long as it is open.
            let _set = poller.change(fifo, interest, source.token()).is_err();
        }
    }

    /// Returns whether it has lost its name.
    pub(super) fn is_removed(&self) -> bool {
        file::is_removed(self.fifo.as_fd())
    }
}
