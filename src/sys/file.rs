//! Makes, changes, reads and replaces files and directories.

use core::ffi::CStr;

use rustix::{
    fd::AsFd,
    fs::{AtFlags, FileType, FlockOperation, OFlags, RenameFlags},
};

use super::{At, CWD, Errno, Fd, error, raw, read, secure, write_all};
use crate::text::{self, Line};

pub use super::open::{
    Identity, Info, Kind, block_device, info, info_of, info_of_link,
    open_append, open_both, open_dir, open_read, open_truncate, open_write,
    remove, truncate,
};

/// Joins parts of a path, for callers that return an errno: ENAMETOOLONG when
/// it is longer than `config::PATH_BYTES`.
pub fn path_of(parts: &[&[u8]]) -> Result<text::Path, Errno> {
    text::Path::join(parts).map_err(|_| Errno::ENAMETOOLONG)
}

/// Empties a file, or creates it, and writes `content` to it. Does not follow
/// a link, and does not block on a FIFO.
pub fn fill(at: At<'_>, path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = secure::truncate(at, path, 0o644)?;
    write_all(file.as_fd(), content)
}

/// Sets whether reads and writes block, for every process that shares this
/// open file description.
pub fn set_blocking(file: At<'_>, blocking: bool) -> Result<(), Errno> {
    let mut flags = rustix::fs::fcntl_getfl(file).map_err(error::from)?;
    if flags.contains(OFlags::NONBLOCK) != blocking {
        return Ok(());
    }
    flags.set(OFlags::NONBLOCK, !blocking);
    rustix::fs::fcntl_setfl(file, flags).map_err(error::from)
}

/// Locks a whole file; EAGAIN when the lock is held.
pub fn lock_now(file: At<'_>) -> Result<(), Errno> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
        .map_err(error::from)
}

/// Locks a whole file; waits while the lock is held.
pub fn lock_wait(file: At<'_>) -> Result<(), Errno> {
    loop {
        match rustix::fs::flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(error::from),
        }
    }
}

/// Unlocks a whole file, also for copies of the descriptor in children, which
/// would still hold the lock after a close.
pub fn unlock(file: At<'_>) {
    // A descriptor that is not open has no lock either.
    let _gone = rustix::fs::flock(file, FlockOperation::Unlock).is_err();
}

/// Returns true when `path` can be read, and when that cannot be told for lack
/// of memory or because of a broken disk. Does not open it, so that a lack of
/// descriptors makes no difference.
pub fn is_readable(at: At<'_>, path: &CStr) -> bool {
    let readable = rustix::fs::Access::READ_OK;
    let access = rustix::fs::accessat(at, path, readable, AtFlags::empty());
    access.map_or_else(|errno| error::from(errno).may_pass(), |()| true)
}

/// Returns true when `path` can be written to: its file system is not
/// read-only, and its mode allows it.
pub fn is_writable(at: At<'_>, path: &CStr) -> bool {
    let writable = rustix::fs::Access::WRITE_OK;
    rustix::fs::accessat(at, path, writable, AtFlags::empty()).is_ok()
}

