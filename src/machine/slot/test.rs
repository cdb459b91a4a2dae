//! Walks every reachable state of a slot with every event, and checks what
//! must hold.

use std::{
    collections::{HashSet, VecDeque, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    mem::discriminant,
};

use super::{
    super::restart_delay::{RESTART_PAUSE, RestartDelay},
    *,
};
use crate::wire::{clock::Wall, control::Signal, options::Backoff};

mod answers;
mod bytes;
mod drain;
mod rules;
mod saved;

/// Clock step of the walk: half of the restart pause, so that both sides of
/// every deadline are reached.
const STEP: u64 = 500_000_000;

/// Every byte with an effect of its own; `a` stands for all that only send a
/// signal.
const BYTES: &[u8] = b"udoxtkpca\n";

/// Bytes that start and stop. With a log service the walk takes these alone:
/// the others have no effect on the other process, and their flags would make
/// the walk sixteen times as long.
const STARTS_AND_STOPS: &[u8] = b"udoxk";

/// Event of a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Control(Role, u8),
    Leave,
    /// This time has passed.
    Tick(u64),
    /// The child ends, with 0 or another code; a `finish` exists or not.
    Ended(Role, bool, bool),
    Started,
    Refused,
    /// The owner adds a log service before it reports a start.
    LogAdded,
}

/// A slot, and on the owner's side the start that is still to be reported.
#[derive(Clone, Debug)]
struct World {
    slot: SlotState,
    asked: Option<Action>,
    gone: bool,
    pipe: bool,
    facts: Facts,
    /// Each child gets a deadline.
    limits: bool,
    /// A log service may be added.
    adds: bool,
}

fn now(nanos: u64) -> Now {
    Now {
        mono: Instant::at(nanos),
        wall: Wall { secs: 7, nanos: 0 },
    }
}

/// Returns the state without what grows without bound: deadlines relative to
/// the clock, and all those that are far away as one.
fn key(world: &World, at: u64) -> u64 {
    let left = |due: Instant| due.nanos().saturating_sub(at).min(3 * STEP);
    let process = |p: &Process| {
        (
            (p.state, p.want, p.pid.is_some(), p.paused, p.term),
            p.due.map(|(due, waits)| (left(due), discriminant(&waits))),
            p.limit.map(left),
            (p.once, p.ready, p.failed, p.short_runs.min(3)),
            at.saturating_sub(p.started_at.nanos()).min(2 * STEP),
        )
    };
    let slot = &world.slot;
    let script = slot
        .script
        .map(|s| (encode(s.control), s.pid.is_some(), s.limit.map(left)));
    let asked = world.asked.map(|action| match action {
        Action::Run(role) => (Some(role), None, None),
        Action::Finish(exit) => (None, Some(exit), None),
        Action::Script(byte) => (None, None, Some(byte)),
        other => panic!("{other:?} is no start"),
    });
    let flags = (slot.leaving, slot.closed, slot.drains);
    let mut hasher = DefaultHasher::new();
    (process(&slot.service), slot.log.as_ref().map(process)).hash(&mut hasher);
    (script, asked, world.gone, world.pipe, flags).hash(&mut hasher);
    hasher.finish()
}

/// Returns the events that are possible now.
fn events(world: &World, at: u64) -> std::vec::Vec<Event> {
    let mut events = vec![];
    if world.gone {
        return events;
    }
    if world.asked.is_some() {
        // The owner reports a start before anything else can happen.
        events.extend([Event::Started, Event::Refused]);
        let runs = world.asked == Some(Action::Run(Role::Service));
        if world.adds && runs && world.slot.log.is_none() {
            events.push(Event::LogAdded);
        }
        return events;
    }
    for role in [Role::Service, Role::Log, Role::Script] {
        let reads = match role {
            Role::Service => !world.slot.busy(),
            Role::Log => world.slot.log.is_some(),
            Role::Script => false,
        };
        if reads {
            let alone = world.slot.log.is_none() && !world.adds;
            let bytes = if alone { BYTES } else { STARTS_AND_STOPS };
            events.extend(bytes.iter().map(|b| Event::Control(role, *b)));
        }
        if world.slot.pid(role).is_some() {
            for good in [false, true] {
                let finish = world.facts.finish && role == Role::Service;
                events.push(Event::Ended(role, good, false));
                events.extend(finish.then_some(Event::Ended(role, good, true)));
            }
        }
    }
    events.push(Event::Leave);
    // The clock steps toward deadlines that are near, and jumps to those that
    // are far.
    let far = world
        .slot
        .due()
        .map_or(0, |due| due.nanos().saturating_sub(at));
    events.push(Event::Tick(if far > 2 * STEP { far } else { STEP }));
    events
}

