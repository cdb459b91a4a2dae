//! Keeps a copy of the program in memory, and executes an open file.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use linux_raw_sys::general;
use rustix::fd::AsFd as _;
use syscalls::Sysno;

use super::{
    Errno, Fd,
    error::syscall,
    open,
    program::{Argv, Environ},
};

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

/// Copies a program into memory and seals it.
pub(super) fn sealed_copy(program: &Fd) -> Result<Fd, Errno> {
    /// MFD_EXEC, since Linux 6.3.
    const EXEC: u32 = 0x10;
    const FLAGS: u32 = general::MFD_CLOEXEC | general::MFD_ALLOW_SEALING;
    /// Bytes copied at once; more than the program has.
    const BYTES: u32 = 1 << 24;
    let make = |flags: u32| {
        let name = c"runt".as_ptr();
        // SAFETY: the name ends in a NUL.
        unsafe { syscall!(Sysno::memfd_create, name, flags) }
    };
    let number = match make(FLAGS | EXEC) {
        Err(Errno::EINVAL) => make(FLAGS),
        made => made,
    }?;
    let copy = Fd::from_number(number);
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

/// Returns true when a file is sealed as [`sealed_copy`] seals it.
pub(super) fn is_sealed(file: &Fd) -> bool {
    let number = file.number();
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::fcntl, number, general::F_GET_SEALS) }
        .is_ok_and(|seals| u32::try_from(seals) == Ok(SEALS))
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
