//! State of one process of a slot, service or log service, and the effect of
//! its end.

use super::{Action, Actions, Exit, Facts, Role, push};
use crate::wire::{
    clock::{Instant, Now},
    status::{State, Status, Want},
    why::Waits,
};

/// Exit code of `./finish` that means: do not start the service again (as in
/// s6-supervise).
const PERMANENT_FAILURE: Exit = Exit {
    code: 125,
    signal: 0,
};

/// One of the two processes of a slot.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Process {
    pub(super) state: State,
    pub(super) want: Want,
    pub(super) pid: Option<u32>,
    /// A process that may be this one, left by another supervisor: nothing is
    /// started before it has ended.
    pub(super) held: Option<u32>,
    pub(super) paused: bool,
    pub(super) term: bool,
    /// Time of the last change of state.
    pub(super) since: Instant,
    /// The same as `status` shows it: nanoseconds since 1970.
    pub(super) status_time: u64,
    /// Time at which `./run` was started.
    pub(super) started_at: Instant,
    /// Earliest time of the next start, and the reason for the wait.
    pub(super) due: Option<(Instant, Waits)>,
    /// Deadline at which the process is killed.
    pub(super) limit: Option<Instant>,
    /// Start it once although it is not wanted up: byte `o`.
    pub(super) once: bool,
    /// The script `u`, which precedes each start, has ended.
    pub(super) ready: bool,
    /// Its `./finish` asked not to start it again, and no byte has asked for a
    /// start since.
    pub(super) failed: bool,
    /// Number of short runs in a row.
    pub(super) short_runs: u32,
    /// Exit status that `./finish` gets as arguments.
    pub(super) exit: Exit,
}

impl Process {
    /// Returns a process that was never started.
    pub(super) fn new(down: bool, now: Now) -> Self {
        Self {
            state: State::Down,
            want: if down { Want::Down } else { Want::Up },
            pid: None,
            held: None,
            paused: false,
            term: false,
            since: now.mono,
            status_time: now.wall.in_nanos(),
            started_at: now.mono,
            due: None,
            limit: None,
            once: false,
            ready: false,
            failed: false,
            short_runs: 0,
            exit: Exit { code: 0, signal: 0 },
        }
    }

    /// Records the time of a change of state.
    pub(super) fn changed(&mut self, now: Now) {
        self.since = now.mono;
        self.status_time = now.wall.in_nanos();
    }

    /// Returns true if nothing runs and no `./finish` is due.
    pub(super) fn is_down(&self) -> bool {
        self.state == State::Down && self.pid.is_none()
    }

    /// Returns true if `./run` is running.
    pub(super) fn runs(&self) -> bool {
        self.state == State::Run && self.pid.is_some()
    }

    /// Returns true if there is something to start, now or when it is due.
    pub(super) fn wants_start(&self) -> bool {
        let wanted = self.want == Want::Up || self.once;
        let starts =
            self.state == State::Finish || self.state == State::Down && wanted;
        starts && self.held.is_none()
    }

    /// Takes over a running process with the status that another supervisor
    /// published. A want that may stand for an end of the supervision, which
    /// was not completed, does not count.
    pub(super) fn adopt(&mut self, status: &Status, now: Now) {
        let age = now.wall.in_nanos().saturating_sub(status.since.in_nanos());
        let since = now.mono.nanos().saturating_sub(age);
        self.state = match status.state {
            State::Finish => State::Finish,
            // The published state of a process that was held.
            State::Run | State::Down => State::Run,
        };
        self.pid = Some(status.pid);
        self.paused = status.paused;
        self.term = status.term;
        self.since = Instant::at(since);
        self.status_time = status.since.in_nanos();
        self.started_at = self.since;
        if status.want == Want::Up {
            self.want = Want::Up;
        }
    }

    /// Handles its end: takes edge 2, 3 or 4.
    pub(super) fn ended(
        &mut self,
        role: Role,
        exit: Exit,
        facts: Facts,
        now: Now,
        actions: &mut Actions,
    ) {
        let asked = self.term || self.want != Want::Up;
        self.pid = None;
        self.term = false;
        self.limit = None;
        let age = now.mono.since(self.started_at);
        if self.state == State::Run {
            let known = exit != Exit::UNKNOWN;
            let short = facts.restart_delay.is_short(age) && !asked && known;
            let more = self.short_runs.saturating_add(1);
            self.short_runs = if short { more } else { 0 };
            if facts.finish && role == Role::Service {
                self.state = State::Finish;
                self.exit = exit;
                return;
            }
        }
        let finishes = self.state == State::Finish;
        if finishes && exit == PERMANENT_FAILURE && self.want == Want::Up {
            self.want = Want::Down;
            self.failed = true;
            push(actions, Action::GiveUp);
        }
        self.state = State::Down;
        self.changed(now);
        let (wait, waits) = facts.restart_delay.wait(self.short_runs, age, now);
        // A logger ends with its supervisor, as the last writer of its pipe.
        let is_left = role == Role::Log && exit == Exit::UNKNOWN;
        let waits_now = !wait.is_zero() && !is_left;
        self.due = waits_now.then(|| (now.mono.after(wait), waits));
        if waits == Waits::Parked
            && self.short_runs == facts.restart_delay.max_deaths
        {
            push(actions, Action::Parked);
        }
    }
}
