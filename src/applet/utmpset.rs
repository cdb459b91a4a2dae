//! utmpset: logs a line out of utmp and wtmp, for a `finish` of getty.
//!
//! # Synopsis
//! `utmpset [-w] LINE`
//!
//! # Description
//! Finds in /var/run/utmp the first record of LINE (`tty1`) that has a user,
//! and turns it into that of a process that has ended. Waits for the lock of
//! the file.
//!
//! The records have the format of the C library of the machine that runt was
//! built for. Programs linked with musl write none.
//!
//! # Options
//! - `-w`: also appends such a record to /var/log/wtmp, and waits for its
//!   lock.
//! - `-V`: prints the version and the usage.
//! - `--help`: prints a summary.
//!
//! # Files
//! `/var/run/utmp`, `/var/log/wtmp` (created, with mode 0600, when missing).
//!
//! # Exit status
//! 0 logged out; 1 usage; 111 no user was logged in, or a file could not be
//! opened or written.

use core::ffi::CStr;

use crate::{
    args::getopt::{Getopt, Opt},
    sys::{self, AsFd, CWD, Errno, clock, error, file, start::Start},
    text::{Line, basename},
    wire::utmp::{self, Record},
};

/// Letters of the options.
pub(super) const OPTIONS: &[u8] = b"wV";

/// File of current logins.
const UTMP: &CStr = c"/var/run/utmp";
/// File of all logins.
const WTMP: &CStr = c"/var/log/wtmp";

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"utmpset").to_bytes();
    let words = start.argv.skip(1);
    let mut options = Getopt::new(words.iter(), OPTIONS);
    let mut append_wtmp = false;
    for option in &mut options {
        match option {
            Opt::Flag(b'w') => append_wtmp = true,
            Opt::Flag(_) => {
                sys::print_error(super::version().finish());
                return usage(own);
            }
            Opt::Illegal(_) | Opt::Missing(_) | Opt::Value(..) => {
                super::report_option(basename(own), option);
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
    let logged_out = match file::open_both(CWD, UTMP) {
        Ok(utmp) => file::lock_wait(utmp.as_fd())
            .and_then(|()| log_out(utmp.as_fd(), line, now)),
        Err(errno) => return cannot_open(UTMP, errno),
    };
    let name = line.as_bytes();
    match logged_out {
        Ok(true) => {}
        Ok(false) => return unable("warning", name, "utmp", "no such entry"),
        Err(errno) => {
            return unable("warning", name, "utmp", error::text(errno));
        }
    }
    if !append_wtmp {
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

/// Prints the usage message. Returns the exit code.
fn usage(own: &[u8]) -> u8 {
    super::usage(own, " [-w] line", super::USAGE)
}

/// Reports that a file cannot be opened. Returns the exit code.
fn cannot_open(path: &CStr, errno: Errno) -> u8 {
    let (head, path) = (b"utmpset: fatal: ", path.to_bytes());
    super::fatal(head, "unable to open ", path, errno)
}

/// Reports that a line cannot be logged out. Returns the exit code.
fn unable(level: &str, line: &[u8], log: &str, cause: &str) -> u8 {
    let mut text = Line::new();
    text.text("utmpset: ").text(level);
    text.text(": unable to logout line ").bytes(line);
    text.text(" in ").text(log).text(": ").text(cause);
    sys::print_error(text.finish());
    super::FATAL
}

/// Rewrites the record of a line in the file. Returns false when there is
/// none.
fn log_out(
    utmp: sys::At<'_>,
    line: utmp::Name<'_>,
    now: u64,
) -> Result<bool, Errno> {
    let mut at = 0;
    loop {
        let mut record = Record::new();
        // An incomplete record at the end is ignored.
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

/// Appends a record to wtmp. Truncates the file again when the record cannot
/// be written completely.
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
        // The failed write is reported, not this.
        let _truncated = file::truncate(wtmp, before).is_err();
    }
    written
}