/// Returns true when an open file has no name any more: it was removed or
/// replaced.
pub fn is_removed(file: At<'_>) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// Makes a directory.
pub fn make_dir(at: At<'_>, path: &CStr, mode: u32) -> Result<(), Errno> {
    rustix::fs::mkdirat(at, path, mode.into()).map_err(error::from)
}

/// Makes the missing directory that `path`, a dangling link, leads to; the
/// link's target is resolved from `base`. EEXIST when `path` does not dangle.
pub fn make_target(
    at: At<'_>,
    base: At<'_>,
    path: &CStr,
    mode: u32,
) -> Result<(), Errno> {
    if info(at, path) != Err(Errno::ENOENT) {
        return Err(Errno::EEXIST);
    }
    let mut buffer = [0; 256];
    let target = link_target(at, path, &mut buffer)?;
    let target = path_of(&[target])?;
    make_dir(base, target.as_c_str(), mode)
}

/// Makes a FIFO.
pub fn make_fifo(at: At<'_>, path: &CStr, mode: u32) -> Result<(), Errno> {
    rustix::fs::mknodat(at, path, FileType::Fifo, mode.into(), 0)
        .map_err(error::from)
}

/// Makes the node of the block device `number`, for root alone.
pub fn make_node(at: At<'_>, path: &CStr, number: u64) -> Result<(), Errno> {
    rustix::fs::mknodat(at, path, FileType::BlockDevice, 0o600.into(), number)
        .map_err(error::from)
}

/// Makes a symbolic link at `path` that leads to `target`.
pub fn make_link(target: &CStr, at: At<'_>, path: &CStr) -> Result<(), Errno> {
    rustix::fs::symlinkat(target, at, path).map_err(error::from)
}

/// Removes an empty directory.
pub fn remove_dir(at: At<'_>, path: &CStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(at, path, AtFlags::REMOVEDIR).map_err(error::from)
}

/// Lets later programs inherit an open file, until this process ends.
pub fn leak(file: Fd) -> Result<(), Errno> {
    let flags = rustix::io::FdFlags::empty();
    rustix::io::fcntl_setfd(&file, flags).map_err(error::from)?;
    file.leave_open();
    Ok(())
}

/// Renames a file, replacing an existing `to`.
pub fn rename(at: At<'_>, from: &CStr, to: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat(at, from, at, to).map_err(error::from)
}

/// Renames a file; EEXIST when `to` exists.
///
/// EINVAL and ENOSYS on file systems and kernels that cannot guarantee that.
pub fn rename_new(at: At<'_>, from: &CStr, to: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat_with(at, from, at, to, RenameFlags::NOREPLACE)
        .map_err(error::from)
}

/// Sets the permission bits of a file by name.
pub fn set_mode(at: At<'_>, path: &CStr, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmodat(at, path, mode.into(), AtFlags::empty())
        .map_err(error::from)
}

/// Sets the permission bits of an open file.
pub fn set_mode_of(file: At<'_>, mode: u32) -> Result<(), Errno> {
    rustix::fs::fchmod(file, mode.into()).map_err(error::from)
}

/// Sets the group of an open file; its owner stays.
pub fn chgrp(file: At<'_>, group: u32) -> Result<(), Errno> {
    let group = Some(rustix::fs::Gid::from_raw(group));
    rustix::fs::fchown(file, None, group).map_err(error::from)
}

/// Sets the user and the group of an open file.
pub fn fchown(file: At<'_>, [user, group]: [u32; 2]) -> Result<(), Errno> {
    let owner = Some(rustix::fs::Uid::from_raw(user));
    let group = Some(rustix::fs::Gid::from_raw(group));
    rustix::fs::fchown(file, owner, group).map_err(error::from)
}

/// Writes all `bytes` at offset `at`.
pub fn write_at(
    file: At<'_>,
    mut bytes: &[u8],
    mut at: u64,
) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::EIO),
            Ok(count) => {
                bytes = bytes.get(count..).unwrap_or(&[]);
                at = at.saturating_add(u64::try_from(count).unwrap_or(0));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(error::from(errno)),
        }
    }
    Ok(())
}

/// Reads from offset `at` until the buffer is full or the file ends; returns
/// the number of bytes read.
pub fn read_at(
    file: At<'_>,
    buffer: &mut [u8],
    at: u64,
) -> Result<usize, Errno> {
    let mut done = 0_usize;
    while let Some(rest) = buffer.get_mut(done..).filter(|b| !b.is_empty()) {
        let at = at.saturating_add(u64::try_from(done).unwrap_or(0));
        match rustix::io::pread(file, rest, at) {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(error::from(errno)),
        }
    }
    Ok(done)
}

/// Flushes a file's content and attributes to the medium.
pub fn sync(file: At<'_>) -> Result<(), Errno> {
    rustix::fs::fsync(file).map_err(error::from)
}

/// Flushes to the medium what is needed to read a file's content back.
pub fn sync_data(file: At<'_>) -> Result<(), Errno> {
    rustix::fs::fdatasync(file).map_err(error::from)
}

/// Returns the target of a symbolic link, as stored in the link.
///
/// ENAMETOOLONG when it does not fit the buffer.
pub fn link_target<'b>(
    at: At<'_>,
    path: &CStr,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let room = buffer.len();
    let length = raw::readlink(at, path, buffer)?;
    if length >= room {
        return Err(Errno::ENAMETOOLONG);
    }
    buffer.get(..length).ok_or(Errno::EIO)
}

/// Returns the path of an open file, by /proc; errors as [`link_target`].
pub fn path_of_open<'b>(
    file: &Fd,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let mut link = Line::new();
    let number = u64::try_from(file.number()).unwrap_or(0);
    link.text("/proc/self/fd/").number(number);
    let link = path_of(&[link.as_bytes()])?;
    link_target(CWD, link.as_c_str(), buffer)
}

