//! Plays the life of four services under `runsvdir`, in which a test makes
//! something fail: they start, log, obey commands, are restarted, added,
//! removed and stopped. Every step waits for its effect, so that a command or
//! an event that got lost is a test that fails.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fmt::Debug,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Running, TestDir, processes_in, until};

/// Starts of each service in a life, and of the loggers.
const STARTS: [(&str, usize); 5] =
    [("a", 2), ("a/log", 1), ("b", 2), ("c", 1), ("d", 2)];

/// Time after which a control byte is sent again.
const AGAIN: Duration = Duration::from_secs(4);

/// Longest wait for what a status shows.
const LIMIT: Duration = Duration::from_secs(100);

/// Time between two looks at a status.
const PAUSE: Duration = Duration::from_millis(30);

/// A life, in a directory of its own.
pub struct Life {
    pub tmp: TestDir,
    /// True if supervisors are killed meanwhile.
    killed: Cell<bool>,
    /// True if `c` got a signal although it has a script for it.
    signalled: Cell<bool>,
    /// Maximum number of restarts of `a` beyond those that were asked for.
    again: Cell<usize>,
}

/// The descriptors of a supervisor at the end of a life: what each leads to,
/// sorted.
pub type Descriptors = Vec<String>;

impl Life {
    /// Creates the service directories, which are not listed yet.
    pub fn new() -> Self {
        let life = Self {
            tmp: TestDir::new(),
            killed: Cell::new(false),
            signalled: Cell::new(false),
            again: Cell::new(0),
        };
        let tmp = &life.tmp;
        for (name, _) in STARTS {
            life.service(name);
        }
        let control = format!("echo >> {}", tmp.path("scripts").display());
        tmp.script("other/c/control/h", &control);
        let finish = format!("echo >> {}", tmp.path("finished").display());
        tmp.script("other/b/finish", &finish);
        fs::create_dir(tmp.path("services")).unwrap();
        life
    }

    /// Creates a service that counts its starts and notices a second copy of
    /// itself: that finds its lock taken.
    fn service(&self, name: &str) {
        let flat = name.replace('/', "-");
        let path = |kind: &str| self.tmp.path(&format!("{kind}-{flat}"));
        let work = if name.ends_with("log") {
            format!("exec cat >> {}", self.tmp.path("said").display())
        } else {
            "echo up; exec sleep 1000".into()
        };
        let text = format!(
            "echo >> {}\nexec 9> {}\nflock -n 9 || echo >> {}\n{work}",
            path("starts").display(),
            path("lock").display(),
            path("second").display(),
        );
        self.tmp.script(&format!("other/{name}/run"), &text);
    }

    /// Returns the number of lines that a file has.
    fn lines(&self, name: &str) -> usize {
        self.tmp.read(name).lines().count()
    }

    /// Waits until `sv status` shows what `look` wants: the files may have
    /// moved to the run directory.
    fn until_shown<T>(
        &self,
        what: &str,
        name: &str,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let began = Instant::now();
        loop {
            let shown = self.tmp.run(&["sv", "status", name]).stdout;
            if let Some(found) = look(&shown) {
                return found;
            }
            if began.elapsed() > LIMIT {
                let why = self.tmp.run(&["sv", "why", name]).stdout;
                let dir = self.tmp.path(&format!("services/{name}"));
                let pids = processes_in(&dir);
                panic!("never came: {what}: {shown}{why}{pids:?}");
            }
            thread::sleep(PAUSE);
        }
    }

    /// Waits until a service has a process that does its work.
    fn until_up(&self, name: &str, old: Option<Pid>) -> Pid {
        self.until_shown("a process that works", name, |shown| {
            let shown = shown.strip_prefix(&format!("run: {name}: (pid "))?;
            let pid = Pid::from_raw(shown.split(')').next()?.parse().ok()?);
            let pid = pid.filter(|pid| Some(*pid) != old)?;
            let comm = format!("/proc/{}/comm", pid.as_raw_pid());
            (fs::read_to_string(comm).ok()? == "sleep\n").then_some(pid)
        })
    }

    /// Gives `c` a command, and waits for its effect. When supervisors are
    /// killed, a byte may be lost with the FIFO: it is then sent again.
    fn command(&self, command: &str, is_done: impl Fn(&str) -> bool) {
        self.sv(command, "c");
        let mut sent = Instant::now();
        self.until_shown(command, "c", |shown| {
            if self.killed.get() && sent.elapsed() > AGAIN {
                self.sv(command, "c");
                sent = Instant::now();
            }
            is_done(shown).then_some(())
        });
    }

