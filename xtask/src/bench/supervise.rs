//! Measures supervisors: each round starts the tree of every contender,
//! exercises it and stops it.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};

use crate::{board, install, peers};

use super::{
    contender::{Contender, Floor, Kind},
    figures::Figures,
    measure,
    process::{self, now},
    report,
    tight::Tight,
    tree::{self, Tree},
};

/// Number of services in a tree, unless the contender's name says otherwise.
const SERVICES: usize = 64;

/// Number of services in the large tree.
const MANY: usize = 256;

/// The board whose release file is measured: this machine's.
const BOARD: &str = "qemu-x86_64";

/// Age of the services before they are exercised, in milliseconds: a
/// supervisor waits before it restarts a service younger than a second, and
/// some round that up.
const OLD: u64 = 2300;

/// Number of services that are killed in a round, and of those that are
/// restarted.
const REPEATS: u32 = 4;

/// Variable that is [`MOUNTED`] where the files of s6 are in place; otherwise it
/// has the reason why they are not.
const PLACE: &str = "RUNT_BENCH_S6";

/// Value of that variable where they are.
const MOUNTED: &str = "mounted";

/// Implements `cargo xtask bench supervise`.
pub fn run(quick: bool, rounds: Option<usize>, alone: bool) -> Result<()> {
    if !alone && env::var_os(PLACE).is_none() {
        return run_with_s6();
    }
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))?;
    raise_files()?;
    let bench = Bench::new(alone)?;
    let rounds = rounds.unwrap_or(if quick { 3 } else { 11 });
    let mut figures = Figures::default();
    for round in 0..rounds {
        bench.round(round, &mut figures)?;
        bench.busy(round, &mut figures)?;
        println!("round {} of {rounds}", round + 1);
    }
    bench.idle(if quick { 5 } else { 60 }, &mut figures)?;
    bench.crashing(if quick { 3 } else { 10 }, &mut figures)?;
    report::show(&figures, &bench.names())
}

/// Executes this command again, with the files of s6 where Debian installs them
/// if possible: s6-svscan executes s6-supervise by its path, and others execute
/// programs without LD_LIBRARY_PATH. Only a mount namespace of its own has them
/// there.
fn run_with_s6() -> Result<()> {
    const SCRIPT: &str = "lay() { mount -t overlay -o \"ro,lowerdir=$1:$2\" \
                          overlay \"$2\"; }; \
                          lay \"$0\" /usr/bin && \
                          lay \"$1\" \"/usr/lib/${1##*/}\" && \
                          export \"$2=$3\"; shift 3; exec \"$@\"";
    let cannot = "its files cannot be mounted where Debian installs them";
    let mut again = Command::new(env::current_exe()?);
    if let Ok(peer) = peers::of_host(&peers::S6)
        && rustix::process::geteuid().is_root()
    {
        again = Command::new("unshare");
        again
            .args(["-m", "sh", "-c", SCRIPT])
            .args([peer.programs, peer.libraries])
            .args([PLACE, MOUNTED])
            .arg(env::current_exe()?);
    }
    again.args(env::args_os().skip(1)).env(PLACE, cannot);
    Err(again.exec()).context("cannot execute this command again")
}

/// The contenders and the directory in which they run.
struct Bench {
    contenders: Vec<Contender>,
    floor: std::path::PathBuf,
    place: tempfile::TempDir,
}

