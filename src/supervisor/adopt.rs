//! Decides whether a running process is one that an earlier supervisor of the
//! same directory has started, and watches it from then on: it is not a child
//! of this process.
//!
//! The ledger has the number of the process and the time of its start. Without
//! a row of the ledger, `supervise/status` has the number. It is the same
//! process if it was started before that record was written, and either works
//! in the service directory or was started when the record says. A process
//! that was started later only has got the number of one that has ended. Where
//! neither can be told (the process has changed its directory, and the clock
//! was set; no /proc), nothing may be started beside it: [`Verdict::Unclear`].

use crate::{
    sys::{
        AsFd as _, At, Errno, Fd, child, clock,
        file::Identity,
        pidfd,
        poller::{Interest, Poller},
        proc,
        signal::{self, Number},
    },
    wire::{
        clock::Wall,
        status::{State, Status},
    },
};

use super::source::Source;

/// Maximum nanoseconds between a start and the time that a record shows for
/// it.
const START_SLACK: u64 = 1_000_000_000;

/// Nanoseconds by which a file system may round the time of a change down.
const FILE_SLACK: u64 = 2_000_000_000;

/// State of an ended process in /proc, which its parent has not reaped.
const ZOMBIE: u8 = b'Z';

/// Knowledge of a process that was running.
#[derive(Clone, Copy, Debug)]
pub(super) enum Evidence {
    /// Its published status, and when that was written.
    Status(Status, Wall),
    /// Ticks since boot, modulo 2^32, before and after its start; 0 if it is
    /// not known when that was done.
    Started([u32; 2]),
    /// It may be the service's.
    Doubt,
}

/// Result of [`judge`].
#[derive(Debug)]
pub(super) enum Verdict {
    /// It has ended; its number may be that of another process.
    Gone,
    /// It runs.
    Runs(Watch),
    /// It may be the process with this number.
    Unclear(Watch),
}

/// A running process that is not a child of this one.
#[derive(Debug)]
pub(super) struct Watch {
    pid: u32,
    /// `None` where the kernel has no such descriptors, or too few are left.
    pidfd: Option<Fd>,
    /// Time of its start in ticks since boot; 0 if that is unknown.
    started: u64,
}

/// Decides whether the process `pid` is the one that was started for a service
/// in the directory `dir`, which it should work in.
pub(super) fn judge(
    pid: u32,
    dir: Option<Identity>,
    known: Evidence,
) -> Verdict {
    // From here on the number, if it is that of a process, stays its own.
    let pidfd = match pidfd::open(pid) {
        // EINVAL: a thread.
        Err(Errno::ESRCH | Errno::EINVAL) => return Verdict::Gone,
        opened => opened.ok(),
    };
    let mut watch = Watch {
        pid,
        pidfd,
        started: 0,
    };
    let Some((state, started)) = proc::start(pid) else {
        return if watch.has_ended() {
            Verdict::Gone
        } else {
            Verdict::Unclear(watch)
        };
    };
    watch.started = started;
    if state == ZOMBIE || watch.has_ended() {
        return Verdict::Gone;
    }
    let same = match known {
        Evidence::Status(status, written) => {
            let is_in = |dir| proc::cwd(pid) == Ok(dir);
            is_recorded(started, &status, written, &|| dir.is_some_and(is_in))
        }
        Evidence::Started(between) => Some(is_between(started, between)),
        Evidence::Doubt => None,
    };
    match same {
        Some(true) => Verdict::Runs(watch),
        Some(false) => Verdict::Gone,
        None => Verdict::Unclear(watch),
    }
}

/// Returns the status of a role's process that is a child of this process,
/// which has faulted: the published one, or that of a process in `dir` that
/// was started after it was `written`.
pub(super) fn own_child(
    status: &Status,
    dir: Option<Identity>,
    written: Wall,
) -> Option<Status> {
    if status.state != State::Down && child::is_child(status.pid) {
        return Some(*status);
    }
    let pid = proc::find_led(dir?, &|pid| {
        let age = proc::start(pid).map(|(_, started)| age_of(started));
        let now = clock::wall().in_nanos();
        let started = age.map_or(0, |age| now.saturating_sub(age));
        // Both times are rounded down.
        let tick = u64::from(clock::TICK).saturating_mul(2);
        started.saturating_add(tick) >= written.in_nanos()
    });
    Some(Status {
        pid: pid?,
        state: State::Run,
        since: clock::wall(),
        ..*status
    })
}

/// Returns the age in nanoseconds of a process that was `started` at this tick.
fn age_of(started: u64) -> u64 {
    let age = clock::boot_ticks().saturating_sub(started);
    age.saturating_mul(clock::TICK.into())
}

/// Maximum ticks of a start that was cut short.
const START_TICKS: u32 = 100;

/// Returns whether a process was `started` between two times, if the second is
/// known.
fn is_between(started: u64, [before, after]: [u32; 2]) -> bool {
    let started = u32::try_from(started & u64::from(u32::MAX)).unwrap_or(0);
    let most = if after == 0 {
        START_TICKS
    } else {
        after.wrapping_sub(before)
    };
    started.wrapping_sub(before) <= most
}

