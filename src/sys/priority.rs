//! Sets the priority of this process: nice level, scheduler, I/O class.

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
