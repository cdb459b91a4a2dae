//! Every reachable state of a slot with every event, and what must hold.

use std::collections::{HashSet, VecDeque};

use super::*;
use crate::wire::clock::Wall;

/// The clock's steps of the walk: half a pace, so that both sides of every
/// deadline are met.
const STEP: u64 = 500_000_000;

/// What can happen to a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Control(Role, u8),
    Tick,
    Ended(Role, bool),
    Started(Role),
    Refused(Role),
}

/// A slot and the owner's side: which starts it still has to report.
#[derive(Clone, Debug)]
struct World {
    slot: Slot,
    asked: Option<Role>,
    gone: bool,
    pipe: bool,
}

fn now(nanos: u64) -> Now {
    Now {
        mono: Instant(nanos),
        wall: Wall { secs: 7, nanos: 0 },
    }
}

/// The state without what grows for ever: deadlines relative to the clock.
fn key(world: &World, at: u64) -> String {
    let process = |p: &Process| {
        format!(
            "{:?} {:?} {} {} {} {:?} {} {}",
            p.state,
            p.want,
            p.pid.is_some(),
            p.paused,
            p.term,
            p.due.map(|due| due.0.saturating_sub(at).min(6 * STEP * 2)),
            p.once,
            (at - p.began.0).min(2 * STEP),
        )
    };
    format!(
        "{} | {:?} | {:?} {} {} {} {}",
        process(&world.slot.service),
        world.slot.log.as_ref().map(process),
        world.asked,
        world.gone,
        world.pipe,
        world.slot.closed,
        world.slot.drained
    )
}

/// The events that can come now.
fn events(world: &World) -> Vec<Event, 64> {
    let mut events = Vec::new();
    if world.gone {
        return events;
    }
    if let Some(role) = world.asked {
        // The owner reports a start before anything else can happen.
        events.extend([Event::Started(role), Event::Refused(role)]);
        return events;
    }
    for role in [Role::Service, Role::Log] {
        events.extend(
            b"udoxtkpcahiq12\n".iter().map(|b| Event::Control(role, *b)),
        );
        if world.slot.pid(role).is_some() {
            events.extend([false, true].map(|f| Event::Ended(role, f)));
        }
    }
    events.push(Event::Tick).unwrap();
    events
}

/// Takes a step and does the owner's part, checking what must hold.
fn step(world: &mut World, event: Event, at: u64) {
    let before = world.slot;
    let slot = &mut world.slot;
    let exit = Exit { code: 0, signal: 0 };
    world.asked = None;
    let actions = match event {
        Event::Control(role, byte) => slot.control(role, byte, now(at)),
        Event::Tick => slot.tick(now(at)),
        Event::Ended(role, finish) => slot.ended(role, exit, finish, now(at)),
        Event::Started(role) => slot.started(role, 42, now(at)),
        Event::Refused(role) => slot.refused(role, now(at)),
    };
    for action in actions {
        let role = match action {
            Action::Run(role) => role,
            Action::Finish { .. } => Role::Service,
            Action::Signal(role, signal) => {
                let process = world.slot.process(role).unwrap();
                assert!(process.pid.is_some(), "a signal to nobody");
                assert!(
                    process.state == State::Run || signal == Signal::Kill,
                    "{signal:?} to finish"
                );
                continue;
            }
            Action::Publish(role) => {
                assert!(world.slot.status(role).is_some());
                continue;
            }
            Action::ClosePipe => {
                assert!(world.pipe, "the pipe was closed twice");
                assert!(world.slot.service.is_down(), "it is still in use");
                world.pipe = false;
                continue;
            }
            Action::Gone => {
                assert!(world.slot.service.is_down());
                assert!(world.slot.log.is_none_or(|log| log.is_down()));
                world.gone = true;
                continue;
            }
        };
        assert!(!world.gone, "a start after the end");
        let process = world.slot.process(role).unwrap();
        assert!(process.pid.is_none(), "two processes of one kind");
        if action == Action::Run(role) {
            // Paced, unless the operator's byte asked for it, or the log
            // must read what is left.
            let young = before.process(role).unwrap().due;
            let asked =
                matches!(event, Event::Control(r, b'u' | b'o') if r == role);
            assert!(
                asked
                    || world.slot.drained
                    || young.is_none_or(|due| due.0 <= at)
            );
        }
        // Of two starts that one step asks for, the owner reports the first
        // and the machine asks for the other again.
        world.asked = world.asked.or(Some(role));
    }
}

