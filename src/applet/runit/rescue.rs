//! Which program lets an operator in when something fails, and when none may.
//!
//! The board's `rescue` decides: `none`; `login`, which asks for root's
//! password and is refused when root has none; `shell`, for the bench.

use core::ffi::CStr;

use crate::{
    config,
    supervisor::Voice,
    sys::{CWD, file},
    wire::passwd::{Secret, secret},
};

use super::super::runit_init::is_set;

/// The programs of the board's policy, in the order in which they are tried.
const PROGRAMS: &[&CStr] = match config::RESCUE.as_bytes() {
    b"shell" => &[c"/bin/sh"],
    b"login" => &[c"/sbin/sulogin", c"/bin/sulogin", c"/bin/login"],
    _ => &[],
};

/// Whether there is a rescue at all.
pub(super) const ALLOWED: bool = !PROGRAMS.is_empty();

/// The program to run on the console. `None` after it was said why not.
pub(super) fn program(voice: &Voice) -> Option<&'static CStr> {
    let caution = |what: &str| {
        voice.say(voice.head.clone().text("no rescue: ").text(what));
    };
    let found = PROGRAMS.iter().find(|path| is_set(path));
    let Some(path) = found else {
        caution("there is no program for it");
        return None;
    };
    if config::RESCUE == "login" && !is_guarded() {
        caution("root has no password");
        return None;
    }
    Some(path)
}

/// Whether root's account has a password or is locked: what asks for the
/// password lets everybody in when it is empty or the account is missing.
fn is_guarded() -> bool {
    let mut secrets = [Secret::None, Secret::None];
    let files = [c"/etc/passwd", c"/etc/shadow"];
    for (path, found) in files.into_iter().zip(&mut secrets) {
        let mut buffer = [0; config::PATH_BYTES];
        // What cannot be read guards nothing.
        let _unread = file::lines(CWD, path, &mut buffer, |line| {
            let of_root = line.and_then(|line| secret(line, b"root"));
            *found = of_root.unwrap_or(Secret::None);
            of_root.is_none()
        })
        .is_err();
    }
    match secrets {
        [Secret::Shadowed, shadow] => shadow == Secret::Set,
        [own, _] => own == Secret::Set,
    }
}
