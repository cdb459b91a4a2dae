//! Prints all services of the services directory as a table (`sv list`).
//!
//! ```text
//! STATE   NAME                          PID    UP  LOG     FLAGS
//! run     sshd                          412    3d  run
//! down    a-name-that-is-longer-t~        -   12s  -       want up
//! ```
//!
//! The table is never in memory. For each row the directory is read again to
//! find the next name, so the number of services has no bound.

use core::ffi::CStr;

use heapless::Vec;

use super::{
    Sv,
    describe::{flags, seconds, word},
    json, names,
    page::{Page, digits},
    service::{Unavailable, is_normally_up, probe},
};
use crate::{
    sys::{AsFd, At, CWD, Errno, Fd, dir, error, file},
    text::{Line, mask},
};

/// Columns of the table: heading, width, and true for right-aligned numbers.
/// With two blanks between them the columns fill a line of 79.
const COLUMNS: [(&str, usize, bool); 6] = [
    ("STATE", 6, false),
    ("NAME", 24, false),
    ("PID", 7, true),
    ("UP", 4, true),
    ("LOG", 6, false),
    ("FLAGS", 22, false),
];

/// A name in a directory, with its NUL.
type Entry = Vec<u8, 256>;

impl Sv {
    /// Runs `list`. Returns the exit code.
    pub(super) fn list(&mut self, page: &mut Page) -> u8 {
        let dirs = names::search_dirs(self.environ);
        let [_, services] = dirs;
        if !self.json {
            row(page, COLUMNS.map(|(heading, ..)| heading.as_bytes()));
        }
        let mut last = Entry::new();
        loop {
            let mut next = Entry::new();
            for path in dirs.iter().flatten() {
                if let Err(errno) = next_name(path, &last, &mut next)
                    // The overlay need not exist yet.
                    && (errno != Errno::ENOENT || services == Some(*path))
                {
                    page.flush();
                    let reason = Unavailable::Failed(READ, Some(errno));
                    self.report(path.to_bytes(), reason);
                    return self.failed;
                }
            }
            if next.is_empty() {
                page.flush();
                return 0;
            }
            last = next;
            let name = CStr::from_bytes_until_nul(&last).unwrap_or(c"");
            match names::find(&dirs, name) {
                // A file is not a service.
                Err(Errno::ENOTDIR) => {}
                found if self.json => object(page, name.to_bytes(), found),
                found => line(page, name.to_bytes(), found),
            }
        }
    }
}

/// Message for a services directory that cannot be listed.
const READ: &str = "read the services directory";

/// Stores in `next` the first name of the directory `path` after `last` in
/// byte order, unless `next` already holds an earlier one. Empty means none
/// yet. Names that begin with a dot are skipped.
fn next_name(path: &CStr, last: &[u8], next: &mut Entry) -> Result<(), Errno> {
    let services = file::open_dir(CWD, path)?;
    dir::list(services.as_fd(), |name| {
        let bytes = name.to_bytes_with_nul();
        let sooner = next.is_empty() || bytes < next.as_slice();
        if sooner && bytes > last && !bytes.starts_with(b".") {
            next.clear();
            // No name is longer than 255 bytes.
            let _fits = next.extend_from_slice(bytes).is_ok();
        }
    })
}

/// Appends one JSON object for a service.
fn object(page: &mut Page, name: &[u8], found: Result<Fd, Errno>) {
    match found {
        Ok(dir) => {
            // The object holds the failure too.
            let _result = json::service(page, dir.as_fd(), name).is_ok();
        }
        Err(errno) => json::missing(page, name, errno),
    }
    page.text("}\n");
}

/// Appends the row of a service.
fn line(page: &mut Page, name: &[u8], found: Result<Fd, Errno>) {
    let mut flags_or_cause = Line::new();
    let cause = &mut flags_or_cause;
    let (pid, up);
    let mut cells: [&[u8]; 6] = [b"-", name, b"-", b"-", b"-", b""];
    let [state, _, pid_cell, up_cell, log, _] = &mut cells;
    match found.map(|dir| (probe(dir.as_fd()), dir)) {
        Err(errno) => {
            cause.text(error::text(errno));
        }
        Ok((result, dir)) => {
            *log = log_word(dir.as_fd()).as_bytes();
            match result {
                Err(reason) if reason.is_transient() => {
                    cause.text("not supervised");
                }
                Err(reason) => {
                    reason.text(cause);
                }
                Ok(status) => {
                    *state = word(status.state).as_bytes();
                    if status.pid != 0 {
                        pid = digits(status.pid.into());
                        *pid_cell = &pid;
                    }
                    up = span(seconds(&status));
                    *up_cell = up.as_bytes();
                    let normally_up = is_normally_up(dir.as_fd());
                    let normally_up = normally_up.unwrap_or(true);
                    // The most important first: the rest may be cut off.
                    for flag in flags(&status, normally_up).rev() {
                        if !cause.as_bytes().is_empty() {
                            cause.text(", ");
                        }
                        cause.text(flag);
                    }
                }
            }
        }
    }
    let [.., flags] = &mut cells;
    *flags = flags_or_cause.as_bytes();
    row(page, cells);
}

/// Returns the word for a log service: its state, `-` for none, `?` when the
/// state is not available.
fn log_word(dir: At<'_>) -> &'static str {
    file::open_dir(dir, c"log").map_or("-", |log| {
        probe(log.as_fd()).map_or("?", |status| word(status.state))
    })
}

/// Formats a time span in the largest unit that gives 2 or more.
fn span(seconds: u64) -> Line {
    let (count, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "m"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    let mut line = Line::new();
    line.number(count).text(unit);
    line
}

/// Appends a row. A cell longer than its column is cut and then ends in `~`.
/// Control characters are shown as `?`.
fn row(page: &mut Page, cells: [&[u8]; 6]) {
    // Written only when something follows: no line ends in blanks.
    let mut blanks = 0_usize;
    for (cell, (_, width, right)) in cells.into_iter().zip(COLUMNS) {
        let mut columns = 0_usize;
        mask::each(cell, &mut |_| columns = columns.saturating_add(1));
        let fill = width.saturating_sub(columns);
        let room = width.saturating_sub(usize::from(columns > width));
        if right {
            blanks = blanks.saturating_add(fill);
        }
        let mut used = 0_usize;
        mask::each(cell, &mut |shown| {
            for _ in 0..core::mem::take(&mut blanks) {
                page.text(" ");
            }
            used = used.saturating_add(1);
            if used <= room {
                page.raw(shown);
            } else if used == room.saturating_add(1) {
                page.text("~");
            }
        });
        blanks = if right { 2 } else { fill.saturating_add(2) };
    }
    page.text("\n");
}
