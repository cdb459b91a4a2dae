//! Records a slot in the ledger, and reads such a record.

use core::sync::atomic::{AtomicU32, Ordering};

use heapless::Vec;

use crate::{
    machine::slot::{Action, Actions, Role, SlotState},
    sys::{clock, file::Identity},
    wire::{
        ledger::{self, Cursor, Fields},
        options::GroupKill,
    },
};

use super::{
    super::{context::Context, ledger::Ledger},
    Key, Slot, Spawned,
};

/// Returns the index of a role in [`Spawned::begun`].
const fn place(role: Role) -> usize {
    match role {
        Role::Service => 0,
        Role::Log => 1,
        Role::Script => 2,
    }
}

/// Returns the role that an action starts.
pub(super) fn started_role(action: Action) -> Option<Role> {
    match action {
        Action::Run(role) => Some(role),
        Action::Finish(_) => Some(Role::Service),
        Action::Script(_) => Some(Role::Script),
        Action::Signal(..)
        | Action::SetDeadline
        | Action::TimedOut(_)
        | Action::Parked
        | Action::GiveUp
        | Action::ClosePipe
        | Action::Ended => None,
    }
}

impl Slot {
    /// Records the state, and the actions that are about to be carried out.
    /// The last one may be a start, whose pid is not known yet.
    pub(super) fn record(&mut self, todo: &Actions, context: &mut Context) {
        if !context.ledger.is_kept() {
            return;
        }
        let start = todo.last().copied().and_then(started_role);
        if let Some(role) = start {
            self.data.spawned.note_start(role, false);
            if let Some(cell) = self.cell(context) {
                cell.store(0, Ordering::Relaxed);
            }
        }
        let mut fields = [0; ledger::BYTES];
        let mut cursor = Cursor::store(&mut fields);
        self.key.pass(&mut cursor);
        self.data.spawned.pass(&mut cursor);
        self.data.machine.save(todo, &mut cursor);
        let Context {
            ledger, reporter, ..
        } = context;
        ledger.record(self.key.index, &fields, reporter);
    }

    /// Returns the cell for the pid of the child that is started next.
    pub(super) fn cell(&self, context: &Context) -> Option<&'static AtomicU32> {
        context.ledger.cell(self.key.index)
    }

    /// Restores what was recorded of this directory; returns the actions that
    /// were to be carried out. `None` if there is no such record. With `anew`
    /// by another process.
    pub(super) fn restore(
        &mut self,
        fields: &mut Fields,
        anew: bool,
    ) -> Option<Actions> {
        let mut cursor = Cursor::load(fields);
        self.key.pass(&mut cursor);
        self.data.spawned.pass(&mut cursor);
        let (machine, todo) = SlotState::restore(&mut cursor)?;
        let fresh = core::mem::replace(&mut self.data.machine, machine);
        self.data.machine.match_log(&fresh);
        if anew {
            self.data.machine.resume(&fresh);
        }
        Some(todo)
    }
}

/// Content of a row of the ledger whose directory has no slot.
pub(in super::super) struct Recorded {
    pub(in super::super) identity: Identity,
    /// Set if it had ended, and was still listed.
    pub(in super::super) has_ended: bool,
    /// Processes, and the times of their starts as in [`Spawned::begun`].
    pub(in super::super) processes: Vec<(u32, [u32; 2]), 4>,
}

/// Returns the directory of a row, the starts of its processes, its state, and
/// the actions that were to be carried out; `None` if it has no such state.
fn decode(
    fields: &mut Fields,
) -> Option<(Identity, Spawned, SlotState, Actions)> {
    let mut cursor = Cursor::load(fields);
    let mut identity = Identity {
        device: 0,
        inode: 0,
    };
    cursor.number(&mut identity.device);
    cursor.number(&mut identity.inode);
    let mut spawned = Spawned::default();
    spawned.pass(&mut cursor);
    let (machine, todo) = SlotState::restore(&mut cursor)?;
    Some((identity, spawned, machine, todo))
}

/// Returns whether the fields of a row are the state of a slot.
pub(in super::super) fn is_valid(mut fields: Fields) -> bool {
    decode(&mut fields).is_some()
}

impl Recorded {
    /// Returns what an earlier supervisor has left in a row, if it has.
    pub(in super::super) fn load(index: u16, ledger: &Ledger) -> Option<Self> {
        let mut fields = ledger.left(index)?;
        let (identity, spawned, machine, todo) = decode(&mut fields)?;
        let started = todo.last().copied().and_then(started_role);
        let cell = ledger.cell(index).map(|cell| cell.load(Ordering::Relaxed));
        let started = started.zip(cell.filter(|pid| *pid != 0));
        let known = [Role::Service, Role::Log, Role::Script]
            .map(|role| machine.pid(role).map(|pid| (role, pid)));
        let mut processes = Vec::new();
        for (role, pid) in known.into_iter().chain([started]).flatten() {
            // There is room for each.
            let _room = processes.push((pid, spawned.begun(role))).is_ok();
        }
        Some(Self {
            identity,
            has_ended: todo.contains(&Action::Ended),
            processes,
        })
    }
}

impl Key {
    /// Passes the identity of the directory.
    fn pass(&self, cursor: &mut Cursor<'_>) {
        let mut identity = self.identity;
        cursor.number(&mut identity.device);
        cursor.number(&mut identity.inode);
        cursor.check(identity == self.identity);
    }
}

impl Spawned {
    /// Records the time before the start of a role, or after it.
    pub(super) fn note_start(&mut self, role: Role, done: bool) {
        let ticks = clock::boot_ticks() & u64::from(u32::MAX);
        let now = u32::try_from(ticks).unwrap_or(0);
        if let Some(begun) = self.begun.get_mut(place(role)) {
            let [before, _] = *begun;
            *begun = if done { [before, now] } else { [now, 0] };
        }
    }

    /// Returns the times of the last start of a role.
    pub(super) fn begun(&self, role: Role) -> [u32; 2] {
        self.begun.get(place(role)).copied().unwrap_or_default()
    }

    /// Passes all fields.
    fn pass(&mut self, cursor: &mut Cursor<'_>) {
        for time in self.begun.as_flattened_mut() {
            cursor.word(time);
        }
        cursor.choice(
            &mut self.group,
            &[None, Some(GroupKill::All), Some(GroupKill::Mixed)],
        );
        cursor.time(&mut self.killed_at);
    }
}
