//! When a log file is full, and which old ones go (contract §5.6, §5.8).
//!
//! # Invariants
//! A file never grows beyond its bound; a line that fits the space that is
//! left below the bound is not split. What waits for a processor is never
//! chosen to be deleted (§16.23).

use crate::{
    text::find,
    wire::logname::{Kind, LogName},
};

/// How full `current` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Bytes in the file, or on their way to it.
    pub size: u64,
    /// The bound (`s`), 0 for none.
    pub bound: u64,
    /// The bytes that a line is expected to have at most (`-l`).
    pub line: u64,
}

/// What to do with bytes that are to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many of them go into this file.
    pub take: usize,
    /// Whether to rotate when they are there.
    pub rotate: bool,
}

impl Fill {
    /// What to do with `bytes`, which may hold many lines.
    ///
    /// A file ends with the first line behind which another one of `line`
    /// bytes might not fit, or else at its bound. A bound below one line's
    /// length knows only the second (§5.6: runit's subtraction is unsigned).
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

    /// Takes back bytes that were added and did not get into the file.
    pub fn take_back(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.size = self.size.saturating_sub(count);
    }

    /// Bytes were added.
    pub fn add(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.size = self.size.saturating_add(count);
    }
}

/// A count of bytes in memory, of which there are never more than fit.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// What the names in a log directory add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldLogs {
    /// Old logs, whatever their letter.
    pub count: u64,
    /// The oldest that may be deleted.
    pub oldest: Option<LogName>,
    /// The oldest that waits for a processor.
    pub pending: Option<LogName>,
    /// The newest.
    pub newest: Option<LogName>,
    /// Whether there is a processor: what is marked `.u` waits for it.
    processed: bool,
}

impl OldLogs {
    /// Nothing seen yet.
    pub fn new(newest: Option<LogName>, processed: bool) -> Self {
        Self {
            count: 0,
            oldest: None,
            pending: None,
            newest,
            processed,
        }
    }

    /// There is an old log of this name.
    pub fn add(&mut self, name: LogName) {
        self.count = self.count.saturating_add(1);
        let waits = self.processed && name.kind() == Some(Kind::Unsafe);
        let place = if waits {
            &mut self.pending
        } else {
            &mut self.oldest
        };
        if place.is_none_or(|oldest| name < oldest) {
            *place = Some(name);
        }
        if self.newest.is_none_or(|newest| name > newest) {
            self.newest = Some(name);
        }
    }

    /// What to delete so that no more than `keep` are left.
    pub fn excess(&self, keep: u64) -> Option<LogName> {
        self.oldest.filter(|_| self.count > keep)
    }

    /// The oldest was deleted; answers whether another look is needed to
    /// know which one is the oldest now, to get down to `keep`.
    pub fn removed_oldest(&mut self, keep: u64) -> bool {
        self.count = self.count.saturating_sub(1);
        self.oldest = None;
        self.count > keep
    }
}

#[cfg(test)]
#[path = "rotate_test.rs"]
mod test;