/// Takes a step, does the owner's part, and checks what must hold.
fn step(world: &mut World, event: Event, at: u64) {
    let before = world.slot;
    let slot = &mut world.slot;
    if event == Event::LogAdded {
        slot.add_log(false, now(at));
        world.pipe = true;
        return;
    }
    let asked = world.asked.take();
    let role_asked = asked.map(|action| match action {
        Action::Run(role) => role,
        Action::Finish(_) => Role::Service,
        _ => Role::Script,
    });
    let actions = match event {
        Event::Control(role, byte) => slot.control(role, byte, now(at)),
        Event::Leave => slot.leave(now(at)),
        Event::Tick(_) => slot.tick(now(at)),
        Event::Ended(role, good, finish) => {
            // The log service ends by a signal, which matters while it drains.
            let (code, signal) = match (good, role) {
                (true, _) => (0, 0),
                (false, Role::Log) => (-1, 9),
                // Exit code of `./finish`: do not start the service again.
                (false, _) if before.service.state == State::Finish => (125, 0),
                (false, _) => (1, 0),
            };
            let facts = Facts {
                finish,
                ..world.facts
            };
            let facts = if role == Role::Log {
                Facts::default()
            } else {
                facts
            };
            slot.ended(role, Exit { code, signal }, facts, now(at))
        }
        Event::Started => {
            let role = role_asked.unwrap();
            let actions = slot.started(role, answers::pid(role), now(at));
            let finishes = asked != Some(Action::Run(role));
            if world.limits && finishes {
                slot.set_deadline(role, Instant::at(at + 2 * STEP));
            }
            actions
        }
        Event::Refused => slot.refused(role_asked.unwrap(), now(at)),
        Event::LogAdded => Actions::new(),
    };
    for (index, action) in actions.iter().enumerate() {
        assert!(!world.gone, "{action:?} after the end");
        let service = world.slot.service;
        match *action {
            Action::Run(_) | Action::Finish(_) | Action::Script(_) => {
                assert_eq!(index + 1, actions.len(), "a start is not last");
                world.asked = Some(*action);
            }
            Action::Signal(role, signal) => {
                let process = world.slot.process(role).unwrap();
                assert!(process.pid.is_some(), "a signal to nobody");
                assert!(
                    process.state == State::Run || signal == Signal::Kill,
                    "{signal:?} to finish"
                );
            }
            Action::SetDeadline => {
                assert!(service.runs(), "a limit of nothing");
                if world.limits {
                    let limit = Instant::at(at + 2 * STEP);
                    world.slot.set_deadline(Role::Service, limit);
                }
            }
            Action::TimedOut(role) => {
                assert!(world.slot.pid(role).is_some(), "nobody is late");
                assert!(world.limits || role == Role::Log && !world.pipe);
            }
            Action::Parked => {
                assert_eq!(
                    service.short_runs,
                    world.facts.restart_delay.max_deaths
                );
                let waits = service.due.map(|(_, waits)| waits);
                assert_eq!(waits, Some(Waits::Parked));
            }
            Action::GiveUp => {
                assert_eq!(before.service.state, State::Finish);
                assert!(service.is_down() && service.want == Want::Down);
            }
            Action::ClosePipe => {
                let again = world.slot.drains > 0;
                assert!(world.pipe || again, "the pipe was closed twice");
                assert!(service.is_down(), "it is still in use");
                world.pipe = false;
                // From here on the service is down for good.
                world
                    .slot
                    .set_deadline(Role::Log, Instant::at(at + 2 * STEP));
            }
            Action::Ended => {
                assert!(service.is_down() && !world.slot.busy());
                assert!(world.slot.log.is_none_or(|log| log.is_down()));
                world.gone = true;
            }
        }
    }
    let failed = world.slot.service.failed;
    let starts = matches!(
        world.asked,
        Some(Action::Run(Role::Service) | Action::Script(b'u'))
    );
    assert!(!(failed && starts), "a start after a permanent failure");
    let started = match world.asked {
        Some(Action::Run(role)) => Some(role),
        Some(Action::Script(b'u')) => Some(Role::Service),
        _ => None,
    };
    if let (Some(role), Event::Ended(ended, ..)) = (started, event)
        && role == ended
        && world.slot.drains == 0
    {
        let process = before.process(role).unwrap();
        let age = now(at).mono.since(process.started_at);
        assert!(age >= RESTART_PAUSE, "no pause after a short life");
    }
    match world.asked {
        Some(Action::Run(role)) => {
            let process = world.slot.process(role).unwrap();
            assert!(process.is_down(), "two processes of one kind");
            let free = role == Role::Log || !world.slot.busy();
            assert!(free, "a start beside a script");
            // The start was delayed, unless an operator's byte asked for it or
            // the log service must read what is left.
            let due = before.process(role).unwrap().due;
            let asked =
                matches!(event, Event::Control(r, b'u' | b'o') if r == role);
            assert!(
                asked
                    || role == Role::Log && world.slot.drains > 0
                    || due.is_none_or(|(due, _)| due.nanos() <= at)
            );
        }
        Some(Action::Finish(_)) => {
            assert!(world.slot.service.pid.is_none() && !world.slot.busy());
            assert_eq!(world.slot.service.state, State::Finish);
        }
        Some(Action::Script(byte)) => {
            let script = world.slot.script.unwrap();
            assert_eq!(encode(script.control), byte);
            assert!(script.pid.is_none(), "two scripts at once");
            let down = world.slot.service.is_down();
            assert!(byte != b'u' || down, "control/u beside the process");
        }
        _ => {
            // Otherwise the owner would spin.
            let due = world.slot.due();
            assert!(
                world.gone || due.is_none_or(|due| due.nanos() > at),
                "a deadline stays in the past: {event:?} {:?}",
                world.slot
            );
        }
    }
}

