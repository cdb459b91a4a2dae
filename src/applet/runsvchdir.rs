//! runsvchdir: makes runsvdir supervise another services directory.
//!
//! # Synopsis
//! `runsvchdir DIR`
//!
//! # Description
//! In /etc/runit/runsvdir, or $RUNSVDIR, makes the link `current` point to DIR
//! and `previous` to the former target of `current`. DIR must not begin with a
//! dot. A runsvdir(8) whose services directory ends in that `current` keeps
//! the services that are in both.
//!
//! `current` exists at every instant: both links are created under temporary
//! names and then renamed. (A `current` that is a directory is moved to
//! `previous`: then it is missing for an instant.) A `current` that is missing
//! or dangles, and a `current.new` or `previous.new` that a crash has left,
//! are replaced; `previous` is not changed when there was no `current`.
//!
//! # Options
//! - `--help`: prints a summary.
//!
//! # Environment
//! - `RUNSVDIR`: the directory of the links, instead of /etc/runit/runsvdir.
//!
//! # Files
//! `current`, `previous`; `current.new`, `previous.new` while it works.
//!
//! # Capacity
//! The target of `current` must be shorter than `path-bytes`.
//!
//! # Exit status
//! 0 DIR is current now, or was already; 1 usage; 111 nothing was changed.
//!
//! # Differences from runit
//! In runit `current` is missing for an instant, and must exist before.

use core::ffi::CStr;

use crate::{
    config,
    sys::{
        self, CWD, Errno,
        file::{self, Kind},
        start::Start,
    },
    text::Line,
};

/// Directory of the links, without $RUNSVDIR.
const DIR: &CStr = c"/etc/runit/runsvdir";

/// Failed step: text, its subject, cause.
type Failed<'a> = (&'static str, &'a CStr, Errno);

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"runsvchdir").to_bytes();
    let Some(dir) = start.argv.skip(1).first() else {
        return super::usage(own, " dir", super::USAGE);
    };
    let mut head = Line::new();
    head.bytes(own).text(": fatal: ");
    let bytes = dir.to_bytes();
    let current = if bytes.starts_with(b".") {
        Err(": must not start with a dot.")
    } else {
        let base = start.environ.get(b"RUNSVDIR").unwrap_or(DIR);
        match change(base, dir) {
            // As in runit: no separator in front.
            Ok(None) => Err("not a directory."),
            Ok(Some(current)) => Ok(current),
            Err((what, subject, errno)) => {
                let (head, subject) = (head.as_bytes(), subject.to_bytes());
                return super::fatal(head, what, subject, errno);
            }
        }
    };
    let text = match current {
        Ok(text) => text,
        Err(text) => {
            sys::print_error(head.bytes(bytes).text(text).finish());
            return super::FATAL;
        }
    };
    let mut line = Line::new();
    line.text("runsvchdir: ").bytes(bytes).text(text);
    if sys::print(line.finish()) {
        0
    } else {
        super::FATAL
    }
}

/// Makes `dir` the current one. Returns the text to print after its name, or
/// `None` when it is not a directory.
fn change<'a>(
    base: &'a CStr,
    dir: &'a CStr,
) -> Result<Option<&'static str>, Failed<'a>> {
    let failed = |what, subject| move |errno| (what, subject, errno);
    file::change_dir(base).map_err(failed("unable to chdir: ", base))?;
    let wanted = file::info(CWD, dir).map_err(|errno| {
        let missing = errno == Errno::ENOENT;
        let what = if missing { "" } else { "unable to stat: " };
        (what, dir, errno)
    })?;
    if wanted.kind != Kind::Directory {
        return Ok(None);
    }
    let now = match file::info(CWD, c"current") {
        Ok(now) => Some(now.identity),
        // It is missing or dangles: nothing to keep as `previous`.
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => None,
        Err(errno) => return Err(("unable to stat: ", c"current", errno)),
    };
    if now == Some(wanted.identity) {
        return Ok(Some(": current."));
    }
    clear(c"current.new")
        .map_err(failed("unable to unlink: ", c"current.new"))?;
    file::make_link(dir, CWD, c"current.new")
        .map_err(failed("unable to create: current.new -> ", dir))?;
    let moved_away = now.is_some() && keep_current()?;
    let moved = file::rename(CWD, c"current.new", c"current");
    if moved.is_err() && moved_away {
        // The first failure is reported, not this.
        let _restored = file::rename(CWD, c"previous", c"current").is_err();
    }
    moved.map_err(failed("unable to move: current.new to ", c"current"))?;
    Ok(Some(": now current."))
}

/// Makes `previous` point to the target of `current`. Returns true when
/// `current` is a directory, which is then moved to `previous`.
fn keep_current() -> Result<bool, Failed<'static>> {
    let existing = file::info_of_link(CWD, c"previous");
    if existing.is_ok_and(|info| info.kind == Kind::Directory) {
        return Err(("unable to unlink: ", c"previous", Errno::EISDIR));
    }
    let mut target = [0; config::PATH_BYTES];
    let read = file::link_target(CWD, c"current", &mut target).map(drop);
    match read {
        Ok(()) => {
            // The buffer was all zeros, and at least one is left.
            let target = CStr::from_bytes_until_nul(&target).unwrap_or(c"");
            clear(c"previous.new")
                .and_then(|()| file::make_link(target, CWD, c"previous.new"))
                .and_then(|()| file::rename(CWD, c"previous.new", c"previous"))
        }
        Err(Errno::EINVAL) => {
            let _removed = file::remove(CWD, c"previous").is_err();
            file::rename(CWD, c"current", c"previous")
        }
        Err(errno) => Err(errno),
    }
    .map_err(|errno| ("unable to copy: current to ", c"previous", errno))?;
    Ok(read.is_err())
}

/// Removes a file that an earlier run may have left.
fn clear(path: &CStr) -> Result<(), Errno> {
    match file::remove(CWD, path) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}
