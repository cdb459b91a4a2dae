//! Refers to a process that is not a child of this one by a descriptor
//! (pidfd_open(2), since Linux 5.3), so that its number cannot come to mean
//! another process.

use core::time::Duration;

use super::{At, Errno, Fd, poller, raw, signal};

/// Returns a descriptor of the process `pid`, readable when that has ended.
/// ESRCH when there is none; ENOSYS before Linux 5.3.
pub fn open(pid: u32) -> Result<Fd, Errno> {
    raw::pidfd_open(pid)
}

/// Returns true when the process has ended.
pub fn has_ended(process: At<'_>) -> bool {
    let ready = poller::readable([process], Some(Duration::ZERO));
    ready.is_ok_and(|[ended]| ended)
}

/// Sends the process a signal. ESRCH when it has ended.
pub fn kill(process: &Fd, signal: signal::Number) -> Result<(), Errno> {
    raw::pidfd_send_signal(process, signal.as_raw().cast_unsigned())
}
