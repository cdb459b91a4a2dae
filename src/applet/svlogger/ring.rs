//! Writing lines to the log ring of a service (`wire::ring`).

use super::super::logdir::INPUT;
use crate::{
    supervisor::{log_ring, rundir},
    sys::{self, AsFd, At, Errno, Fd, file, secure},
    wire::ring::{HEADER, Ring},
};

/// An open and locked log ring.
pub(super) struct LogRing {
    file: Fd,
    ring: Ring,
}

impl LogRing {
    /// Opens and locks the ring of a service directory, which is a file in the
    /// run directory. Makes it anew if it is missing or has another size.
    pub(super) fn open(dir: At<'_>) -> Result<Self, Errno> {
        let size = log_ring::bytes(dir).unwrap_or(0);
        let most = u64::try_from(INPUT).unwrap_or(u64::MAX);
        let new = Ring::new(size, most);
        let dir = rundir::create(dir, b"")?;
        let file = secure::update(dir.as_fd(), log_ring::FILE)?;
        file::lock_now(file.as_fd())?;
        let mut header = [0; HEADER];
        sys::read(file.as_fd(), &mut header)?;
        let length = file::info_of(file.as_fd())?.size;
        let found = Ring::unpack(&header, length);
        if found.has_geometry_of(new) {
            return Ok(Self { file, ring: found });
        }
        file::truncate(file.as_fd(), 0)?;
        file::write_at(file.as_fd(), &new.header(), 0)?;
        file::truncate(file.as_fd(), new.length())?;
        Ok(Self { file, ring: new })
    }

    /// Appends a block of lines.
    pub(super) fn log(&mut self, block: &[u8]) -> Result<(), Errno> {
        let mut rest = block;
        while let Some((at, count)) = self.ring.add(rest)
            && let Some((part, tail)) = rest.split_at_checked(count)
        {
            file::write_at(self.file.as_fd(), part, at)?;
            rest = tail;
        }
        file::write_at(self.file.as_fd(), &self.ring.header(), 0)
    }
}
