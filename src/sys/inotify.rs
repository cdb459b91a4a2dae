//! What has changed in a few directories, by inotify.

use core::ffi::CStr;

use super::{At, Errno, Fd, raw, read};
use linux_raw_sys::general::{
    CIFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, IN_CLOSE_NOWRITE, IN_CREATE, IN_DELETE,
    IN_DELETE_SELF, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO,
    IN_ONLYDIR, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC, V9FS_MAGIC,
};
use rustix::fd::AsFd;

/// Directories being watched.
#[derive(Debug)]
pub struct Inotify(Fd);

/// Number of a watch, as long as its `Watch` lives.
pub type WatchId = u32;

/// Which changes of a directory are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// An entry appeared, went or was replaced, or the directory itself did.
    Entries,
    /// An entry was renamed away, or somebody who only read it closed it: a
    /// new `supervise/status` is told as `status.new`, a supervisor that
    /// leaves as `ok`, and of what its own looking causes `sv` hears
    /// `status` alone.
    Status,
    /// An entry's content was written to.
    Content,
}

/// What [`Changes::Entries`] asks for.
const ENTRIES: u32 = IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_CREATE
    | IN_DELETE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR;
/// What [`Changes::Status`] asks for.
const STATUS: u32 = IN_MOVED_FROM
    | IN_CLOSE_NOWRITE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR;
/// What [`Changes::Content`] asks for.
const CONTENT: u32 = IN_MODIFY | IN_ONLYDIR;

/// Types of file systems that tell no change made by another machine or by
/// their own server: NFS, 9p, FUSE, SMB of three ages.
const REMOTE_FILE_SYSTEMS: [u32; 6] = [
    NFS_SUPER_MAGIC,
    V9FS_MAGIC,
    FUSE_SUPER_MAGIC,
    SMB_SUPER_MAGIC,
    CIFS_SUPER_MAGIC,
    SMB2_SUPER_MAGIC,
];

/// Whether the file system of an open directory tells every change.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the field's width differs between machines"
)]
pub fn reports_changes(dir: At<'_>) -> bool {
    let kind = rustix::fs::fstatfs(dir).map(|info| info.f_type);
    !kind.is_ok_and(|kind| {
        u32::try_from(kind)
            .is_ok_and(|kind| REMOTE_FILE_SYSTEMS.contains(&kind))
    })
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Where; `WatchId::MAX` when the kernel's queue ran over.
    pub id: WatchId,
    /// The entry's name; empty for the directory itself.
    pub name: &'a [u8],
    /// The entry was moved to here: it was made elsewhere.
    pub moved_to: bool,
    /// The entry was moved away. Where to is told next, if it can be.
    pub moved_from: bool,
    /// The entry was made: there was none of that name.
    pub created: bool,
}

impl Inotify {
    /// Nothing watched yet.
    pub fn new() -> Result<Self, Errno> {
        raw::inotify_init().map(Self)
    }

    /// Watches the directory that `path` leads to.
    pub fn add(
        &self,
        path: &CStr,
        changes: WatchKind,
    ) -> Result<WatchId, Errno> {
        let mask = match changes {
            WatchKind::Entries => ENTRIES,
            WatchKind::Status => STATUS,
            WatchKind::Content => CONTENT,
        };
        let id = raw::inotify_add(&self.0, path, mask)?;
        Ok(WatchId::try_from(id).unwrap_or(WatchId::MAX))
    }

    /// Watches a directory no more. One that is gone is not watched anyway.
    pub fn remove(&self, id: WatchId) {
        let _gone = raw::inotify_remove(&self.0, id).is_err();
    }

    /// Takes what has happened, a bounded part of it at a time.
    pub fn drain(&self, mut each: impl FnMut(Event<'_>)) -> Result<(), Errno> {
        self.drain_to(&mut each)
    }

    /// As [`Watch::drain`]: one copy of the code for all its callers.
    fn drain_to(&self, each: &mut dyn FnMut(Event<'_>)) -> Result<(), Errno> {
        let mut buffer = [0; 1024];
        let count = match read(self.0.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => 0,
            other => other?,
        };
        let mut records = buffer.get(..count).unwrap_or(&[]);
        while let Some((change, rest)) = first(records) {
            records = rest;
            each(change);
        }
        Ok(())
    }

    /// The descriptor that becomes readable.
    pub fn as_fd(&self) -> At<'_> {
        self.0.as_fd()
    }
}

/// The first record, and what follows it.
///
/// A record is watch (4 bytes), mask (4), cookie (4), length of the name (4)
/// and the name, filled up with NULs.
fn first(records: &[u8]) -> Option<(Event<'_>, &[u8])> {
    let (id, rest) = records.split_first_chunk::<4>()?;
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let length = rest.get(4..)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let (name, rest) = rest.get(8..)?.split_at_checked(length)?;
    let mask = u32::from_ne_bytes(*mask);
    let change = Event {
        id: WatchId::from_ne_bytes(*id),
        name: name.split(|byte| *byte == 0).next().unwrap_or(name),
        moved_to: mask & IN_MOVED_TO != 0,
        moved_from: mask & IN_MOVED_FROM != 0,
        created: mask & IN_CREATE != 0,
    };
    Some((change, rest))
}
