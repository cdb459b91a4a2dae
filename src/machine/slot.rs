//! How one service directory lives: its service, its log service, their ends.
//!
//! Each of the two is a process with the states of runit (contract §2):
//!
//! ```text
//!            1 want up, pause over       2 ended, ./finish is there
//!          +---------------------> Run ------------------------> Finish
//!   Down --|                        |                              |
//!    ^     +-- (1 also: byte o)     | 3 ended, no ./finish         |
//!    |                              v                              |
//!    +------------------------------+<-----------------------------+
//!                                        4 ./finish ended
//! ```
//!
//! 1 [`Slot::settle`] asks for the start, [`Slot::started`] takes the edge;
//! 2, 3, 4 [`Slot::ended`]. A log service has no `Finish` (contract §2.1). A
//! `./finish` that exits with 125 makes *want up* a *want down* at 4.
//!
//! | byte | Down | Run | Finish |
//! |---|---|---|---|
//! | u | want up; 1 at once | want up | want up |
//! | d | want down | want down, [t], CONT, (d) | want down |
//! | o | want down; 1 at once | want down | want down |
//! | x | want exit | want exit, [t], CONT, (x) | want exit |
//! | t | - | [t]; CONT, (d) or (x) unless want up | - |
//! | k | - | [k] KILL | KILL |
//! | p c | flag | [p] STOP, flag or [c] CONT, flag | flag |
//! | a h i q 1 2 | - | [that byte] that signal | - |
//!
//! `[t]` is: run the script `control/t` of the service directory and, unless
//! that exits with 0, send TERM. `(d)`: run `control/d`, whatever comes of
//! it. `(u)` runs so before each 1. A log service has no scripts.
//!
//! # Scripts
//! A script is a child of the slot like any other, [`Role::Script`], one at a
//! time. While it runs the slot is [`Slot::busy`]: bytes for its service stay
//! in the FIFO, whose size (64 kB on Linux) bounds them, and its service is
//! not started; that it ended is taken at once. The log service and all other
//! slots do not notice.
//!
//! # Limits
//! The owner may put a moment to each child, [`Slot::limit`]: to the service
//! once it was told to stop (`timeout-kill`), to `./finish`
//! (`timeout-finish`), to each script, to the log service once its pipe is
//! closed (`log/timeout-kill`). A child that lives longer is killed, and that
//! is said: [`Action::Late`].
//!
//! # The end
//! The owner's [`Slot::leave`] is byte `x`, and no `u`, `d` or `o` takes it
//! back. When the service wants exit and is down, and its scripts have
//! ended, the log service is told to end by closing the pipe (it then reads
//! what is left); when that is down too, the slot is gone. If somebody kills
//! it before it is done, another goes on.
//!
//! # Invariants
//! At most one child of each role; a step asks for one start at most, as its
//! last action; no start before the wait of [`Pace`] is over, unless the
//! operator asks; no deadline is left in the past (the owner would spin); a
//! slot whose service wants exit comes to [`Action::Gone`] when its children
//! end. The tests walk every reachable state with every event.
//!
//! # Against runit (§16)
//! `k` changes no state before the process was reaped (4) and reaches
//! `./finish` (5); the pause after a short life is a moment, not a sleep (6);
//! `x` with a logger lets `./finish` run before the pipe closes (3). Nobody
//! waits for a script; one that a signal ended has not handled its byte
//! (runit takes it for success, see 24).

mod control;
mod process;

use heapless::Vec;

use self::{control::Script, process::Process};
use super::restart_delay::{RETRY, RestartDelay};
use crate::wire::{
    clock::{Instant, Now, Wall},
    control::{Control, Signal, decode, encode},
    status::{State, Status, Want},
    why::Waits,
};

/// Most actions of one step: the end of a script `t` gives TERM, its limit,
/// CONT and the next script. The exhaustive test proves the bound.
pub const ACTIONS: usize = 4;

/// Starts of a log service that has to read what its service has left: once if
/// it waits to be restarted then, and again if somebody kills it at that.
const DRAINS: u8 = 3;

/// Which child of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `./run` of the service directory, and then its `./finish`.
    Service,
    /// `./run` of its `log` directory.
    Log,
    /// The script of its `control` directory that runs now.
    Script,
}

