//! Reads and sets the flag files by which `runit-init` asks PID 1 to shut down
//! (contract §7.4, §7.5).

use core::ffi::CStr;

use crate::sys::{
    AsFd, CWD, Errno,
    file::{self, Kind},
    write_all,
};

/// The pairs of flag files, in the order in which they are tried and read.
pub(super) const FLAGS: [Flags; 2] = [
    Flags {
        stop: c"/etc/runit/stopit",
        reboot: c"/etc/runit/reboot",
    },
    Flags {
        stop: c"/run/runit.stopit",
        reboot: c"/run/runit.reboot",
    },
];

/// A pair of flag files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    /// Asks PID 1 to shut down.
    pub(super) stop: &'static CStr,
    /// Asks it to reboot then.
    pub(super) reboot: &'static CStr,
}

/// Returns true when `flag` is a regular file with the owner-execute bit: a
/// flag that is set, or a program that can be run.
pub(super) fn is_set(flag: &CStr) -> bool {
    file::info(CWD, flag)
        .is_ok_and(|info| info.kind == Kind::Regular && info.mode & 0o100 != 0)
}

/// Sets the flags that ask for a reboot with an argument for reboot(2), or,
/// without `reboot`, for power-off. Uses the first pair that can be written.
pub(super) fn set(reboot: Option<&CStr>) -> Result<(), Failed> {
    let [first, second] = FLAGS;
    set_pair(first, reboot).or_else(|_| set_pair(second, reboot))
}

/// A flag that could not be set: the attempt, the path and the cause.
pub(super) type Failed = (&'static str, &'static CStr, Errno);

/// Sets one pair of flags, as [`set`] does.
fn set_pair(flags: Flags, reboot: Option<&CStr>) -> Result<(), Failed> {
    if let Some(argument) = reboot {
        set_one(flags.reboot, argument)?;
    } else {
        match file::set_mode(CWD, flags.reboot, 0) {
            // A flag without a file is not set.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => {
                return Err(("unable to chmod ", flags.reboot, errno));
            }
        }
    }
    set_one(flags.stop, c"")
}

/// Writes `content` to a flag file and sets its owner-execute bit.
fn set_one(flag: &'static CStr, content: &CStr) -> Result<(), Failed> {
    let file = file::open_truncate(CWD, flag, 0o644)
        .map_err(|errno| ("unable to create ", flag, errno))?;
    write_all(file.as_fd(), content.to_bytes())
        .map_err(|errno| ("unable to write ", flag, errno))?;
    drop(file);
    file::set_mode(CWD, flag, 0o100)
        .map_err(|errno| ("unable to chmod ", flag, errno))
}
