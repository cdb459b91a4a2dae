//! Schedule and result of the checks whether the names still lead to the open
//! `current`.

use core::time::Duration;

use crate::wire::clock::Instant;

use super::context::PAUSE;

/// Time between two checks. A file without any name is noticed before each
/// block.
const INTERVAL: Duration = Duration::from_secs(1);

/// Result of the last check.
pub(super) struct NameCheck {
    /// `current` was found removed or moved.
    missing: bool,
    /// The move was reported, and the name does not lead to the open file yet.
    reported: bool,
    /// Moment of the next check.
    next: Instant,
}

impl NameCheck {
    /// Nothing was checked yet.
    pub(super) const NEW: Self = Self {
        missing: false,
        reported: false,
        next: Instant::at(0),
    };

    /// Returns whether `current` was found removed or moved.
    pub(super) fn is_missing(&self) -> bool {
        self.missing
    }

    /// Sets whether `current` is removed or moved, which was noticed between
    /// two checks.
    pub(super) fn set_missing(&mut self, missing: bool) {
        self.missing = missing;
    }

    /// Returns whether a check is due now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    /// Records the result of a check.
    pub(super) fn checked(&mut self, missing: bool, now: Instant) {
        self.missing = missing;
        self.reported &= missing;
        self.next = now.after(INTERVAL);
    }

    /// Makes the next check due after [`PAUSE`].
    pub(super) fn postpone(&mut self, now: Instant) {
        self.next = now.after(PAUSE);
    }

    /// Returns whether the move was reported.
    pub(super) fn is_reported(&self) -> bool {
        self.reported
    }

    /// Marks the move as reported. Returns whether it was before.
    pub(super) fn set_reported(&mut self) -> bool {
        core::mem::replace(&mut self.reported, true)
    }
}
