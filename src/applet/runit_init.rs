//! runit-init, init, halt, poweroff, reboot: asks PID 1 to go down.
//!
//! # Synopsis
//! `runit-init 0|6`, `halt`, `poweroff`, `reboot`
//!
//! # Description
//! As PID 1, becomes `runit`. Else sets the flag files that PID 1 looks at
//! and sends it CONT: `0`, `halt` and `poweroff` ask for the power to go off,
//! `6` and `reboot` for a new start.
//!
//! # Files
//! `/etc/runit/stopit`, `/etc/runit/reboot`; on a root without `/etc/runit`,
//! or where that cannot be written, `/run/runit.stopit` and
//! `/run/runit.reboot`, which Debian uses. A flag is set when the file has
//! its owner-execute bit.
//!
//! # Exit codes
//! 0 asked, and for a usage error as in runit; 111 a flag or PID 1 cannot be
//! reached.

use core::ffi::CStr;

use crate::{
    sys::{
        CWD, Errno, child, file,
        signal::{self, Number},
        start::Start,
    },
    text::basename,
};

/// The flag files, in the order in which they are tried and looked at.
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
    /// PID 1 shall go down.
    pub(super) stop: &'static CStr,
    /// And start again.
    pub(super) reboot: &'static CStr,
}

/// Whether a flag is set: its file is there and has the owner-execute bit.
pub(super) fn is_set(flag: &CStr) -> bool {
    file::info(CWD, flag).is_ok_and(|info| info.mode & 0o100 != 0)
}

/// `runit-init`, `init`: as PID 1 it is `runit`.
pub(super) fn main(start: Start) -> u8 {
    if child::own_pid() == 1 {
        return super::runit::main(start);
    }
    let name = start.argv.first().unwrap_or(c"init").to_bytes();
    let argument = start.argv.skip(1).first().map_or(&b""[..], CStr::to_bytes);
    match argument {
        [b'0', ..] => ask(name, false),
        [b'6', ..] => ask(name, true),
        [b'-', b'V', ..] => {
            crate::sys::complain(super::version().finish());
            super::usage(name, " 0|6", 0)
        }
        _ => super::usage(name, " 0|6", 0),
    }
}

/// `halt`, `poweroff`.
pub(super) fn halt(start: Start) -> u8 {
    ask(start.argv.first().unwrap_or(c"halt").to_bytes(), false)
}

/// `reboot`.
pub(super) fn reboot(start: Start) -> u8 {
    ask(start.argv.first().unwrap_or(c"reboot").to_bytes(), true)
}

/// Sets the flags and wakes PID 1.
fn ask(name: &[u8], reboot: bool) -> u8 {
    let [first, second] = FLAGS;
    let set = set(first, reboot).or_else(|_| set(second, reboot));
    let mut head = crate::text::Line::new();
    head.bytes(basename(name)).text(": fatal: ");
    let head = head.as_bytes();
    if let Err((what, path, errno)) = set {
        return super::fatal(head, what, path.to_bytes(), errno);
    }
    match signal::kill(1, Number::CONT) {
        Ok(()) => 0,
        Err(errno) => super::fatal(head, "unable to signal PID 1", b"", errno),
    }
}

/// Sets one pair of flags.
fn set(
    flags: Flags,
    reboot: bool,
) -> Result<(), (&'static str, &'static CStr, Errno)> {
    if reboot {
        set_one(flags.reboot)?;
    } else {
        // A flag that is not there is not set.
        let _missing = file::set_mode(CWD, flags.reboot, 0).is_err();
    }
    set_one(flags.stop)
}

/// Makes a flag file and sets its bit.
fn set_one(
    flag: &'static CStr,
) -> Result<(), (&'static str, &'static CStr, Errno)> {
    drop(
        file::open_truncate(CWD, flag, 0o644)
            .map_err(|errno| ("unable to create ", flag, errno))?,
    );
    file::set_mode(CWD, flag, 0o100)
        .map_err(|errno| ("unable to chmod ", flag, errno))
}
