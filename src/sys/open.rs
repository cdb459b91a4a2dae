//! Opens files and reports what they are: the part that [`file`] and
//! [`secure`] share.
//!
//! [`file`]: super::file
//! [`secure`]: super::secure

use core::ffi::CStr;

use rustix::fs::{AtFlags, FileType, OFlags};

use super::{At, Errno, Fd, error, raw};
use crate::wire::clock::Wall;

/// The attributes of a file that this program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// File type.
    pub kind: Kind,
    /// Device and inode, which identify the file whatever its name.
    pub identity: Identity,
    /// Permission bits.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// User id of the owner.
    pub owner: u32,
    /// Number of names.
    pub links: u64,
    /// Time of the last change of its content.
    pub modified: Wall,
    /// Time of the last change of its content, mode, owner or names.
    pub changed: Wall,
}

/// Device and inode, which identify a file whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO.
    Fifo,
    /// A regular file.
    Regular,
    /// Anything else.
    Other,
}

/// Returns whether an open file is on a file system of one of these kinds.
pub(super) fn is_on(file: At<'_>, kinds: &[u32]) -> bool {
    #[cfg(not(target_arch = "mips"))]
    let kind = rustix::fs::fstatfs(file).map(|info| info.f_type);
    // The structure of rustix 1.1 is too short there, and the kernel refuses
    // it.
    #[cfg(target_arch = "mips")]
    let kind = raw::file_system(file);
    #[allow(
        clippy::useless_conversion,
        reason = "the field's width differs between machines"
    )]
    let kind = kind.map(i64::from);
    // On 32-bit machines a number with the highest bit is negative.
    let low = i64::from(u32::MAX);
    kind.is_ok_and(|kind| kinds.iter().any(|k| i64::from(*k) == kind & low))
}

/// Opens for reading, non-blocking.
pub fn open_read(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::RDONLY | OFlags::NONBLOCK, 0)
}

/// Opens for writing, non-blocking: ENXIO when it is a FIFO without a reader.
pub fn open_write(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::WRONLY | OFlags::NONBLOCK, 0)
}

/// Opens for reading and writing, non-blocking.
pub fn open_both(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::RDWR | OFlags::NONBLOCK, 0)
}

/// Opens for appending; creates the file with mode 0600 when it is missing.
/// Follows links: for paths that the user names; see
/// [`super::secure::append`].
pub fn open_append(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    let flags =
        OFlags::WRONLY | OFlags::NONBLOCK | OFlags::APPEND | OFlags::CREATE;
    open(at, path, flags, 0o600)
}

/// Opens for writing from the start; creates the file when it is missing,
/// empties it when not. Follows links: see [`super::secure::truncate`].
pub fn open_truncate(at: At<'_>, path: &CStr, mode: u32) -> Result<Fd, Errno> {
    let flags =
        OFlags::WRONLY | OFlags::NONBLOCK | OFlags::TRUNC | OFlags::CREATE;
    open(at, path, flags, mode)
}

/// Opens a directory, to resolve paths from it or to list it.
pub fn open_dir(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// Calls `openat`, closed on exec and never a controlling terminal; again
/// after an interruption.
pub(super) fn open(
    at: At<'_>,
    path: &CStr,
    flags: OFlags,
    mode: u32,
) -> Result<Fd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
    loop {
        match raw::openat(at, path, flags.bits() | raw::LARGEFILE, mode) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Returns the attributes of the file that `path` leads to, through links.
pub fn info(at: At<'_>, path: &CStr) -> Result<Info, Errno> {
    let stat = rustix::fs::statat(at, path, AtFlags::empty());
    stat.map(|stat| digest(&stat)).map_err(error::from)
}

/// Returns the attributes of `path` itself, even when it is a link.
pub fn info_of_link(at: At<'_>, path: &CStr) -> Result<Info, Errno> {
    let stat = rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW);
    stat.map(|stat| digest(&stat)).map_err(error::from)
}

/// Returns the attributes of an open file.
pub fn info_of(file: At<'_>) -> Result<Info, Errno> {
    let stat = rustix::fs::fstat(file);
    stat.map(|stat| digest(&stat)).map_err(error::from)
}

/// Returns the number of a block device. ENOTBLK: it is none.
#[allow(clippy::useless_conversion, reason = "the width differs")]
pub fn block_device(file: At<'_>) -> Result<u64, Errno> {
    let stat = rustix::fs::fstat(file).map_err(error::from)?;
    let mode = u32::try_from(stat.st_mode).unwrap_or(0);
    if FileType::from_raw_mode(mode) == FileType::BlockDevice {
        Ok(u64::from(stat.st_rdev))
    } else {
        Err(Errno::ENOTBLK)
    }
}

/// Extracts the attributes that are used here from the kernel's record.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the fields' widths differ between machines"
)]
fn digest(stat: &rustix::fs::Stat) -> Info {
    let mode = u32::try_from(stat.st_mode).unwrap_or(0);
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Fifo,
        FileType::RegularFile => Kind::Regular,
        FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    };
    Info {
        kind,
        identity: Identity {
            device: u64::from(stat.st_dev),
            inode: u64::from(stat.st_ino),
        },
        mode: mode & 0o7777,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        owner: stat.st_uid,
        links: u64::from(stat.st_nlink),
        modified: Wall {
            secs: u64::try_from(stat.st_mtime).unwrap_or(0),
            nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
        changed: Wall {
            secs: u64::try_from(stat.st_ctime).unwrap_or(0),
            nanos: u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
        },
    }
}

/// Sets a file's length to `bytes`.
pub fn truncate(file: At<'_>, bytes: u64) -> Result<(), Errno> {
    rustix::fs::ftruncate(file, bytes).map_err(error::from)
}

/// Removes a file's name.
pub fn remove(at: At<'_>, path: &CStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(at, path, AtFlags::empty()).map_err(error::from)
}
