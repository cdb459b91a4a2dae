//! Watches directories for changes, by inotify.

use core::ffi::CStr;

use super::{At, Errno, Fd, inherited, open, raw, read};
use linux_raw_sys::general::{
    CIFS_SUPER_MAGIC, FUSE_SUPER_MAGIC, IN_CLOSE_NOWRITE, IN_CREATE, IN_DELETE,
    IN_DELETE_SELF, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO,
    IN_ONLYDIR, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC, V9FS_MAGIC,
};
use rustix::fd::AsFd;

/// An inotify instance: a set of watched directories.
#[derive(Debug)]
pub struct Inotify(Fd);

/// The number of a watch, valid as long as its [`Inotify`].
pub type WatchId = u32;

/// The changes of a directory that a watch reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// An entry was made, removed or replaced, or the directory itself was
    /// removed or renamed.
    Entries,
    /// An entry was renamed away, or closed by a process that only read it. A
    /// new `supervise/status` is reported as `status.new`, a supervisor that
    /// exits as `ok`. Of the events that `sv` itself causes by reading, it is
    /// sent `status` only.
    Status,
    /// An entry's content was written to.
    Content,
}

/// The event mask of [`WatchKind::Entries`].
const ENTRIES: u32 = IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_CREATE
    | IN_DELETE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR;
/// The event mask of [`WatchKind::Status`].
const STATUS: u32 = IN_MOVED_FROM
    | IN_CLOSE_NOWRITE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR;
/// The event mask of [`WatchKind::Content`].
const CONTENT: u32 = IN_MODIFY | IN_ONLYDIR;

/// Types of file systems that do not report changes made by another machine or
/// by their own server: NFS, 9p, FUSE, three generations of SMB.
const REMOTE_FILE_SYSTEMS: [u32; 6] = [
    NFS_SUPER_MAGIC,
    V9FS_MAGIC,
    FUSE_SUPER_MAGIC,
    SMB_SUPER_MAGIC,
    CIFS_SUPER_MAGIC,
    SMB2_SUPER_MAGIC,
];

/// Returns true when the file system of an open directory reports all changes.
pub fn reports_changes(dir: At<'_>) -> bool {
    !open::is_on(dir, &REMOTE_FILE_SYSTEMS)
}

/// A reported change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The watch; `WatchId::MAX` when the kernel's queue overflowed.
    pub id: WatchId,
    /// The entry's name; empty for the directory itself.
    pub name: &'a [u8],
    /// The entry was moved to this directory: it was made elsewhere.
    pub moved_to: bool,
    /// The entry was moved away. The next event reports the destination, if
    /// that is watched.
    pub moved_from: bool,
    /// The entry was created: there was none of that name.
    pub created: bool,
}

impl Inotify {
    /// Returns an instance that watches nothing yet.
    pub fn new() -> Result<Self, Errno> {
        raw::inotify_init().map(Self)
    }

    /// Returns an instance that outlives faults: the one that the execution
    /// before this one had, with all its watches, or a new one. To close one
    /// as a program is executed takes the kernel up to 20 ms.
    pub fn lasting() -> Result<Self, Errno> {
        let inherited = inherited::take_inherited_other().map(Self);
        let instance = inherited.map_or_else(Self::new, Ok)?;
        instance.0.pass_on();
        Ok(instance)
    }

    /// Starts to watch the directory that `path` leads to.
    pub fn add(&self, path: &CStr, kind: WatchKind) -> Result<WatchId, Errno> {
        let mask = match kind {
            WatchKind::Entries => ENTRIES,
            WatchKind::Status => STATUS,
            WatchKind::Content => CONTENT,
        };
        let id = raw::inotify_add(&self.0, path, mask)?;
        Ok(WatchId::try_from(id).unwrap_or(WatchId::MAX))
    }

    /// Stops watching a directory. A removed one is not watched anyway.
    pub fn remove(&self, id: WatchId) {
        let _gone = raw::inotify_remove(&self.0, id).is_err();
    }

    /// Calls `each` with the changes of one read: a bounded part of the queue.
    pub fn drain(&self, mut each: impl FnMut(Event<'_>)) -> Result<(), Errno> {
        self.drain_to(&mut each)
    }

    /// Does the work of [`Self::drain`]: one copy of the code for all callers.
    fn drain_to(&self, each: &mut dyn FnMut(Event<'_>)) -> Result<(), Errno> {
        let mut buffer = [0; 1024];
        let count = match read(self.0.as_fd(), &mut buffer) {
            Err(Errno::EAGAIN) => 0,
            other => other?,
        };
        let mut records = buffer.get(..count).unwrap_or(&[]);
        while let Some((event, rest)) = first(records) {
            records = rest;
            each(event);
        }
        Ok(())
    }

    /// Returns the descriptor that becomes readable when there are changes.
    pub fn as_fd(&self) -> At<'_> {
        self.0.as_fd()
    }
}

/// Returns the first record and the bytes after it.
///
/// A record is watch (4 bytes), mask (4), cookie (4), length of the name (4)
/// and the name, padded with NULs.
fn first(records: &[u8]) -> Option<(Event<'_>, &[u8])> {
    let (id, rest) = records.split_first_chunk::<4>()?;
    let (mask, rest) = rest.split_first_chunk::<4>()?;
    let length = rest.get(4..)?.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let (name, rest) = rest.get(8..)?.split_at_checked(length)?;
    let mask = u32::from_ne_bytes(*mask);
    let event = Event {
        id: WatchId::from_ne_bytes(*id),
        name: name.split(|byte| *byte == 0).next().unwrap_or(name),
        moved_to: mask & IN_MOVED_TO != 0,
        moved_from: mask & IN_MOVED_FROM != 0,
        created: mask & IN_CREATE != 0,
    };
    Some((event, rest))
}
