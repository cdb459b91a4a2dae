//! Opens and makes files in directories that another user may own or write
//! to: a supervise directory, a log directory, the run directory.
//!
//! Another user who may write to a directory can have put a link there, or
//! another file than the expected one. So no link is followed in the last
//! component of a path (ELOOP), a file that is written to must be a regular
//! one (EINVAL) without a second name (EMLINK), a FIFO must be one (ENXIO),
//! and no file is emptied before that is known. A second name, such as one in
//! a backup, is accepted where only this user and root can have made the first
//! one. Links in other components are followed: `supervise` may be one
//! (contract §2.2).

use core::ffi::CStr;

use rustix::fs::OFlags;

use super::{
    AsFd, At, Errno, Fd,
    open::{self, Info, Kind, open},
};
use crate::text::{Path, basename};

/// Opens for appending; creates the file with mode 0600 when it is missing.
pub fn append(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    Ok(regular(at, path, flags, 0o600)?.0)
}

/// Opens for reading and writing; creates the file with mode 0600 when it is
/// missing.
pub fn update(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE;
    Ok(regular(at, path, flags, 0o600)?.0)
}

/// Opens for writing from the start; creates the file with `mode` when it is
/// missing, empties it when not.
pub fn truncate(at: At<'_>, path: &CStr, mode: u32) -> Result<Fd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let (file, info) = regular(at, path, flags, mode)?;
    if info.size > 0 {
        open::truncate(file.as_fd(), 0)?;
    }
    Ok(file)
}

/// Opens an existing file for writing.
pub fn write(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    Ok(regular(at, path, OFlags::WRONLY, 0)?.0)
}

/// Opens for reading.
pub fn read(at: At<'_>, path: &CStr) -> Result<Fd, Errno> {
    Ok(regular(at, path, OFlags::RDONLY, 0)?.0)
}

/// Opens a program for reading; returns its size in bytes, too. EPERM if another
/// user can have put it there, or may write to it.
pub fn program(at: At<'_>, path: &CStr) -> Result<(Fd, u64), Errno> {
    let (file, info) = regular(at, path, OFlags::RDONLY, 0)?;
    if info.mode & 0o022 == 0 && is_named_by_us(at, path, &info) {
        Ok((file, info.size))
    } else {
        Err(Errno::EPERM)
    }
}

/// Creates a file for writing. Removes what has the name already, except a
/// directory.
pub fn create(at: At<'_>, path: &CStr, mode: u32) -> Result<Fd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    match open(at, path, flags, mode) {
        Err(Errno::EEXIST) => {
            open::remove(at, path)?;
            open(at, path, flags, mode)
        }
        opened => opened,
    }
}

/// The ends of a FIFO to open.
#[derive(Clone, Copy, Debug)]
pub enum FifoEnds {
    /// The end to read from.
    Reader,
    /// The end to write to: ENXIO when there is no reader.
    Writer,
    /// Both in one descriptor: it never reads end of file, and accepts writes
    /// without another reader.
    Both,
}

/// Opens a FIFO, non-blocking. ENXIO when the file is not a FIFO.
pub fn fifo(at: At<'_>, path: &CStr, ends: FifoEnds) -> Result<Fd, Errno> {
    let flags = match ends {
        FifoEnds::Reader => OFlags::RDONLY,
        FifoEnds::Writer => OFlags::WRONLY,
        FifoEnds::Both => OFlags::RDWR,
    };
    let flags = flags | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let fifo = open(at, path, flags, 0)?;
    if open::info_of(fifo.as_fd())?.kind == Kind::Fifo {
        Ok(fifo)
    } else {
        Err(Errno::ENXIO)
    }
}

/// Opens a directory that is not a link. EPERM unless this user or root owns
/// it and no other user may write to it. With `sticky`, others may write to it
/// if its sticky bit keeps them from renaming or removing entries that are not
/// theirs, as in a tmpfs mounted without `mode=`.
pub fn directory(at: At<'_>, path: &CStr, sticky: bool) -> Result<Fd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let dir = open(at, path, flags, 0)?;
    let info = open::info_of(dir.as_fd())?;
    let is_sticky = sticky && info.mode & 0o1000 != 0;
    if is_ours(&info) && (is_sticky || info.mode & 0o022 == 0) {
        Ok(dir)
    } else {
        Err(Errno::EPERM)
    }
}

