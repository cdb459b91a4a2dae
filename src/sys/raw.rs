//! Makes the system calls that rustix lacks, or has only with a panic path.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use core::{
    ffi::{CStr, c_char, c_void},
    sync::atomic::AtomicU32,
};

use linux_raw_sys::{general, ioctl, net};
use rustix::fd::AsRawFd;
use syscalls::Sysno;

use crate::wire::dm::Record;

use super::{
    error::{Errno, syscall},
    fd::{At, Fd},
};

/// A set of signals as the kernel lays it out: bit N-1 is signal N.
/// MIPS has 128 signals, all others 64.
pub(super) type Mask = [u32; MASK / 4];

/// Size of a signal set in bytes, which every call about signals takes.
const MASK: usize = general::_NSIG as usize / 8;

/// The greatest signal number: each signal has a bit of a set.
#[allow(clippy::cast_possible_truncation, reason = "it is 64 or 128")]
pub(super) const LAST_SIGNAL: u8 = general::_NSIG as u8;

/// Calls `tgkill` for the calling thread.
#[cfg(test)]
pub(super) fn tgkill(signal: u32) -> Result<(), Errno> {
    // SAFETY: the call returns a number.
    let process = unsafe { syscall!(Sysno::getpid) }?;
    // SAFETY: the call returns a number.
    let thread = unsafe { syscall!(Sysno::gettid) }?;
    // SAFETY: the call takes numbers alone.
    unsafe { syscall!(Sysno::tgkill, process, thread, signal) }.map(|_| ())
}

/// Calls `openat`; returns the new descriptor.
pub(super) fn openat(
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

/// Calls `pipe2`, closed on exec; returns the end to read from and the end to
/// write to.
pub(super) fn pipe(nonblocking: bool) -> Result<[Fd; 2], Errno> {
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

/// Calls `epoll_create1(EPOLL_CLOEXEC)`.
pub(super) fn epoll_create() -> Result<Fd, Errno> {
    let flags = rustix::event::epoll::CreateFlags::CLOEXEC.bits();
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::epoll_create1, flags) }?;
    Ok(Fd::from_number(fd))
}

/// An event that `epoll_pwait` returns.
#[derive(Clone, Copy, Default)]
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
pub(super) struct EpollEvent {
    /// The conditions that are met.
    pub(super) events: u32,
    /// The caller's token.
    pub(super) data: u64,
}

/// Calls `epoll_ctl`: operation 1 adds, 2 removes, 3 changes.
pub(super) fn epoll_ctl(
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
pub(super) fn epoll_wait(
    epoll: &Fd,
    events: &mut [EpollEvent],
    millis: i32,
) -> Result<usize, Errno> {
    let (fd, start, count) =
        (epoll.number(), events.as_mut_ptr(), events.len());
    // SAFETY: the kernel writes at most `count` events into `events`.
    unsafe { syscall!(Sysno::epoll_pwait, fd, start, count, millis, 0, MASK) }
}

/// Calls `signalfd4`, non-blocking and closed on exec.
pub(super) fn signalfd(mask: &Mask) -> Result<Fd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let mask = mask.as_ptr();
    // SAFETY: the mask outlives the call, which only reads it.
    let fd = unsafe {
        syscall!(Sysno::signalfd4, -1_isize, mask, MASK, flags.bits())
    }?;
    Ok(Fd::from_number(fd))
}

/// Calls `rt_sigprocmask(SIG_SETMASK)`.
pub(super) fn set_mask(mask: &Mask) -> Result<(), Errno> {
    let (how, mask) = (general::SIG_SETMASK, mask.as_ptr());
    // SAFETY: the mask outlives the call; the old one is not asked for.
    unsafe { syscall!(Sysno::rt_sigprocmask, how, mask, 0, MASK) }?;
    Ok(())
}

/// Calls `rt_sigaction` to restore the default action of one signal.
pub(super) fn default_action(signal: u32) -> Result<(), Errno> {
    // All zeros are the default handler, no flags and an empty mask, in the
    // layout of every machine; none is longer than this.
    let action = [0_usize; 8];
    let action = action.as_ptr();
    // SAFETY: the kernel reads no more than the array holds.
    unsafe { syscall!(Sysno::rt_sigaction, signal, action, 0, MASK) }?;
    Ok(())
}

