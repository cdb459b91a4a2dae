//! Handles slots that a scan did not list.

use crate::{machine::presence::Outcome, sys::clock};

use super::{Slots, services::Services};

/// Marks every slot as still present.
pub(super) fn keep_all(slots: &mut Slots<'_>) {
    for slot in slots.table.slots_mut() {
        slot.presence().keep();
    }
}

/// Tells every slot that the last scan did not list to exit, once that has
/// been so for long enough; at once if `at_once`, that is, when an operator
/// asked for the scan.
pub(super) fn stop_unlisted(
    services: &mut Services,
    at_once: bool,
    slots: &mut Slots<'_>,
) {
    let now = clock::mono();
    let context = &mut *slots.context;
    slots.table.update_all(&mut |slot| {
        if slot.presence().stays() {
            return;
        }
        // A removed directory does not come back.
        let leaves = at_once || !slot.is_live();
        let removed = leaves || slot.is_removed();
        match slot.presence().end(|| removed, now) {
            Outcome::Stays => {}
            Outcome::Settles(until) => {
                services.schedule_full(until.since(now));
            }
            // If it has ended, the table frees its entry.
            Outcome::Leaves => slot.exit(context),
        }
    });
}
