//! All services of the services directory, in one table (`sv list`).
//!
//! ```text
//! STATE   NAME                          PID    UP  LOG     FLAGS
//! run     sshd                          412    3d  run
//! down    a-name-that-is-longer-t~        -   12s  -       want up
//! ```
//!
//! The table is never in memory: each row is looked for among the names of
//! the directory, so that there may be any number.

use core::ffi::CStr;

use heapless::Vec;

use super::{
    Sv, json, names,
    page::{Page, digits},
    service::{Silent, is_normally_up, probe},
    status::{flags, seconds, word},
};
use crate::{
    sys::{AsFd, At, CWD, Errno, Fd, dir, error, file},
    text::{Line, mask},
};

/// Heads, widths and whether numbers stand in the columns of the table. With
/// two blanks between them they fill a line of 79.
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
    /// `list`; answers the exit code.
    pub(super) fn list(&mut self, page: &mut Page) -> u8 {
        let places = names::places(self.environ);
        let [_, services] = places;
        if !self.json {
            row(page, COLUMNS.map(|(head, ..)| head.as_bytes()));
        }
        let mut last = Entry::new();
        loop {
            let mut next = Entry::new();
            for place in places.iter().flatten() {
                if let Err(errno) = look(place, &last, &mut next)
                    // The overlay may still be to come.
                    && (errno != Errno::ENOENT || services == Some(*place))
                {
                    page.flush();
                    let silent = Silent::Trouble(READ, Some(errno));
                    self.silent(place.to_bytes(), silent);
                    return self.failed;
                }
            }
            if next.is_empty() {
                page.flush();
                return 0;
            }
            last = next;
            let name = CStr::from_bytes_until_nul(&last).unwrap_or(c"");
            match names::in_places(&places, name) {
                // A file is no service.
                Err(Errno::ENOTDIR) => {}
                found if self.json => object(page, name.to_bytes(), found),
                found => line(page, name.to_bytes(), found),
            }
        }
    }
}

/// What is said of a services directory that cannot be listed.
const READ: &str = "read the services directory";

/// Takes the name in the directory `place` that comes first behind `last` in
/// the order of bytes, if it comes before `next`, an empty one being the last.
fn look(place: &CStr, last: &[u8], next: &mut Entry) -> Result<(), Errno> {
    let place = file::open_dir(CWD, place)?;
    dir::list(place.as_fd(), |name| {
        let bytes = name.to_bytes_with_nul();
        let sooner = next.is_empty() || bytes < next.as_slice();
        if sooner && bytes > last && !bytes.starts_with(b".") {
            next.clear();
            // 255 bytes are the longest name there is.
            let _fits = next.extend_from_slice(bytes).is_ok();
        }
    })
}

/// One JSON object of a service.
fn object(page: &mut Page, name: &[u8], found: Result<Fd, Errno>) {
    match found {
        Ok(dir) => {
            // What it says is in the object.
            let _said = json::service(page, dir.as_fd(), name).is_ok();
        }
        Err(errno) => json::missing(page, name, errno),
    }
    page.text("}\n");
}

/// One row of a service.
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
        Ok((said, dir)) => {
            *log = log_word(dir.as_fd()).as_bytes();
            match said {
                Err(silent) if silent.may_pass() => {
                    cause.text("not supervised");
                }
                Err(silent) => {
                    silent.text(cause);
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
                    // The most pressing first: the rest may be cut.
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

/// The word for a log service: its state, `-` for none, `?` when it does not
/// say.
fn log_word(dir: At<'_>) -> &'static str {
    file::open_dir(dir, c"log").map_or("-", |log| {
        probe(log.as_fd()).map_or("?", |status| word(status.state))
    })
}

/// A span of time in the largest unit of which it has two or more.
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

/// Appends a row. A cell that is longer than its column is cut, and ends in
/// `~` then; what a terminal would obey is shown as `?`.
fn row(page: &mut Page, cells: [&[u8]; 6]) {
    // Written when something follows: no blanks stand at the end of a line.
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