/// A signal handler that does not return: the signal, a `siginfo_t`, and the
/// interrupted state.
pub(super) type Handler =
    unsafe extern "C" fn(u32, *const [u32; 6], *const c_void) -> !;

/// Calls `rt_sigaction`: `handler` is called on the alternate stack, and the
/// signal is not blocked meanwhile.
///
/// # Safety
/// The handler may interrupt the program anywhere.
pub(super) unsafe fn handle(
    signal: u32,
    handler: Handler,
) -> Result<(), Errno> {
    const FLAGS: u32 =
        general::SA_SIGINFO | general::SA_ONSTACK | general::SA_NODEFER;
    let handler = handler as usize;
    // The layout has the flags first on MIPS. x86-64 requires an address to
    // return to, which is not used.
    #[cfg(target_arch = "mips")]
    let action = [FLAGS as usize, handler, 0, 0, 0, 0, 0, 0];
    #[cfg(target_arch = "x86_64")]
    let action = [
        handler,
        (FLAGS | general::SA_RESTORER) as usize,
        handler,
        0,
        0,
        0,
        0,
        0,
    ];
    #[cfg(not(any(target_arch = "mips", target_arch = "x86_64")))]
    let action = [handler, FLAGS as usize, 0, 0, 0, 0, 0, 0];
    let action = action.as_ptr();
    // SAFETY: the kernel reads no more than the array holds; the caller
    // vouches for the handler.
    unsafe { syscall!(Sysno::rt_sigaction, signal, action, 0, MASK) }?;
    Ok(())
}

/// Calls `sigaltstack`.
///
/// # Safety
/// Nothing else uses that memory from now on.
pub(super) unsafe fn alternate_stack(
    start: *mut c_void,
    bytes: usize,
) -> Result<(), Errno> {
    let stack = general::stack_t {
        ss_sp: start,
        ss_flags: 0,
        ss_size: bytes as _,
    };
    // SAFETY: the kernel reads the description; the caller vouches for the
    // memory.
    unsafe { syscall!(Sysno::sigaltstack, &raw const stack, 0) }?;
    Ok(())
}

/// Calls `inotify_init1`, non-blocking and closed on exec.
pub(super) fn inotify_init() -> Result<Fd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::inotify_init1, flags.bits()) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `inotify_add_watch`; returns the watch's number.
pub(super) fn inotify_add(
    inotify: &Fd,
    path: &CStr,
    mask: u32,
) -> Result<usize, Errno> {
    let (fd, path) = (inotify.number(), path.as_ptr());
    // SAFETY: the path ends in a NUL and outlives the call.
    unsafe { syscall!(Sysno::inotify_add_watch, fd, path, mask) }
}

/// Calls `inotify_rm_watch`.
pub(super) fn inotify_remove(inotify: &Fd, id: u32) -> Result<(), Errno> {
    let fd = inotify.number();
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::inotify_rm_watch, fd, id) }?;
    Ok(())
}

/// Forks by `clone` with nothing shared, or with `share` the table of open
/// files only; returns 0 in the child. Only a child with `notify` sends
/// SIGCHLD when it ends and is reported by a wait for children.
///
/// The kernel stores the child's pid in `cell` before the child runs.
pub(super) fn fork(
    cell: &AtomicU32,
    share: bool,
    notify: bool,
) -> Result<usize, Errno> {
    let child_ends = rustix::process::Signal::CHILD.as_raw();
    let signal = if notify {
        child_ends.cast_unsigned()
    } else {
        0
    };
    let shared = if share { general::CLONE_FILES } else { 0 };
    let flags = general::CLONE_PARENT_SETTID | shared | signal;
    // SAFETY: no memory is shared, so the child has a copy of everything and
    // may go on as the parent does; the program has no threads and no locks
    // that the copy could find taken. `cell` outlives the call. A child that
    // shares the files opens, closes and replaces none.
    unsafe { syscall!(Sysno::clone, flags, 0, cell.as_ptr(), 0, 0) }
}

