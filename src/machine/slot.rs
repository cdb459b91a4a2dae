//! State machine of one service directory: its service, its log service and
//! the order in which both end.
//!
//! Service and log service are each a process with the states of runit
//! (contract §2):
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
//! 1: `SlotState::settle` requests the start, [`SlotState::started`] takes
//! the edge. 2, 3, 4: [`SlotState::ended`]. A log service has no `Finish`
//! (contract §2.1). A `./finish` that exits with 125 turns *want up* into
//! *want down* at 4.
//!
//! | byte | Down | Run | Finish |
//! |---|---|---|---|
//! | u | want up; 1 at once | want up | want up |
//! | d | want down | want down, `[t]`, CONT, (d) | want down |
//! | o | want down; 1 at once | want down | want down |
//! | x | want exit | want exit, `[t]`, CONT, (x) | want exit |
//! | t | - | `[t]`; CONT, (d) or (x) unless want up | - |
//! | k | - | `[k]` KILL | KILL |
//! | p c | flag | `[p]` STOP, flag or `[c]` CONT, flag | flag |
//! | a h i q 1 2 | - | `[that byte]` that signal | - |
//!
//! `[t]` means: run the script `control/t` of the service directory and,
//! unless that exits with 0, send TERM. `(d)` means: run `control/d` and
//! ignore its result; `(u)` runs in the same manner before each 1. A log
//! service has no scripts.
//!
//! # Scripts
//! A script is a child of the slot like any other, [`Role::Script`]; at most
//! one runs at a time. While it runs the slot is [`SlotState::busy`]: bytes
//! for its service stay in the FIFO, whose size (64 kB on Linux) bounds them,
//! and its service is not started. The end of the service is still taken at
//! once. The log service and all other slots are not affected.
//!
//! # Limits
//! The owner may set a deadline for each child with
//! [`SlotState::set_deadline`]: for the service once it is being stopped
//! (`timeout-kill`), for `./finish` (`timeout-finish`), for each script, and
//! for the log service once its pipe is closed (`log/timeout-kill`). A child
//! that exceeds its deadline is killed, and this is reported:
//! [`Action::TimedOut`].
//!
//! # Exit
//! The owner's [`SlotState::leave`] acts like byte `x`, and no later `u`, `d`
//! or `o` revokes it. When the service wants exit and is down, and its scripts
//! have ended, closing the pipe tells the log service to end after it has read
//! what is left. When that is down too, the slot is gone. If the log service
//! is killed from outside before it has read everything, it is started again
//! to continue.
//!
//! # Invariants
//! There is at most one child of each role. A step requests at most one start,
//! as its last action. No start happens before the wait of `RestartDelay` is
//! over, unless the operator asks for it. No deadline stays in the past (the
//! owner would spin). A slot whose service wants exit reaches [`Action::Ended`]
//! when its children end. The tests walk every reachable state with every
//! event.
//!
//! # Differences from runit (§16)
//! `k` changes no state before the process was reaped (4) and reaches
//! `./finish` (5). The pause after a short run is a deadline, not a sleep (6).
//! `x` with a logger lets `./finish` run before the pipe closes (3). No
//! process waits for a script. A script that was ended by a signal has not
//! handled its byte (runit takes it for success, see 24).

mod action;
mod control;
mod process;
mod saved;
mod takeover;

pub use action::{ACTIONS, Action, Actions, Exit, Facts, Role};

use self::{action::push, control::Script, process::Process};
use super::restart_delay::RETRY;
use crate::wire::{
    clock::{Instant, Now, Wall},
    control::{Control, Signal, decode, encode},
    status::{State, Status, Want},
    why::Waits,
};

/// Maximum number of extra starts of a log service that has to read what its
/// service left: one if it was waiting for its restart, and one each time it
/// is killed from outside while it reads.
const DRAINS: u8 = 3;

/// One service directory.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct SlotState {
    service: Process,
    log: Option<Process>,
    script: Option<Script>,
    /// The owner wants the slot to end. Obeyed when no script runs; no byte
    /// revokes it.
    leaving: bool,
    /// The pipe of the log service was closed, so that it ends.
    closed: bool,
    /// Extra starts of the log service so far, see [`DRAINS`].
    drains: u8,
}

impl SlotState {
    /// Returns the state of a service directory for which nothing was started
    /// yet. `down` and `log_down` tell if a file `down` exists; `log_down` is
    /// `None` without a log service.
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

    /// Adds a log service to a slot that has none. `down` tells if the file
    /// `log/down` exists. Must be called between a start of the service and
    /// its report, so that the step that handles the report requests the log's
    /// start.
    pub fn add_log(&mut self, down: bool, now: Now) {
        if self.log.is_none() {
            self.log = Some(Process::new(down, now));
        }
    }

    /// Returns the status to publish for a process; `None` if the slot does
    /// not have the process.
    pub fn status(&self, role: Role) -> Option<Status> {
        let process = self.process(role)?;
        Some(Status {
            since: Wall::from_nanos(process.status_time),
            pid: process.pid.or(process.held).unwrap_or(0),
            paused: process.paused,
            term: process.term,
            want: process.want,
            state: process.state,
        })
    }

    /// Returns the process ID of a child while it runs.
    pub fn pid(&self, role: Role) -> Option<u32> {
        match role {
            Role::Script => self.script?.pid,
            Role::Service | Role::Log => self.process(role)?.pid,
        }
    }