/// Walks everything that can be reached from a new slot.
fn walk(down: bool, log_down: Option<bool>) -> usize {
    let start = World {
        slot: Slot::new(down, log_down, now(0)),
        asked: None,
        gone: false,
        pipe: log_down.is_some(),
    };
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([(start, 0)]);
    let mut gone = 0;
    while let Some((world, at)) = queue.pop_front() {
        if !seen.insert(key(&world, at)) {
            continue;
        }
        gone += usize::from(world.gone);
        for event in events(&world) {
            if matches!(event, Event::Control(Role::Log, _))
                && log_down.is_none()
            {
                continue;
            }
            let passed = if event == Event::Tick { STEP } else { 0 };
            let mut next = world.clone();
            step(&mut next, event, at + passed);
            queue.push_back((next, at + passed));
        }
        assert_ends(world, at);
    }
    assert!(gone > 0, "no way leads to the end");
    seen.len()
}

/// From any state: an `x`, and then processes that end, come to `Gone`.
fn assert_ends(mut world: World, mut at: u64) {
    for round in 0..40 {
        if world.gone {
            return;
        }
        let event = if let Some(role) = world.asked {
            Event::Started(role)
        } else if world.slot.service.want != Want::Exit {
            Event::Control(Role::Service, b'x')
        } else if world.slot.pid(Role::Service).is_some() {
            Event::Ended(Role::Service, round % 2 == 0)
        } else if world.slot.pid(Role::Log).is_some() && !world.pipe {
            Event::Ended(Role::Log, false)
        } else {
            at += 12 * STEP;
            Event::Tick
        };
        step(&mut world, event, at);
    }
    panic!("does not end: {}", key(&world, at));
}

#[test]
fn every_state_with_every_event() {
    let states: usize = [
        walk(false, None),
        walk(true, None),
        walk(false, Some(false)),
        walk(true, Some(true)),
    ]
    .iter()
    .sum();
    println!("{states} states");
    assert!(states > 1000, "the walk is too short: {states}");
}

/// What a running service answers to each byte, as runit's own table has it.
#[test]
fn bytes_on_a_running_service() {
    use Action::{Publish, Signal as Sig};
    let service = Role::Service;
    let rows: &[(u8, &[Action])] = &[
        (b'u', &[Publish(service)]),
        (
            b'd',
            &[
                Publish(service),
                Sig(service, Signal::Terminate),
                Publish(service),
                Sig(service, Signal::Continue),
            ],
        ),
        (b'o', &[Publish(service)]),
        (b't', &[Sig(service, Signal::Terminate), Publish(service)]),
        (b'k', &[Sig(service, Signal::Kill)]),
        (b'p', &[Sig(service, Signal::Stop), Publish(service)]),
        (b'c', &[Sig(service, Signal::Continue), Publish(service)]),
        (b'h', &[Sig(service, Signal::Hangup)]),
        (b'\n', &[]),
    ];
    for (byte, actions) in rows {
        let mut slot = Slot::new(false, None, now(0));
        assert_eq!(&slot.tick(now(0))[..], &[Action::Run(service)]);
        assert_eq!(&slot.started(service, 9, now(0))[..], &[Publish(service)]);
        let taken = slot.control(service, *byte, now(STEP));
        assert_eq!(&taken[..], *actions, "byte {}", char::from(*byte));
    }
}

#[test]
fn a_short_life_is_paced_and_a_long_one_is_not() {
    let service = Role::Service;
    let exit = Exit { code: 1, signal: 0 };
    let mut slot = Slot::new(false, None, now(0));
    slot.started(service, 9, now(0));
    let actions = slot.ended(service, exit, false, now(STEP));
    assert_eq!(&actions[..], &[Action::Publish(service)]);
    assert_eq!(slot.due(), Some(Instant(3 * STEP)));
    assert!(slot.tick(now(3 * STEP - 1)).is_empty());
    assert_eq!(&slot.tick(now(3 * STEP))[..], &[Action::Run(service)]);
    slot.started(service, 10, now(3 * STEP));
    let actions = slot.ended(service, exit, false, now(5 * STEP));
    assert_eq!(
        &actions[..],
        &[Action::Publish(service), Action::Run(service)]
    );
}

#[test]
fn a_wall_clock_that_is_set_moves_moments_and_nothing_else() {
    let secs = 1_000_000_000;
    let at = |mono: u64, wall: u64| Now {
        mono: Instant(mono * secs),
        wall: Wall {
            secs: wall,
            nanos: 0,
        },
    };
    // Booted in 1970; the log service waits for its restart.
    let mut slot = Slot::new(false, Some(false), at(10, 10));
    slot.started(Role::Log, 2, at(10, 10));
    slot.started(Role::Service, 1, at(10, 10));
    let exit = Exit { code: 1, signal: 0 };
    slot.ended(Role::Log, exit, false, at(10, 10));
    let due = slot.due();
    let shown = |slot: &Slot, wall: u64| {
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
    // Even from where the record cannot tell it.
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
