//! How files are opened, made, looked at and replaced.

use core::ffi::CStr;

use rustix::{
    fd::AsFd,
    fs::{AtFlags, FileType, FlockOperation, OFlags, RenameFlags},
};

use super::{At, Errno, Fd, error, raw, read, secure, write_all};
use crate::{text, wire::clock::Wall};

/// What a program needs to know of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// What kind of file it is.
    pub kind: Kind,
    /// Device and inode: which file it is, whatever its name.
    pub identity: Identity,
    /// Permission bits.
    pub mode: u32,
    /// Bytes in it.
    pub size: u64,
    /// Whose it is.
    pub owner: u32,
    /// How many names it has.
    pub links: u64,
    /// The last change of its content.
    pub modified: Wall,
    /// The last change of its content, mode, owner or names.
    pub changed: Wall,
}

/// Which file it is, whatever its name: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

/// What kind of file it is.
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

/// Joins parts of a path, for who has an errno to answer: ENAMETOOLONG when
/// they are more than `config::PATH_BYTES`.
pub fn path_of(parts: &[&[u8]]) -> Result<text::Path, Errno> {
    text::Path::join(parts).map_err(|_| Errno::ENAMETOOLONG)
}

/// Opens for reading, without waiting for anything.
pub fn open_read(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::RDONLY | OFlags::NONBLOCK, 0)
}

/// Opens for writing, without waiting for a reader: ENXIO says that a FIFO
/// has none.
pub fn open_write(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::WRONLY | OFlags::NONBLOCK, 0)
}

/// Opens for reading and writing, without waiting for anything.
pub fn open_both(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::RDWR | OFlags::NONBLOCK, 0)
}

/// Opens for appending, made with mode 0600 when missing. Follows links: for
/// a path that the user names; see [`super::secure::append`].
pub fn open_append(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    let flags =
        OFlags::WRONLY | OFlags::NONBLOCK | OFlags::APPEND | OFlags::CREATE;
    open(at, path, flags, 0o600)
}

/// Opens for writing from the start, made when missing, emptied when not.
/// Follows links: see [`super::secure::truncate`].
pub fn open_truncate(at: At<'_>, path: &CStr, mode: u32) -> Result<Fd, Errno> {
    let flags =
        OFlags::WRONLY | OFlags::NONBLOCK | OFlags::TRUNC | OFlags::CREATE;
    open(at, path, flags, mode)
}

/// Empties a file, or makes an empty one, and writes to it. A link is not
/// followed, and nobody is waited for.
pub fn fill(at: At<'_>, path: &CStr, content: &[u8]) -> Result<(), Errno> {
    let file = secure::truncate(at, path, 0o644)?;
    write_all(file.as_fd(), content)
}

/// Opens a directory, to start paths from or to list it.
pub fn open_dir(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    open(at, path, OFlags::RDONLY | OFlags::DIRECTORY, 0)
}

/// `openat`, closed on exec and never a controlling terminal.
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

/// Says whether reads and writes wait: those of everybody who has this opening
/// of the file.
pub fn set_blocking(file: At<'_>, waits: bool) -> Result<(), Errno> {
    let mut flags = rustix::fs::fcntl_getfl(file).map_err(error::from)?;
    flags.set(OFlags::NONBLOCK, !waits);
    rustix::fs::fcntl_setfl(file, flags).map_err(error::from)
}

/// Takes the lock of a whole file, or EAGAIN when somebody has it.
pub fn lock_now(file: At<'_>) -> Result<(), Errno> {
    rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
        .map_err(error::from)
}

/// Takes the lock of a whole file, waiting for it.
pub fn lock_wait(file: At<'_>) -> Result<(), Errno> {
    loop {
        match rustix::fs::flock(file, FlockOperation::LockExclusive) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(error::from),
        }
    }
}

/// Lets go of the lock of a whole file, for its copies in children too, which
/// a close would leave it to.
pub fn unlock(file: At<'_>) {
    // What is no file any more has no lock either.
    let _gone = rustix::fs::flock(file, FlockOperation::Unlock).is_err();
}

/// What `path` leads to.
pub fn info(at: At<'_>, path: &CStr) -> Result<Info, Errno> {
    let stat = rustix::fs::statat(at, path, AtFlags::empty());
    stat.map(|stat| digest(&stat)).map_err(error::from)
}

/// What `path` itself is, even when it is a link.
pub fn info_of_link(at: At<'_>, path: &CStr) -> Result<Info, Errno> {
    let stat = rustix::fs::statat(at, path, AtFlags::SYMLINK_NOFOLLOW);
    stat.map(|stat| digest(&stat)).map_err(error::from)
}

/// Whether `path` can be read; without opening it, so that a lack of
/// descriptors changes nothing.
pub fn is_readable(at: At<'_>, path: &CStr) -> bool {
    let readable = rustix::fs::Access::READ_OK;
    rustix::fs::accessat(at, path, readable, AtFlags::empty()).is_ok()
}

/// What an open file is.
pub fn info_of(file: At<'_>) -> Result<Info, Errno> {
    let stat = rustix::fs::fstat(file);
    stat.map(|stat| digest(&stat)).map_err(error::from)
}

