//! Tests of single rules: bytes on a running service, restart delays, what
//! `finish` decides, steps of the wall clock.

use super::*;

/// Tests the actions of each byte on a running service; a requested script
/// stands at the position of its signal.
#[test]
fn bytes_on_a_running_service() {
    use Action::{Script, SetDeadline};
    let sent = |signal| Action::Signal(Role::Service, signal);
    let rows: &[(u8, &[Action])] = &[
        (b'u', &[]),
        (
            b'd',
            &[
                Script(b't'),
                sent(Signal::Terminate),
                SetDeadline,
                sent(Signal::Continue),
                Script(b'd'),
            ],
        ),
        (
            b'x',
            &[
                Script(b't'),
                sent(Signal::Terminate),
                SetDeadline,
                sent(Signal::Continue),
                Script(b'x'),
            ],
        ),
        (b'o', &[]),
        (b't', &[Script(b't'), sent(Signal::Terminate), SetDeadline]),
        (b'k', &[Script(b'k'), sent(Signal::Kill)]),
        (b'p', &[Script(b'p'), sent(Signal::Stop)]),
        (b'c', &[Script(b'c'), sent(Signal::Continue)]),
        (b'a', &[Script(b'a'), sent(Signal::Alarm)]),
        (b'h', &[Script(b'h'), sent(Signal::Hangup)]),
        (b'i', &[Script(b'i'), sent(Signal::Interrupt)]),
        (b'q', &[Script(b'q'), sent(Signal::Quit)]),
        (b'1', &[Script(b'1'), sent(Signal::User1)]),
        (b'2', &[Script(b'2'), sent(Signal::User2)]),
        (b'\n', &[]),
    ];
    for (byte, actions) in rows {
        let taken = without_scripts(&mut running(), *byte);
        assert_eq!(&taken[..], *actions, "byte {}", char::from(*byte));
    }
}

#[test]
fn a_script_that_exits_with_zero_takes_the_signals_place() {
    let ended = |slot: &mut SlotState, code, signal| {
        let exit = Exit { code, signal };
        slot.ended(Role::Script, exit, Facts::default(), now(STEP))
    };
    for (code, signal, handled) in
        [(0, 0, true), (1, 0, false), (-1, 15, false)]
    {
        let mut slot = running();
        let actions = slot.control(Role::Service, b'd', now(STEP));
        assert_eq!(&actions[..], &[Action::Script(b't')]);
        assert!(slot.started(Role::Script, 10, now(STEP)).is_empty());
        assert_eq!(slot.role_of(10), Some(Role::Script));
        assert!(slot.busy());
        let actions = ended(&mut slot, code, signal);
        let term = Action::Signal(Role::Service, Signal::Terminate);
        assert_eq!(actions.contains(&term), !handled);
        assert_eq!(slot.status(Role::Service).unwrap().term, !handled);
        assert_eq!(actions.last(), Some(&Action::Script(b'd')));
        // The result of this script does not matter.
        slot.started(Role::Script, 11, now(STEP));
        assert!(ended(&mut slot, code, signal).is_empty());
        assert!(!slot.busy());
    }
}

#[test]
fn a_short_run_delays_the_restart_and_a_long_one_does_not() {
    let exit = Exit { code: 1, signal: 0 };
    let mut slot = running();
    let ended = |slot: &mut SlotState, at| {
        slot.ended(Role::Service, exit, Facts::default(), now(at))
    };
    assert!(ended(&mut slot, STEP).is_empty());
    assert_eq!(slot.due(), Some(now(STEP).mono.after(RESTART_PAUSE)));
    assert_eq!(slot.waits().0, Waits::RestartPause);
    assert!(slot.tick(now(3 * STEP - 1)).is_empty());
    let script = [Action::Script(b'u')];
    assert_eq!(&slot.tick(now(3 * STEP))[..], &script);
    slot.refused(Role::Script, now(3 * STEP));
    slot.started(Role::Service, 10, now(3 * STEP));
    assert_eq!(&ended(&mut slot, 5 * STEP)[..], &script);
}