    /// Returns the role of the child with this process ID.
    pub fn role_of(&self, pid: u32) -> Option<Role> {
        [Role::Service, Role::Log, Role::Script]
            .into_iter()
            .find(|role| self.pid(*role) == Some(pid))
    }

    /// Returns true while a script runs: bytes for the service have to wait,
    /// and [`SlotState::control`] drops them.
    pub fn busy(&self) -> bool {
        self.script.is_some()
    }

    /// Returns true if the service will not be started again in its current
    /// state.
    pub fn wants_down(&self) -> bool {
        self.service.want != Want::Up
    }

    /// Returns the time at which the service's `./run` was started.
    pub fn started_at(&self) -> Instant {
        self.service.started_at
    }

    /// Returns what the service waits for, and until when if that is known.
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
            (None, _) if service.held.is_some() => (Waits::Process, None),
            (None, _) if service.failed => (Waits::Failed, None),
            (None, _) => (Waits::Nothing, None),
        }
    }

    /// Returns the next time at which [`SlotState::tick`] has work to do.
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

    /// Handles a byte that was written to a control FIFO.
    pub fn control(&mut self, role: Role, byte: u8, now: Now) -> Actions {
        let mut actions = Actions::new();
        if let Some(control) = decode(byte)
            && !(role == Role::Service
                && (self.busy() || self.would_restart(control)))
        {
            self.apply(role, control, &mut actions);
        }
        self.settle(now, &mut actions);
        actions
    }

    /// Returns true if the owner wants the slot to end.
    pub fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Returns true if the pipe of the log service was closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Returns true if a control would revoke the end that the owner wants.
    fn would_restart(&self, control: Control) -> bool {
        let wants =
            matches!(control, Control::Up | Control::Down | Control::Once);
        self.leaving && wants
    }

    /// Ends the slot at the owner's request: byte `x`, as soon as no script
    /// runs.
    pub fn leave(&mut self, now: Now) -> Actions {
        self.leaving = true;
        self.tick(now)
    }

    /// Requests KILL for service and script, without `control/k`, because the
    /// owner stops waiting.
    pub fn kill(&self) -> Actions {
        let mut actions = Actions::new();
        for role in [Role::Service, Role::Script] {
            if self.pid(role).is_some() {
                push(&mut actions, Action::Signal(role, Signal::Kill));
            }
        }
        actions
    }

    /// Handles expired deadlines and starts that are due.
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

    /// Handles a step of the wall clock: `status` now shows the times that it
    /// would have shown had the clock been right before. Nothing else changes.
    pub fn restamp(&mut self, now: Now) {
        let processes = [Some(&mut self.service), self.log.as_mut()];
        for process in processes.into_iter().flatten() {
            process.status_time = now.to_wall(process.since).in_nanos();
        }
    }

    /// Sets a deadline for a child; the earliest of several holds.
    pub fn set_deadline(&mut self, role: Role, limit: Instant) {
        let pid = self.pid(role);
        let slot_limit = match (role, &mut self.script) {
            (Role::Script, Some(script)) => Some(&mut script.limit),
            _ => self.process_mut(role).map(|process| &mut process.limit),
        };
        if let (Some(old), Some(_)) = (slot_limit, pid) {
            *old = Some(old.map_or(limit, |until| until.min(limit)));
        }
    }

    /// Handles a requested start that succeeded: the child runs as `pid`.
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

    /// Handles a requested start that failed: the kernel refused the process,
    /// or there is no such script.
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

    /// Handles the end of a child.
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

    /// Requests what the state wants: the steps of the exit, then one start.
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
            // The report of its result leads back here.
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

    /// Ends the log service once the service is down for good, then the slot.
    fn finish_exit(&mut self, actions: &mut Actions) {
        let Some(log) = &mut self.log else {
            push(actions, Action::Ended);
            return;
        };
        if self.closed {
            if log.is_down() {
                push(actions, Action::Ended);
            }
            return;
        }
        if log.is_down() && log.want == Want::Up && self.drains < DRAINS {
            // A logger that waits for its restart is started now, or the last
            // output of the service would be lost with the pipe.
            self.drains = self.drains.saturating_add(1);
            log.due = None;
            return;
        }
        self.closed = true;
        log.want = Want::Exit;
        log.once = false;
        push(actions, Action::ClosePipe);
        if log.is_down() {
            push(actions, Action::Ended);
        }
    }

    /// Reopens the drain after the log service was killed from outside while
    /// it read what was left: the owner still holds the pipe, so the next log
    /// service continues with it.
    fn restart_log(&mut self) {
        let ends = self.closed && self.service.want == Want::Exit;
        if let Some(log) = self.log.as_mut().filter(|_| ends) {
            log.want = Want::Up;
            self.closed = false;
        }
    }

    /// Returns the process of a role.
    fn process(&self, role: Role) -> Option<&Process> {
        match role {
            Role::Service => Some(&self.service),
            Role::Log => self.log.as_ref(),
            Role::Script => None,
        }
    }

    /// Returns the process of a role, mutably.
    fn process_mut(&mut self, role: Role) -> Option<&mut Process> {
        match role {
            Role::Service => Some(&mut self.service),
            Role::Log => self.log.as_mut(),
            Role::Script => None,
        }
    }
}

#[cfg(test)]
mod test;
