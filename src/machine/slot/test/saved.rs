//! Tests that a slot is restored as it was saved.

use super::*;
use crate::wire::ledger::{BYTES, Cursor, Fields};

fn saved(slot: &SlotState, todo: &Actions) -> Fields {
    let mut fields = [0; BYTES];
    let mut cursor = Cursor::store(&mut fields);
    slot.save(todo, &mut cursor);
    assert!(cursor.is_valid());
    fields
}

/// Checks that this state and these actions are restored.
pub(super) fn check(slot: &SlotState, todo: &Actions) {
    let mut fields = saved(slot, todo);
    let restored = SlotState::restore(&mut Cursor::load(&mut fields));
    let (restored, actions) = restored.expect("it is valid");
    assert_eq!((&restored, &actions), (slot, todo));
}

/// Returns a slot whose service and log service run.
fn running() -> SlotState {
    let mut slot = SlotState::new(false, Some(false), now(1));
    slot.tick(now(2));
    slot.started(Role::Log, 7, now(3));
    slot.refused(Role::Script, now(4));
    slot.started(Role::Service, 8, now(5));
    assert_eq!(slot.pid(Role::Service), Some(8));
    slot
}

#[test]
fn every_action_is_restored() {
    let slot = running();
    for signal in [
        Signal::Alarm,
        Signal::Continue,
        Signal::Hangup,
        Signal::Interrupt,
        Signal::Kill,
        Signal::Quit,
        Signal::Stop,
        Signal::Terminate,
        Signal::User1,
        Signal::User2,
    ] {
        for role in [Role::Service, Role::Log] {
            let action = Action::Signal(role, signal);
            check(&slot, &Actions::from_iter([action]));
        }
    }
    let kill = Action::Signal(Role::Script, Signal::Kill);
    check(
        &slot,
        &Actions::from_iter([kill, Action::TimedOut(Role::Script)]),
    );
}

#[test]
fn impossible_states_are_refused() {
    let fields = saved(&running(), &Actions::new());
    let valid = |fields: &Fields| {
        let mut fields = *fields;
        SlotState::restore(&mut Cursor::load(&mut fields)).is_some()
    };
    assert!(valid(&fields));
    // A state, a wanted state, a flag and the reason of a wait out of range;
    // a running service that is down.
    for (at, value) in [(0, 3), (1, 3), (2, 2), (47, 5), (0, 0)] {
        let mut damaged = fields;
        damaged[at] = value;
        assert!(!valid(&damaged), "{at}");
    }
    // Whatever is there instead, the result is a state or none.
    for at in 0..BYTES {
        for value in 0..=255 {
            let mut damaged = fields;
            damaged[at] = value;
            let _any = valid(&damaged);
        }
    }
}

#[test]
fn an_end_that_was_not_completed_does_not_count() {
    let fresh = SlotState::new(false, Some(true), now(9));
    let mut slot = running();
    slot.leave(now(6));
    slot.resume(&fresh);
    assert!(!slot.is_leaving());
    assert_eq!(slot.status(Role::Service).unwrap().want, Want::Up);
    assert_eq!(slot.pid(Role::Service), Some(8));
    // What an operator wanted does.
    slot.control(Role::Log, b'd', now(7));
    slot.resume(&fresh);
    assert_eq!(slot.status(Role::Log).unwrap().want, Want::Down);
    // A log service that was removed, or added.
    slot.match_log(&SlotState::new(false, None, now(9)));
    assert_eq!(slot.status(Role::Log), None);
    slot.match_log(&fresh);
    assert_eq!(slot.pid(Role::Log), None);
    assert_eq!(slot.status(Role::Log).unwrap().want, Want::Down);
}
