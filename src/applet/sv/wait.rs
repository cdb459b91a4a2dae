//! Whether a command has taken effect, and how that is waited for (contract
//! §4.6, §4.7).
//!
//! A service is looked at when its supervisor has published something or
//! left, which inotify tells. Rounds of 0.42 s, as runit has them, are for
//! what tells nothing: a `check` that failed, a supervisor still to come, a
//! file system without inotify. A `check` runs beside everything else, one at
//! a time for a service, and has no limit of its own.

use core::time::Duration;

use heapless::VecView;

use super::{
    NEVER, ROUND, Sv, Task,
    service::{Silent, probe, send},
    status::{describe, warn_of},
};
use crate::{
    machine::completion::{Completion, completion},
    sys::{
        self, AsFd, At, Errno,
        child::{self, ExitStatus, Program},
        clock, file,
        inotify::{Event, Inotify, WatchId, WatchKind},
        poller, proc, rundir,
        signal::Signals,
    },
    text::{Line, Path, keep},
    wire::status::Status,
};

/// Microseconds before the first look at what a command has done.
const FIRST_LOOK: u64 = 250;

/// How long before the last of the looks that nobody has to ask for at most:
/// with those before it three times as much, 12 ms.
const LAST_LOOK: Duration = Duration::from_millis(4);

/// How far a service's `check` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It is to be run when the rest holds.
    Due,
    /// The same; but at the last look the service's process was too young.
    Unborn,
    /// It runs, as this process.
    Runs(u32),
    /// It has succeeded.
    Passed,
    /// It has failed; the next round runs it again.
    Failed,
}

/// How long a service's process may be on its way to becoming its program.
/// Then it counts as one, whatever /proc says: that may be of processes in
/// another name space.
const BIRTH: Duration = Duration::from_secs(1);

/// How long a service that was down must have lived to be up: one whose
/// `./run` ends at once is none. runit's rounds hardly ever meet such a life,
/// events would meet each.
const LIFE: Duration = Duration::from_millis(100);

/// Whether a service's process is too young to tell whether it runs: just
/// started, or a copy of its supervisor still, or gone; its `./run` may be
/// none that can be executed.
fn is_unborn(before: &Status, now: &Status) -> bool {
    let wall = clock::wall().in_nanos();
    // A start in the future is that of a clock that was set.
    let Some(age) = wall.checked_sub(now.since.in_nanos()) else {
        return false;
    };
    let age = Duration::from_nanos(age);
    before.pid == 0 && age < LIFE || age < BIRTH && !proc::is_program(now.pid)
}

impl Task {
    /// Whether only the next round can tell something new.
    fn needs_rounds(&self) -> bool {
        !self.sent || self.watch == [None; 2] || self.check == Check::Failed
    }

    /// Watches the supervise directory, or the one where it will appear.
    fn watch(&mut self, watch: Option<&Inotify>) {
        let Some(watch) = watch else { return };
        if file::change_dir_to(self.dir.as_fd()).is_err() {
            return;
        }
        if !self.sent {
            // What comes of it a round would find out as well.
            let _told = watch.add(c".", WatchKind::Entries).is_ok();
        }
        let here = watch.add(c"supervise", WatchKind::Status).ok();
        // Of the two the one that is not in use tells nothing.
        let there = rundir::path(self.dir.as_fd(), b"")
            .ok()
            .and_then(|place| {
                Path::join(&[place.as_bytes(), b"/supervise"]).ok()
            })
            .and_then(|path| {
                watch.add(path.as_c_str(), WatchKind::Status).ok()
            });
        self.watch = [here, there];
    }

    /// Takes in that something has changed in a directory that is watched.
    fn hear(&mut self, change: Event<'_>) {
        if !self.sent || change.id == WatchId::MAX {
            self.stale = true;
        } else if self.watch.contains(&Some(change.id)) {
            match change.name {
                // Renamed to `status` just now; `ok` has lost its reader.
                b"status.new" | b"ok" => self.stale = true,
                // The directory itself: it is another one from now on.
                b"" => self.watch = [None; 2],
                _ => {}
            }
        }
    }
}

