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
//! 2, 3, 4 [`Slot::ended`]. A log service has no `Finish` (contract §2.1).
//!
//! | byte | Down | Run | Finish |
//! |---|---|---|---|
//! | u | want up; 1 at once | want up | want up |
//! | d | want down | want down, TERM, CONT | want down |
//! | o | want down; 1 at once | want down | want down |
//! | x | want exit | want exit, TERM, CONT | want exit |
//! | t | - | TERM; CONT unless want up | - |
//! | k | - | KILL | KILL |
//! | p c | flag | flag, STOP or CONT | flag |
//! | a h i q 1 2 | - | that signal | - |
//!
//! The end: when the service wants exit and is down, the log service is told
//! to end by closing the pipe (it then reads what is left); when that is down
//! too, the slot is gone.
//!
//! # Invariants
//! At most one process of each kind; no start within [`PACE`] of an end that
//! came within `PACE` of its start, unless the operator asks; a slot whose
//! service wants exit comes to [`Action::Gone`] when its processes end. The
//! tests walk every reachable state with every event.
//!
//! # Against runit (§16)
//! `k` changes no state before the process was reaped (4) and reaches
//! `./finish` (5); the pause after a short life is a moment, not a sleep (6);
//! `x` with a logger lets `./finish` run before the pipe closes (3).

use core::time::Duration;

use heapless::Vec;

use crate::wire::{
    clock::{Instant, Now},
    control::{self, Control, Signal},
    status::{State, Status, Want},
};

/// How long a process that lived shorter than this waits to be restarted.
pub const PACE: Duration = Duration::from_secs(1);

/// How long a start that the kernel refused waits to be tried again.
pub const RETRY: Duration = Duration::from_secs(5);

/// Most actions of one step: `d` on a running service gives five, the end of
/// a service with a log four. The exhaustive test proves the bound.
pub const ACTIONS: usize = 6;

/// Which process of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `./run` of the service directory.
    Service,
    /// `./run` of its `log` directory.
    Log,
}

/// What the owner of a slot has to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start `./run` and tell [`Slot::started`] or [`Slot::refused`].
    Run(Role),
    /// Start `./finish` with these arguments and tell the same.
    Finish {
        /// Exit code of `./run`, or -1 when a signal ended it.
        code: i16,
        /// Low byte of the wait status.
        signal: u8,
    },
    /// Send the process this signal.
    Signal(Role, Signal),
    /// Write the status files.
    Publish(Role),
    /// Close both ends of the log pipe.
    ClosePipe,
    /// The slot has ended: release everything.
    Gone,
}

/// What a step asks for.
pub type Actions = Vec<Action, ACTIONS>;

/// How a process ended, as `./finish` is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// Its exit code, or -1.
    pub code: i16,
    /// Low byte of the wait status.
    pub signal: u8,
}

/// One of the two processes of a slot.
#[derive(Clone, Copy, Debug)]
struct Process {
    state: State,
    want: Want,
    pid: Option<u32>,
    paused: bool,
    term: bool,
    /// What `status` shows as the moment of the last change.
    since: Now,
    /// When `./run` was started.
    began: Instant,
    /// Not started before this.
    due: Option<Instant>,
    /// Start it although it is not wanted up: byte `o`.
    once: bool,
    /// What `./finish` is told.
    exit: Exit,
}

impl Process {
    /// A process that was never started.
    fn new(down: bool, now: Now) -> Self {
        Self {
            state: State::Down,
            want: if down { Want::Down } else { Want::Up },
            pid: None,
            paused: false,
            term: false,
            since: now,
            began: now.mono,
            due: None,
            once: false,
            exit: Exit { code: 0, signal: 0 },
        }
    }

    /// Whether nothing runs and nothing is about to be cleaned up.
    fn is_down(&self) -> bool {
        self.state == State::Down && self.pid.is_none()
    }
}

/// One service directory.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    service: Process,
    log: Option<Process>,
    /// The log service was told to end by closing its pipe.
    closed: bool,
    /// The log service was started once more to read what is left.
    drained: bool,
}