/// Returns whether a process that was `started` at this tick is the one of a
/// status that was `written` then; `None` if that cannot be told. `in_place`
/// returns whether it works in the service directory.
fn is_recorded(
    started: u64,
    status: &Status,
    written: Wall,
    in_place: &dyn Fn() -> bool,
) -> Option<bool> {
    let age = age_of(started);
    let now = clock::wall().in_nanos();
    let started = now.saturating_sub(age);
    let written = written.in_nanos();
    // A record from the future was written when the clock had another setting.
    let comparable = written <= now.saturating_add(FILE_SLACK);
    if comparable && started > written.saturating_add(FILE_SLACK) {
        return Some(false);
    }
    let distance = started.abs_diff(status.since.in_nanos());
    let begun = status.state == State::Run && distance <= START_SLACK;
    if begun || in_place() {
        return Some(true);
    }
    (!comparable).then_some(false)
}

impl Watch {
    /// Returns the watch of a process that has ended.
    pub(super) fn ended(pid: u32) -> Self {
        Self {
            pid,
            pidfd: None,
            // No process starts then.
            started: u64::MAX,
        }
    }

    /// Returns the number of the process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Makes the end of the process wake the loop as `source`. Returns false
    /// if it has to be asked for again and again.
    pub(super) fn listen(&mut self, poller: &Poller, source: Source) -> bool {
        let watched = self.pidfd.as_ref().is_some_and(|pidfd| {
            let fd: At<'_> = pidfd.as_fd();
            poller.add(fd, Interest::Readable, source.token()).is_ok()
        });
        if !watched {
            self.pidfd = None;
        }
        watched
    }

    /// Returns whether the loop has to ask again and again.
    pub(super) fn is_polled(&self) -> bool {
        self.pidfd.is_none()
    }

    /// Returns whether the process has ended.
    pub(super) fn has_ended(&self) -> bool {
        if let Some(pidfd) = &self.pidfd {
            return pidfd::has_ended(pidfd.as_fd());
        }
        match proc::start(self.pid) {
            Some((state, started)) => {
                state == ZOMBIE || self.started != 0 && self.started != started
            }
            None => signal::is_unused(self.pid),
        }
    }

    /// Sends the process a signal, or with `group` the process group that it
    /// leads.
    pub(super) fn send(&self, signal: Number, group: bool) {
        let done = match &self.pidfd {
            Some(pidfd) if !group => pidfd::kill(pidfd, signal),
            _ if self.has_ended() => return,
            _ if group => signal::kill_led(self.pid, signal),
            _ => signal::kill(self.pid, signal),
        };
        // ESRCH: it has ended, and that is about to be noticed.
        let _ended = done.is_err();
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::wire::status::Want;

    /// Returns the verdict on a process of this age, in seconds, for a status
    /// that shows one of the age `since`, written `written` seconds ago.
    fn verdict(
        age: u64,
        since: u64,
        written: i64,
        state: State,
        in_place: bool,
    ) -> Option<bool> {
        let now = clock::wall();
        let ago = |secs: i64| Wall {
            secs: now.secs.checked_add_signed(-secs).unwrap(),
            ..now
        };
        let status = Status {
            since: ago(since.try_into().unwrap()),
            pid: 7,
            paused: false,
            term: false,
            want: Want::Up,
            state,
        };
        let started = clock::boot_ticks() - age * 100;
        is_recorded(started, &status, ago(written), &|| in_place)
    }

    #[test]
    fn a_process_is_recognised_by_its_start() {
        assert!(is_between(700, [700, 700]));
        assert!(is_between(701, [700, 703]));
        assert!(!is_between(699, [700, 703]));
        assert!(!is_between(704, [700, 703]));
        // The supervisor was killed before it took the second time.
        assert!(is_between(800, [700, 0]));
        assert!(!is_between(801, [700, 0]));
        // After 497 days.
        assert!(is_between((1 << 32) + 5, [u32::MAX, 6]));
        assert!(!is_between((1 << 32) + 7, [u32::MAX, 6]));
    }

    #[test]
    fn a_process_is_recognised_by_time_and_place() {
        let (run, finish) = (State::Run, State::Finish);
        let (day, ahead) = (86_400, -86_400);
        // age, age in the record, age of the record, state, in the directory
        let rows = [
            (500, 500, 500, run, true, Some(true)),
            // A daemon that works elsewhere.
            (500, 500, 500, run, false, Some(true)),
            // Its number was used again after the record was written.
            (100, 500, 400, run, true, Some(false)),
            (100, 500, 400, run, false, Some(false)),
            // A `./finish` starts later than its record shows.
            (100, 500, 99, finish, true, Some(true)),
            (100, 500, 99, finish, false, None),
            // The clock was set since.
            (500, 200, 200, run, false, None),
            (500, 9 * day, 1, run, false, None),
            (500, 9 * day, 1, run, true, Some(true)),
            // A record of another boot, on a board without a clock.
            (500, 0, ahead, run, false, Some(false)),
            (500, 0, ahead, run, true, Some(true)),
        ];
        for (age, since, written, state, in_place, expected) in rows {
            assert_eq!(
                verdict(age, since, written, state, in_place),
                expected,
                "{age} {since} {written} {state:?} {in_place}"
            );
        }
    }
}