    /// Runs a command of `sv` until it succeeds: it fails while there is no
    /// supervisor. Returns how often that was.
    fn sv(&self, command: &str, name: &str) -> usize {
        let what = format!("sv {command} {name}");
        let (killed, mut failed) = (self.killed.get(), 0);
        let limit = if killed { "5" } else { "60" };
        until(&what, || {
            let output = self.tmp.run(&["sv", "-w", limit, command, name]);
            if output.code == 0 {
                return Some(failed);
            }
            assert!(killed, "{what}: {output:?}");
            failed += 1;
            None
        })
    }

    /// Restarts `a`. When supervisors are killed, a command may be lost with
    /// the FIFO: it is then given again.
    fn restart(&self, old: Pid) {
        let mut failed = self.sv("restart", "a");
        let mut sent = Instant::now();
        self.until_shown("the restart", "a", |shown| {
            let is_old = shown.contains(&format!("(pid {})", old.as_raw_pid()));
            if is_old && self.killed.get() && sent.elapsed() > AGAIN {
                failed += 1 + self.sv("restart", "a");
                sent = Instant::now();
            }
            (!is_old).then_some(())
        });
        self.again.set(failed);
        self.until_up("a", Some(old));
    }

    /// Plays the life up to the stop of all services. Supervisors may be
    /// `killed` meanwhile.
    pub fn play(&self, killed: bool) {
        self.killed.set(killed);
        let tmp = &self.tmp;
        for name in ["a", "b", "c", "d"] {
            tmp.link(name);
        }
        let [a, b, c, _] =
            ["a", "b", "c", "d"].map(|name| self.until_up(name, None));
        until("the log", || (self.lines("said") > 0).then_some(()));
        // Commands, one with a script.
        self.command("pause", |shown| shown.contains(", paused"));
        self.command("cont", |shown| !shown.contains(", paused"));
        // Where the script cannot be started, or its end is not known, the
        // signal is sent.
        let is_same = || self.until_up("c", None) == c;
        self.command("hup", |_| self.lines("scripts") > 0 || !is_same());
        self.signalled.set(!is_same());
        // One is restarted, one ends by itself.
        self.restart(a);
        kill_process(b, Signal::KILL).unwrap();
        self.until_up("b", Some(b));
        assert_eq!(self.lines("finished"), 1, "runs of finish");
        // One gets another name, one is stopped.
        let link = |name: &str| tmp.path(&format!("services/{name}"));
        let d = self.until_up("d", None);
        fs::remove_file(link("d")).unwrap();
        until("the end of a removed service", || {
            processes_in(&tmp.path("other/d")).is_empty().then_some(())
        });
        symlink("../other/d", link("e")).unwrap();
        self.until_up("e", Some(d));
        self.sv("down", "c");
        self.until_shown("down", "c", |shown| {
            shown.starts_with("down: c: ").then_some(())
        });
    }

    /// Stops everything, and checks that nothing is left, and that nothing was
    /// started twice.
    pub fn end(&self, all: &mut Running<'_>) {
        all.kill(Signal::HUP);
        assert_eq!(all.wait(), 111);
        for name in ["a", "a/log", "b", "c", "d"] {
            let dir = self.tmp.path(&format!("other/{name}"));
            until(&format!("the end of {name}"), || {
                processes_in(&dir).is_empty().then_some(())
            });
        }
        for (name, starts) in STARTS {
            self.check_copies(name, starts);
        }
    }

    /// Plays the life of the service `a` alone, under `runsv`. Returns the
    /// exit code if that could not start.
    pub fn play_one(&self, one: &mut Running<'_>) -> Option<i32> {
        let tmp = &self.tmp;
        tmp.link("a");
        let failed = until("the start", || {
            if let Some(code) = one.child.try_wait().unwrap() {
                return Some(code.code().or(Some(-1)));
            }
            let shown = tmp.run(&["sv", "status", "a"]).stdout;
            shown.starts_with("run: a: ").then_some(None)
        });
        if failed.is_some() {
            self.check_copies("a", 0);
            self.check_copies("a/log", 0);
            return failed;
        }
        let pid = self.until_up("a", None);
        until("the log", || (self.lines("said") > 0).then_some(()));
        kill_process(pid, Signal::KILL).unwrap();
        let next = self.until_up("a", Some(pid));
        self.sv("restart", "a");
        self.until_up("a", Some(next));
        self.sv("exit", "a");
        assert_eq!(one.wait(), 0);
        self.check_copies("a", 3);
        self.check_copies("a/log", 1);
        None
    }