/// Returns true when this user or root owns a file.
fn is_ours(info: &Info) -> bool {
    info.owner == 0 || info.owner == rustix::process::geteuid().as_raw()
}

/// Returns true when no other user can have given `path` to an open file: this
/// user or root owns both the file and the directory, which is not writable by
/// others.
fn is_named_by_us(at: At<'_>, path: &CStr, file: &Info) -> bool {
    let path = path.to_bytes_with_nul();
    let name = basename(path);
    let holder = path.strip_suffix(name).unwrap_or(b"");
    let holder = Path::join(&[holder, b"."]);
    let (Ok(holder), Ok(name)) = (holder, CStr::from_bytes_with_nul(name))
    else {
        return false;
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    // The name is looked up in what was checked, whatever `path` leads to by
    // now.
    let found = open(at, holder.as_c_str(), flags, 0).and_then(|dir| {
        let info = open::info_of(dir.as_fd())?;
        let trusted = is_ours(&info) && info.mode & 0o022 == 0;
        let named = open::info_of_link(dir.as_fd(), name)?;
        Ok(trusted && named.identity == file.identity)
    });
    is_ours(file) && found == Ok(true)
}

/// Opens a regular file that has at most one name, or that only this user and
/// root can have named so.
fn regular(
    at: At<'_>,
    path: &CStr,
    flags: OFlags,
    mode: u32,
) -> Result<(Fd, Info), Errno> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = open(at, path, flags, mode)?;
    let info = open::info_of(file.as_fd())?;
    if info.kind != Kind::Regular {
        Err(Errno::EINVAL)
    } else if info.links > 1 && !is_named_by_us(at, path, &info) {
        Err(Errno::EMLINK)
    } else {
        Ok((file, info))
    }
}

