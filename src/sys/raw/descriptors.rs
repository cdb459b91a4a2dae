//! Calls on files and descriptors.

use core::ffi::CStr;

use linux_raw_sys::general;
use rustix::fd::AsRawFd;
use syscalls::Sysno;

use crate::sys::{
    error::{Errno, syscall},
    fd::{At, Fd},
};

/// Calls `openat`; returns the new descriptor.
pub(in crate::sys) fn openat(
    at: At<'_>,
    path: &CStr,
    flags: u32,
    mode: u32,
) -> Result<Fd, Errno> {
    let at = at.as_raw_fd();
    // SAFETY: the path ends in a NUL and outlives the call.
    let fd =
        unsafe { syscall!(Sysno::openat, at, path.as_ptr(), flags, mode) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `fstatfs64`; returns the number of the kind of an open file's file
/// system.
#[cfg(target_arch = "mips")]
pub(in crate::sys) fn file_system(file: At<'_>) -> Result<u32, Errno> {
    const SIZE: usize = size_of::<linux_raw_sys::general::statfs64>();
    let fd = file.as_raw_fd();
    let mut info = [0_u32; SIZE / size_of::<u32>()];
    let pointer = info.as_mut_ptr();
    // SAFETY: the kernel writes `SIZE` bytes, which `info` holds.
    unsafe { syscall!(Sysno::fstatfs64, fd, SIZE, pointer) }?;
    let [kind, ..] = info;
    Ok(kind)
}

/// Calls `pipe2`, closed on exec; returns the end to read from and the end to
/// write to.
pub(in crate::sys) fn pipe(nonblocking: bool) -> Result<[Fd; 2], Errno> {
    let wait = if nonblocking {
        rustix::fs::OFlags::NONBLOCK
    } else {
        rustix::fs::OFlags::empty()
    };
    let flags = wait | rustix::fs::OFlags::CLOEXEC;
    let mut ends = [0_u32; 2];
    let pointer = ends.as_mut_ptr();
    // SAFETY: the kernel writes two 32-bit numbers, which `ends` holds.
    unsafe { syscall!(Sysno::pipe2, pointer, flags.bits()) }?;
    Ok(ends
        .map(|end| Fd::from_number(usize::try_from(end).unwrap_or(usize::MAX))))
}

/// Calls `readlinkat`; returns the number of bytes of the target that were
/// stored.
pub(in crate::sys) fn readlink(
    at: At<'_>,
    path: &CStr,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let at = at.as_raw_fd();
    let (path, pointer, room) =
        (path.as_ptr(), buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the kernel writes at most `room` bytes into the buffer.
    unsafe { syscall!(Sysno::readlinkat, at, path, pointer, room) }
}

/// Calls `getdents64`; returns the number of bytes of records that were
/// stored.
pub(in crate::sys) fn getdents(
    dir: At<'_>,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let fd = dir.as_raw_fd();
    let (pointer, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the kernel writes at most `room` bytes into the buffer.
    unsafe { syscall!(Sysno::getdents64, fd, pointer, room) }
}

/// Calls `close_range` to mark descriptors from `first` on as closed on exec.
pub(in crate::sys) fn cloexec_from(first: u32) -> Result<(), Errno> {
    /// CLOSE_RANGE_CLOEXEC.
    const CLOEXEC: u32 = 4;
    // SAFETY: marking a descriptor takes it from no owner in this process.
    unsafe { syscall!(Sysno::close_range, first, u32::MAX, CLOEXEC) }?;
    Ok(())
}

/// Calls `close_range` from `first` to `last` in a child. `unshare` gives it a
/// table of open files of its own before that, to which none of them is copied
/// when `last` is the greatest number.
pub(in crate::sys) fn close_range(
    first: u32,
    last: u32,
    unshare: bool,
) -> Result<(), Errno> {
    /// CLOSE_RANGE_UNSHARE.
    const UNSHARE: u32 = 2;
    let flags = if unshare { UNSHARE } else { 0 };
    // SAFETY: a child that is about to become another program, or a copy that
    // names what it keeps, does not use what is closed; a process that shared
    // the table with it keeps it.
    unsafe { syscall!(Sysno::close_range, first, last, flags) }?;
    Ok(())
}

/// Calls `dup3` onto a number that the process uses as a standard stream, or
/// onto any in a child that is about to become a program.
pub(in crate::sys) fn dup_onto(from: At<'_>, onto: u32) -> Result<(), Errno> {
    let from = from.as_raw_fd();
    // SAFETY: only `sys` passes numbers: 0, 1 and 2, which no `Fd` ever owns,
    // and any in a child that uses none of its `Fd`s any more.
    unsafe { syscall!(Sysno::dup3, from, onto, 0) }?;
    Ok(())
}

/// Calls `fcntl(F_DUPFD_CLOEXEC)`; returns a copy of the descriptor, `least`
/// or above.
pub(in crate::sys) fn dup_above(from: At<'_>, least: u32) -> Result<Fd, Errno> {
    let (from, copy) = (from.as_raw_fd(), general::F_DUPFD_CLOEXEC);
    // SAFETY: the call takes no pointer; the new number has no owner yet.
    let fd = unsafe { syscall!(Sysno::fcntl, from, copy, least) }?;
    Ok(Fd::unnoted(i32::try_from(fd).unwrap_or(i32::MAX)))
}

/// Calls `close` of a standard stream, of a number that `limits` keeps, or in
/// a copy of this process of a descriptor that it does not need.
pub(in crate::sys) fn close_number(number: u32) -> Result<(), Errno> {
    // SAFETY: as in `dup_onto`.
    unsafe { syscall!(Sysno::close, number) }?;
    Ok(())
}

/// O_LARGEFILE, which only kernels of 32-bit machines ask for.
pub(in crate::sys) const LARGEFILE: u32 = if cfg!(target_pointer_width = "32") {
    general::O_LARGEFILE
} else {
    0
};

/// Calls `fcntl(F_SETFD)`: sets or clears FD_CLOEXEC.
pub(in crate::sys) fn set_cloexec(
    number: u32,
    cloexec: bool,
) -> Result<(), Errno> {
    let flags = if cloexec { general::FD_CLOEXEC } else { 0 };
    // SAFETY: marking a descriptor takes it from no owner in this process.
    unsafe { syscall!(Sysno::fcntl, number, general::F_SETFD, flags) }?;
    Ok(())
}
