//! Holds the table of slots, which grows on demand.
//!
//! Memory of entries that are never needed is never touched.

use heapless::{Vec, VecView};

use super::{
    context::Context,
    ledger::Ledger,
    reporter::Refusal,
    slot::{PublishAt, Slot},
};
use crate::{
    config,
    machine::slot::Role,
    sys::{Fd, file::Identity, static_cell::StaticCell},
    text::{self, Name},
    wire::clock::Now,
};

/// Entry of the table; `None` if it is free.
type Entry = Option<Slot>;

/// Memory of all slots of this process.
static ENTRIES: StaticCell<Vec<Entry, { config::SLOTS }>> =
    StaticCell::new(Vec::new());

/// Table of slots.
pub(super) struct Table {
    entries: &'static mut VecView<Entry>,
    /// Maximum number of entries.
    bound: usize,
    /// Index of the entry at which the next [`Table::visit`] begins.
    next: usize,
    /// Set if an entry was freed since the last [`Table::take_freed`].
    freed: bool,
}

impl Table {
    /// Returns the table of this process, which may grow to `bound` entries.
    /// Returns `None` if it was taken already.
    pub(super) fn take(bound: usize) -> Option<Self> {
        Some(Self {
            entries: ENTRIES.take()?,
            bound,
            next: 0,
            freed: false,
        })
    }

    /// Returns the maximum number of entries.
    pub(super) fn bound(&self) -> usize {
        self.bound
    }

    /// Returns `name` as a slot stores it, and the index of a free entry: the
    /// one that the directory had in an earlier supervisor, or the first one
    /// that no other directory had.
    pub(super) fn room_for(
        &self,
        name: &[u8],
        identity: Identity,
        ledger: &Ledger,
    ) -> Result<(Name, u16), Refusal> {
        let name = text::name(name)
            .map_err(|_| Refusal::Full("name-bytes", config::NAME_BYTES))?;
        let bound = u16::try_from(self.bound).unwrap_or(u16::MAX);
        let is_free = |index: &u16| {
            let entry = self.entries.get(usize::from(*index));
            entry.is_none_or(Option::is_none)
        };
        let mut free = (0..bound).filter(is_free);
        let old = ledger.find(identity);
        let index = old
            .filter(is_free)
            .or_else(|| free.clone().find(|index| !ledger.is_left(*index)))
            .or_else(|| free.next());
        Ok((name, index.ok_or(Refusal::Full("slots", self.bound))?))
    }

    /// Puts a service directory into the table at the time `now`, with `listed`
    /// one that a scan has seen, and starts it.
    pub(super) fn insert(
        &mut self,
        name: &[u8],
        identity: Identity,
        dir: Fd,
        listed: bool,
        now: Now,
        context: &mut Context,
    ) -> Result<(), Refusal> {
        let (name, index) = self.room_for(name, identity, &context.ledger)?;
        let mut slot = Slot::open(index, name, identity, dir, now, context)?;
        if listed {
            slot.presence().mark_seen();
        }
        let at = usize::from(index);
        // The bound does not exceed the memory's capacity.
        while self.entries.len() <= at && self.entries.push(None).is_ok() {}
        if let Some(entry) = self.entries.get_mut(at) {
            *entry = Some(slot);
        }
        // Its lock is held now.
        context.ledger.begin(self.bound, &context.reporter);
        self.update(index, &mut |slot| slot.begin(now, context));
        Ok(())
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns all slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.entries.iter().flatten()
    }

    /// Returns all slots, for changes that end none.
    pub(super) fn slots_mut(&mut self) -> impl Iterator<Item = &mut Slot> {
        self.entries.iter_mut().flatten()
    }

    /// Returns the index of the slot that a child belongs to, the child's role
    /// there, and whether it leads a process group as a service.
    pub(super) fn find(&self, pid: u32) -> Option<(u16, Role, bool)> {
        self.slots().find_map(|slot| {
            let (role, leads) = slot.role_of(pid)?;
            Some((slot.index(), role, leads))
        })
    }

    /// Returns the slot that is to be published next, and when.
    pub(super) fn next_publication(&self) -> (PublishAt, u16) {
        let mut next = (PublishAt::Never, 0);
        for slot in self.slots() {
            if slot.publish_at() < next.0 {
                next = (slot.publish_at(), slot.index());
            }
        }
        next
    }

    /// Changes a slot; frees its entry if it is gone then.
    pub(super) fn update(
        &mut self,
        index: u16,
        change: &mut dyn FnMut(&mut Slot),
    ) {
        let index = usize::from(index);
        if let Some(Some(slot)) = self.entries.get_mut(index) {
            change(slot);
            if slot.is_gone() {
                self.free(index);
            }
        }
    }

    /// Changes each slot as [`Table::update`] does.
    pub(super) fn update_all(&mut self, change: &mut dyn FnMut(&mut Slot)) {
        for index in 0..self.entries.len() {
            self.update(u16::try_from(index).unwrap_or(u16::MAX), change);
        }
    }

    /// Changes the slots one after the other until `change` returns true, and
    /// returns whether it did. Begins behind the slot for which it did so
    /// last, so that slots that are due again and again do not starve others.
    pub(super) fn visit(
        &mut self,
        change: &mut dyn FnMut(&mut Slot) -> bool,
    ) -> bool {
        let all = self.entries.len();
        let from = core::mem::take(&mut self.next).min(all);
        for index in (from..all).chain(0..from) {
            let mut stops = false;
            let number = u16::try_from(index).unwrap_or(u16::MAX);
            self.update(number, &mut |slot| stops = change(slot));
            if stops {
                self.next = index.saturating_add(1);
                return true;
            }
        }
        false
    }

    /// Frees an entry.
    fn free(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index) {
            *entry = None;
            self.freed = true;
        }
    }

    /// Frees the entries of slots that have ended, all or those of a
    /// directory, whether or not they are still listed.
    pub(super) fn free_ended(&mut self, of: Option<Identity>, ledger: &Ledger) {
        for entry in self.entries.iter_mut() {
            let ended = entry.take_if(|slot| {
                !slot.is_live() && of.is_none_or(|it| it == slot.identity())
            });
            if let Some(slot) = ended {
                ledger.clear(slot.index());
            }
        }
    }

    /// Returns whether an entry was freed since [`Table::take_freed`].
    pub(super) fn has_freed(&self) -> bool {
        self.freed
    }

    /// Returns whether an entry was freed since the last call.
    pub(super) fn take_freed(&mut self) -> bool {
        core::mem::take(&mut self.freed)
    }
}
