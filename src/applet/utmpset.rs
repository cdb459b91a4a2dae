//! utmpset: logs a line out of utmp and wtmp, for a `finish` of getty.
//!
//! # Synopsis
//! `utmpset [-w] LINE`
//!
//! # Description
//! Looks in /var/run/utmp for the first record of LINE (`tty1`) that has a
//! user, and makes it that of a process that has ended. With `-w` adds such a
//! record to /var/log/wtmp. Waits for the lock of either file.
//!
//! The records are those of the C library of this machine; `wire::utmp` says
//! which. musl's programs write none.
//!
//! # Files
//! `/var/run/utmp`, `/var/log/wtmp` (made, with mode 0600, when missing).
//!
//! # Exit codes
//! 0 logged out; 1 usage; 111 nobody was logged in, or a file could not be
//! opened or written.

use core::ffi::CStr;

use crate::{
    args::getopt::{Getopt, Opt},
    sys::{self, AsFd, CWD, Errno, clock, error, file, start::Start},
    text::{Line, basename},
    wire::utmp::{self, Record},
};

/// Who is logged in now.
const UTMP: &CStr = c"/var/run/utmp";
/// Who ever was.
const WTMP: &CStr = c"/var/log/wtmp";

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"utmpset").to_bytes();
    let words = start.argv.skip(1);
    let mut options = Getopt::new(words.iter(), b"wV");
    let mut also = false;
    for option in &mut options {
        match option {
            Opt::Flag(b'w') => also = true,
            Opt::Flag(_) => {
                sys::print_error(super::version().finish());
                return usage(own);
            }
            Opt::Illegal(_) | Opt::Missing(_) | Opt::Value(..) => {
                super::complain_of(basename(own), option);
                return usage(own);
            }
        }
    }
    let Some(line) = words.skip(options.used()).first() else {
        return usage(own);
    };
    let line = line.to_bytes();
    let Some(line) = utmp::Name::new(line) else {
        return unable("fatal", line, "utmp", "name too long");
    };
    let now = clock::wall().secs;
    let out = match file::open_both(CWD, UTMP) {
        Ok(utmp) => file::lock_wait(utmp.as_fd())
            .and_then(|()| log_out(utmp.as_fd(), line, now)),
        Err(errno) => return cannot_open(UTMP, errno),
    };
    let name = line.as_bytes();
    match out {
        Ok(true) => {}
        Ok(false) => return unable("warning", name, "utmp", "no such entry"),
        Err(errno) => {
            return unable("warning", name, "utmp", error::text(errno));
        }
    }
    if !also {
        return 0;
    }
    let added = match file::open_append(CWD, WTMP) {
        Ok(wtmp) => append(wtmp.as_fd(), line, now),
        Err(errno) => return cannot_open(WTMP, errno),
    };
    if let Err(errno) = added {
        return unable("warning", name, "wtmp", error::text(errno));
    }
    0
}

/// Says the usage.
fn usage(own: &[u8]) -> u8 {
    super::usage(own, " [-w] line", super::USAGE)
}

/// Says that a log cannot be opened; answers the exit code.
fn cannot_open(path: &CStr, errno: Errno) -> u8 {
    let (head, path) = (b"utmpset: fatal: ", path.to_bytes());
    super::fatal(head, "unable to open ", path, errno)
}

/// Says that a line cannot be logged out; answers the exit code.
fn unable(level: &str, line: &[u8], log: &str, cause: &str) -> u8 {
    let mut text = Line::new();
    text.text("utmpset: ").text(level);
    text.text(": unable to logout line ").bytes(line);
    text.text(" in ").text(log).text(": ").text(cause);
    sys::print_error(text.finish());
    super::FATAL
}

/// Rewrites the record of a line in place; false when there is none.
fn log_out(
    utmp: sys::At<'_>,
    line: utmp::Name<'_>,
    now: u64,
) -> Result<bool, Errno> {
    let mut at = 0;
    loop {
        let mut record = Record::new();
        // A part of a record at the end is none.
        if sys::read(utmp, record.bytes())? < utmp::BYTES {
            return Ok(false);
        }
        if record.is_login(line) {
            record.end(now);
            file::write_at(utmp, record.bytes(), at)?;
            return Ok(true);
        }
        at = u64::saturating_add(at, u64::try_from(utmp::BYTES).unwrap_or(0));
    }
}

/// Adds a record to wtmp; none when it cannot be whole.
fn append(
    wtmp: sys::At<'_>,
    line: utmp::Name<'_>,
    now: u64,
) -> Result<(), Errno> {
    file::lock_wait(wtmp)?;
    let before = file::info_of(wtmp)?.size;
    let mut record = Record::of_line(line);
    record.end(now);
    let written = sys::write_all(wtmp, record.bytes());
    if written.is_err() {
        // The failure to write is the one to tell.
        let _cut = file::truncate(wtmp, before).is_err();
    }
    written
}
