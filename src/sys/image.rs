//! Keeps a copy of the program in memory, and executes an open file.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use core::ffi::CStr;

use linux_raw_sys::general;
use rustix::fd::{AsFd as _, AsRawFd as _};
use syscalls::Sysno;

use super::{
    At, CWD, Errno, Fd,
    error::syscall,
    file, open,
    program::{Argv, Environ, SELF_EXE},
    secure,
};
use crate::text::Line;

/// The image of the program that is executed after a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// A copy in memory.
    Memory,
    /// The open file of the program.
    File,
    /// The path of the program.
    Path,
}

impl Image {
    /// Returns its name.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Memory => b"a copy of itself in memory",
            Self::File => b"the file that is running",
            Self::Path => b"its path",
        }
    }
}

/// Opens the program at `path`, else the one that is running, with `in_memory`
/// a copy in memory if that can be made and the file is not in memory itself.
pub(super) fn open_own(path: &CStr, in_memory: bool) -> Option<Fd> {
    let opened = file::open_read(CWD, path);
    let opened = opened.or_else(|_| file::open_read(CWD, SELF_EXE));
    let program = opened.ok()?;
    // No program that is running can be written to.
    let copies = in_memory && !is_in_memory(&program);
    let copy = copies.then(|| sealed_copy(&program));
    Some(copy.and_then(Result::ok).unwrap_or(program))
}

/// All seals: size and content never change, and neither do the seals.
const SEALS: u32 = general::F_SEAL_SEAL
    | general::F_SEAL_SHRINK
    | general::F_SEAL_GROW
    | general::F_SEAL_WRITE;

/// Returns true when a file is in memory already: on the root that the kernel
/// unpacks an initramfs into.
pub(super) fn is_in_memory(file: &Fd) -> bool {
    const KINDS: [u32; 2] = [general::TMPFS_MAGIC, general::RAMFS_MAGIC];
    open::is_on(file.as_fd(), &KINDS)
}

/// Makes an empty file in memory, executable or not.
fn in_memory(executable: bool) -> Result<Fd, Errno> {
    /// MFD_NOEXEC_SEAL and MFD_EXEC, since Linux 6.3.
    const KINDS: [u32; 2] = [0x8, 0x10];
    const FLAGS: u32 = general::MFD_CLOEXEC | general::MFD_ALLOW_SEALING;
    let [not, may] = KINDS;
    let kind = if executable { may } else { not };
    let make = |flags: u32| {
        let name = c"runt".as_ptr();
        // SAFETY: the name ends in a NUL.
        unsafe { syscall!(Sysno::memfd_create, name, flags) }
    };
    let number = match make(FLAGS | kind) {
        Err(Errno::EINVAL) => make(FLAGS),
        made => made,
    }?;
    Ok(Fd::from_number(number))
}

/// Makes an empty file in memory, for data.
pub fn memory_file() -> Result<Fd, Errno> {
    in_memory(false)
}

/// Most bytes of a file that [`copy_program`] copies.
const PROGRAM_BYTES: u64 = 1 << 22;

/// Copies the program at `path` into memory as [`sealed_copy`] does. EPERM if
/// another user can have put it there, or may write to it; EFBIG if it is too
/// large.
pub fn copy_program(path: &CStr) -> Result<Fd, Errno> {
    let (program, bytes) = secure::program(CWD, path)?;
    if bytes > PROGRAM_BYTES {
        return Err(Errno::EFBIG);
    }
    sealed_copy(&program)
}

/// Opens the program that a process runs; EPERM unless it is a copy in memory.
pub fn open_running(pid: u32) -> Result<Fd, Errno> {
    let mut path = Line::new();
    path.text("/proc/").number(pid.into()).text("/exe");
    let path = file::path_of(&[path.as_bytes()])?;
    let program = file::open_read(CWD, path.as_c_str())?;
    if kind(program.as_fd()) == Image::Memory {
        Ok(program)
    } else {
        Err(Errno::EPERM)
    }
}

/// Copies a program into memory and seals it.
pub(super) fn sealed_copy(program: &Fd) -> Result<Fd, Errno> {
    /// Bytes copied at once; more than the program has.
    const BYTES: u32 = 1 << 24;
    let copy = in_memory(true)?;
    let (from, to) = (program.number(), copy.number());
    let mut bytes = 0_usize;
    loop {
        // SAFETY: without an offset the call takes no pointer.
        match unsafe { syscall!(Sysno::sendfile, to, from, 0, BYTES) }? {
            0 if bytes == 0 => return Err(Errno::EIO),
            0 => break,
            count => bytes = bytes.saturating_add(count),
        }
    }
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::fcntl, to, general::F_ADD_SEALS, SEALS) }?;
    Ok(copy)
}

/// Returns the kind of the image in an open file: [`Image::Memory`] if it is
/// sealed as [`sealed_copy`] seals it.
pub(super) fn kind(file: At<'_>) -> Image {
    let number = file.as_raw_fd();
    // SAFETY: the call takes no pointer.
    let seals = unsafe { syscall!(Sysno::fcntl, number, general::F_GET_SEALS) };
    if seals.is_ok_and(|seals| u32::try_from(seals) == Ok(SEALS)) {
        Image::Memory
    } else {
        Image::File
    }
}

/// Executes an open file; returns only with the reason why it failed.
pub(super) fn exec(number: u32, argv: Argv, environ: Environ) -> Errno {
    let (path, argv) = (c"".as_ptr(), argv.pointer());
    let (environ, flags) = (environ.0, general::AT_EMPTY_PATH);
    // SAFETY: both lists were made by the kernel, or vouched for by their
    // maker.
    let done = unsafe {
        syscall!(Sysno::execveat, number, path, argv, environ, flags)
    };
    done.map_or_else(|errno| errno, |_| Errno::EIO)
}
