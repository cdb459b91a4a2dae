//! Runs the event loop with simulated children, and checks after each
//! iteration what must hold.

use std::{boxed::Box, ffi::CString, format, fs, path::PathBuf, vec::Vec};

use super::{FIRST_PID, System, with};
use crate::{
    config,
    machine::slot::Role,
    supervisor::{Events, Reporter, Supervisor},
    sys::{
        child::{Environ, ExitStatus},
        clock,
        signal::Number,
    },
    text::Line,
    wire::status::{self, State, Status, Want},
};
use core::time::Duration;

/// Longest sleep of an iteration; the tests give events sooner.
const NAP: Duration = Duration::from_millis(20);

/// Longest time that anything awaited may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A supervisor of the directories in a temporary directory.
struct World {
    supervisor: Supervisor,
    tmp: tempfile::TempDir,
    /// Time until the owner's deadline for each iteration.
    patience: Duration,
    iterations: usize,
}

impl World {
    /// Starts supervising a directory of services.
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let services = tmp.path().join("services");
        fs::create_dir(&services).unwrap();
        let reporter = Reporter {
            prefix: Line::new(),
            console: None,
        };
        let mut supervisor = Supervisor::new(
            config::SLOTS,
            &[Number::CHILD],
            reporter,
            Environ::empty(),
            false,
        )
        .unwrap();
        let path = CString::new(services.to_str().unwrap()).unwrap();
        supervisor.supervise_dir(Box::leak(path.into_boxed_c_str()));
        Self {
            supervisor,
            tmp,
            patience: NAP,
            iterations: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join("services").join(name)
    }

    /// Makes a service directory appear at once, with or without a log
    /// service.
    fn add(&self, name: &str, log: bool) {
        let made = self.tmp.path().join(name);
        let dirs: &[&str] = if log { &["", "log"] } else { &[""] };
        for dir in dirs {
            fs::create_dir(made.join(dir)).unwrap();
            fs::write(made.join(dir).join("run"), "").unwrap();
        }
        fs::rename(made, self.path(name)).unwrap();
    }

    fn control(&self, name: &str, bytes: &str) {
        let fifo = self.path(name).join("supervise/control");
        fs::write(fifo, bytes).unwrap();
    }

    /// Returns the published state, if there is one.
    fn status(&self, name: &str) -> Option<Status> {
        let bytes = fs::read(self.path(name).join("supervise/status")).ok()?;
        status::unpack(bytes.as_slice().try_into().ok()?)
    }

    /// Returns whether a service is published as running with the pid that it
    /// has.
    fn is_up(&self, name: &str) -> bool {
        let pid = with(|s| s.running(&format!("{name}/run")));
        pid.is_some() && self.published(name) == pid
    }

    fn published(&self, name: &str) -> Option<u32> {
        self.status(name)
            .filter(|status| status.state == State::Run)
            .map(|status| status.pid)
    }

    /// Runs an iteration, and checks what must hold after each.
    fn iterate(&mut self) -> Events {
        let before = with(|system| system.started());
        let until = clock::mono().after(self.patience);
        let events = self.supervisor.iterate(Some(until));
        self.iterations += 1;
        let started = with(|system| system.started()) - before;
        // One that is served may start its service and its log service; a
        // scan and what is due are served apart.
        let hurries = self.patience.is_zero();
        assert!(!hurries || started <= 4, "{started} starts at once");
        self.check();
        events
    }

    /// Checks that the table and the system agree on the children, and that
    /// every slot has something that moves it on.
    fn check(&self) {
        let mut known = Vec::new();
        for slot in self.supervisor.table.slots() {
            let roles = [Role::Service, Role::Log, Role::Script];
            let pids: Vec<_> =
                roles.iter().filter_map(|role| slot.pid(*role)).collect();
            let status = slot.status(Role::Service);
            let starts = status.is_some_and(|status| {
                status.pid == 0 && status.want == Want::Up
            });
            let moves = slot.due().is_some()
                || slot.pid(Role::Script).is_some()
                || self.supervisor.budget.has_backlog();
            assert!(!starts || moves, "{:?} is stuck", slot.name());
            known.extend(pids);
        }
        let unnoticed = with(|system| system.has_unnoticed_zombie());
        let returns = self.supervisor.budget.has_backlog();
        assert!(!unnoticed || returns, "a zombie is forgotten");
        known.sort_unstable();
        let mut children: Vec<_> = with(|system| {
            system.children().iter().map(|child| child.pid).collect()
        });
        children.sort_unstable();
        assert_eq!(known, children, "the table and the kernel disagree");
    }