/// Calls `execve`; returns only with the reason why it failed.
///
/// # Safety
/// Both lists must end in a null pointer, and what they point at in a NUL.
pub(super) unsafe fn execve(
    path: &CStr,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> Errno {
    let path = path.as_ptr();
    // SAFETY: the path ends in a NUL; the caller vouches for the lists.
    match unsafe { syscall!(Sysno::execve, path, argv, envp) } {
        Ok(_) => Errno::EIO,
        Err(errno) => errno,
    }
}

/// Calls `waitid` for any child that has ended, or for child `pid`, and leaves
/// it a zombie; returns its pid, 0 when none has ended, and its exit code or
/// the signal that ended it. ECHILD when there are no children, or when that
/// is none.
pub(super) fn waitid(pid: Option<u32>) -> Result<(u32, u32), Errno> {
    const FLAGS: u32 = general::WNOHANG | general::WEXITED | general::WNOWAIT;
    /// The index of a child's pid in a `siginfo_t`, in words; its user and its
    /// status follow.
    const PID: usize = if cfg!(target_pointer_width = "64") {
        4
    } else {
        3
    };
    let which = pid.map_or(general::P_ALL, |_| general::P_PID);
    let id = pid.unwrap_or(0);
    let mut info = [0_u32; 32];
    let pointer = info.as_mut_ptr();
    // SAFETY: the kernel writes a `siginfo_t`, which is 128 bytes everywhere;
    // no `rusage` is asked for.
    unsafe { syscall!(Sysno::waitid, which, id, pointer, FLAGS, 0) }?;
    let [.., pid, _, status] =
        info.first_chunk::<{ PID + 3 }>().ok_or(Errno::ECHILD)?;
    Ok((*pid, *status))
}

/// Calls `exit_group`.
pub(super) fn exit(code: u8) -> ! {
    loop {
        // SAFETY: the call takes no pointer and does not return.
        let _gone = unsafe { syscall!(Sysno::exit_group, code) }.is_ok();
    }
}

/// Calls `clock_gettime`; returns seconds and nanoseconds.
///
/// 32-bit kernels before 5.1 lack the call with 64-bit seconds: there the old
/// call is used, which works until 2038.
pub(super) fn clock(id: u32) -> (i64, i64) {
    let mut long = [0_i64; 2];
    let pointer = long.as_mut_ptr();
    #[cfg(target_pointer_width = "64")]
    // SAFETY: the kernel writes two 64-bit numbers, which `long` holds.
    let done = unsafe { syscall!(Sysno::clock_gettime, id, pointer) };
    #[cfg(target_pointer_width = "32")]
    // SAFETY: as above: the new call writes 64-bit numbers on every machine.
    let done = unsafe { syscall!(Sysno::clock_gettime64, id, pointer) };
    #[cfg(target_pointer_width = "32")]
    if done == Err(Errno::ENOSYS) {
        let mut short = [0_i32; 2];
        let pointer = short.as_mut_ptr();
        // SAFETY: the old call writes two 32-bit numbers.
        let _old =
            unsafe { syscall!(Sysno::clock_gettime, id, pointer) }.is_ok();
        let [secs, nanos] = short;
        return (i64::from(secs), i64::from(nanos));
    }
    // Both clocks always exist; a kernel that refuses yields 1970.
    let _done = done.is_ok();
    let [secs, nanos] = long;
    (secs, nanos)
}

/// Calls `timerfd_create` on the wall clock, non-blocking and closed on exec.
pub(super) fn timerfd() -> Result<Fd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::timerfd_create, 0, flags.bits()) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `timerfd_settime` with TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET
/// to a second that no clock ever reaches.
pub(super) fn cancel_on_set(timer: &Fd) -> Result<(), Errno> {
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

/// Calls `readlinkat`; returns the number of bytes of the target that were
/// stored.
pub(super) fn readlink(
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
pub(super) fn getdents(dir: At<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let fd = dir.as_raw_fd();
    let (pointer, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the kernel writes at most `room` bytes into the buffer.
    unsafe { syscall!(Sysno::getdents64, fd, pointer, room) }
}

/// Calls `close_range` to mark descriptors from `first` on as closed on exec.
pub(super) fn cloexec_from(first: u32) -> Result<(), Errno> {
    /// CLOSE_RANGE_CLOEXEC.
    const CLOEXEC: u32 = 4;
    // SAFETY: marking a descriptor takes it from no owner in this process.
    unsafe { syscall!(Sysno::close_range, first, u32::MAX, CLOEXEC) }?;
    Ok(())
}

/// Calls `close_range` from `first` to `last` in a child. `unshare` gives it a
/// table of open files of its own before that, to which none of them is copied
/// when `last` is the greatest number.
pub(super) fn close_range(
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
pub(super) fn dup_onto(from: At<'_>, onto: u32) -> Result<(), Errno> {
    let from = from.as_raw_fd();
    // SAFETY: only `sys` passes numbers: 0, 1 and 2, which no `Fd` ever owns,
    // and any in a child that uses none of its `Fd`s any more.
    unsafe { syscall!(Sysno::dup3, from, onto, 0) }?;
    Ok(())
}

/// Calls `fcntl(F_DUPFD_CLOEXEC)`; returns a copy of the descriptor, `least`
/// or above.
pub(super) fn dup_above(from: At<'_>, least: u32) -> Result<Fd, Errno> {
    let (from, copy) = (from.as_raw_fd(), general::F_DUPFD_CLOEXEC);
    // SAFETY: the call takes no pointer; the new number has no owner yet.
    let fd = unsafe { syscall!(Sysno::fcntl, from, copy, least) }?;
    Ok(Fd::unnoted(i32::try_from(fd).unwrap_or(i32::MAX)))
}

/// Calls `close` of a standard stream, or in a copy of this process of a
/// descriptor that it does not need.
pub(super) fn close_number(number: u32) -> Result<(), Errno> {
    // SAFETY: as in `dup_onto`.
    unsafe { syscall!(Sysno::close, number) }?;
    Ok(())
}

/// Calls `socket` for datagrams of an address family, non-blocking.
pub(super) fn datagram_socket(family: u32) -> Result<Fd, Errno> {
    // SOCK_CLOEXEC and SOCK_NONBLOCK are the O_ ones.
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let kind = net::SOCK_DGRAM | flags.bits();
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::socket, family, kind, 0) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `connect` to an address as the kernel lays it out.
pub(super) fn connect(socket: &Fd, address: &[u8]) -> Result<(), Errno> {
    let (fd, pointer, length) =
        (socket.number(), address.as_ptr(), address.len());
    // SAFETY: the kernel reads `length` bytes.
    unsafe { syscall!(Sysno::connect, fd, pointer, length) }?;
    Ok(())
}

/// Calls `sendto` an address, non-blocking.
pub(super) fn send_udp(
    socket: &Fd,
    bytes: &[u8],
    address: &[u8],
) -> Result<(), Errno> {
    const DONTWAIT: u32 = net::MSG_DONTWAIT;
    let (fd, start, count) = (socket.number(), bytes.as_ptr(), bytes.len());
    let (pointer, room) = (address.as_ptr(), address.len());
    // SAFETY: the kernel reads `count` bytes, and `room` of the address.
    unsafe {
        syscall!(Sysno::sendto, fd, start, count, DONTWAIT, pointer, room)
    }?;
    Ok(())
}

/// Calls `ioctl` on `struct ifreq`: 16 bytes of name, then flags.
pub(super) fn ifreq(
    socket: &Fd,
    request: u32,
    ifreq: &mut [u8; 40],
) -> Result<(), Errno> {
    let (fd, pointer) = (socket.number(), ifreq.as_mut_ptr());
    // SAFETY: the kernel reads and writes a `struct ifreq`, which is 32 bytes
    // on 32-bit machines and 40 on the others.
    unsafe { syscall!(Sysno::ioctl, fd, request, pointer) }?;
    Ok(())
}

/// Calls `ioctl(TIOCOUTQ)`; returns the number of bytes that a terminal has
/// not sent yet.
pub(super) fn output_queue(terminal: &Fd) -> Result<i32, Errno> {
    let mut bytes = 0_i32;
    let (fd, pointer) = (terminal.number(), &raw mut bytes);
    // SAFETY: the kernel writes an `int`, which `bytes` is.
    unsafe { syscall!(Sysno::ioctl, fd, ioctl::TIOCOUTQ, pointer) }?;
    Ok(bytes)
}

/// Calls `uname`; returns the kernel's release, as text that ends in a NUL.
pub(super) fn release() -> [u8; 65] {
    // Six texts of 65 bytes, of which it is the third.
    let mut texts = [[0_u8; 65]; 6];
    // SAFETY: the kernel writes so many bytes.
    let _known = unsafe { syscall!(Sysno::uname, texts.as_mut_ptr()) }.is_ok();
    let [_, _, release, ..] = texts;
    release
}

/// Calls `swapon`.
pub(super) fn swap_on(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path ends in a NUL and outlives the call.
    unsafe { syscall!(Sysno::swapon, path.as_ptr(), 0) }?;
    Ok(())
}

/// Calls `swapoff`.
pub(super) fn swap_off(path: &CStr) -> Result<(), Errno> {
    // SAFETY: as above.
    unsafe { syscall!(Sysno::swapoff, path.as_ptr()) }?;
    Ok(())
}

/// Calls `clock_settime(CLOCK_REALTIME)` to a second. As in [`clock`], the old
/// call is used on kernels that lack the new one.
pub(super) fn set_clock(secs: u64) -> Result<(), Errno> {
    let long = [secs, 0];
    let pointer = long.as_ptr();
    #[cfg(target_pointer_width = "64")]
    // SAFETY: the kernel reads two 64-bit numbers, which `long` holds.
    let done = unsafe { syscall!(Sysno::clock_settime, 0, pointer) };
    #[cfg(target_pointer_width = "32")]
    // SAFETY: as above: the new call reads 64-bit numbers on every machine.
    let done = unsafe { syscall!(Sysno::clock_settime64, 0, pointer) };
    #[cfg(target_pointer_width = "32")]
    if done == Err(Errno::ENOSYS) {
        let short = [u32::try_from(secs).unwrap_or(u32::MAX), 0];
        let pointer = short.as_ptr();
        // SAFETY: the old call reads two 32-bit numbers.
        unsafe { syscall!(Sysno::clock_settime, 0, pointer) }?;
        return Ok(());
    }
    done.map(|_| ())
}

/// Calls `reboot(RESTART2)` with an argument for the firmware; returns only
/// with the reason why it failed.
pub(super) fn reboot_with(argument: &CStr) -> Errno {
    let (first, second) = (0xfee1_dead_u32, 672_274_793);
    let (command, argument) = (0xa1b2_c3d4_u32, argument.as_ptr());
    // SAFETY: the argument ends in a NUL and outlives the call.
    match unsafe { syscall!(Sysno::reboot, first, second, command, argument) } {
        Ok(_) => Errno::EIO,
        Err(errno) => errno,
    }
}

/// Calls `ioctl` of a watchdog that reads or writes an `int`.
pub(super) fn watchdog(
    device: &Fd,
    request: u32,
    value: &mut i32,
) -> Result<(), Errno> {
    let (fd, pointer) = (device.number(), &raw mut *value);
    // SAFETY: the requests of `sys::watchdog` are about one `int`, and
    // `value` is one.
    unsafe { syscall!(Sysno::ioctl, fd, request, pointer) }?;
    Ok(())
}

/// Calls `ioctl` of the device mapper.
pub(super) fn device_mapper(
    control: &Fd,
    request: u32,
    record: &mut Record,
) -> Result<(), Errno> {
    let (fd, pointer) = (control.number(), record.as_mut_ptr());
    // SAFETY: the kernel reads and writes as many bytes as the record says,
    // which is its length: `wire::dm` alone makes records, and the kernel does
    // not change that field.
    unsafe { syscall!(Sysno::ioctl, fd, request, pointer) }?;
    Ok(())
}

/// Calls `kill(-1)`: a signal to every process but this one and PID 1.
pub(super) fn kill_all(signal: u32) -> Result<(), Errno> {
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::kill, -1_isize, signal) }?;
    Ok(())
}

/// Calls `pidfd_open`; the descriptor is closed on exec.
pub(super) fn pidfd_open(pid: u32) -> Result<Fd, Errno> {
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::pidfd_open, pid, 0) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `pidfd_send_signal`, as `kill` does.
pub(super) fn pidfd_send_signal(
    process: &Fd,
    signal: u32,
) -> Result<(), Errno> {
    let fd = process.number();
    // SAFETY: a null pointer stands for what `kill` sends.
    unsafe { syscall!(Sysno::pidfd_send_signal, fd, signal, 0, 0) }?;
    Ok(())
}

/// O_LARGEFILE, which only kernels of 32-bit machines ask for.
pub(super) const LARGEFILE: u32 = if cfg!(target_pointer_width = "32") {
    general::O_LARGEFILE
} else {
    0
};

/// Calls `fcntl(F_SETFD)`: sets or clears FD_CLOEXEC.
pub(super) fn set_cloexec(number: u32, cloexec: bool) -> Result<(), Errno> {
    let flags = if cloexec { general::FD_CLOEXEC } else { 0 };
    // SAFETY: marking a descriptor takes it from no owner in this process.
    unsafe { syscall!(Sysno::fcntl, number, general::F_SETFD, flags) }?;
    Ok(())
}

/// Calls `prctl(PR_SET_NAME)`.
pub(super) fn set_name(name: &CStr) -> Result<(), Errno> {
    /// PR_SET_NAME.
    const SET_NAME: u32 = 15;
    // SAFETY: the kernel reads up to the NUL, or 16 bytes.
    unsafe { syscall!(Sysno::prctl, SET_NAME, name.as_ptr()) }?;
    Ok(())
}

/// Calls `prctl`, for operations that take numbers only.
pub(super) fn prctl(
    operation: u32,
    one: u32,
    two: u32,
) -> Result<usize, Errno> {
    // SAFETY: the callers' operations take no pointer.
    unsafe { syscall!(Sysno::prctl, operation, one, two, 0, 0) }
}

/// Effective, permitted and inheritable set: the first 32 capabilities, then
/// the others.
pub(super) type Capabilities = [[u32; 3]; 2];

/// `_LINUX_CAPABILITY_VERSION_3`, and this process.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// Calls `capget` for this process.
pub(super) fn capabilities() -> Result<Capabilities, Errno> {
    let (mut header, mut sets) = (CAPABILITY_HEADER, Capabilities::default());
    let (head, pointer) = (header.as_mut_ptr(), sets.as_mut_ptr());
    // SAFETY: the kernel writes six numbers, which `sets` holds, and may
    // correct the header.
    unsafe { syscall!(Sysno::capget, head, pointer) }?;
    Ok(sets)
}

/// Calls `capset` for this process.
pub(super) fn set_capabilities(sets: &Capabilities) -> Result<(), Errno> {
    let mut header = CAPABILITY_HEADER;
    let (head, pointer) = (header.as_mut_ptr(), sets.as_ptr());
    // SAFETY: as above; the sets are only read.
    unsafe { syscall!(Sysno::capset, head, pointer) }?;
    Ok(())
}

/// Calls `ioprio_set` for this process.
pub(super) fn ioprio_set(value: u32) -> Result<(), Errno> {
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::ioprio_set, 1, 0, value) }?;
    Ok(())
}

/// Calls `sched_setscheduler` for this process.
pub(super) fn sched_setscheduler(
    policy: u32,
    priority: u32,
) -> Result<(), Errno> {
    let pointer = &raw const priority;
    // SAFETY: the priority outlives the call, which only reads it.
    unsafe { syscall!(Sysno::sched_setscheduler, 0, policy, pointer) }?;
    Ok(())
}

/// Calls `sched_getscheduler` for this process.
pub(super) fn sched_getscheduler() -> Result<u32, Errno> {
    // SAFETY: the call takes no pointer.
    let policy = unsafe { syscall!(Sysno::sched_getscheduler, 0) }?;
    Ok(u32::try_from(policy).unwrap_or(u32::MAX))
}