impl Bench {
    /// Builds and fetches the programs to measure.
    fn new(alone: bool) -> Result<Self> {
        let floor = super::floor()?;
        let place = super::scratch()?;
        let own = |name, services| -> Result<Contender> {
            let mut board = board::load(BOARD)?;
            if services > SERVICES {
                board.name.push_str("-many");
                for bound in ["slots", "services"] {
                    board.capacity.insert(bound.into(), services);
                }
            }
            // A copy for each contender: processes that run the same file
            // share its pages.
            let dir = place.path().join(name);
            install::programs(&board, &dir)?;
            let kind = Kind::Runit;
            Ok(Contender::ours(name, kind, services, &dir, &floor))
        };
        let bare = |name, kind| {
            let kind = Kind::Floor(kind);
            Contender::ours(name, kind, SERVICES, place.path(), &floor)
        };
        let mut contenders = vec![
            own("runt", SERVICES)?,
            own("runt-1", 1)?,
            own("runt-256", MANY)?,
            bare("floor", Floor::Bare),
            bare("floor-files", Floor::Files),
            bare("floor-fork", Floor::Fork),
            bare("floor-files-fork", Floor::FilesFork),
        ];
        let peers: [(_, _, &[&str]); 3] = [
            ("runit", Kind::Runit, &["runit"]),
            ("s6", Kind::S6, &peers::S6),
            ("daemontools", Kind::Daemontools, &["daemontools"]),
        ];
        for (name, kind, packages) in peers.into_iter().filter(|_| !alone) {
            let found = peers::of_host(packages).and_then(|peer| {
                let s6 = env::var(PLACE).unwrap_or_default();
                ensure!(kind != Kind::S6 || s6 == MOUNTED, s6);
                Ok(peer)
            });
            match found {
                Ok(peer) => contenders
                    .push(Contender::peer(name, kind, SERVICES, peer, &floor)),
                Err(error) => println!("skipping {name}: {error:#}"),
            }
        }
        Ok(Self {
            contenders,
            floor,
            place,
        })
    }