/// What the owner of a slot has to do, in this order.
///
/// The first three are starts: the owner tells [`Slot::started`] or
/// [`Slot::refused`] before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start `./run`.
    Run(Role),
    /// Start `./finish` with what it is told.
    Finish(Exit),
    /// Start the script of this byte; refused when there is none.
    Script(u8),
    /// Send the process this signal.
    Signal(Role, Signal),
    /// The service was told to stop: tell [`Slot::limit`] until when it may
    /// take, if that is bounded.
    Limit,
    /// The child has had its time: kill it and say so.
    TimedOut(Role),
    /// The service has died too often and is parked: say so.
    Parked,
    /// `./finish` exited with 125, so the service is wanted down now: say so.
    GiveUp,
    /// Close the end of the log pipe that is written to, and bound what the
    /// log service still may take as for [`Action::Limit`]. Again when it was
    /// started once more.
    ClosePipe,
    /// The slot has ended: release everything.
    Gone,
}

/// What a step asks for.
pub type Actions = Vec<Action, ACTIONS>;

/// How a child ended, as `./finish` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// Its exit code, or -1 when a signal ended it.
    pub code: i16,
    /// Low byte of the wait status.
    pub signal: u8,
}

/// What the service directory says now that a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    /// There is a `finish`.
    pub finish: bool,
    /// How restarts are paced.
    pub pace: RestartDelay,
}

/// One service directory.
#[derive(Clone, Copy, Debug)]
pub struct SlotState {
    service: Process,
    log: Option<Process>,
    script: Option<Script>,
    /// The owner wants it to end; obeyed when no script runs, and no byte
    /// takes it back.
    leaving: bool,
    /// The log service was told to end by closing its pipe.
    closed: bool,
    /// How often the log service was started once more to read what is left.
    drains: u8,
}

impl SlotState {
    /// A service directory that nothing has been started for. `down` and
    /// `log_down` say whether there is a file `down`; `log_down` is `None`
    /// without a log service.
    pub fn new(down: bool, log_down: Option<bool>, now: Now) -> Self {
        Self {
            service: Process::new(down, now),
            log: log_down.map(|down| Process::new(down, now)),
            script: None,
            leaving: false,
            closed: false,
            drains: 0,
        }
    }

    /// Adds a log service to a slot that has none; `down` says whether there is a
    /// file `log/down`. To be called between a start of the service and its
    /// report, so that the step that takes that asks for the log's start.
    pub fn add_log(&mut self, down: bool, now: Now) {
        if self.log.is_none() {
            self.log = Some(Process::new(down, now));
        }
    }

    /// What to publish for a process; `None` for one that the slot does not
    /// have.
    pub fn status(&self, role: Role) -> Option<Status> {
        let process = self.process(role)?;
        Some(Status {
            since: Wall::from_nanos(process.status_time),
            pid: process.pid.unwrap_or(0),
            paused: process.paused,
            term: process.term,
            want: process.want,
            state: process.state,
        })
    }

    /// The child's number while there is one.
    pub fn pid(&self, role: Role) -> Option<u32> {
        match role {
            Role::Script => self.script?.pid,
            Role::Service | Role::Log => self.process(role)?.pid,
        }
    }

    /// Which of the slot's children has this number.
    pub fn role_of(&self, pid: u32) -> Option<Role> {
        [Role::Service, Role::Log, Role::Script]
            .into_iter()
            .find(|role| self.pid(*role) == Some(pid))
    }

    /// Whether a script runs: bytes for the service have to wait, and
    /// [`Slot::control`] does not take them.
    pub fn busy(&self) -> bool {
        self.script.is_some()
    }

    /// Whether the service is not to be started again, as things are.
    pub fn wants_down(&self) -> bool {
        self.service.want != Want::Up
    }

    /// When the service's `./run` was started.
    pub fn started_at(&self) -> Instant {
        self.service.started_at
    }

