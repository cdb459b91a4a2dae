//! Implements `cargo xtask soak`: 64 services that end at random under
//! `runsvdir` on this machine, while commands, changes of the services
//! directory, kills of the supervisor and signals of faults come at random.
//!
//! No service may ever have a second copy. The second third of the time has
//! faults but no kills, and from its beginning on no line that a service has
//! written may be missing from its log. A kill may lose what is in a pipe, if
//! the service and its logger end too before the next supervisor opens it:
//! such lines are counted. The last third has neither: the one supervisor of
//! that third may not grow.

mod services;

use std::{
    collections::BTreeSet,
    fs,
    process::Child,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

use crate::{board, install};
use services::Services;

/// Services.
const SERVICES: usize = 64;
/// Commands of `sv`, of which one is given every [`PAUSE`] or so.
const COMMANDS: [&str; 9] = [
    "term", "kill", "restart", "up", "down", "once", "hup", "pause", "cont",
];
/// Signals of a fault.
const FAULTS: [Signal; 2] = [Signal::SEGV, Signal::ABORT];
/// Mean time between two events.
const PAUSE: Duration = Duration::from_millis(100);
/// Events between two signals to the supervisor.
const BETWEEN: usize = 40;
/// Every so many signals the front is killed with its supervisor.
const WITH_FRONT: usize = 5;
/// kB by which a supervisor's memory may grow.
const GROWTH: u64 = 64;
/// Longest wait for any state.
const LIMIT: Duration = Duration::from_secs(120);

/// The signals that a supervisor gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signals {
    KillsAndFaults,
    Faults,
    None,
}

/// Counts of what was done.
#[derive(Debug, Default)]
struct Done {
    commands: usize,
    changes: usize,
    signals: usize,
    fronts: usize,
}

/// A `runsvdir` and the random events that it gets.
struct Soak {
    services: Services,
    front: Child,
    random: Rng,
    done: Done,
    /// Zombies of the last check.
    zombies: BTreeSet<i32>,
}

/// Implements `cargo xtask soak`.
pub fn run(minutes: f64, seed: Option<u64>) -> Result<()> {
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let dir = tempfile::tempdir()?;
    install::programs(&board::load(board::HOST)?, &dir.path().join("bin"))?;
    let services = Services::create(dir.path(), SERVICES)?;
    let front = services.start()?;
    let mut soak = Soak {
        services,
        front,
        random: Rng::with_seed(seed),
        done: Done::default(),
        zombies: BTreeSet::new(),
    };
    let played = soak.play(Duration::from_secs_f64(minutes * 60.0));
    if played.is_err() {
        // What was said helps, and nothing may be left.
        print!("{}", soak.services.errors());
        soak.services.kill_all();
    }
    played
}

impl Soak {
    /// Plays all three parts, and checks the result.
    fn play(&mut self, time: Duration) -> Result<()> {
        self.settle()?;
        self.disturb(time / 3, Signals::KillsAndFaults)?;
        self.settle()?;
        self.services.expect_all_lines()?;
        let first = self.supervisor()?;
        self.disturb(time / 3, Signals::Faults)?;
        self.settle()?;
        let before = Size::of(first)?;
        self.disturb(time / 3, Signals::None)?;
        self.settle()?;
        let last = self.supervisor()?;
        ensure!(first == last, "the supervisor has ended by itself");
        let after = Size::of(last)?;
        println!("supervisor: {before:?}, then {after:?}");
        ensure!(
            after.memory <= before.memory + GROWTH,
            "its memory has grown"
        );
        // Those for processes that it has taken over are closed with them.
        ensure!(after.files <= before.files, "it leaks descriptors");
        self.end()?;
        let (lines, lost) = self.services.check()?;
        println!(
            "{} starts, {lines} lines, {lost} lost with a killed supervisor, \
             {:?}",
            self.services.starts(),
            self.done
        );
        Ok(())
    }

    /// Lets events happen for some time.
    fn disturb(&mut self, time: Duration, signals: Signals) -> Result<()> {
        let began = Instant::now();
        let mut minute = 0;
        let mut events = 0_usize;
        while began.elapsed() < time {
            events += 1;
            if signals != Signals::None && events.is_multiple_of(BETWEEN) {
                self.signal(signals)?;
            } else if self.random.u8(..) < 32 {
                self.services.change(&mut self.random)?;
                self.done.changes += 1;
            } else {
                let command = *self
                    .random
                    .choice(&COMMANDS)
                    .context("there are no commands")?;
                let service = self.random.usize(..SERVICES);
                self.services.command(command, service)?;
                self.done.commands += 1;
            }
            self.services.check_copies()?;
            if began.elapsed().as_secs() / 60 > minute {
                minute += 1;
                self.check_zombies()?;
                println!(
                    "minute {minute}: {} starts, {:?}, {:?}",
                    self.services.starts(),
                    self.done,
                    Size::of(self.supervisor()?)?
                );
            }
            sleep(PAUSE.mul_f64(self.random.f64() * 2.0));
        }
        Ok(())
    }