/// Walks everything that can be reached from a new slot.
fn walk(
    down: bool,
    log_down: Option<bool>,
    facts: Facts,
    limits: bool,
) -> usize {
    walk_from(down, log_down, facts, limits, false)
}

/// Walks as [`walk`] does, also with a log service that is added when there is
/// none.
fn walk_from(
    down: bool,
    log_down: Option<bool>,
    facts: Facts,
    limits: bool,
    adds: bool,
) -> usize {
    let start = World {
        slot: SlotState::new(down, log_down, now(0)),
        asked: None,
        gone: false,
        pipe: log_down.is_some(),
        facts,
        limits,
        adds,
    };
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([(start, 0)]);
    let mut gone = 0;
    while let Some((world, at)) = queue.pop_front() {
        if !seen.insert(key(&world, at)) {
            continue;
        }
        gone += usize::from(world.gone);
        // A new slot takes its first step when the owner first calls it.
        let new = seen.len() == 1;
        let stays = new || world.asked.is_some() || world.gone;
        answers::check(&world.slot, stays, at);
        saved::check(&world.slot, &world.asked.into_iter().collect());
        for event in events(&world, at) {
            let passed = if let Event::Tick(time) = event {
                time
            } else {
                0
            };
            let mut next = world.clone();
            step(&mut next, event, at + passed);
            queue.push_back((next, at + passed));
        }
        assert_ends(world, at);
    }
    assert!(gone > 0, "no way leads to the end");
    seen.len()
}

/// Asserts that from any state, after the owner's `leave`, the ends of all
/// children lead to `Gone`.
fn assert_ends(mut world: World, mut at: u64) {
    let mut left = false;
    for round in 0..40 {
        if world.gone {
            return;
        }
        let ended = |role| Event::Ended(role, round % 3 == 0, round % 2 == 0);
        let event = if world.asked.is_some() {
            Event::Started
        } else if !left {
            left = true;
            Event::Leave
        } else if world.slot.pid(Role::Script).is_some() {
            ended(Role::Script)
        } else if world.slot.pid(Role::Service).is_some() {
            ended(Role::Service)
        } else if world.slot.pid(Role::Log).is_some() && !world.pipe {
            ended(Role::Log)
        } else {
            let due = world.slot.due().map_or(at, |due| due.nanos());
            at = at.max(due);
            Event::Tick(0)
        };
        step(&mut world, event, at);
    }
    panic!("does not end: {world:?}");
}

#[test]
fn a_log_service_that_is_added_late() {
    let facts = Facts {
        finish: true,
        restart_delay: RestartDelay::default(),
    };
    let alone = walk_from(false, None, facts, false, false);
    let added = walk_from(false, None, facts, false, true);
    assert!(added > 2 * alone, "{added} after {alone}");
}

#[test]
fn every_state_with_every_event() {
    let plain = Facts {
        finish: true,
        restart_delay: RestartDelay::default(),
    };
    let backoff = Backoff {
        first: 600,
        cap: 1600,
        reset_after: 1000,
        jitter: 0,
    };
    let parks = Facts {
        finish: false,
        restart_delay: RestartDelay {
            backoff: Some(backoff),
            max_deaths: 3,
        },
    };
    let states = [
        walk(false, None, plain, true),
        walk(true, None, parks, true),
        walk(false, Some(false), plain, false),
        walk(true, Some(true), parks, false),
    ];
    println!("{states:?} states");
    assert!(states.iter().all(|states| *states > 400), "{states:?}");
}

/// Plays the owner's part when there are no scripts. Returns the actions of a
/// byte on a running service, as in runit's own table.
fn without_scripts(slot: &mut SlotState, byte: u8) -> std::vec::Vec<Action> {
    let mut all = vec![];
    let mut actions = slot.control(Role::Service, byte, now(STEP));
    loop {
        let script = matches!(actions.last(), Some(Action::Script(_)));
        all.extend(actions.into_iter());
        if !script {
            return all;
        }
        actions = slot.refused(Role::Script, now(STEP));
    }
}

/// Returns a slot whose service runs as process 9.
fn running() -> SlotState {
    let service = Role::Service;
    let mut slot = SlotState::new(false, None, now(0));
    assert_eq!(&slot.tick(now(0))[..], &[Action::Script(b'u')]);
    let actions = slot.refused(Role::Script, now(0));
    assert_eq!(&actions[..], &[Action::Run(service)]);
    assert!(slot.started(service, 9, now(0)).is_empty());
    slot
}