    /// Iterates until something holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = clock::mono().after(PATIENCE);
        while !holds(self) {
            assert!(clock::mono() < end, "{what} does not happen");
            self.iterate();
        }
    }

    /// Stops everything and removes the directories.
    fn clear(&mut self) {
        for entry in fs::read_dir(self.path("")).unwrap() {
            fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
        self.supervisor.exit_all();
        self.until("the end of all", |world| {
            with(System::end_all);
            world.supervisor.table.slots().count() == 0
        });
    }
}

/// A supervisor is made once for each process, so its tests are one.
#[test]
fn the_loop_with_simulated_children() {
    let mut world = World::new();
    let tests: [(&str, fn(&mut World)); 6] = [
        ("forks_are_refused", forks_are_refused),
        ("publication_is_refused", publication_is_refused),
        ("a_scan_during_an_exit", a_scan_during_an_exit),
        ("starts_beyond_the_budget", starts_beyond_the_budget),
        ("exits_between_wait_and_read", exits_between_wait_and_read),
        ("many_events_in_any_order", many_events_in_any_order),
    ];
    for (name, test) in tests {
        std::println!("{name}");
        test(&mut world);
        world.clear();
    }
}

/// Each slot retries at its own pace, and the loop sleeps meanwhile.
fn forks_are_refused(world: &mut World) {
    with(|system| system.refusals = 5);
    world.add("a", true);
    world.add("b", false);
    let (before, begin) = (world.iterations, clock::mono());
    world.until("the start of both", |world| {
        world.is_up("a") && world.is_up("b")
    });
    assert_eq!(with(|system| system.refused), 5);
    // It sleeps until the owner's deadline, but for some events, and those of
    // the directories of other tests beside its own. A loop that spins does
    // thousands of iterations in the time of a nap.
    let naps = clock::mono().since(begin).div_duration_f32(NAP);
    let iterations = world.iterations - before;
    assert!(
        iterations < 50 + 10 * naps as usize,
        "{iterations}: the loop spins"
    );
    assert!(with(|system| system.running("a/log/run")).is_some());
    // A refusal after a life is the same.
    with(|system| {
        system.refusals = 1;
        system.end("b/run", ExitStatus::Exited(0));
    });
    world.until("a refusal", |_| with(|system| system.refusals == 0));
    assert!(!world.is_up("b"));
    world.until("the next try", |world| world.is_up("b"));
}

/// The loop goes on, and publishes what holds once it can.
fn publication_is_refused(world: &mut World) {
    world.add("a", false);
    world.until("the start", |world| world.is_up("a"));
    let old = world.published("a");
    let blocker = world.path("a/supervise/status.new");
    fs::create_dir(&blocker).unwrap();
    with(|system| system.end("a/run", ExitStatus::Exited(1)));
    world.until("the next life", |_| {
        let pid = with(|system| system.running("a/run"));
        pid.is_some() && pid != old
    });
    let before = world.iterations;
    for _ in 0..10 {
        world.iterate();
    }
    assert_eq!(world.iterations - before, 10);
    assert_eq!(world.published("a"), old, "it could not be written");
    // Control does not depend on the files.
    world.control("a", "d");
    world.until("the end", |_| {
        with(|system| system.running("a/run")).is_none()
    });
    fs::remove_dir(&blocker).unwrap();
    world.until("its publication", |world| {
        world.status("a").is_some_and(|s| s.state == State::Down)
    });
}

