//! Calls that begin, end and describe processes.

use core::{
    ffi::{CStr, c_char},
    sync::atomic::AtomicU32,
};

use linux_raw_sys::general;
use syscalls::Sysno;

use crate::sys::error::{Errno, syscall};

/// Forks by `clone` with nothing shared, or with `share` the table of open
/// files only; returns 0 in the child. Only a child with `notify` sends
/// SIGCHLD when it ends and is reported by a wait for children.
///
/// The kernel stores the child's pid in `cell` before the child runs.
pub(in crate::sys) fn fork(
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
pub(in crate::sys) unsafe fn execve(
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
pub(in crate::sys) fn waitid(pid: Option<u32>) -> Result<(u32, u32), Errno> {
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
pub(in crate::sys) fn exit(code: u8) -> ! {
    loop {
        // SAFETY: the call takes no pointer and does not return.
        let _gone = unsafe { syscall!(Sysno::exit_group, code) }.is_ok();
    }
}

/// Calls `prctl(PR_SET_NAME)`.
pub(in crate::sys) fn set_name(name: &CStr) -> Result<(), Errno> {
    /// PR_SET_NAME.
    const SET_NAME: u32 = 15;
    // SAFETY: the kernel reads up to the NUL, or 16 bytes.
    unsafe { syscall!(Sysno::prctl, SET_NAME, name.as_ptr()) }?;
    Ok(())
}

/// Calls `prctl`, for operations that take numbers only.
pub(in crate::sys) fn prctl(
    operation: u32,
    one: u32,
    two: u32,
) -> Result<usize, Errno> {
    // SAFETY: the callers' operations take no pointer.
    unsafe { syscall!(Sysno::prctl, operation, one, two, 0, 0) }
}

/// Effective, permitted and inheritable set: the first 32 capabilities, then
/// the others.
pub(in crate::sys) type Capabilities = [[u32; 3]; 2];

/// `_LINUX_CAPABILITY_VERSION_3`, and this process.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// Calls `capget` for this process.
pub(in crate::sys) fn capabilities() -> Result<Capabilities, Errno> {
    let (mut header, mut sets) = (CAPABILITY_HEADER, Capabilities::default());
    let (head, pointer) = (header.as_mut_ptr(), sets.as_mut_ptr());
    // SAFETY: the kernel writes six numbers, which `sets` holds, and may
    // correct the header.
    unsafe { syscall!(Sysno::capget, head, pointer) }?;
    Ok(sets)
}

/// Calls `capset` for this process.
pub(in crate::sys) fn set_capabilities(
    sets: &Capabilities,
) -> Result<(), Errno> {
    let mut header = CAPABILITY_HEADER;
    let (head, pointer) = (header.as_mut_ptr(), sets.as_ptr());
    // SAFETY: as above; the sets are only read.
    unsafe { syscall!(Sysno::capset, head, pointer) }?;
    Ok(())
}

/// Calls `ioprio_set` for this process.
pub(in crate::sys) fn ioprio_set(value: u32) -> Result<(), Errno> {
    // SAFETY: the call takes no pointer.
    unsafe { syscall!(Sysno::ioprio_set, 1, 0, value) }?;
    Ok(())
}

/// Calls `sched_setscheduler` for this process.
pub(in crate::sys) fn sched_setscheduler(
    policy: u32,
    priority: u32,
) -> Result<(), Errno> {
    let pointer = &raw const priority;
    // SAFETY: the priority outlives the call, which only reads it.
    unsafe { syscall!(Sysno::sched_setscheduler, 0, policy, pointer) }?;
    Ok(())
}

/// Calls `sched_getscheduler` for this process.
pub(in crate::sys) fn sched_getscheduler() -> Result<u32, Errno> {
    // SAFETY: the call takes no pointer.
    let policy = unsafe { syscall!(Sysno::sched_getscheduler, 0) }?;
    Ok(u32::try_from(policy).unwrap_or(u32::MAX))
}
