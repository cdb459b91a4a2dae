//! Calls about signals and the processes that they are sent to.

use core::ffi::c_void;

use linux_raw_sys::general;
use syscalls::Sysno;

use crate::sys::{
    error::{Errno, syscall},
    fd::Fd,
};

/// A set of signals as the kernel lays it out: bit N-1 is signal N.
/// MIPS has 128 signals, all others 64.
pub(in crate::sys) type Mask = [u32; MASK / 4];

/// Size of a signal set in bytes, which every call about signals takes.
pub(super) const MASK: usize = general::_NSIG as usize / 8;

/// The greatest signal number: each signal has a bit of a set.
#[allow(clippy::cast_possible_truncation, reason = "it is 64 or 128")]
pub(in crate::sys) const LAST_SIGNAL: u8 = general::_NSIG as u8;

/// Calls `tgkill` for the calling thread.
#[cfg(test)]
pub(in crate::sys) fn tgkill(signal: u32) -> Result<(), Errno> {
    // SAFETY: the call returns a number.
    let process = unsafe { syscall!(Sysno::getpid) }?;
    // SAFETY: the call returns a number.
    let thread = unsafe { syscall!(Sysno::gettid) }?;
    // SAFETY: the call takes numbers alone.
    unsafe { syscall!(Sysno::tgkill, process, thread, signal) }.map(|_| ())
}

/// Calls `signalfd4`, non-blocking and closed on exec.
pub(in crate::sys) fn signalfd(mask: &Mask) -> Result<Fd, Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let mask = mask.as_ptr();
    // SAFETY: the mask outlives the call, which only reads it.
    let fd = unsafe {
        syscall!(Sysno::signalfd4, -1_isize, mask, MASK, flags.bits())
    }?;
    Ok(Fd::from_number(fd))
}

/// Calls `rt_sigprocmask(SIG_SETMASK)`.
pub(in crate::sys) fn set_mask(mask: &Mask) -> Result<(), Errno> {
    let (how, mask) = (general::SIG_SETMASK, mask.as_ptr());
    // SAFETY: the mask outlives the call; the old one is not asked for.
    unsafe { syscall!(Sysno::rt_sigprocmask, how, mask, 0, MASK) }?;
    Ok(())
}

/// Calls `rt_sigaction` to restore the default action of one signal.
pub(in crate::sys) fn default_action(signal: u32) -> Result<(), Errno> {
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
pub(in crate::sys) type Handler =
    unsafe extern "C" fn(u32, *const [u32; 6], *const c_void) -> !;

/// Calls `rt_sigaction`: `handler` is called on the alternate stack, and the
/// signal is not blocked meanwhile.
///
/// # Safety
/// The handler may interrupt the program anywhere.
pub(in crate::sys) unsafe fn handle(
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
pub(in crate::sys) unsafe fn alternate_stack(
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

/// Calls `kill(-1)`: a signal to every process but this one and PID 1.
pub(in crate::sys) fn kill_all(signal: u32) -> Result<(), Errno> {
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::kill, -1_isize, signal) }?;
    Ok(())
}

/// Calls `pidfd_open`; the descriptor is closed on exec.
pub(in crate::sys) fn pidfd_open(pid: u32) -> Result<Fd, Errno> {
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::pidfd_open, pid, 0) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `pidfd_send_signal`, as `kill` does.
pub(in crate::sys) fn pidfd_send_signal(
    process: &Fd,
    signal: u32,
) -> Result<(), Errno> {
    let fd = process.number();
    // SAFETY: a null pointer stands for what `kill` sends.
    unsafe { syscall!(Sysno::pidfd_send_signal, fd, signal, 0, 0) }?;
    Ok(())
}