    /// Sends the supervisor a signal, and sometimes kills the front too.
    fn signal(&mut self, signals: Signals) -> Result<()> {
        let supervisor = self.supervisor()?;
        let kills = signals == Signals::KillsAndFaults;
        self.done.signals += 1;
        if kills && self.done.signals.is_multiple_of(WITH_FRONT) {
            self.done.fronts += 1;
            self.front.kill()?;
            self.front.wait()?;
            kill_process(supervisor, Signal::KILL)?;
            until("the end of a supervisor", || {
                // Its new parent reaps it.
                let state = state(supervisor.as_raw_pid());
                Ok(state.is_none_or(|state| state == 'Z').then_some(()))
            })?;
            self.front = self.services.start()?;
        } else {
            let fault = self.random.choice(&FAULTS).copied();
            let fault = fault.filter(|_| !kills || self.random.bool());
            kill_process(supervisor, fault.unwrap_or(Signal::KILL))?;
        }
        Ok(())
    }

    /// Brings all services up and waits until they are.
    fn settle(&mut self) -> Result<()> {
        self.services.list_all()?;
        self.supervisor()?;
        let services = &self.services;
        for service in 0..SERVICES {
            until("a service that is up", || services.bring_up(service))?;
        }
        self.check_zombies()?;
        self.services.check_copies()
    }

    /// Stops everything.
    fn end(&mut self) -> Result<()> {
        let supervisor = self.supervisor()?;
        kill_process(Pid::from_child(&self.front), Signal::HUP)?;
        let status = self.front.wait()?;
        ensure!(status.code() == Some(111), "runsvdir: {status}");
        until("the end of all services", || {
            let gone = state(supervisor.as_raw_pid());
            Ok(gone.is_none_or(|state| state == 'Z').then_some(()))
        })?;
        self.services.check_ended()?;
        let errors = self.services.errors();
        let known = "runsvdir services: warning: the supervisor has ended, \
                     restarting";
        let others = errors.lines().filter(|line| *line != known);
        let others: Vec<_> = others.collect();
        println!("{} other lines on descriptor 2", others.len());
        for line in others.iter().take(20) {
            println!("  {line}");
        }
        Ok(())
    }

    /// Returns the supervisor: the only child of the front.
    fn supervisor(&self) -> Result<Pid> {
        until("the supervisor", || {
            let pid = self.front.id();
            let path = format!("/proc/{pid}/task/{pid}/children");
            let list = fs::read_to_string(path)?;
            let child = list.trim().parse().ok().and_then(Pid::from_raw);
            Ok(child.filter(|pid| state(pid.as_raw_pid()) != Some('Z')))
        })
    }

    /// Fails if there is a zombie that was one at the last check.
    fn check_zombies(&mut self) -> Result<()> {
        let supervisor = self.supervisor()?.as_raw_pid();
        let path = format!("/proc/{supervisor}/task/{supervisor}/children");
        let list = fs::read_to_string(path).unwrap_or_default();
        let pids = list.split_whitespace().filter_map(|pid| pid.parse().ok());
        let now: BTreeSet<i32> =
            pids.filter(|pid| state(*pid) == Some('Z')).collect();
        let stay = now.intersection(&self.zombies).count();
        ensure!(stay == 0, "{stay} zombies are not reaped");
        self.zombies = now;
        Ok(())
    }
}

/// The size of a process.
#[derive(Debug)]
struct Size {
    /// Resident kB.
    memory: u64,
    /// Open descriptors.
    files: usize,
}

impl Size {
    /// Returns the size of a process.
    fn of(pid: Pid) -> Result<Self> {
        let pid = pid.as_raw_pid();
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let resident = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let words = resident.map(|text| text.trim_end_matches("kB").trim());
        Ok(Self {
            memory: words.context("it has ended")?.parse()?,
            files: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}

/// Returns the state of a process as the kernel shows it.
fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until `look` returns something.
fn until<T>(
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > LIMIT {
            bail!("never came: {what}");
        }
        sleep(Duration::from_millis(10));
    }
}