impl Sv {
    /// Waits until the command has taken effect everywhere.
    pub(super) fn wait(
        &mut self,
        tasks: &mut VecView<Task>,
        signals: &Signals,
    ) {
        if self.looks_done(tasks, signals) {
            return;
        }
        // Not less than a round: runit measures the time before it sleeps,
        // so that a limit of 0 is one round.
        let until = clock::mono().after(self.limit.max(ROUND));
        let mut round = clock::mono().after(ROUND);
        let watch = Inotify::new().ok();
        for task in tasks.iter_mut() {
            task.watch(watch.as_ref());
        }
        loop {
            // Before looking, so that everything is looked at once more when
            // the time is up.
            let late = clock::mono() > until;
            while let Some((pid, end)) = child::reap() {
                let passed = matches!(
                    end,
                    ExitStatus::Exited(0) | ExitStatus::Killed(..)
                );
                let check = Check::Runs(pid);
                for task in tasks.iter_mut().filter(|t| t.check == check) {
                    task.check =
                        if passed { Check::Passed } else { Check::Failed };
                    task.stale = passed;
                }
            }
            keep(tasks, |task| {
                if !late && !core::mem::take(&mut task.stale) {
                    return true;
                }
                if !task.sent {
                    task.watch(watch.as_ref());
                }
                !self.is_done(task, late)
            });
            if tasks.is_empty() {
                return;
            }
            // After the limit only a `check` that still runs is waited for.
            let mut pause = None;
            if !late {
                let now = clock::mono();
                let mut next = until.after(Duration::from_nanos(1));
                if tasks.iter().any(Task::needs_rounds) {
                    next = next.min(round);
                }
                let unborn = |task: &&mut Task| task.check == Check::Unborn;
                for task in tasks.iter_mut().filter(unborn) {
                    task.stale = true;
                    next = next.min(now.after(LAST_LOOK));
                }
                pause = Some(next.since(now));
            }
            let ended = signals.as_fd();
            let told = watch.as_ref().map_or(ended, Inotify::as_fd);
            // What has changed the next look tells.
            let _woken = poller::readable([told, ended], pause).is_ok();
            while signals.next().is_some() {}
            if let Some(watch) = &watch {
                let all = watch.drain(|change| {
                    tasks.iter_mut().for_each(|task| task.hear(change));
                });
                let _lost = all.is_err();
            }
            if clock::mono() >= round {
                round = clock::mono().after(ROUND);
                for task in tasks.iter_mut().filter(|t| t.needs_rounds()) {
                    if task.check == Check::Failed {
                        task.check = Check::Due;
                    }
                    task.stale = true;
                }
            }
        }
    }

    /// Looks a few times before anybody is asked to tell: most commands take
    /// effect within milliseconds, and the kernel takes up to 20 of them to
    /// close an inotify descriptor. Whether everything is done.
    fn looks_done(
        &mut self,
        tasks: &mut VecView<Task>,
        signals: &Signals,
    ) -> bool {
        let (mut micros, mut past) = (FIRST_LOOK, 0_u64);
        loop {
            let pause = Duration::from_micros(micros);
            if pause > LAST_LOOK {
                break;
            }
            let _woken =
                poller::readable([signals.as_fd()], Some(pause)).is_ok();
            keep(tasks, |task| !self.is_done(task, false));
            let checks = |task: &Task| matches!(task.check, Check::Runs(_));
            if tasks.is_empty() || tasks.iter().any(checks) {
                break;
            }
            // Who is done is seen half as late again as it was at most.
            past = past.saturating_add(micros);
            micros = past >> 1;
        }
        tasks.is_empty()
    }