/// Whether an open file has no name any more: it was removed, or another one
/// took its name.
pub fn is_removed(file: At<'_>) -> bool {
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

/// The part of the kernel's record that anybody here needs.
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

/// Makes a directory.
pub fn make_dir(at: At<'_>, path: &CStr, mode: u32) -> Result<(), Errno> {
    rustix::fs::mkdirat(at, path, mode.into()).map_err(error::from)
}

/// Makes the directory that `path`, a link to nothing, leads to; `base` is
/// where such a link starts from. EEXIST when it is no such link.
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

/// Makes a symbolic link at `path` that leads to `target`.
pub fn make_link(target: &CStr, at: At<'_>, path: &CStr) -> Result<(), Errno> {
    rustix::fs::symlinkat(target, at, path).map_err(error::from)
}

/// Removes a file's name.
pub fn remove(at: At<'_>, path: &CStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(at, path, AtFlags::empty()).map_err(error::from)
}

/// Removes an empty directory.
pub fn remove_dir(at: At<'_>, path: &CStr) -> Result<(), Errno> {
    rustix::fs::unlinkat(at, path, AtFlags::REMOVEDIR).map_err(error::from)
}

/// Lets programs to come inherit an open file, for the rest of this
/// process's life.
pub fn pass_on(file: super::Fd) -> Result<(), Errno> {
    let flags = rustix::io::FdFlags::empty();
    rustix::io::fcntl_setfd(&file, flags).map_err(error::from)?;
    file.leave_open();
    Ok(())
}

/// Gives a file another name, replacing what has it.
pub fn rename(at: At<'_>, from: &CStr, to: &CStr) -> Result<(), Errno> {
    rustix::fs::renameat(at, from, at, to).map_err(error::from)
}

/// Gives a file another name that nothing has yet.
///
/// EINVAL and ENOSYS on file systems and kernels that cannot promise it.
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

/// Gives an open file to a group, whoever owns it.
pub fn give_group(file: At<'_>, group: u32) -> Result<(), Errno> {
    let group = Some(rustix::fs::Gid::from_raw(group));
    rustix::fs::fchown(file, None, group).map_err(error::from)
}

/// Gives an open file to a user and a group.
pub fn give_open(file: At<'_>, [user, group]: [u32; 2]) -> Result<(), Errno> {
    let owner = Some(rustix::fs::Uid::from_raw(user));
    let group = Some(rustix::fs::Gid::from_raw(group));
    rustix::fs::fchown(file, owner, group).map_err(error::from)
}

/// Writes in place, `at` bytes from the start.
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

/// Reads from `at` bytes behind the start, until the buffer is full or the
/// file ends; answers how many bytes came.
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

/// Cuts a file to so many bytes.
pub fn truncate(file: At<'_>, bytes: u64) -> Result<(), Errno> {
    rustix::fs::ftruncate(file, bytes).map_err(error::from)
}

/// Brings a file's content onto the medium.
pub fn sync(file: At<'_>) -> Result<(), Errno> {
    rustix::fs::fsync(file).map_err(error::from)
}

/// Brings onto the medium what it takes to read a file's content back.
pub fn sync_data(file: At<'_>) -> Result<(), Errno> {
    rustix::fs::fdatasync(file).map_err(error::from)
}

/// Where a symbolic link leads, as it stands in the link.
///
/// ENAMETOOLONG when the text does not fit the buffer.
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

/// Sets the permission bits that new files do not get.
pub fn set_umask(mask: u32) {
    let _old = rustix::process::umask(mask.into());
}

/// Goes to a directory.
pub fn change_dir(path: &CStr) -> Result<(), Errno> {
    rustix::process::chdir(path).map_err(error::from)
}

/// Goes to an open directory.
pub fn change_dir_to(dir: At<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(dir).map_err(error::from)
}

/// Makes a directory the root of all paths of this process.
pub fn change_root(path: &CStr) -> Result<(), Errno> {
    rustix::process::chroot(path).map_err(error::from)
}

/// Reads a file from its start; what is longer than the buffer is left.
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

/// Calls `each` with every line of a file, or with `None` for one that is
/// longer than the buffer, until it answers false.
pub fn lines(
    at: At<'_>,
    path: &CStr,
    buffer: &mut [u8],
    mut each: impl FnMut(Option<&[u8]>) -> bool,
) -> Result<(), Errno> {
    heads(at, path, buffer, &mut |line, whole| {
        each(whole.then_some(line))
    })
}

/// Calls `each` with every line of a file until it returns false. Of a line
/// that is longer than the buffer it gets as much as fits, and false.
pub fn heads(
    at: At<'_>,
    path: &CStr,
    buffer: &mut [u8],
    each: &mut dyn FnMut(&[u8], bool) -> bool,
) -> Result<(), Errno> {
    let file = open_read(at, path)?;
    let mut kept = 0_usize;
    // The rest of the line at hand belongs to one that was too long.
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

/// Overwrites a file that is there, and cuts it to the new length. No new
/// block is needed for content that is not longer, so that this succeeds on a
/// full file system that does not copy on write.
///
/// The content is written by one `pwrite`: of one that lies within a page and
/// has the length of the old one a reader sees the old bytes or the new ones.
/// A link is not followed.
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

/// A step of `replace` that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replace {
    /// What could not be done: `open`, `write` or `rename`.
    pub verb: &'static str,
    /// Why.
    pub errno: Errno,
}

/// Writes `content` to `new` and gives that file the name `path`, so that
/// readers see the old content or all of the new one (contract §1).
///
/// On a failure `new` is removed and the old file stays.
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
        // The first failure is the one to tell.
        let _left = remove(at, new).is_err();
    }
    done
}
