//! Remembers which failures of a slot were reported, so that one that lasts is
//! reported once.

use core::ffi::CStr;

use crate::text;

/// Failure that is reported once as long as it lasts: one bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Warning(u8);

impl Warning {
    /// The last fork was refused.
    pub(super) const FORK: Self = Self(1);
    /// The last `./run` could not be executed.
    pub(super) const EXEC: Self = Self(2);
    /// The last publication failed.
    pub(super) const PUBLISH: Self = Self(4);
    /// The last start could not set up the control group.
    pub(super) const CGROUP: Self = Self(8);
}

/// Failures of a slot that were reported.
#[derive(Debug, Default)]
pub(super) struct Warned {
    /// Bit set of [`Warning`].
    bits: u8,
    /// Hash of the path of the file last reported as unusable.
    file: u32,
}

impl Warned {
    /// Returns whether a failure was reported.
    pub(super) fn has(&self, warning: Warning) -> bool {
        self.bits & warning.0 != 0
    }

    /// Records whether an operation has `failed`; returns true if that is to
    /// be reported now.
    pub(super) fn note(&mut self, warning: Warning, failed: bool) -> bool {
        let known = self.has(warning);
        self.bits &= !warning.0;
        if failed {
            self.bits |= warning.0;
        }
        failed && !known
    }

    /// Records that a file cannot be used; returns true if that is to be
    /// reported now.
    pub(super) fn note_file(&mut self, path: &CStr) -> bool {
        let hash = text::hash(path.to_bytes());
        core::mem::replace(&mut self.file, hash) != hash
    }
}
