//! The services directory and the state of its scans.

use core::{ffi::CStr, time::Duration};

use super::path_watch::Changes;
use crate::{
    sys::{
        AsFd, At, Fd, clock,
        file::{self, Identity, Kind},
    },
    wire::clock::Instant,
};

/// How old a directory that was made in place must be, so that who made it
/// has filled it.
const SETTLE: Duration = Duration::from_secs(1);

/// The services directory.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) path: &'static CStr,
    pub(super) changes: Changes,
    pub(super) due: Option<Instant>,
    /// The first scan takes everything: nobody is filling a directory that
    /// was there before this supervisor.
    pub(super) first: bool,
    /// Which directory it was when it was last compared.
    pub(super) known: Option<Identity>,
    /// An operator asked: what was told to exit is taken up again.
    pub(super) revive: bool,
    /// What becomes of one entry depends on others: two lead to one directory.
    /// Each scan looks at all then.
    pub(super) always_full: bool,
    /// The scan that goes on with the next turn.
    pub(super) scan: Option<Scan>,
}

impl Services {
    /// Where they are.
    pub(super) fn path(&self) -> &'static CStr {
        self.path
    }

    /// Returns when the next scan is due, or goes on.
    pub(super) fn due(&self) -> Option<Instant> {
        self.scan
            .as_ref()
            .map_or(self.due, |_| Some(Instant::at(0)))
    }

    /// Asks for a scan of all `wait` from now, or earlier if one is due
    /// earlier.
    pub(super) fn schedule_full(&mut self, wait: Duration) {
        self.changes.whole = true;
        self.schedule(wait);
    }

    /// Asks for a scan of what is news then.
    pub(super) fn schedule(&mut self, wait: Duration) {
        let due = clock::mono().after(wait);
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }
}

/// A scan: a comparison of the services directory, or of those names in it
/// that are news, to the table. It stops when the turn is spent and goes on
/// where it stopped.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) news: Changes,
    /// An operator asked for it.
    pub(super) revive: bool,
    /// Somebody is about to fill the services directory: it is another one
    /// than the last time, no link, and young. What is not there yet is not
    /// missing.
    pub(super) filling: bool,
    /// The overlay, if there is one. Its entries hide their namesakes.
    pub(super) over: Option<(&'static CStr, Fd)>,
    pub(super) dir: (&'static CStr, Fd),
    /// The overlay is being read, and not yet the directory.
    pub(super) in_over: bool,
    /// Names of the news that were looked at.
    pub(super) looked: usize,
}

impl Scan {
    /// Returns true when the overlay has an entry `name`.
    pub(super) fn hides(&self, name: &CStr) -> bool {
        self.over.as_ref().is_some_and(|(_, over)| {
            file::info_of_link(over.as_fd(), name).is_ok()
        })
    }
}

/// How long an entry has to be left alone yet: it is a directory, no link to
/// one, and so young that it may not be complete.
///
/// One from the future is not young: the clock was wrong, then or now.
pub(super) fn settling_time(dir: At<'_>, name: &CStr) -> Option<Duration> {
    let info = file::info_of_link(dir, name).ok()?;
    let now = clock::wall().in_nanos();
    let age = now.checked_sub(info.modified.in_nanos())?;
    let rest = SETTLE.checked_sub(Duration::from_nanos(age))?;
    (info.kind == Kind::Directory).then_some(rest)
}
