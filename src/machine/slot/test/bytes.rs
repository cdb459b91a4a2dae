//! Tests of the control bytes without effect on a process: the columns `Down`
//! and `Finish` of the table in `slot` (contract §2.6).

use super::*;

/// Returns a slot whose `./finish` runs.
fn finishing() -> SlotState {
    let mut slot = running();
    let exit = Exit { code: 1, signal: 0 };
    let facts = Facts {
        finish: true,
        ..Facts::default()
    };
    let actions = slot.ended(Role::Service, exit, facts, now(STEP));
    assert_eq!(actions[..], [Action::Finish(exit)]);
    slot.started(Role::Service, 10, now(STEP));
    slot
}

/// Returns the flag and the wanted state that a byte leaves.
fn flags(slot: &SlotState) -> (bool, bool, Want) {
    let status = slot.status(Role::Service).unwrap();
    (status.paused, status.term, status.want)
}

#[test]
fn bytes_that_only_set_what_is_shown() {
    use Want::{Down, Exit, Up};
    for start in [SlotState::new(true, None, now(0)), finishing()] {
        let runs = start.pid(Role::Service).is_some();
        let want = flags(&start).2;
        // bytes, paused, want at the end
        let rows: [(&[u8], bool, Want); 7] = [
            (b"p", true, want),
            (b"pc", false, want),
            (b"c", false, want),
            (b"ptahiq12\nz", true, want),
            (b"pd", true, Down),
            (b"px", true, Exit),
            (b"k", false, want),
        ];
        for (bytes, paused, want) in rows {
            let mut slot = start;
            let mut actions = vec![];
            for byte in bytes {
                let taken = slot.control(Role::Service, *byte, now(STEP));
                actions.extend(taken);
            }
            assert_eq!(flags(&slot), (paused, false, want), "{bytes:?}");
            let kill = Action::Signal(Role::Service, Signal::Kill);
            let expected = match (bytes, runs) {
                (b"k", true) => vec![kill],
                (b"px", false) => vec![Action::Ended],
                _ => vec![],
            };
            assert_eq!(actions, expected, "{bytes:?}");
        }
    }
    // While `./finish` runs the service is not started, but is wanted up.
    for (byte, want) in [(b'u', Up), (b'o', Down)] {
        let mut slot = finishing();
        let actions = slot.control(Role::Service, byte, now(STEP));
        assert!(actions.is_empty());
        assert_eq!(flags(&slot), (false, false, want));
    }
}
