//! Holds the state of the services directory and of its scans.

use core::{ffi::CStr, time::Duration};

use super::super::path_watch::Changes;
use crate::{
    sys::{
        AsFd, At, Fd, clock,
        file::{self, Identity, Kind},
    },
    wire::clock::Instant,
};

/// Minimum age of a directory that was created in place, so that its creator
/// has had time to fill it.
const SETTLE: Duration = Duration::from_secs(1);

/// State of the services directory.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) path: &'static CStr,
    pub(super) changes: Changes,
    pub(super) due: Option<Instant>,
    /// Set until the first scan has ended. That scan takes every entry at
    /// once: a directory that existed before this supervisor is not being
    /// filled.
    pub(super) first: bool,
    /// Identity of the directory at the last comparison.
    pub(super) known: Option<Identity>,
    /// Set if an operator asked for a scan: services that were told to exit
    /// are taken up again.
    pub(super) revive: bool,
    /// Set if the result for one entry depends on others, since two entries
    /// lead to one directory. Each scan then looks at all entries.
    pub(super) always_full: bool,
    /// Set if its file system was found to report no changes.
    pub(super) silent: bool,
    /// Scan that continues in the next iteration.
    pub(super) scan: Option<Scan>,
}

impl Services {
    /// Returns the state of a directory that was never scanned.
    pub(super) fn new(path: &'static CStr) -> Self {
        Self {
            path,
            changes: Changes::default(),
            due: None,
            first: true,
            known: None,
            revive: false,
            always_full: false,
            silent: false,
            scan: None,
        }
    }

    /// Returns the path of the directory.
    pub(super) fn path(&self) -> &'static CStr {
        self.path
    }

    /// Returns the time at which the next scan is due or continues.
    pub(super) fn due(&self) -> Option<Instant> {
        self.scan
            .as_ref()
            .map_or(self.due, |_| Some(Instant::AT_ONCE))
    }

    /// Schedules a full scan `wait` from now; a scan that is due earlier stays
    /// due then.
    pub(super) fn schedule_full(&mut self, wait: Duration) {
        self.changes.whole = true;
        self.schedule(wait);
    }

    /// Schedules a scan of the recorded changes `wait` from now, or earlier if
    /// one is due earlier.
    pub(super) fn schedule(&mut self, wait: Duration) {
        let due = clock::mono().after(wait);
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }
}

/// Scan in progress: a comparison of the services directory, or of the changed
/// names in it, with the table. It stops when the iteration's budget is spent
/// and continues where it stopped.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) changes: Changes,
    /// Set if an operator asked for the scan.
    pub(super) revive: bool,
    /// Set if the services directory is probably still being filled: it is
    /// another one than at the last scan, not a link, and young. Missing
    /// entries are not treated as removed then.
    pub(super) filling: bool,
    /// Overlay, if there is one. Its entries hide those of the same name.
    pub(super) overlay: Option<(&'static CStr, Fd)>,
    pub(super) dir: (&'static CStr, Fd),
    /// Set while the overlay is read, before the directory.
    pub(super) in_overlay: bool,
    /// Number of changed names that were looked at.
    pub(super) looked: usize,
}

impl Scan {
    /// Returns whether the overlay has an entry `name`.
    pub(super) fn hides(&self, name: &CStr) -> bool {
        self.overlay.as_ref().is_some_and(|(_, overlay)| {
            file::info_of_link(overlay.as_fd(), name).is_ok()
        })
    }
}

/// Returns how long an entry still has to be left alone: it is a directory,
/// not a link to one, and so young that it may be incomplete.
///
/// A modification time in the future does not count as young: the clock was
/// wrong then or is wrong now.
pub(super) fn settling_time(dir: At<'_>, name: &CStr) -> Option<Duration> {
    let info = file::info_of_link(dir, name).ok()?;
    let now = clock::wall().in_nanos();
    let age = now.checked_sub(info.modified.in_nanos())?;
    let wait = SETTLE.checked_sub(Duration::from_nanos(age))?;
    (info.kind == Kind::Directory).then_some(wait)
}
