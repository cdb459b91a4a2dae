//! Calls that wait for events: epoll, inotify, timerfd.

use core::ffi::CStr;

use linux_raw_sys::general;
use rustix::fd::AsRawFd;
use syscalls::Sysno;

use super::signals::MASK;
use crate::sys::{
    error::{Errno, syscall},
    fd::{At, Fd},
};

/// Calls `epoll_create1(EPOLL_CLOEXEC)`.
pub(in crate::sys) fn epoll_create() -> Result<Fd, Errno> {
    let flags = rustix::event::epoll::CreateFlags::CLOEXEC.bits();
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::epoll_create1, flags) }?;
    Ok(Fd::from_number(fd))
}

/// An event that `epoll_pwait` returns.
#[derive(Clone, Copy, Default)]
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
pub(in crate::sys) struct EpollEvent {
    /// The conditions that are met.
    pub(in crate::sys) events: u32,
    /// The caller's token.
    pub(in crate::sys) data: u64,
}

/// Calls `epoll_ctl`: operation 1 adds, 2 removes, 3 changes.
pub(in crate::sys) fn epoll_ctl(
    epoll: &Fd,
    operation: u32,
    fd: At<'_>,
    event: EpollEvent,
) -> Result<(), Errno> {
    let (epoll, fd) = (epoll.number(), fd.as_raw_fd());
    // SAFETY: the event outlives the call, which only reads it.
    unsafe {
        syscall!(Sysno::epoll_ctl, epoll, operation, fd, &raw const event)
    }?;
    Ok(())
}

/// Calls `epoll_pwait` with the signal mask unchanged; returns the number of
/// events stored. Negative `millis` waits without limit.
pub(in crate::sys) fn epoll_wait(
    epoll: &Fd,
    events: &mut [EpollEvent],
    millis: i32,
) -> Result<usize, Errno> {
    let (fd, start, count) =
        (epoll.number(), events.as_mut_ptr(), events.len());
    // SAFETY: the kernel writes at most `count` events into `events`.
    unsafe { syscall!(Sysno::epoll_pwait, fd, start, count, millis, 0, MASK) }
}

/// Calls `inotify_init1`, non-blocking and closed on exec.
pub(in crate::sys) fn inotify_init() -> Result<Fd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::inotify_init1, flags.bits()) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `inotify_add_watch`; returns the watch's number.
pub(in crate::sys) fn inotify_add(
    inotify: &Fd,
    path: &CStr,
    mask: u32,
) -> Result<usize, Errno> {
    let (fd, path) = (inotify.number(), path.as_ptr());
    // SAFETY: the path ends in a NUL and outlives the call.
    unsafe { syscall!(Sysno::inotify_add_watch, fd, path, mask) }
}

/// Calls `inotify_rm_watch`.
pub(in crate::sys) fn inotify_remove(
    inotify: &Fd,
    id: u32,
) -> Result<(), Errno> {
    let fd = inotify.number();
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::inotify_rm_watch, fd, id) }?;
    Ok(())
}

/// Calls `timerfd_create` on the wall clock, non-blocking and closed on exec.
pub(in crate::sys) fn timerfd() -> Result<Fd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::timerfd_create, 0, flags.bits()) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `timerfd_settime` with TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET
/// to a second that no clock ever reaches.
pub(in crate::sys) fn cancel_on_set(timer: &Fd) -> Result<(), Errno> {
    const FLAGS: u32 =
        general::TFD_TIMER_ABSTIME | general::TFD_TIMER_CANCEL_ON_SET;
    let fd = timer.number();
    let long = [0, 0, 1_i64 << 40, 0];
    let pointer = long.as_ptr();
    #[cfg(target_pointer_width = "64")]
    // SAFETY: the kernel reads two pairs of 64-bit numbers.
    unsafe { syscall!(Sysno::timerfd_settime, fd, FLAGS, pointer, 0) }?;
    #[cfg(target_pointer_width = "32")]
    // SAFETY: as above: the new call reads 64-bit numbers on every machine.
    let done =
        unsafe { syscall!(Sysno::timerfd_settime64, fd, FLAGS, pointer, 0) };
    #[cfg(target_pointer_width = "32")]
    if done == Err(Errno::ENOSYS) {
        let short = [0, 0, i32::MAX, 0];
        let pointer = short.as_ptr();
        // SAFETY: the old call reads two pairs of 32-bit numbers.
        unsafe { syscall!(Sysno::timerfd_settime, fd, FLAGS, pointer, 0) }?;
    } else {
        done?;
    }
    Ok(())
}
