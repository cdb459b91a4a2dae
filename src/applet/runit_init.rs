//! runit-init, init, halt, poweroff, reboot: ask PID 1 to shut down.
//!
//! # Synopsis
//! `runit-init 0|6`\
//! `init 0|6`\
//! `halt`\
//! `poweroff`\
//! `reboot [--soft | ARG]`
//!
//! # Description
//! As PID 1, `runit-init` and `init` become runit(8). Otherwise these programs
//! set the flag files that PID 1 checks and send it CONT. `0`, `halt` and
//! `poweroff` ask for power-off, `6` and `reboot` for a reboot.
//!
//! `reboot --soft` keeps the kernel: PID 1 stops the services and runs stage 3
//! as for a reboot, writes all media, which stay mounted, and executes its
//! file again, which begins with stage 1. Nothing else outlives it: no process
//! and no state of a service. It takes seconds less than a reboot, and a new
//! file of this program is used from then on. It sends PID 1 RTMIN+7 and sets
//! no flag file; a PID 1 that does not know this signal ignores it.
//!
//! # Options
//! - `--soft`: of `reboot`, keeps the kernel.
//! - `ARG`: of `reboot`, is passed to reboot(2): what to boot from, in the
//!   form that the board's firmware takes. Options of other systems' `reboot`
//!   are ignored.
//! - `-V`: of `runit-init` and `init`, prints the version and the usage.
//! - `--help`: prints a summary and asks for nothing.
//!
//! # Files
//! `/etc/runit/stopit`, `/etc/runit/reboot`; on a root without `/etc/runit`,
//! or where that is not writable, `/run/runit.stopit` and `/run/runit.reboot`,
//! which Debian uses. A flag is set when the file has its owner-execute bit.
//! Where none can be written, PID 1 gets RTMIN+4 or RTMIN+5 instead, with the
//! same meaning. A flag that was set before PID 1 was started is ignored, and
//! so is `reboot` if only the `stopit` of the other pair is set: it is left
//! from an earlier request.
//!
//! # Exit status
//! 0 requested, and for a usage error as in runit; 111 a flag cannot be set or
//! PID 1 cannot be signalled.
//!
//! # Differences from runit
//! `halt`, `poweroff` and `reboot` are programs, not scripts of the
//! distribution. `--soft`, ARG, the flags in /run and the signals where no
//! flag can be set are new.

use core::ffi::CStr;

use crate::{
    sys::{
        signal::{self, Number},
        start::Start,
    },
    text::{Line, basename},
};

use super::flag_files;

/// Runs `runit-init` or `init` when it is not PID 1.
pub(super) fn main(start: Start) -> u8 {
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

/// Runs `halt` or `poweroff`.
pub(super) fn halt(start: Start) -> u8 {
    ask(start.argv.first().unwrap_or(c"halt").to_bytes(), None)
}

/// Runs `reboot`.
pub(super) fn reboot(start: Start) -> u8 {
    let argument = start.argv.skip(1).first().unwrap_or(c"");
    let name = start.argv.first().unwrap_or(c"reboot").to_bytes();
    if argument == c"--soft" {
        return send(&head(name), signal::SOFT_REBOOT);
    }
    // Other systems' `reboot` has options, which are ignored.
    let option = argument.to_bytes().starts_with(b"-");
    let argument = if option { c"" } else { argument };
    ask(name, Some(argument))
}

/// Returns the beginning of an error message.
fn head(name: &[u8]) -> Line {
    let mut head = Line::new();
    head.bytes(basename(name)).text(": fatal: ");
    head
}

/// Sends PID 1 a signal; returns the exit code.
fn send(head: &Line, number: Number) -> u8 {
    match signal::kill(1, number) {
        Ok(()) => 0,
        Err(errno) => {
            super::fatal(head.as_bytes(), "unable to signal PID 1", b"", errno)
        }
    }
}

/// Sets the flags and wakes PID 1: for a reboot with an argument for
/// reboot(2), or for power-off. Where no flag can be set, a signal alone makes
/// the request.
fn ask(name: &[u8], reboot: Option<&CStr>) -> u8 {
    let set = flag_files::set(reboot);
    let head = head(name);
    let wake = match (set, reboot) {
        (Ok(()), _) => Number::CONT,
        // A signal cannot carry an argument.
        (Err((what, path, errno)), Some(argument)) if !argument.is_empty() => {
            let head = head.as_bytes();
            return super::fatal(head, what, path.to_bytes(), errno);
        }
        (Err(_), Some(_)) => signal::RESTART,
        (Err(_), None) => signal::OFF,
    };
    send(&head, wake)
}
