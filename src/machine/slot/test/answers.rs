//! Checks what a slot tells about itself, in every state of the walk, and its
//! deadlines.

use super::*;

/// Returns the process ID of the walk for the child of a role.
pub(super) fn pid(role: Role) -> u32 {
    match role {
        Role::Service => 41,
        Role::Log => 42,
        Role::Script => 43,
    }
}

/// Checks the answers of a slot. `stays` means that its answer about time is
/// not checked: it is new, waits for the report of a start, or has ended.
pub(super) fn check(slot: &SlotState, stays: bool, at: u64) {
    let service = &slot.service;
    let mut kill = vec![];
    for role in [Role::Service, Role::Log, Role::Script] {
        let runs = slot.pid(role).is_some();
        assert_eq!(slot.role_of(pid(role)), runs.then_some(role));
        if runs && role != Role::Log {
            kill.push(Action::Signal(role, Signal::Kill));
        }
    }
    assert_eq!(slot.role_of(0), None);
    assert_eq!(slot.kill()[..], kill);
    assert_eq!(slot.wants_down(), service.want != Want::Up);
    let left = slot.is_leaving() && !slot.busy();
    assert!(!left || service.want == Want::Exit, "it does not leave");
    assert_eq!(slot.waits(), waits(slot));
    if stays {
        return;
    }
    // `tick` has work to do at the time that `due` names, and none before.
    let tick = |at| {
        let mut slot = *slot;
        slot.tick(now(at))
    };
    let due = slot.due().map_or(at + 3600 * 2 * STEP, Instant::nanos);
    assert_eq!(tick(due - 1)[..], [], "{slot:?}");
    assert_eq!(tick(due).is_empty(), slot.due().is_none(), "{slot:?}");
}

/// Returns what the service waits for, by its state.
fn waits(slot: &SlotState) -> (Waits, Option<Instant>) {
    let service = &slot.service;
    let delayed = service.due.map(|(due, waits)| (waits, Some(due)));
    if let Some(script) = slot.script {
        return (Waits::Control(encode(script.control)), script.limit);
    }
    match (service.state, service.want) {
        (State::Run, _) => (Waits::Nothing, None),
        (State::Finish, _) => delayed.unwrap_or((Waits::Finish, service.limit)),
        (State::Down, Want::Up) => delayed.unwrap_or((Waits::Nothing, None)),
        (State::Down, _) if service.failed => (Waits::Failed, None),
        (State::Down, Want::Down | Want::Exit) => {
            let once = delayed.filter(|_| service.once);
            once.unwrap_or((Waits::Nothing, None))
        }
    }
}

#[test]
fn the_earliest_of_several_deadlines_holds() {
    let [first, second] = [STEP, 2 * STEP].map(Instant::at);
    for order in [[first, second], [second, first]] {
        let mut slot = running();
        for deadline in order {
            slot.set_deadline(Role::Service, deadline);
        }
        assert_eq!(slot.due(), Some(first));
        assert!(slot.tick(now(STEP - 1)).is_empty());
        let late = [Action::TimedOut(Role::Service)];
        assert_eq!(slot.tick(now(STEP))[..], late);
        // It is reported once.
        assert_eq!(slot.due(), None);
        assert!(slot.tick(now(STEP)).is_empty());
    }
}

#[test]
fn a_deadline_is_that_of_a_child_that_runs() {
    let deadline = Instant::at(STEP);
    let mut slot = SlotState::new(true, Some(true), now(0));
    for role in [Role::Service, Role::Log, Role::Script] {
        slot.set_deadline(role, deadline);
        assert_eq!(slot.due(), None, "{role:?} does not run");
    }
    let mut slot = running();
    slot.set_deadline(Role::Service, deadline);
    let exit = Exit { code: 0, signal: 0 };
    let facts = Facts {
        finish: true,
        ..Facts::default()
    };
    slot.ended(Role::Service, exit, facts, now(1));
    assert_eq!(slot.due(), None, "the child has ended");
}

#[test]
fn a_start_is_timed_and_a_finish_is_not() {
    let mut slot = running();
    assert_eq!(slot.started_at(), Instant::at(0));
    let since = |slot: &SlotState| slot.status(Role::Service).unwrap().since;
    let start = since(&slot);
    let exit = Exit { code: 0, signal: 0 };
    let facts = Facts {
        finish: true,
        ..Facts::default()
    };
    slot.ended(Role::Service, exit, facts, now(3 * STEP));
    slot.started(Role::Service, 10, now(4 * STEP));
    assert_eq!(slot.started_at(), Instant::at(0));
    assert_eq!(since(&slot), start);
    slot.ended(Role::Service, exit, facts, now(5 * STEP));
    slot.refused(Role::Script, now(5 * STEP));
    slot.started(Role::Service, 11, now(5 * STEP));
    assert_eq!(slot.started_at(), Instant::at(5 * STEP));
}

#[test]
fn a_run_that_an_operator_ends_is_never_short() {
    let exit = Exit { code: 1, signal: 0 };
    let facts = Facts {
        finish: false,
        restart_delay: RestartDelay {
            backoff: None,
            max_deaths: 1,
        },
    };
    // byte, is parked
    for (byte, parks) in [(b'a', true), (b't', false), (b'd', false)] {
        let mut slot = running();
        without_scripts(&mut slot, byte);
        let actions = slot.ended(Role::Service, exit, facts, now(STEP));
        assert_eq!(actions.contains(&Action::Parked), parks);
        assert_eq!(slot.service.short_runs, u32::from(parks));
    }
}

#[test]
fn a_start_that_is_due_waits_for_the_report_of_another() {
    let exit = Exit { code: 1, signal: 0 };
    let mut slot = SlotState::new(false, Some(false), now(0));
    assert_eq!(slot.tick(now(0))[..], [Action::Run(Role::Log)]);
    slot.started(Role::Log, 9, now(0));
    slot.refused(Role::Script, now(0));
    slot.started(Role::Service, 10, now(0));
    let actions = slot.ended(Role::Log, exit, Facts::default(), now(1));
    assert!(actions.is_empty());
    // The log service is due when the byte is read.
    let actions = slot.control(Role::Service, b't', now(4 * STEP));
    assert_eq!(actions[..], [Action::Script(b't')]);
    let actions = slot.refused(Role::Script, now(4 * STEP));
    assert_eq!(actions.last(), Some(&Action::Run(Role::Log)));
}
