//! Holds the table of slots, which grows on demand.
//!
//! While it may grow, its last entry is free, so that a search for a free
//! entry succeeds; memory of entries that are never needed is never touched.

use core::ops::{Deref, DerefMut};

use heapless::{Vec, VecView};

use super::Entry;
use crate::{config, sys::static_cell::StaticCell};

/// Memory of all slots of this process.
static ENTRIES: StaticCell<Vec<Entry, { config::SLOTS }>> =
    StaticCell::new(Vec::new());

/// Table of slots.
pub(super) struct Table {
    entries: &'static mut VecView<Entry>,
    /// Maximum number of entries.
    bound: usize,
}

impl Table {
    /// Returns the table of this process with one entry; it may grow to
    /// `bound` entries. Returns `None` if it was taken already.
    pub(super) fn take(bound: usize) -> Option<Self> {
        let entries = ENTRIES.take()?;
        let mut table = Self { entries, bound };
        table.grow();
        Some(table)
    }

    /// Adds a free entry if there is none, within the bound.
    pub(super) fn grow(&mut self) {
        let full = self.entries.iter().all(Option::is_some);
        if full && self.entries.len() < self.bound {
            // The bound does not exceed the memory's capacity.
            let _room = self.entries.push(None).is_ok();
        }
    }
}

impl Deref for Table {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        self.entries
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut [Entry] {
        self.entries
    }
}
