//! Waits until a command has taken effect (contract §4.6, §4.7).
//!
//! A service is checked when inotify reports that its supervisor has published
//! something or ended. Rounds of 0.42 s, as in runit, are for what causes no
//! event: a `check` that failed, a supervisor still to appear, a file system
//! without inotify. A `check` runs in parallel to everything else, one at a
//! time per service, and has no time limit of its own.

use core::time::Duration;

use heapless::VecView;

use super::{
    NO_STATUS, ROUND, Sv, Task,
    describe::{describe, warn_of},
    service::{Unavailable, probe, send},
};
use crate::{
    machine::completion::{Completion, completion},
    supervisor::rundir,
    sys::{
        self, AsFd, At, Errno,
        child::{self, ExitStatus, Program},
        clock, file,
        inotify::{Event, Inotify, WatchId, WatchKind},
        poller, proc,
        signal::Signals,
    },
    text::{Line, Path, keep},
    wire::status::Status,
};

/// Microseconds before the first check of the effect of a command.
const FIRST_POLL: u64 = 250;

/// Maximum delay before the last check without events. Together with the
/// delays before it that is three times as long, 12 ms.
const MAX_POLL: Duration = Duration::from_millis(4);

/// Progress of a service's `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// It has to run once the other conditions hold.
    Due,
    /// As `Due`, but at the last check the service's process was too young.
    TooYoung,
    /// It runs, as this process.
    Running(u32),
    /// It has succeeded.
    Passed,
    /// It has failed; the next round runs it again.
    Failed,
}

/// Maximum time between fork and exec of a service's process. After that it
/// counts as the program whatever /proc says, since /proc may show the
/// processes of another namespace.
const EXEC_LIMIT: Duration = Duration::from_secs(1);

/// Minimum run time of a service that was down before it counts as up, so
/// that one whose `./run` ends at once does not. runit's rounds rarely observe
/// such a short run, but events would report each.
const MIN_UPTIME: Duration = Duration::from_millis(100);

/// Returns true when it is too early to tell whether the service runs: its
/// process has just started, is still a copy of the supervisor, or is gone.
/// It may turn out that `./run` cannot be executed.
fn is_too_young(before: &Status, now: &Status) -> bool {
    let wall = clock::wall().in_nanos();
    // A start in the future means that the clock was set.
    let Some(age) = wall.checked_sub(now.since.in_nanos()) else {
        return false;
    };
    let age = Duration::from_nanos(age);
    before.pid == 0 && age < MIN_UPTIME
        || age < EXEC_LIMIT && !proc::is_program(now.pid)
}

impl Task {
    /// Returns true when only the next round can bring progress.
    fn needs_rounds(&self) -> bool {
        !self.sent || self.watch == [None; 2] || self.check == Check::Failed
    }

    /// Watches the supervise directory, or the directory in which it will
    /// appear.
    fn watch(&mut self, watch: Option<&Inotify>) {
        let Some(watch) = watch else { return };
        if file::change_dir_to(self.dir.as_fd()).is_err() {
            return;
        }
        if !self.sent {
            // Without this watch a round notices the directory.
            let _watched = watch.add(c".", WatchKind::Entries).is_ok();
        }
        let here = watch.add(c"supervise", WatchKind::Status).ok();
        // The one of the two that is not in use causes no events.
        let there = rundir::path(self.dir.as_fd(), b"")
            .ok()
            .and_then(|rundir| {
                Path::join(&[rundir.as_bytes(), b"/supervise"]).ok()
            })
            .and_then(|path| {
                watch.add(path.as_c_str(), WatchKind::Status).ok()
            });
        self.watch = [here, there];
    }