    /// Returns the names of all contenders.
    fn names(&self) -> Vec<&'static str> {
        self.contenders.iter().map(|c| c.name).collect()
    }

    /// Starts the tree of a contender.
    fn start<'a>(&self, contender: &'a Contender) -> Result<Tree<'a>> {
        let base = self.place.path().join(format!("{}.tree", contender.name));
        Tree::start(contender, base, &self.floor)
    }

    /// Runs one round with all contenders.
    fn round(&self, round: usize, figures: &mut Figures) -> Result<()> {
        let mut order: Vec<&Contender> = self.contenders.iter().collect();
        let turn = round % order.len();
        order.rotate_left(turn);
        let mut put = |measure, name, samples: &[f64]| {
            figures.put(measure, name, round, samples);
        };
        let mut trees = Vec::new();
        for contender in order {
            let name = contender.name;
            let mut tree = self.start(contender)?;
            put(measure::START, name, &[millis(tree.wait_up()?)]);
            sleep(Duration::from_millis(80));
            let (supervisors, services) = tree.processes();
            let all: Vec<_> =
                supervisors.iter().chain(&services).copied().collect();
            let cpu = process::activity(&all).nanos;
            put(measure::START_CPU, name, &[millis(cpu)]);
            put(measure::PROCESSES, name, &[supervisors.len() as f64]);
            trees.push(tree);
        }
        for tree in &mut trees {
            tree.wait_old(OLD);
            memory(tree, &mut put);
        }
        trees.retain(|tree| tree.contender.services > 1);
        let mut samples = vec![(Vec::new(), Vec::new()); trees.len()];
        for repeat in 0..REPEATS {
            for (tree, samples) in trees.iter_mut().zip(&mut samples) {
                samples.0.push(millis(kill(tree, repeat, Signal::KILL)?));
                let other = REPEATS + repeat;
                samples.1.push(millis(restart(tree, other)?));
            }
        }
        for (tree, samples) in trees.iter().zip(&samples) {
            put(measure::KILLED, tree.contender.name, &samples.0);
            put(measure::RESTART, tree.contender.name, &samples.1);
        }
        self.status(&trees, &mut put)?;
        appear(&mut trees, &mut put)?;
        for tree in &mut trees {
            tree.wait_old(OLD);
        }
        for tree in trees {
            let name = tree.contender.name;
            put(measure::STOP, name, &[millis(tree.stop()?)]);
        }
        Ok(())
    }

    /// Asks all contenders for the status of all services; the bare readers
    /// read the files that ours wrote.
    fn status(
        &self,
        trees: &[Tree<'_>],
        put: &mut impl FnMut(&'static str, &'static str, &[f64]),
    ) -> Result<()> {
        let ours = trees.iter().find(|tree| tree.contender.name == "runt");
        let ours = ours.context("runt was not measured")?;
        let mut samples = vec![Vec::new(); trees.len()];
        for _ in 0..5 {
            for (tree, samples) in trees.iter().zip(&mut samples) {
                let dirs = if tree.contender.looks() {
                    &tree.dirs
                } else {
                    &ours.dirs
                };
                let commands = tree.contender.status(dirs);
                samples.push(millis(tree::time(commands)?));
            }
        }
        for (tree, samples) in trees.iter().zip(&samples) {
            put(measure::STATUS, tree.contender.name, samples);
        }
        Ok(())
    }

    /// Measures the start while other processes keep every processor busy.
    fn busy(&self, round: usize, figures: &mut Figures) -> Result<()> {
        let processors = std::thread::available_parallelism()?.get();
        let hogs: Result<Vec<Hog>> =
            (0..processors).map(|_| Hog::new(&self.floor)).collect();
        let hogs = hogs?;
        let names = [
            "runt",
            "floor",
            "floor-files",
            "floor-fork",
            "floor-files-fork",
            "runit",
        ];
        let mut order: Vec<&Contender> = self
            .contenders
            .iter()
            .filter(|contender| names.contains(&contender.name))
            .collect();
        let turn = round % order.len();
        order.rotate_left(turn);
        for contender in order {
            let mut tree = self.start(contender)?;
            let took = millis(tree.wait_up()?);
            figures.put(measure::START_BUSY, contender.name, round, &[took]);
        }
        drop(hogs);
        Ok(())
    }

    /// Counts the activity of the supervisors when nothing happens.
    fn idle(&self, seconds: u64, figures: &mut Figures) -> Result<()> {
        println!("idle for {seconds} s");
        let mut trees = Vec::new();
        for contender in &self.contenders {
            let mut tree = self.start(contender)?;
            tree.wait_up()?;
            trees.push(tree);
        }
        sleep(Duration::from_secs(3));
        let watched: Vec<_> = trees
            .iter_mut()
            .map(|tree| {
                let supervisors = tree.processes().0;
                let before = process::activity(&supervisors);
                (tree.contender.name, supervisors, before)
            })
            .collect();
        sleep(Duration::from_secs(seconds));
        for (name, supervisors, before) in watched {
            let after = process::activity(&supervisors);
            let minute = |count: u64| count as f64 * 60.0 / seconds as f64;
            let wakes = minute(after.sleeps - before.sleeps);
            let turns = minute(after.turns - before.turns);
            figures.put(measure::WAKES, name, 0, &[wakes]);
            figures.put(measure::TURNS, name, 0, &[turns]);
        }
        Ok(())
    }

    /// Asks the one running service for a stamp while all others crash and
    /// memory is tight.
    fn crashing(&self, seconds: u64, figures: &mut Figures) -> Result<()> {
        println!("crash loops for {seconds} s");
        let contender = self.contenders.iter().find(|c| c.name == "runt");
        let contender = contender.context("runt was not measured")?;
        let mut tree = self.start(contender)?;
        tree.wait_up()?;
        let (supervisors, services) = tree.processes();
        let all: Vec<_> =
            supervisors.iter().chain(&services).copied().collect();
        let tight = Tight::new(&self.floor, &all)
            .inspect_err(|error| println!("cannot limit memory: {error:#}"));
        let victims = tree.dirs.split_first().context("no service")?.1;
        for dir in victims {
            std::fs::write(dir.join("crash"), "")?;
        }
        for id in 1..tree.dirs.len() as u32 {
            kill_process(tree::pid(tree.stamp(id).pid)?, Signal::KILL)?;
        }
        let control = tree.dirs[0].join("supervise/control");
        let end = now() + seconds * 1_000_000_000;
        let mut answers = Vec::new();
        while now() < end {
            let old = tree.stamp(0);
            let asked = now();
            std::fs::write(&control, "1")?;
            let answered = tree.wait_new(0, old)?;
            answers.push(millis(answered.saturating_sub(asked)));
            // Intervals differ, so as not to coincide with anything that
            // happens once a second.
            sleep(Duration::from_micros(700 + asked % 1000));
        }
        let slowest = answers.into_iter().fold(0.0, f64::max);
        figures.put(measure::ANSWER, "runt", 0, &[slowest]);
        let mut limits = contender.command("runt");
        limits.arg("limits").arg(tree.scan()).stdout(Stdio::piped());
        let told = String::from_utf8(limits.output()?.stdout)?;
        let latency =
            told.lines().find_map(|line| line.strip_prefix("latency "));
        let micros: f64 = latency
            .context("`runt limits` prints no latency")?
            .parse()?;
        figures.put(measure::LATENCY, "runt", 0, &[micros / 1e3]);
        drop(tight);
        Ok(())
    }
}

