//! Tests of a log service that reads what its service left (contract §2.3,
//! §16.1).

use super::*;

const KILLED: Exit = Exit {
    code: -1,
    signal: 9,
};

/// Returns a slot whose service is down for good and whose log service drains
/// the pipe.
fn draining() -> SlotState {
    let mut slot = SlotState::new(true, Some(false), now(0));
    assert_eq!(slot.tick(now(0))[..], [Action::Run(Role::Log)]);
    slot.started(Role::Log, 9, now(0));
    assert_eq!(slot.leave(now(0))[..], [Action::ClosePipe]);
    slot
}

/// Kills the log service from outside; returns the actions.
fn kill(slot: &mut SlotState) -> Actions {
    slot.ended(Role::Log, KILLED, Facts::default(), now(STEP))
}

#[test]
fn a_killed_logger_is_started_again_a_few_times() {
    let mut slot = draining();
    for _ in 0..DRAINS {
        assert_eq!(kill(&mut slot)[..], [Action::Run(Role::Log)]);
        let actions = slot.started(Role::Log, 9, now(STEP));
        assert_eq!(actions[..], [Action::ClosePipe]);
    }
    assert_eq!(kill(&mut slot)[..], [Action::Ended]);
}

#[test]
fn a_logger_that_exits_has_read_everything() {
    let mut slot = draining();
    let exit = Exit { code: 1, signal: 0 };
    let actions = slot.ended(Role::Log, exit, Facts::default(), now(STEP));
    assert_eq!(actions[..], [Action::Ended]);
}

/// KILL and TERM of an operator end it, even if input is left.
#[test]
fn bytes_that_end_the_draining() {
    for byte in *b"udoxtkpcahiq12\n" {
        let mut slot = draining();
        slot.control(Role::Log, byte, now(STEP));
        let ends = matches!(byte, b'k' | b't' | b'd');
        let next = if ends {
            Action::Ended
        } else {
            Action::Run(Role::Log)
        };
        assert_eq!(kill(&mut slot)[..], [next], "{}", char::from(byte));
    }
}

#[test]
fn a_logger_that_is_too_slow_is_not_started_again() {
    let mut slot = draining();
    slot.set_deadline(Role::Log, Instant::at(STEP));
    let late = [Action::TimedOut(Role::Log)];
    assert_eq!(slot.tick(now(STEP))[..], late);
    assert_eq!(kill(&mut slot)[..], [Action::Ended]);
}

#[test]
fn a_logger_that_has_ended_with_its_supervisor_is_started_at_once() {
    let mut slot = SlotState::new(true, Some(false), now(0));
    slot.tick(now(0));
    slot.started(Role::Log, 9, now(0));
    let mut end = |exit| {
        let facts = Facts::default();
        let actions = slot.ended(Role::Log, exit, facts, now(STEP));
        slot.started(Role::Log, 9, now(STEP));
        actions
    };
    assert_eq!(end(Exit::UNKNOWN)[..], [Action::Run(Role::Log)]);
    assert_eq!(end(KILLED)[..], []);
}