    /// Handles a change in a watched directory.
    fn on_event(&mut self, change: Event<'_>) {
        if !self.sent || change.id == WatchId::MAX {
            self.stale = true;
        } else if self.watch.contains(&Some(change.id)) {
            match change.name {
                // `status.new` was renamed to `status`, or `ok` has lost its
                // reader.
                b"status.new" | b"ok" => self.stale = true,
                // The directory itself was replaced.
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
        if self.poll_briefly(tasks, signals) {
            return;
        }
        // At least one round: runit measures the time before it sleeps, so
        // that a limit of 0 is one round.
        let until = clock::mono().after(self.limit.max(ROUND));
        let mut round = clock::mono().after(ROUND);
        let watch = Inotify::new().ok();
        for task in tasks.iter_mut() {
            task.watch(watch.as_ref());
        }
        loop {
            // Taken before the checks, so that everything is checked once
            // more when the time is up.
            let late = clock::mono() > until;
            while let Some((pid, end)) = child::reap() {
                let passed = matches!(
                    end,
                    ExitStatus::Exited(0) | ExitStatus::Killed(..)
                );
                let check = Check::Running(pid);
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
            // After the limit only a running `check` is waited for.
            let mut pause = None;
            if !late {
                let now = clock::mono();
                let mut next = until.after(Duration::from_nanos(1));
                if tasks.iter().any(Task::needs_rounds) {
                    next = next.min(round);
                }
                let too_young =
                    |task: &&mut Task| task.check == Check::TooYoung;
                for task in tasks.iter_mut().filter(too_young) {
                    task.stale = true;
                    next = next.min(now.after(MAX_POLL));
                }
                pause = Some(next.since(now));
            }
            let ended = signals.as_fd();
            let changed = watch.as_ref().map_or(ended, Inotify::as_fd);
            // The next iteration finds out what has happened.
            let _woken = poller::readable([changed, ended], pause).is_ok();
            while signals.next().is_some() {}
            if let Some(watch) = &watch {
                let all = watch.drain(|change| {
                    tasks.iter_mut().for_each(|task| task.on_event(change));
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

    /// Checks a few times before inotify is used: most commands take effect
    /// within milliseconds, and the kernel takes up to 20 ms to close an
    /// inotify descriptor. Returns true when everything is done.
    fn poll_briefly(
        &mut self,
        tasks: &mut VecView<Task>,
        signals: &Signals,
    ) -> bool {
        let (mut micros, mut past) = (FIRST_POLL, 0_u64);
        loop {
            let pause = Duration::from_micros(micros);
            if pause > MAX_POLL {
                break;
            }
            let _woken =
                poller::readable([signals.as_fd()], Some(pause)).is_ok();
            keep(tasks, |task| !self.is_done(task, false));
            let checks = |task: &Task| matches!(task.check, Check::Running(_));
            if tasks.is_empty() || tasks.iter().any(checks) {
                break;
            }
            // Each delay is half the time elapsed, so completion is noticed
            // at most 50 % late.
            past = past.saturating_add(micros);
            micros = past >> 1;
        }
        tasks.is_empty()
    }

    /// Returns true when there is nothing more to wait for, after printing
    /// the result. `late`: the time is up.
    fn is_done(&mut self, task: &mut Task, late: bool) -> bool {
        let name = task.name.to_bytes();
        if matches!(task.check, Check::Running(_)) {
            return false;
        }
        let sent = if task.sent {
            Ok(())
        } else {
            self.send_command(task)
        };
        let now = match sent.and_then(|()| probe(task.dir.as_fd())) {
            Ok(now) => now,
            Err(reason) => {
                let running = reason.is_record();
                let may_start = task.before == NO_STATUS
                    && self.command.starts()
                    && reason.is_transient();
                if !late && (running || may_start) {
                    return false;
                }
                if running && self.command.kills {
                    // The service is not known to have stopped in time. A
                    // supervisor that has ended is reported below.
                    let _sent = send(task.dir.as_fd(), b"k").is_err();
                }
                self.report(name, reason);
                return true;
            }
        };
        let holds = match completion(self.command.tests, &task.before, &now) {
            Completion::NotYet => false,
            Completion::Holds => true,
            Completion::IfChecked => match task.check {
                Check::Passed => true,
                Check::Due | Check::TooYoung
                    if is_too_young(&task.before, &now) =>
                {
                    task.check = Check::TooYoung;
                    false
                }
                Check::Due | Check::TooYoung => self.start_check(task),
                Check::Running(_) | Check::Failed => false,
            },
        };
        if matches!(task.check, Check::Running(_)) {
            return false;
        }
        // It passed, but another condition has changed since.
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
        if kills && let Err(reason) = send(dir, b"k") {
            self.report(name, reason);
        }
        true
    }

    /// Sends the command to a service, whatever its record says and even if
    /// it cannot be read: the FIFO alone shows that a supervisor is there
    /// (contract §18).
    pub(super) fn send_command(
        &mut self,
        task: &mut Task,
    ) -> Result<(), Unavailable> {
        let before = probe(task.dir.as_fd());
        task.before = before.unwrap_or(NO_STATUS);
        match (self.command.act, before) {
            ([], before) => {
                before?;
            }
            (act, _) => send(task.dir.as_fd(), act)?,
        }
        if file::info(task.dir.as_fd(), c"run") == Err(Errno::ENOENT) {
            // A shared logger: its process stays the same when the stream
            // is restarted.
            task.before.pid = 0;
        }
        task.sent = true;
        Ok(())
    }

    /// Starts a service's `check`. Returns true when there is none: that
    /// counts as passed. One that cannot be executed passes too (contract
    /// §4.7).
    fn start_check(&mut self, task: &mut Task) -> bool {
        let (dir, name) = (task.dir.as_fd(), task.name.to_bytes());
        let failed = match file::info(dir, c"check") {
            Ok(_) => match child::fork() {
                Ok((true, _)) => self.exec_check(dir, name),
                Ok((false, pid)) => {
                    task.check = Check::Running(pid);
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

    /// Executes a service's `check` in this process, with descriptor 1 closed.
    /// Exits with 0 when that fails.
    fn exec_check(&self, dir: At<'_>, name: &[u8]) -> ! {
        let errno = file::change_dir_to(dir).err().unwrap_or_else(|| {
            // A failure means that it was closed already.
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