/// A directory that appears while a service of the same name is still ending
/// gets a slot of its own, after the old one has ended.
fn a_scan_during_an_exit(world: &mut World) {
    with(|system| system.ignores_term = true);
    world.add("a", true);
    world.until("the start", |world| world.is_up("a"));
    let log = with(|system| system.running("a/log/run"));
    assert!(log.is_some());
    world.control("a", "x");
    world.until("TERM", |world| world.status("a").is_some_and(|s| s.term));
    // Another service arrives while it ends.
    world.add("b", false);
    world.until("the start of another", |world| world.is_up("b"));
    assert_eq!(with(|system| system.running("a/log/run")), log);
    with(|system| system.end("a/run", ExitStatus::Exited(0)));
    world.until("the end of its pipe's reader", |_| {
        // Simulated readers see no end of file.
        with(|system| {
            if system.running("a/log/run").is_some()
                && system.running("a/run").is_none()
            {
                system.end("a/log/run", ExitStatus::Exited(0));
            }
            system.running("a/log/run").is_none()
        })
    });
    fs::rename(world.path("a"), world.tmp.path().join("old")).unwrap();
    world.add("a", false);
    world.until("its successor", |world| world.is_up("a"));
    fs::remove_dir_all(world.tmp.path().join("old")).unwrap();
}

/// An iteration serves one slot or child when the owner's deadline has passed.
/// The others wait for the next iteration, and none is forgotten.
fn starts_beyond_the_budget(world: &mut World) {
    let names = ["a", "b", "c"];
    world.patience = Duration::ZERO;
    for name in names {
        world.add(name, name == "c");
    }
    let all = |world: &World| names.iter().all(|name| world.is_up(name));
    world.until("the start of all", all);
    let before = with(|system| system.started());
    with(|system| {
        system.refusals = 1;
        for name in names {
            let run = format!("{name}/run");
            system.end(&run, ExitStatus::Killed(9, false));
        }
    });
    world.until("the second life of all", |world| {
        with(|system| system.started()) == before + names.len() && all(world)
    });
    world.patience = NAP;
}

/// A child that ends after its parent has read the signals, and before it
/// sleeps again, is reaped at once.
fn exits_between_wait_and_read(world: &mut World) {
    for name in ["a", "b", "c"] {
        world.add(name, false);
    }
    world.until("the start of all", |world| {
        ["a", "b", "c"].iter().all(|name| world.is_up(name))
    });
    let before = with(|system| system.started());
    with(|system| {
        system.end_while_reaping = ["c/run", "b/run"].map(Into::into).into();
        system.end("a/run", ExitStatus::Exited(0));
    });
    world.until("the second life of all", |world| {
        with(|system| system.started()) == before + 3
            && ["a", "b", "c"].iter().all(|name| world.is_up(name))
    });
}

/// Whatever happens in whatever order, the checks of each iteration hold and
/// everything that is wanted up runs in the end.
fn many_events_in_any_order(world: &mut World) {
    let names = ["a", "b", "c"];
    // A linear congruential generator: the sequence is the same each time.
    let mut seed = 1_u32;
    let mut below = |bound: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % bound
    };
    for name in names {
        world.add(name, name == "c");
    }
    for _ in 0..400 {
        let name = names[usize::try_from(below(3)).unwrap()];
        let run = format!("{name}/run");
        let exists = world.path(name).join("supervise/control").exists();
        match below(9) {
            0 | 1 => with(|system| {
                if system.running(&run).is_some() {
                    system.end(&run, ExitStatus::Exited(0));
                }
            }),
            2 => with(|system| system.refusals = 1),
            3 if exists => world.control(name, "d"),
            4 if exists => world.control(name, "u"),
            5 if exists => world.control(name, "tu"),
            6 if exists => world.control(name, "o"),
            7 => with(|system| system.ignores_term = below(2) == 0),
            8 => world.supervisor.rescan(),
            _ => {}
        }
        world.iterate();
    }
    with(|system| {
        system.ignores_term = false;
        system.refusals = 0;
    });
    for name in names {
        world.control(name, "u");
    }
    world.until("the start of all", |world| {
        names.iter().all(|name| world.is_up(name))
    });
    assert!(with(|system| system.started()) > 20);
    let log = with(|system| system.running("c/log/run"));
    assert!(log.is_some_and(|pid| pid >= FIRST_PID));
}
