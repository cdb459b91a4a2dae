//! runsvchdir: has runsvdir supervise another services directory.
//!
//! # Synopsis
//! `runsvchdir DIR`
//!
//! # Description
//! In /etc/runit/runsvdir, or $RUNSVDIR, makes the link `current` lead to DIR
//! and `previous` to where `current` led. A runsvdir whose services directory
//! ends in that `current` takes the services over that are in both.
//!
//! `current` is there at every instant: both links are made beside and then
//! renamed. (A `current` that is a directory is moved to `previous`: then
//! there is an instant without.) A `current` that is missing or leads nowhere,
//! and a `current.new` or `previous.new` that a crash has left, are replaced;
//! `previous` stays what it is then.
//!
//! # Files
//! `current`, `previous`; `current.new`, `previous.new` while it works.
//!
//! # Exit codes
//! 0 DIR is current now, or was; 1 usage; 111 nothing was changed.
//!
//! # Capacity
//! Where `current` leads must be shorter than `path-bytes`.

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

/// Where the links are without $RUNSVDIR.
const DIR: &CStr = c"/etc/runit/runsvdir";

/// What could not be done: text, its subject, cause.
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
            // As in runit: nothing stands between.
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

/// Makes `dir` the current one; answers what is to be said behind its name,
/// `None` when it is no directory.
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
        // There is none, or it leads nowhere: nothing to keep as `previous`.
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
        // The first failure is the one to tell.
        let _back = file::rename(CWD, c"previous", c"current").is_err();
    }
    moved.map_err(failed("unable to move: current.new to ", c"current"))?;
    Ok(Some(": now current."))
}

/// Makes `previous` lead to where `current` leads; true when `current` is a
/// directory, which is moved there.
fn keep_current() -> Result<bool, Failed<'static>> {
    let in_the_way = file::info_of_link(CWD, c"previous");
    if in_the_way.is_ok_and(|info| info.kind == Kind::Directory) {
        return Err(("unable to unlink: ", c"previous", Errno::EISDIR));
    }
    let mut target = [0; config::PATH_BYTES];
    let led = file::link_target(CWD, c"current", &mut target).map(drop);
    match led {
        Ok(()) => {
            // The buffer began as zeros, and one of them is left.
            let target = CStr::from_bytes_until_nul(&target).unwrap_or(c"");
            clear(c"previous.new")
                .and_then(|()| file::make_link(target, CWD, c"previous.new"))
                .and_then(|()| file::rename(CWD, c"previous.new", c"previous"))
        }
        Err(Errno::EINVAL) => {
            let _gone = file::remove(CWD, c"previous").is_err();
            file::rename(CWD, c"current", c"previous")
        }
        Err(errno) => Err(errno),
    }
    .map_err(|errno| ("unable to copy: current to ", c"previous", errno))?;
    Ok(led.is_err())
}

/// Removes what an earlier run may have left.
fn clear(path: &CStr) -> Result<(), Errno> {
    match file::remove(CWD, path) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
}