impl Slot {
    /// A service directory that nothing has been started for. `down` and
    /// `log_down` say whether there is a file `down`; `log_down` is `None`
    /// without a log service.
    pub fn new(down: bool, log_down: Option<bool>, now: Now) -> Self {
        Self {
            service: Process::new(down, now),
            log: log_down.map(|down| Process::new(down, now)),
            closed: false,
            drained: false,
        }
    }

    /// What to publish for a process; `None` for a log service that the slot
    /// does not have.
    pub fn status(&self, role: Role) -> Option<Status> {
        let process = self.process(role)?;
        Some(Status {
            since: process.since.wall,
            pid: process.pid.unwrap_or(0),
            paused: process.paused,
            term: process.term,
            want: process.want,
            state: process.state,
        })
    }

    /// The process's number while there is one.
    pub fn pid(&self, role: Role) -> Option<u32> {
        self.process(role)?.pid
    }

    /// Which of the slot's processes has this number.
    pub fn role_of(&self, pid: u32) -> Option<Role> {
        [Role::Service, Role::Log]
            .into_iter()
            .find(|role| self.pid(*role) == Some(pid))
    }

    /// The next moment at which [`Slot::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        [Some(&self.service), self.log.as_ref()]
            .into_iter()
            .flatten()
            .filter(|process| {
                process.pid.is_none()
                    && (process.want == Want::Up
                        || process.once
                        || process.state == State::Finish)
            })
            .filter_map(|process| process.due)
            .min()
    }

    /// A byte was written to a control FIFO.
    pub fn control(&mut self, role: Role, byte: u8, now: Now) -> Actions {
        let mut actions = Actions::new();
        if let Some(control) = control::decode(byte) {
            self.obey(role, control, &mut actions);
        }
        self.settle(now, &mut actions);
        actions
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) -> Actions {
        let mut actions = Actions::new();
        self.settle(now, &mut actions);
        actions
    }

    /// The wall clock was set: what `status` shows as moments is what it would
    /// have shown had it been right before. Nothing else changes.
    pub fn restamp(&mut self, now: Now) {
        let processes = [Some(&mut self.service), self.log.as_mut()];
        for process in processes.into_iter().flatten() {
            process.since.wall = now.wall_of(process.since.mono);
        }
    }

    /// The process that an action asked for runs as `pid`.
    pub fn started(&mut self, role: Role, pid: u32, now: Now) -> Actions {
        let mut actions = Actions::new();
        if let Some(process) = self.process_mut(role) {
            process.pid = Some(pid);
            process.paused = false;
            process.term = false;
            process.once = false;
            process.due = None;
            if process.state == State::Down {
                process.state = State::Run;
                process.since = now;
                process.began = now.mono;
            }
            push(&mut actions, Action::Publish(role));
        }
        self.settle(now, &mut actions);
        actions
    }

    /// The kernel refused the process that an action asked for.
    pub fn refused(&mut self, role: Role, now: Now) -> Actions {
        if let Some(process) = self.process_mut(role) {
            process.due = Some(now.mono.after(RETRY));
        }
        let mut actions = Actions::new();
        self.settle(now, &mut actions);
        actions
    }

    /// A process has ended. `finish` says whether the service directory has
    /// a `finish` file now.
    pub fn ended(
        &mut self,
        role: Role,
        exit: Exit,
        finish: bool,
        now: Now,
    ) -> Actions {
        let mut actions = Actions::new();
        if let Some(process) = self.process_mut(role) {
            process.pid = None;
            process.term = false;
            if process.state == State::Run && finish && role == Role::Service {
                process.state = State::Finish;
                process.exit = exit;
            } else {
                process.state = State::Down;
                process.since = now;
                let young = now.mono.since(process.began) < PACE;
                process.due = young.then(|| now.mono.after(PACE));
            }
            push(&mut actions, Action::Publish(role));
        }
        self.settle(now, &mut actions);
        actions
    }

    /// Does what a control byte says; `settle` does the starting.
    fn obey(&mut self, role: Role, control: Control, actions: &mut Actions) {
        if self.closed && matches!(control, Control::Up | Control::Once) {
            // The pipe is closed: what was started now could not be heard.
            return;
        }
        let Some(process) = self.process_mut(role) else {
            return;
        };
        let runs = process.state == State::Run && process.pid.is_some();
        match control {
            Control::Up | Control::Once => {
                let up = control == Control::Up;
                process.want = if up { Want::Up } else { Want::Down };
                if process.is_down() {
                    process.due = None;
                    process.once = !up;
                }
                push(actions, Action::Publish(role));
            }
            Control::Exit if role == Role::Log => {}
            Control::Down | Control::Exit => {
                let exit = control == Control::Exit;
                process.want = if exit { Want::Exit } else { Want::Down };
                process.once = false;
                push(actions, Action::Publish(role));
                if runs {
                    stop(process, role, actions);
                }
            }
            Control::Term if runs => stop(process, role, actions),
            Control::Kill if process.pid.is_some() => {
                push(actions, Action::Signal(role, Signal::Kill));
            }
            Control::Pause | Control::Cont => {
                process.paused = control == Control::Pause;
                if runs {
                    let signal = if process.paused {
                        Signal::Stop
                    } else {
                        Signal::Continue
                    };
                    push(actions, Action::Signal(role, signal));
                }
                push(actions, Action::Publish(role));
            }
            Control::Send(signal) if runs => {
                push(actions, Action::Signal(role, signal));
            }
            Control::Term | Control::Kill | Control::Send(_) => {}
        }
    }

    /// Asks for what the state wants: starts, and the steps of the end.
    fn settle(&mut self, now: Now, actions: &mut Actions) {
        let service = &self.service;
        if service.want == Want::Exit && service.is_down() {
            self.leave(actions);
        }
        for role in [Role::Log, Role::Service] {
            let Some(process) = self.process(role) else {
                continue;
            };
            if process.pid.is_some()
                || process.due.is_some_and(|due| due > now.mono)
            {
                continue;
            }
            match process.state {
                State::Finish => {
                    let Exit { code, signal } = process.exit;
                    push(actions, Action::Finish { code, signal });
                }
                State::Down if process.want == Want::Up || process.once => {
                    push(actions, Action::Run(role));
                }
                State::Down | State::Run => {}
            }
        }
    }

    /// The service is down for good: ends the log service, then the slot.
    fn leave(&mut self, actions: &mut Actions) {
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
        if log.is_down() && log.want == Want::Up && !self.drained {
            // A logger that waits to be restarted is started now, or what
            // the service wrote last would be lost with the pipe.
            self.drained = true;
            log.due = None;
            return;
        }
        self.closed = true;
        log.want = Want::Exit;
        log.once = false;
        push(actions, Action::Publish(Role::Log));
        push(actions, Action::ClosePipe);
        if log.is_down() {
            push(actions, Action::Gone);
        }
    }

    /// The process of a role.
    fn process(&self, role: Role) -> Option<&Process> {
        match role {
            Role::Service => Some(&self.service),
            Role::Log => self.log.as_ref(),
        }
    }

    /// The process of a role, to change.
    fn process_mut(&mut self, role: Role) -> Option<&mut Process> {
        match role {
            Role::Service => Some(&mut self.service),
            Role::Log => self.log.as_mut(),
        }
    }
}

/// TERM, and CONT when it shall stay down (contract §2.6, STOP sequence).
fn stop(process: &mut Process, role: Role, actions: &mut Actions) {
    process.term = true;
    push(actions, Action::Signal(role, Signal::Terminate));
    push(actions, Action::Publish(role));
    if process.want != Want::Up {
        push(actions, Action::Signal(role, Signal::Continue));
    }
}

/// Adds an action. The bound is proved by the exhaustive test, so that what
/// is dropped here is nothing.
fn push(actions: &mut Actions, action: Action) {
    let full = actions.push(action).is_err();
    debug_assert!(!full, "ACTIONS is too small");
}

#[cfg(test)]
#[path = "slot_test.rs"]
mod test;
