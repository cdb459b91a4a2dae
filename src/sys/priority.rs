//! Sets the priority of this process: nice level, scheduler, I/O class.

use linux_raw_sys::general::{SCHED_NORMAL, SCHED_RESET_ON_FORK};

use super::{Errno, error, raw};

/// Adds to the nice level.
///
/// EPERM when that is refused: the error of nice(2), not that of the system
/// call used.
pub fn add_nice(add: i32) -> Result<(), Errno> {
    match rustix::process::nice(add) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::ACCESS) => Err(Errno::EPERM),
        Err(errno) => Err(error::from(errno)),
    }
}

/// Lowers the nice level of this process to `-steps`, but not that of its
/// children, which get level 0 (sched(7), reset-on-fork). Leaves a process
/// alone that has another level than 0 or another policy than the default:
/// that was chosen for it, or for its children.
///
/// EACCES without CAP_SYS_NICE.
pub fn raise(steps: usize) -> Result<(), Errno> {
    let level = rustix::process::getpriority_process(None);
    if level != Ok(0) || raw::sched_getscheduler()? != SCHED_NORMAL {
        return Ok(());
    }
    set_scheduler(SCHED_NORMAL | SCHED_RESET_ON_FORK, 0)?;
    set_nice(i32::try_from(steps).unwrap_or(0).saturating_neg())
}

/// Sets the nice level.
pub fn set_nice(level: i32) -> Result<(), Errno> {
    rustix::process::setpriority_process(None, level).map_err(error::from)
}

/// Sets I/O class and level (ioprio_set(2)).
pub fn set_io(class: u32, level: u32) -> Result<(), Errno> {
    raw::ioprio_set(class.wrapping_shl(13) | level)
}

/// Sets scheduling policy and priority (sched_setscheduler(2)).
pub fn set_scheduler(policy: u32, priority: u32) -> Result<(), Errno> {
    raw::sched_setscheduler(policy, priority)
}