/// A process that keeps a processor busy.
struct Hog(Child);

impl Hog {
    /// Starts the process.
    fn new(floor: &Path) -> Result<Self> {
        let mut command = Command::new(floor);
        Ok(Self(command.arg("hog").spawn()?))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Measures the memory of a supervisor after a period without events.
fn memory(
    tree: &mut Tree<'_>,
    put: &mut impl FnMut(&'static str, &'static str, &[f64]),
) {
    let name = tree.contender.name;
    let supervisors = tree.processes().0;
    let all = process::memory(&supervisors);
    put(measure::PSS, name, &[all.pss]);
    put(measure::DIRTY, name, &[all.dirty]);
    let each = supervisors.iter().map(|pid| process::memory(&[*pid]));
    let largest = each.fold((0.0, 0.0), |(pss, dirty), memory| {
        (memory.pss.max(pss), memory.dirty.max(dirty))
    });
    put(measure::PSS_LARGEST, name, &[largest.0]);
    put(measure::DIRTY_LARGEST, name, &[largest.1]);
}

/// Kills a service; returns the nanoseconds until its successor runs.
fn kill(tree: &mut Tree<'_>, id: u32, signal: Signal) -> Result<u64> {
    let old = tree.stamp(id);
    let began = now();
    kill_process(tree::pid(old.pid)?, signal)?;
    Ok(tree.wait_new(id, old)?.saturating_sub(began))
}

/// Restarts a service with a client; returns the nanoseconds until the client
/// has exited and the new process runs. The floor has no client: its service
/// gets TERM.
fn restart(tree: &mut Tree<'_>, id: u32) -> Result<u64> {
    let dir = tree.dirs.get(id as usize).context("no service")?;
    let Some(mut command) = tree.contender.restart(dir) else {
        return kill(tree, id, Signal::TERM);
    };
    let old = tree.stamp(id);
    let began = now();
    let mut client = command.spawn()?;
    client.wait()?;
    let ended = now();
    let runs = tree.wait_new(id, old)?;
    Ok(ended.max(runs).saturating_sub(began))
}

/// Removes the last service of every contender that scans its directory, and
/// links another one.
fn appear(
    trees: &mut [Tree<'_>],
    put: &mut impl FnMut(&'static str, &'static str, &[f64]),
) -> Result<()> {
    let looks = trees.iter_mut().filter(|tree| tree.contender.looks());
    let (mut quick, mut slow): (Vec<_>, Vec<_>) =
        looks.partition(|tree| tree.contender.watches());
    let mut samples = vec![(Vec::new(), Vec::new()); quick.len()];
    for _ in 0..REPEATS {
        for (tree, (removed, added)) in quick.iter_mut().zip(&mut samples) {
            removed.push(millis(tree.unlink()?));
            let began = tree.link()?;
            added.push(millis(tree.wait_linked(began)?));
        }
    }
    for (tree, (removed, added)) in quick.iter().zip(&samples) {
        put(measure::REMOVED, tree.contender.name, removed);
        put(measure::ADDED, tree.contender.name, added);
    }
    for tree in &mut slow {
        let took = millis(tree.unlink()?);
        put(measure::REMOVED, tree.contender.name, &[took]);
    }
    // These scan only every five seconds: all are waited for at the same time.
    let began: Result<Vec<u64>> =
        slow.iter_mut().map(|tree| tree.link()).collect();
    for (tree, began) in slow.iter_mut().zip(began?) {
        let took = millis(tree.wait_linked(began)?);
        put(measure::ADDED, tree.contender.name, &[took]);
    }
    Ok(())
}

/// Converts nanoseconds to milliseconds.
fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// Raises the limit of open files of this process: it needs a descriptor for
/// each process.
fn raise_files() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
