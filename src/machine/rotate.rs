//! Decides when a log file is full, and which old ones are deleted (contract
//! §5.6, §5.8).
//!
//! # Invariants
//! A file never grows beyond its bound. A line that fits the space left below
//! the bound is not split. A file that waits for a processor is never chosen
//! for deletion (§16.23).

use crate::{
    text::find,
    wire::logname::{Kind, LogName},
};

/// Fill level of `current`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Bytes in the file or queued for it.
    pub size: u64,
    /// Maximum bytes of the file (`s`), 0 for none.
    pub bound: u64,
    /// Expected maximum bytes of a line (`-l`).
    pub line: u64,
}

/// Result of [`Fill::step`]: what to do with bytes to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of bytes that go into this file.
    pub take: usize,
    /// True if the file is to be rotated after these bytes.
    pub rotate: bool,
}

impl Fill {
    /// Decides what to do with `bytes`, which may hold many lines.
    ///
    /// A file ends after the first line after which another one of `line`
    /// bytes might not fit, or else at its bound. With a bound below the
    /// length of one line only the second rule applies (§5.6: runit's
    /// subtraction is unsigned).
    pub fn step(self, bytes: &[u8]) -> Step {
        let count = bytes.len();
        if self.bound == 0 {
            return Step {
                take: count,
                rotate: false,
            };
        }
        let left = size(self.bound.saturating_sub(self.size));
        let most = left.min(count);
        if let Some(full) = self.bound.checked_sub(self.line) {
            let from = size(full.saturating_sub(self.size).saturating_sub(1));
            let ends = bytes.get(from..most).unwrap_or(&[]);
            if let Some(newline) = find(ends, b'\n') {
                return Step {
                    take: from.saturating_add(newline).saturating_add(1),
                    rotate: true,
                };
            }
        }
        Step {
            take: most,
            rotate: left < count,
        }
    }

    /// Subtracts bytes that were added and did not get into the file.
    pub fn uncount(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.size = self.size.saturating_sub(count);
    }

    /// Adds bytes.
    pub fn add(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.size = self.size.saturating_add(count);
    }
}

/// Converts a count of bytes in memory, which always fits.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Summary of the old logs of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldLogs {
    /// Number of old logs of any kind.
    pub count: u64,
    /// The oldest that may be deleted.
    pub oldest: Option<LogName>,
    /// The oldest that waits for a processor.
    pub pending: Option<LogName>,
    /// The newest of those with a time in their name.
    pub newest: Option<LogName>,
    /// A processor is configured: files marked `.u` wait for it.
    processed: bool,
}

impl OldLogs {
    /// Returns the summary of no files.
    pub fn new(newest: Option<LogName>, processed: bool) -> Self {
        Self {
            count: 0,
            oldest: None,
            pending: None,
            newest,
            processed,
        }
    }

    /// Adds an old log of this name.
    pub fn add(&mut self, name: LogName) {
        self.count = self.count.saturating_add(1);
        let waits = self.processed && name.kind() == Some(Kind::Unsafe);
        let oldest = if waits {
            &mut self.pending
        } else {
            &mut self.oldest
        };
        if oldest.is_none_or(|oldest| name < oldest) {
            *oldest = Some(name);
        }
        if self.newest.is_none_or(|newest| name > newest)
            && name.moment().is_some()
        {
            self.newest = Some(name);
        }
    }

    /// Returns the file to delete so that at most `keep` are left.
    pub fn excess(&self, keep: u64) -> Option<LogName> {
        self.oldest.filter(|_| self.count > keep)
    }

    /// Records that the oldest was deleted. Returns true if the directory must
    /// be read again to find the next one to delete for `keep`.
    pub fn removed_oldest(&mut self, keep: u64) -> bool {
        self.count = self.count.saturating_sub(1);
        self.oldest = None;
        self.count > keep
    }
}

#[cfg(test)]
#[path = "rotate_test.rs"]
mod test;
