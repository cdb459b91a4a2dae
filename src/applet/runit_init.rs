//! runit-init, init, halt, poweroff, reboot: asks PID 1 to go down.
//!
//! # Synopsis
//! `runit-init 0|6`, `halt`, `poweroff`, `reboot [ARG]`
//!
//! # Description
//! As PID 1, becomes `runit`. Else sets the flag files that PID 1 looks at
//! and sends it CONT: `0`, `halt` and `poweroff` ask for the power to go off,
//! `6` and `reboot` for a new start, whose reboot(2) gets ARG (where to boot
//! from, as the board's firmware takes it).
//!
//! # Files
//! `/etc/runit/stopit`, `/etc/runit/reboot`; on a root without `/etc/runit`,
//! or where that cannot be written, `/run/runit.stopit` and
//! `/run/runit.reboot`, which Debian uses. A flag is set when the file has
//! its owner-execute bit. Where none can be written PID 1 gets RTMIN+4 or
//! RTMIN+5 instead, which ask the same. A flag that was set before PID 1
//! began counts for nothing, nor does `reboot` where only the other `stopit`
//! is set: it is left from an earlier request.
//!
//! # Exit codes
//! 0 asked, and for a usage error as in runit; 111 a flag or PID 1 cannot be
//! reached.

use core::ffi::CStr;

use crate::{
    sys::{
        AsFd, CWD, Errno, child,
        file::{self, Kind},
        signal::{self, Number},
        start::Start,
        write_all,
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

/// Whether a flag is set, and a program can be run: its file, which is no
/// directory, is there and has the owner-execute bit.
pub(super) fn is_set(flag: &CStr) -> bool {
    file::info(CWD, flag)
        .is_ok_and(|info| info.kind == Kind::Regular && info.mode & 0o100 != 0)
}

/// `runit-init`, `init`: as PID 1 it is `runit`.
pub(super) fn main(start: Start) -> u8 {
    if child::own_pid() == 1 {
        return super::runit::main(start);
    }
    let name = start.argv.first().unwrap_or(c"init").to_bytes();
    let argument = start.argv.skip(1).first().map_or(&b""[..], CStr::to_bytes);
    match argument {
        [b'0', ..] => ask(name, None),
        [b'6', ..] => ask(name, Some(c"")),
        [b'-', b'V', ..] => {
            crate::sys::print_error(super::version().finish());
            super::usage(name, " 0|6", 0)
        }
        _ => super::usage(name, " 0|6", 0),
    }
}

/// `halt`, `poweroff`.
pub(super) fn halt(start: Start) -> u8 {
    ask(start.argv.first().unwrap_or(c"halt").to_bytes(), None)
}

/// `reboot`.
pub(super) fn reboot(start: Start) -> u8 {
    let argument = start.argv.skip(1).first().unwrap_or(c"");
    // Options are those of other systems' `reboot`.
    let option = argument.to_bytes().starts_with(b"-");
    let argument = if option { c"" } else { argument };
    ask(
        start.argv.first().unwrap_or(c"reboot").to_bytes(),
        Some(argument),
    )
}

/// Sets the flags for the power to go off, in the first pair that can be
/// written.
pub(super) fn set_off() -> Result<(), Failed> {
    let [first, second] = FLAGS;
    set(first, None).or_else(|_| set(second, None))
}

/// Sets the flags and wakes PID 1; to start again with an argument for
/// reboot(2), or to switch off. Where no flag can be set, a signal alone says
/// it.
fn ask(name: &[u8], reboot: Option<&CStr>) -> u8 {
    let [first, second] = FLAGS;
    let set = set(first, reboot).or_else(|_| set(second, reboot));
    let mut head = crate::text::Line::new();
    head.bytes(basename(name)).text(": fatal: ");
    let head = head.as_bytes();
    let wake = match (set, reboot) {
        (Ok(()), _) => Number::CONT,
        // An argument cannot be handed over like that.
        (Err((what, path, errno)), Some(argument)) if !argument.is_empty() => {
            return super::fatal(head, what, path.to_bytes(), errno);
        }
        (Err(_), Some(_)) => signal::RESTART,
        (Err(_), None) => signal::OFF,
    };
    match signal::kill(1, wake) {
        Ok(()) => 0,
        Err(errno) => super::fatal(head, "unable to signal PID 1", b"", errno),
    }
}

/// A flag that could not be set: verb, path and cause.
type Failed = (&'static str, &'static CStr, Errno);

/// Sets one pair of flags.
fn set(flags: Flags, reboot: Option<&CStr>) -> Result<(), Failed> {
    if let Some(argument) = reboot {
        set_one(flags.reboot, argument)?;
    } else {
        match file::set_mode(CWD, flags.reboot, 0) {
            // A flag that is not there is not set.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => {
                return Err(("unable to chmod ", flags.reboot, errno));
            }
        }
    }
    set_one(flags.stop, c"")
}

/// Makes a flag file with a content and sets its bit.
fn set_one(flag: &'static CStr, content: &CStr) -> Result<(), Failed> {
    let file = file::open_truncate(CWD, flag, 0o644)
        .map_err(|errno| ("unable to create ", flag, errno))?;
    write_all(file.as_fd(), content.to_bytes())
        .map_err(|errno| ("unable to write ", flag, errno))?;
    drop(file);
    file::set_mode(CWD, flag, 0o100)
        .map_err(|errno| ("unable to chmod ", flag, errno))
}
