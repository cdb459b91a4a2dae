//! What has changed in a few directories, by inotify.

use core::ffi::CStr;

use super::{At, Errno, Fd, raw, read};
use rustix::fd::AsFd;

/// Directories being watched.
#[derive(Debug)]
pub struct Watch(Fd);

/// Number of a watch, as long as its `Watch` lives.
pub type WatchId = u32;

/// Which changes of a directory are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// An entry appeared, went or was replaced, or the directory itself did.
    Entries,
    /// As `Entries`, or a reader or writer of an entry went away: what `sv`
    /// waits for.
    EntriesAndEnds,
}

/// IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF |
/// IN_MOVE_SELF | IN_ONLYDIR.
const ENTRIES: u32 = 0x0100_0fc0;
/// IN_CLOSE_WRITE | IN_CLOSE_NOWRITE.
const ENDS: u32 = 0x18;

impl Watch {
    /// Nothing watched yet.
    pub fn new() -> Result<Self, Errno> {
        raw::inotify_init().map(Self)
    }

    /// Watches the directory that `path` leads to.
    pub fn add(&self, path: &CStr, changes: Changes) -> Result<WatchId, Errno> {
        let mask = match changes {
            Changes::Entries => ENTRIES,
            Changes::EntriesAndEnds => ENTRIES | ENDS,
        };
        let id = raw::inotify_add(&self.0, path, mask)?;
        Ok(WatchId::try_from(id).unwrap_or(WatchId::MAX))
    }

    /// Takes what has happened, a bounded part of it at a time: calls `each`
    /// with the watch and the entry's name, empty for the directory itself.
    ///
    /// When the kernel's queue ran over, `each` sees `WatchId::MAX`.
    pub fn drain(
        &self,
        mut each: impl FnMut(WatchId, &[u8]),
    ) -> Result<(), Errno> {
        let mut buffer = [0; 1024];
        let count = match read(self.0.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => 0,
            other => other?,
        };
        let mut records = buffer.get(..count).unwrap_or(&[]);
        while let Some((id, name, rest)) = first(records) {
            records = rest;
            each(id, name);
        }
        Ok(())
    }

    /// The descriptor that becomes readable.
    pub fn as_fd(&self) -> At<'_> {
        self.0.as_fd()
    }
}

/// The first record's watch and name, and what follows the record.
///
/// A record is watch (4 bytes), mask (4), cookie (4), length of the name (4)
/// and the name, filled up with NULs.
fn first(records: &[u8]) -> Option<(WatchId, &[u8], &[u8])> {
    let (id, rest) = records.split_first_chunk::<4>()?;
    let length = rest.get(8..)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let (name, rest) = rest.get(12..)?.split_at_checked(length)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or(name);
    Some((WatchId::from_ne_bytes(*id), name, rest))
}
