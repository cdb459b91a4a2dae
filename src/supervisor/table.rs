//! The table of slots: as long as it has to be.
//!
//! A free place ends it while it may grow, so that a search for one finds it,
//! and memory of places that are never needed is never touched.

use core::ops::{Deref, DerefMut};

use heapless::{Vec, VecView};

use super::Entry;
use crate::{config, sys::static_cell::StaticCell};

/// The memory of all slots of this process.
static PLACES: StaticCell<Vec<Entry, { config::SLOTS }>> =
    StaticCell::new(Vec::new());

/// The table of slots.
pub(super) struct Table {
    places: &'static mut VecView<Entry>,
    /// How many places it may have.
    bound: usize,
}

impl Table {
    /// Returns the table of this process, the first time; it has at most
    /// `bound` places and one now.
    pub(super) fn take(bound: usize) -> Option<Self> {
        let places = PLACES.take()?;
        let mut table = Self { places, bound };
        table.grow();
        Some(table)
    }

    /// Adds a free place if there is none, within the bound.
    pub(super) fn grow(&mut self) {
        let full = self.places.iter().all(Option::is_some);
        if full && self.places.len() < self.bound {
            // The bound is at most the memory's.
            let _room = self.places.push(None).is_ok();
        }
    }
}

impl Deref for Table {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        self.places
    }
}

impl DerefMut for Table {
    fn deref_mut(&mut self) -> &mut [Entry] {
        self.places
    }
}