    /// Whether a service is done with; says so when it is.
    fn is_done(&mut self, task: &mut Task, late: bool) -> bool {
        let name = task.name.to_bytes();
        if matches!(task.check, Check::Runs(_)) {
            return false;
        }
        let told = if task.sent { Ok(()) } else { self.tell(task) };
        let now = match told.and_then(|()| probe(task.dir.as_fd())) {
            Ok(now) => now,
            Err(silent) => {
                let lives = silent.is_record();
                let comes = task.before == NEVER
                    && self.command.starts()
                    && silent.may_pass();
                if !late && (lives || comes) {
                    return false;
                }
                if lives && self.command.kills {
                    // The service is not known to have stopped in time. That
                    // its supervisor has ended meanwhile is shown below.
                    let _ended = send(task.dir.as_fd(), b"k").is_err();
                }
                self.silent(name, silent);
                return true;
            }
        };
        let holds = match completion(self.command.tests, &task.before, &now) {
            Completion::NotYet => false,
            Completion::Holds => true,
            Completion::IfChecked => match task.check {
                Check::Passed => true,
                Check::Due | Check::Unborn if is_unborn(&task.before, &now) => {
                    task.check = Check::Unborn;
                    false
                }
                Check::Due | Check::Unborn => self.start_check(task),
                Check::Runs(_) | Check::Failed => false,
            },
        };
        if matches!(task.check, Check::Runs(_)) {
            return false;
        }
        // It passed before something else changed its mind.
        if task.check == Check::Passed {
            task.check = Check::Due;
        }
        if !holds && !late {
            return false;
        }
        let kills = !holds && self.command.kills;
        let mut line = Line::new();
        line.text(match (holds, kills) {
            (true, _) => "ok: ",
            (_, true) => "kill: ",
            (..) => "timeout: ",
        });
        let dir = task.dir.as_fd();
        describe(&mut line, dir, name, name, &now);
        sys::print(line.finish());
        if !holds {
            self.failed = self.failed.saturating_add(1);
        }
        if kills && let Err(silent) = send(dir, b"k") {
            self.silent(name, silent);
        }
        true
    }

    /// Sends the command to a service, whatever its record says or whether it
    /// can be read at all: the FIFO alone tells whether a supervisor is there
    /// (contract §18).
    pub(super) fn tell(&mut self, task: &mut Task) -> Result<(), Silent> {
        let before = probe(task.dir.as_fd());
        task.before = before.unwrap_or(NEVER);
        match (self.command.act, before) {
            ([], before) => {
                before?;
            }
            (act, _) => send(task.dir.as_fd(), act)?,
        }
        if file::info(task.dir.as_fd(), c"run") == Err(Errno::ENOENT) {
            // The logger that services share: the same process goes on when
            // the stream is begun anew.
            task.before.pid = 0;
        }
        task.sent = true;
        Ok(())
    }

    /// Starts a service's `check`; true when there is none, or one that
    /// cannot be run (contract §4.7). Then it counts as passed.
    fn start_check(&mut self, task: &mut Task) -> bool {
        let (dir, name) = (task.dir.as_fd(), task.name.to_bytes());
        let failed = match file::info(dir, c"check") {
            Ok(_) => match child::fork() {
                Ok((true, _)) => self.become_check(dir, name),
                Ok((false, pid)) => {
                    task.check = Check::Runs(pid);
                    return false;
                }
                Err(errno) => ("unable to fork for ", errno),
            },
            Err(Errno::ENOENT) => return true,
            Err(errno) => ("unable to stat ", errno),
        };
        warn_of(name, failed.0, "/check", failed.1);
        task.check = Check::Failed;
        false
    }

    /// Becomes a service's `check`, with descriptor 1 closed.
    fn become_check(&self, dir: At<'_>, name: &[u8]) -> ! {
        let errno = file::change_dir_to(dir).err().unwrap_or_else(|| {
            // Closed already: the caller has none itself.
            let _closed = child::close_standard(1).is_err();
            child::exec_unblocked(&Program {
                path: c"check",
                arguments: &[],
                environ: self.environ,
            })
        });
        warn_of(name, "unable to run ", "/check", errno);
        child::exit(0)
    }
}