#[cfg(test)]
mod test {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
    };

    use super::*;
    use crate::sys::{CWD, identity};

    /// Makes a FIFO.
    fn make_fifo(at: At<'_>, path: &CStr, mode: u32) -> Result<(), Errno> {
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(at, path, kind, mode.into(), 0)?;
        Ok(())
    }

    /// Makes a temporary directory and opens it.
    fn temp_dir() -> (tempfile::TempDir, Fd) {
        let dir = tempfile::tempdir().unwrap();
        let path = std::format!("{}\0", dir.path().display());
        let path = CStr::from_bytes_with_nul(path.as_bytes()).unwrap();
        let open = open::open_dir(CWD, path).unwrap();
        (dir, open)
    }

    type Opener = fn(At<'_>, &CStr) -> Result<Fd, Errno>;

    /// All functions that open a file for writing.
    const WRITERS: [Opener; 4] =
        [append, update, write, |at, path| truncate(at, path, 0o644)];

    #[test]
    fn planted_files_are_not_written() {
        let (dir, at) = temp_dir();
        let (at, path) = (at.as_fd(), |name| dir.path().join(name));
        fs::write(path("secret"), "secret").unwrap();
        symlink("secret", path("link")).unwrap();
        symlink("missing", path("dangling")).unwrap();
        fs::create_dir(path("dir")).unwrap();
        make_fifo(at, c"fifo", 0o600).unwrap();
        let _reader = open::open_read(at, c"fifo").unwrap();
        for open in WRITERS {
            let refused = |name| open(at, name).err();
            assert_eq!(refused(c"link"), Some(Errno::ELOOP));
            assert_eq!(refused(c"dangling"), Some(Errno::ELOOP));
            assert_eq!(refused(c"dir"), Some(Errno::EISDIR));
            assert_eq!(refused(c"fifo"), Some(Errno::EINVAL));
        }
        assert_eq!(read(at, c"link").err(), Some(Errno::ELOOP));
        assert_eq!(read(at, c"fifo").err(), Some(Errno::EINVAL));
        assert!(!path("missing").exists());
    }

    #[test]
    fn a_second_name_is_accepted_in_our_own_directory() {
        let (dir, at) = temp_dir();
        let path = |name| dir.path().join(name);
        fs::write(path("secret"), "").unwrap();
        fs::create_dir(path("dir")).unwrap();
        fs::hard_link(path("secret"), path("dir/hard")).unwrap();
        symlink("dir", path("link")).unwrap();
        let set_mode = |mode| {
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(path("dir"), mode).unwrap();
        };
        let open_all = || {
            let names = [c"dir/hard", c"link/hard"];
            let opens = names.iter().flat_map(|name| {
                WRITERS.map(|open| open(at.as_fd(), name).err())
            });
            let mut opens: Vec<_> = opens.collect();
            opens.dedup();
            opens
        };
        set_mode(0o755);
        assert_eq!(open_all(), [None]);
        // The name itself has no directory in its path.
        append(at.as_fd(), c"secret").unwrap();
        for mode in [0o775, 0o757, 0o1777] {
            set_mode(mode);
            assert_eq!(open_all(), [Some(Errno::EMLINK)], "{mode:o}");
        }
        set_mode(0o755);
        if identity::is_root() {
            chown(path("dir"), Some(65534), None).unwrap();
            assert_eq!(open_all(), [Some(Errno::EMLINK)]);
            chown(path("dir"), Some(0), None).unwrap();
            chown(path("secret"), Some(65534), None).unwrap();
            assert_eq!(open_all(), [Some(Errno::EMLINK)]);
        }
    }

    #[test]
    fn creating_replaces_planted_files() {
        let (dir, at) = temp_dir();
        let path = |name| dir.path().join(name);
        fs::write(path("secret"), "secret").unwrap();
        symlink("secret", path("link")).unwrap();
        fs::hard_link(path("secret"), path("hard")).unwrap();
        for name in [c"link", c"hard", c"new"] {
            let made = create(at.as_fd(), name, 0o600).unwrap();
            super::super::write_all(made.as_fd(), b"made").unwrap();
            let name = path(name.to_str().unwrap());
            assert!(fs::symlink_metadata(&name).unwrap().is_file());
            assert_eq!(fs::read_to_string(&name).unwrap(), "made");
        }
        assert_eq!(fs::read_to_string(path("secret")).unwrap(), "secret");
        fs::create_dir(path("dir")).unwrap();
        assert!(create(at.as_fd(), c"dir", 0o600).is_err());
    }

    #[test]
    fn existing_files_are_kept_or_truncated() {
        let (dir, at) = temp_dir();
        let mut file = fs::File::create(dir.path().join("file")).unwrap();
        file.write_all(b"abc").unwrap();
        let size = || file.metadata().unwrap().len();
        for open in [append, update, write, read] {
            open(at.as_fd(), c"file").unwrap();
            assert_eq!(size(), 3);
        }
        truncate(at.as_fd(), c"file", 0o644).unwrap();
        assert_eq!(size(), 0);
    }

    #[test]
    fn fifo_must_be_a_fifo() {
        let (dir, at) = temp_dir();
        let at = at.as_fd();
        make_fifo(at, c"fifo", 0o600).unwrap();
        symlink("fifo", dir.path().join("link")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let writer = || fifo(at, c"fifo", FifoEnds::Writer);
        assert_eq!(writer().err(), Some(Errno::ENXIO));
        let _reader = fifo(at, c"fifo", FifoEnds::Reader).unwrap();
        writer().unwrap();
        for ends in [FifoEnds::Reader, FifoEnds::Writer, FifoEnds::Both] {
            let refused = |name| fifo(at, name, ends).err();
            assert_eq!(refused(c"link"), Some(Errno::ELOOP));
            assert_eq!(refused(c"file"), Some(Errno::ENXIO));
        }
    }

    #[test]
    fn directory_must_be_our_own() {
        let (dir, at) = temp_dir();
        let path = |name| dir.path().join(name);
        let open = |name| directory(at.as_fd(), name, false);
        fs::create_dir(path("dir")).unwrap();
        open(c"dir").unwrap();
        symlink("dir", path("link")).unwrap();
        assert!(open(c"link").is_err());
        for mode in [0o775, 0o757, 0o1777] {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(path("dir"), permissions).unwrap();
            assert_eq!(open(c"dir").err(), Some(Errno::EPERM));
            // Sticky: others cannot rename or remove our entries in it.
            let sticky = directory(at.as_fd(), c"dir", true).is_ok();
            assert_eq!(sticky, mode & 0o1000 != 0);
        }
        let mode = fs::Permissions::from_mode(0o700);
        fs::set_permissions(path("dir"), mode).unwrap();
        open(c"dir").unwrap();
        if identity::is_root() {
            chown(path("dir"), Some(65534), None).unwrap();
            assert_eq!(open(c"dir").err(), Some(Errno::EPERM));
        }
    }
}