/// Sets the permission bits that are cleared in the mode of new files.
pub fn set_umask(mask: u32) {
    let _old = rustix::process::umask(mask.into());
}

/// Changes the working directory.
pub fn change_dir(path: &CStr) -> Result<(), Errno> {
    rustix::process::chdir(path).map_err(error::from)
}

/// Changes the working directory to an open one.
pub fn change_dir_to(dir: At<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(dir).map_err(error::from)
}

/// Changes this process's root directory.
pub fn change_root(path: &CStr) -> Result<(), Errno> {
    rustix::process::chroot(path).map_err(error::from)
}

/// Reads a file from its start, at most as much as the buffer holds.
pub fn read_whole<'b>(
    at: At<'_>,
    path: &CStr,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let file = open_read(at, path)?;
    let mut length = 0_usize;
    while let Some(room) = buffer.get_mut(length..) {
        match read(file.as_fd(), room)? {
            0 => break,
            count => length = length.saturating_add(count),
        }
    }
    buffer.get(..length).ok_or(Errno::EIO)
}

/// Calls `each` with every line of a file, or with `None` for a line that is
/// longer than the buffer, until it returns false.
pub fn lines(
    at: At<'_>,
    path: &CStr,
    buffer: &mut [u8],
    mut each: impl FnMut(Option<&[u8]>) -> bool,
) -> Result<(), Errno> {
    each_line_or_start(at, path, buffer, &mut |line, whole| {
        each(whole.then_some(line))
    })
}

/// Calls `each` with every line of a file until it returns false. Of a line
/// that is longer than the buffer it gets as much as fits, and false.
pub fn each_line_or_start(
    at: At<'_>,
    path: &CStr,
    buffer: &mut [u8],
    each: &mut dyn FnMut(&[u8], bool) -> bool,
) -> Result<(), Errno> {
    let file = open_read(at, path)?;
    let mut kept = 0_usize;
    // The rest of the current line belongs to one that was too long.
    let mut skips = false;
    loop {
        let room = buffer.get_mut(kept..).unwrap_or(&mut []);
        let count = read(file.as_fd(), room)?;
        let mut rest = buffer.get(..kept.saturating_add(count)).unwrap_or(&[]);
        let length = rest.len();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.get(..end).unwrap_or(&[]);
            rest = rest.get(end.saturating_add(1)..).unwrap_or(&[]);
            if !core::mem::take(&mut skips) && !each(line, true) {
                return Ok(());
            }
        }
        if count == 0 {
            if !rest.is_empty() && !skips {
                each(rest, true);
            }
            return Ok(());
        }
        kept = rest.len();
        if kept == buffer.len() {
            kept = 0;
            if !core::mem::replace(&mut skips, true) && !each(buffer, false) {
                return Ok(());
            }
        }
        text::to_front(buffer, length.saturating_sub(kept), kept);
    }
}

/// Overwrites an existing file and sets its length to that of `content`. No
/// new block is needed for content that is not longer, so that this succeeds
/// on a full file system that does not copy on write.
///
/// The content is written by one `pwrite`: if it lies within a page and has
/// the length of the old one, a reader sees the old bytes or the new ones.
/// Does not follow a link.
pub fn overwrite(at: At<'_>, path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = secure::write(at, path)?;
    let file = file.as_fd();
    write_at(file, content, 0)?;
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if info_of(file)?.size == length {
        return Ok(());
    }
    truncate(file, length)
}

/// A failed step of [`replace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replace {
    /// The step: `open`, `write` or `rename`.
    pub verb: &'static str,
    /// The reason.
    pub errno: Errno,
}

/// Writes `content` to `new` and renames that file to `path`, so that readers
/// see the old content or all of the new content (contract §1).
///
/// On failure `new` is removed and the old file stays.
pub fn replace(
    at: At<'_>,
    path: &CStr,
    new: &CStr,
    content: &[u8],
) -> Result<(), Replace> {
    let failed = |verb| move |errno| Replace { verb, errno };
    let file = secure::create(at, new, 0o644).map_err(failed("open"))?;
    let written = write_all(file.as_fd(), content).map_err(failed("write"));
    drop(file);
    let done =
        written.and_then(|()| rename(at, new, path).map_err(failed("rename")));
    if done.is_err() {
        // The first failure is the one to report.
        let _left = remove(at, new).is_err();
    }
    done
}