    /// Checks that a service was started that many times and had no second
    /// copy.
    fn check_copies(&self, name: &str, expected: usize) {
        let flat = name.replace('/', "-");
        let seconds = self.lines(&format!("second-{flat}"));
        assert_eq!(seconds, 0, "second copies of {name}");
        let starts = self.lines(&format!("starts-{flat}"));
        let killed = self.killed.get();
        let more = match name {
            "a" => self.again.get(),
            // It ends when there is no writer left: no supervisor either.
            "a/log" if killed => starts,
            // It may end before it is known that it is listed no longer.
            "d" => usize::from(killed),
            // How its script has ended is not known to the next supervisor.
            "c" => usize::from(killed || self.signalled.get()),
            _ => 0,
        };
        if self.signalled.get() {
            assert!(killed || !self.errors().is_empty(), "not reported");
        }
        let most = expected + more;
        assert!(
            (expected..=most).contains(&starts),
            "{starts} starts of {name} instead of {expected}"
        );
    }

    /// Returns what the supervisor wrote on descriptor 2, by line.
    pub fn errors(&self) -> Vec<String> {
        self.tmp.read("errors").lines().map(String::from).collect()
    }
}

/// Returns the open descriptors of a process.
pub fn descriptors(pid: Pid) -> Descriptors {
    let dir = format!("/proc/{}/fd", pid.as_raw_pid());
    let entries = fs::read_dir(dir).unwrap().flatten();
    let kinds = entries.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some(kind_of(&target))
    });
    let mut kinds: Descriptors = kinds.collect();
    kinds.sort();
    kinds
}

/// Returns the kind of what a descriptor leads to: the last name of a path, the
/// name before the number of a pipe or socket, or the name after the device and
/// inode of a directory in the run directory.
fn kind_of(target: &Path) -> String {
    let text = target.to_string_lossy();
    let name = text.rsplit('/').next().unwrap_or_default();
    let name = name.split('[').next().unwrap_or_default();
    let is_number = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    let numbered: Vec<_> = name.splitn(3, '-').collect();
    match numbered[..] {
        [device, inode, name] if is_number(device) && is_number(inode) => {
            name.into()
        }
        _ => name.into(),
    }
}

/// Returns what is in the first list more often than in the second.
fn more(first: &[String], second: &[String]) -> Descriptors {
    let mut rest = first.to_vec();
    for kind in second {
        if let Some(at) = rest.iter().position(|other| other == kind) {
            rest.remove(at);
        }
    }
    rest
}

/// Returns true for what is open in addition when files have moved to the run
/// directory: the directory there and its lock.
fn is_of_moved(kind: &str) -> bool {
    kind == "lock" || kind.chars().all(|c| c.is_ascii_digit() || c == '-')
}

/// Waits until the descriptors of a process are these. With `moved` its files
/// may have moved to the run directory.
pub fn until_descriptors(pid: Pid, expected: &Descriptors, moved: bool) {
    let began = Instant::now();
    loop {
        let now = descriptors(pid);
        let (mut gained, mut lost) =
            (more(&now, expected), more(expected, &now));
        gained.retain(|kind| !moved || !is_of_moved(kind));
        // It does without, and says so.
        lost.retain(|kind| kind != "ledger");
        if gained.is_empty() && lost.is_empty() {
            return;
        }
        let waited = began.elapsed() > Duration::from_secs(40);
        assert!(!waited, "descriptors: {gained:?} instead of {lost:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Lives that are played at the same time: each mostly waits.
const AT_A_TIME: usize = 12;

/// Plays lives, several at a time. Returns the result of each, or why it
/// failed, which is also printed at once.
pub fn in_parallel<T: Sync + Debug, R: Send>(
    lives: &[T],
    play: impl Fn(&T) -> R + Sync,
) -> Vec<Result<R, String>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(life) = lives.get(index) else { return };
            // A failure's message has the name of the thread.
            let shown = format!("{life:?}");
            let played = thread::scope(|scope| {
                let builder = thread::Builder::new().name(shown.clone());
                let thread = builder.spawn_scoped(scope, || play(life));
                thread.unwrap().join()
            });
            let result = played.map_err(|cause| {
                let text = cause.downcast_ref::<String>().cloned();
                text.unwrap_or_default()
            });
            if let Err(text) = &result {
                tell(&format!("{shown}: {text}"));
            }
            results.lock().unwrap().insert(index, result);
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(work);
        }
    });
    results.into_inner().unwrap().into_values().collect()
}

/// Prints a line, also when the test passes.
pub fn tell(line: &str) {
    let _said = writeln!(std::io::stderr(), "{line}");
}
