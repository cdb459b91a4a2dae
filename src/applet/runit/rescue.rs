//! Selects the program that lets an operator in when something fails.
//!
//! The board's `rescue` decides: `none`; `login`, which asks for root's
//! password and is refused when any account of uid 0 may have none; `shell`,
//! for use on the bench.

use core::ffi::CStr;

use crate::{
    config,
    supervisor::Reporter,
    sys::{CWD, Errno, file},
    wire::login::{PasswordCheck, Shadow},
};

use super::super::flag_files::is_set;

/// Programs of the board's policy, in the order in which they are tried.
const PROGRAMS: &[&CStr] = match config::RESCUE.as_bytes() {
    b"shell" => &[c"/bin/sh"],
    b"login" => &[c"/sbin/sulogin", c"/bin/sulogin", c"/bin/login"],
    _ => &[],
};

/// True when the board allows rescue.
pub(super) const ALLOWED: bool = !PROGRAMS.is_empty();

/// Returns the program to run on the console. Reports the reason when there is
/// none.
pub(super) fn program(reporter: &Reporter) -> Option<&'static CStr> {
    let refuse = |what: &str| {
        reporter.print(reporter.prefix.clone().text("no rescue: ").text(what));
    };
    let found = PROGRAMS.iter().find(|path| is_set(path));
    let Some(path) = found else {
        refuse("no program for it was found");
        return None;
    };
    if config::RESCUE == "login" && !has_password() {
        refuse("an account of uid 0 may have no password");
        return None;
    }
    Some(path)
}

/// Returns true when every account that opens a root shell has a password or
/// is locked, for every login program. A file that cannot be read counts as no
/// assurance.
fn has_password() -> bool {
    // musl looks for shadow entries there first.
    if file::info(CWD, c"/etc/tcb").is_ok() {
        return false;
    }
    let mut check = PasswordCheck::default();
    let mut buffer = [0; config::LINE_BYTES];
    let read = file::lines(CWD, c"/etc/passwd", &mut buffer, |line| {
        check.passwd(line, &mut shadow);
        true
    });
    read.is_ok() && check.is_enforced()
}

/// Returns the entry of an account in /etc/shadow.
fn shadow(name: &[u8]) -> Shadow {
    let mut found = Shadow::default();
    let mut buffer = [0; config::LINE_BYTES];
    let read = file::lines(CWD, c"/etc/shadow", &mut buffer, |line| {
        found.line(line, name);
        true
    });
    match read {
        Ok(()) | Err(Errno::ENOENT) => found,
        Err(_) => Shadow::Open,
    }
}