#[test]
fn a_service_that_keeps_dying_is_parked_and_still_tried() {
    let exit = Exit { code: 1, signal: 0 };
    let facts = Facts {
        finish: false,
        restart_delay: RestartDelay {
            backoff: None,
            max_deaths: 3,
        },
    };
    let mut slot = running();
    let mut at = 0;
    let mut parked = 0;
    for death in 1..=5 {
        let actions = slot.ended(Role::Service, exit, facts, now(at));
        parked += usize::from(actions.contains(&Action::Parked));
        assert_eq!(parked, usize::from(death >= 3));
        let due = slot.due().unwrap();
        let wait = due.since(Instant::at(at));
        let park = crate::machine::restart_delay::PARK;
        assert_eq!(wait, if death >= 3 { park } else { RESTART_PAUSE });
        at = due.nanos();
        assert_eq!(&slot.tick(now(at))[..], &[Action::Script(b'u')]);
        slot.refused(Role::Script, now(at));
        slot.started(Role::Service, 10, now(at));
    }
    // A start by an operator resets the count.
    slot.ended(Role::Service, exit, facts, now(at));
    slot.control(Role::Service, b'u', now(at));
    slot.refused(Role::Script, now(at));
    slot.started(Role::Service, 10, now(at));
    slot.ended(Role::Service, exit, facts, now(at));
    assert_eq!(slot.waits().0, Waits::RestartPause);
}

#[test]
fn a_finish_that_exits_with_125_keeps_the_service_down() {
    let service = Role::Service;
    let ended = |slot: &mut SlotState, code, signal| {
        let (exit, finish) = (Exit { code, signal }, true);
        let facts = Facts {
            finish,
            ..Facts::default()
        };
        slot.ended(service, exit, facts, now(4 * STEP))
    };
    // This code of `./run`, another code and a signal do not count.
    let rows = [(125, 0, true), (124, 0, false), (-1, 125, false)];
    for (code, signal, fails) in rows {
        let mut slot = running();
        let exit = Exit {
            code: 125,
            signal: 0,
        };
        let actions = ended(&mut slot, 125, 0);
        assert_eq!(&actions[..], &[Action::Finish(exit)]);
        slot.started(service, 10, now(4 * STEP));
        let actions = ended(&mut slot, code, signal);
        let next = if fails {
            Action::GiveUp
        } else {
            Action::Script(b'u')
        };
        assert_eq!(&actions[..], &[next]);
        if !fails {
            continue;
        }
        assert_eq!(slot.waits(), (Waits::Failed, None));
        assert_eq!(slot.status(service).unwrap().want, Want::Down);
        assert!(slot.tick(now(40 * STEP)).is_empty());
        let actions = slot.control(service, b'u', now(40 * STEP));
        assert_eq!(&actions[..], &[Action::Script(b'u')]);
        slot.refused(Role::Script, now(40 * STEP));
        slot.started(service, 11, now(40 * STEP));
        assert_eq!(slot.waits().0, Waits::Nothing);
    }
    // A slot that is to exit does exit.
    let mut slot = running();
    slot.leave(now(STEP));
    slot.refused(Role::Script, now(STEP));
    slot.refused(Role::Script, now(STEP));
    ended(&mut slot, 0, 0);
    slot.started(service, 10, now(4 * STEP));
    assert_eq!(&ended(&mut slot, 125, 0)[..], &[Action::Ended]);
}

#[test]
fn a_wall_clock_step_moves_shown_times_and_nothing_else() {
    let secs = 1_000_000_000;
    let at = |mono: u64, wall: u64| Now {
        mono: Instant::at(mono * secs),
        wall: Wall {
            secs: wall,
            nanos: 0,
        },
    };
    // Booted in 1970; the log service waits for its restart.
    let mut slot = SlotState::new(false, Some(false), at(10, 10));
    slot.started(Role::Log, 2, at(10, 10));
    slot.started(Role::Service, 1, at(10, 10));
    let exit = Exit { code: 1, signal: 0 };
    slot.ended(Role::Log, exit, Facts::default(), at(10, 10));
    let due = slot.due();
    let shown = |slot: &SlotState, wall: u64| {
        let since = |role| wall - slot.status(role).unwrap().since.secs;
        (since(Role::Service), since(Role::Log))
    };
    assert_eq!(shown(&slot, 10), (0, 0));
    // To today, back to before the start, and to today again.
    for (mono, wall) in [(15, 1_800_000_000), (16, 20), (17, 1_700_000_000)] {
        slot.restamp(at(mono, wall));
        assert_eq!(shown(&slot, wall), (mono - 10, mono - 10), "{wall}");
        assert_eq!((slot.due(), slot.pid(Role::Service)), (due, Some(1)));
    }
    // Also from a time that the record cannot represent.
    slot.restamp(at(100, 1));
    assert_eq!(shown(&slot, 1), (1, 1));
    slot.restamp(at(101, 1_800_000_000));
    assert_eq!(shown(&slot, 1_800_000_000), (91, 91));
    assert_eq!(
        slot.tick(at(10, 1_800_000_000)).len(),
        0,
        "the wait goes on"
    );
}