    /// What the service waits for, and until when if that is known.
    pub fn waits(&self) -> (Waits, Option<Instant>) {
        let service = &self.service;
        match (self.script, service.due) {
            (Some(script), _) => {
                (Waits::Control(encode(script.control)), script.limit)
            }
            (None, Some((due, waits))) if service.wants_start() => {
                (waits, Some(due))
            }
            (None, _) if service.state == State::Finish => {
                (Waits::Finish, service.limit)
            }
            (None, _) if service.failed => (Waits::Failed, None),
            (None, _) => (Waits::Nothing, None),
        }
    }

    /// The next moment at which [`Slot::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let start = |process: &Process| {
            let waits = process.pid.is_none() && process.wants_start();
            process.due.filter(|_| waits).map(|(due, _)| due)
        };
        [
            self.service.limit,
            self.log.and_then(|log| log.limit),
            self.script.and_then(|script| script.limit),
            start(&self.service).filter(|_| !self.busy()),
            self.log.as_ref().and_then(start),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A byte was written to a control FIFO.
    pub fn control(&mut self, role: Role, byte: u8, now: Now) -> Actions {
        let mut actions = Actions::new();
        if let Some(control) = decode(byte)
            && !(role == Role::Service
                && (self.busy() || self.would_revive(control)))
        {
            self.apply(role, control, &mut actions);
        }
        self.settle(now, &mut actions);
        actions
    }

    /// Whether the owner wants it to end.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Whether a control would keep from ending what the owner wants to end.
    fn would_revive(&self, control: Control) -> bool {
        let wants =
            matches!(control, Control::Up | Control::Down | Control::Once);
        self.leaving && wants
    }

    /// The owner wants the slot to end: byte `x`, as soon as no script runs.
    pub fn leave(&mut self, now: Now) -> Actions {
        self.leaving = true;
        self.tick(now)
    }

    /// The owner is done waiting: KILL to service and script, without asking
    /// `control/k`.
    pub fn kill(&self) -> Actions {
        let mut actions = Actions::new();
        for role in [Role::Service, Role::Script] {
            if self.pid(role).is_some() {
                push(&mut actions, Action::Signal(role, Signal::Kill));
            }
        }
        actions
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) -> Actions {
        let mut actions = Actions::new();
        let late = |limit: &mut Option<Instant>| {
            limit.take_if(|limit| *limit <= now.mono).is_some()
        };
        if late(&mut self.service.limit) {
            push(&mut actions, Action::TimedOut(Role::Service));
        }
        if self.log.as_mut().is_some_and(|log| late(&mut log.limit)) {
            self.drains = DRAINS;
            push(&mut actions, Action::TimedOut(Role::Log));
        }
        if self.script.as_mut().is_some_and(|s| late(&mut s.limit)) {
            push(&mut actions, Action::TimedOut(Role::Script));
        }
        self.settle(now, &mut actions);
        actions
    }

    /// The wall clock was set: what `status` shows as moments is what it would
    /// have shown had it been right before. Nothing else changes.
    pub fn restamp(&mut self, now: Now) {
        let processes = [Some(&mut self.service), self.log.as_mut()];
        for process in processes.into_iter().flatten() {
            process.status_time = now.wall_of(process.since).in_nanos();
        }
    }

    /// A child has until `limit`; of several the earliest holds.
    pub fn limit(&mut self, role: Role, limit: Instant) {
        let pid = self.pid(role);
        let place = match (role, &mut self.script) {
            (Role::Script, Some(script)) => Some(&mut script.limit),
            _ => self.process_mut(role).map(|process| &mut process.limit),
        };
        if let (Some(place), Some(_)) = (place, pid) {
            *place = Some(place.map_or(limit, |until| until.min(limit)));
        }
    }

    /// The child that an action asked for runs as `pid`.
    pub fn started(&mut self, role: Role, pid: u32, now: Now) -> Actions {
        let mut actions = Actions::new();
        if let (Role::Script, Some(script)) = (role, &mut self.script) {
            script.pid = Some(pid);
        } else if let Some(process) = self.process_mut(role) {
            process.pid = Some(pid);
            process.paused = false;
            process.term = false;
            process.once = false;
            process.ready = false;
            process.due = None;
            process.limit = None;
            if process.state == State::Down {
                process.state = State::Run;
                process.changed(now);
                process.started_at = now.mono;
            }
        }
        self.settle(now, &mut actions);
        actions
    }

    /// The child that an action asked for cannot be had: the kernel refused
    /// it, or there is no such script.
    pub fn refused(&mut self, role: Role, now: Now) -> Actions {
        let mut actions = Actions::new();
        if role == Role::Script {
            self.script_ended(false, &mut actions);
        } else if let Some(process) = self.process_mut(role) {
            process.due = Some((now.mono.after(RETRY), Waits::Fork));
        }
        self.settle(now, &mut actions);
        actions
    }

    /// A child has ended.
    pub fn ended(
        &mut self,
        role: Role,
        exit: Exit,
        facts: Facts,
        now: Now,
    ) -> Actions {
        let mut actions = Actions::new();
        if role == Role::Script {
            let handled = exit == Exit { code: 0, signal: 0 };
            self.script_ended(handled, &mut actions);
        } else if let Some(process) = self.process_mut(role) {
            let killed = exit.signal != 0 && !process.term;
            process.ended(role, exit, facts, now, &mut actions);
            if role == Role::Log && killed && self.drains < DRAINS {
                self.restart_log();
            }
        }
        self.settle(now, &mut actions);
        actions
    }

    /// Asks for what the state wants: the steps of the end, then one start.
    fn settle(&mut self, now: Now, actions: &mut Actions) {
        let wants_exit = self.service.want == Want::Exit;
        if self.leaving && self.script.is_none() && !wants_exit {
            self.apply(Role::Service, Control::Exit, actions);
        }
        let service = &self.service;
        if service.want == Want::Exit && service.is_down() && !self.busy() {
            self.finish_exit(actions);
        }
        if actions.last().is_some_and(Action::is_start) {
            // Its outcome brings us back.
            return;
        }
        for role in [Role::Log, Role::Service] {
            let Some(process) = self.process(role) else {
                continue;
            };
            if process.pid.is_some()
                || !process.wants_start()
                || process.due.is_some_and(|(due, _)| due > now.mono)
                || role == Role::Service && self.busy()
            {
                continue;
            }
            if process.state == State::Finish {
                push(actions, Action::Finish(process.exit));
            } else if role == Role::Log || process.ready {
                push(actions, Action::Run(role));
            } else {
                self.ask(role, Control::Up, actions);
            }
            return;
        }
    }

    /// The service is down for good: ends the log service, then the slot.
    fn finish_exit(&mut self, actions: &mut Actions) {
        let Some(log) = &mut self.log else {
            push(actions, Action::Gone);
            return;
        };
        if self.closed {
            if log.is_down() {
                push(actions, Action::Gone);
            }
            return;
        }
        if log.is_down() && log.want == Want::Up && self.drains < DRAINS {
            // A logger that waits to be restarted is started now, or what
            // the service wrote last would be lost with the pipe.
            self.drains = self.drains.saturating_add(1);
            log.due = None;
            return;
        }
        self.closed = true;
        log.want = Want::Exit;
        log.once = false;
        push(actions, Action::ClosePipe);
        if log.is_down() {
            push(actions, Action::Gone);
        }
    }

    /// The log service was killed by somebody while it read what is left: the
    /// owner still has that, and the next one goes on with it.
    fn restart_log(&mut self) {
        let ends = self.closed && self.service.want == Want::Exit;
        if let Some(log) = self.log.as_mut().filter(|_| ends) {
            log.want = Want::Up;
            self.closed = false;
        }
    }

    /// The process of a role.
    fn process(&self, role: Role) -> Option<&Process> {
        match role {
            Role::Service => Some(&self.service),
            Role::Log => self.log.as_ref(),
            Role::Script => None,
        }
    }

    /// The process of a role, to change.
    fn process_mut(&mut self, role: Role) -> Option<&mut Process> {
        match role {
            Role::Service => Some(&mut self.service),
            Role::Log => self.log.as_mut(),
            Role::Script => None,
        }
    }
}

impl Action {
    /// Whether the owner reports its outcome.
    pub fn is_start(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Finish(_) | Self::Script(_))
    }
}

/// Adds an action. The bound is proved by the exhaustive test, so that what
/// is dropped here is nothing.
fn push(actions: &mut Actions, action: Action) {
    let full = actions.push(action).is_err();
    debug_assert!(!full, "ACTIONS is too small");
}

#[cfg(test)]
mod test;
