//! Saves the state of a slot in a row of the ledger, and restores it.

use super::{
    Action, Actions, DRAINS, Exit, Role, SlotState, control::Script,
    process::Process, push,
};
use crate::wire::{
    clock::{Instant, Now, Wall},
    control::{self, Control, Signal},
    ledger::Cursor,
    status::{State, Want},
    why::Waits,
};

/// Stands for a `Finish` with any exit.
const NAMED_FINISH: Action = Action::Finish(Exit::UNKNOWN);
/// Stands for a `Script` of any byte.
const NAMED_SCRIPT: Action = Action::Script(0);

/// Every action without a value of its own. The exit of `Finish` and the byte
/// of `Script` are those of the slot's state.
const NAMED: [(u8, Action); 13] = [
    (b'R', Action::Run(Role::Service)),
    (b'L', Action::Run(Role::Log)),
    (b'F', NAMED_FINISH),
    (b'S', NAMED_SCRIPT),
    (b'D', Action::SetDeadline),
    (b'X', Action::TimedOut(Role::Service)),
    (b'Y', Action::TimedOut(Role::Log)),
    (b'Z', Action::TimedOut(Role::Script)),
    (b'P', Action::Parked),
    (b'G', Action::GiveUp),
    (b'C', Action::ClosePipe),
    (b'E', Action::Ended),
    (b'K', Action::Signal(Role::Script, Signal::Kill)),
];

/// Bit of the byte of a signal to the log service; the rest is the control
/// byte of the signal.
const TO_LOG: u8 = 0x80;

/// Signals that a control byte sends otherwise than by their names.
const SIGNALS: [(u8, Signal); 4] = [
    (b't', Signal::Terminate),
    (b'k', Signal::Kill),
    (b'p', Signal::Stop),
    (b'c', Signal::Continue),
];

impl SlotState {
    /// Saves the state, and the actions that are to be carried out.
    pub fn save(&self, todo: &Actions, cursor: &mut Cursor<'_>) {
        let mut copy = *self;
        copy.pass(cursor);
        for index in 0..super::ACTIONS {
            let mut byte = todo.get(index).map_or(0, |action| encode(*action));
            cursor.byte(&mut byte);
        }
    }

    /// Restores what [`SlotState::save`] has saved; `None` if that is not the
    /// state of a slot.
    pub fn restore(cursor: &mut Cursor<'_>) -> Option<(Self, Actions)> {
        let zero = Now {
            mono: Instant::AT_ONCE,
            wall: Wall::from_nanos(0),
        };
        let mut slot = Self::new(false, Some(false), zero);
        slot.pass(cursor);
        let mut todo = Actions::new();
        for _ in 0..super::ACTIONS {
            let mut byte = 0;
            cursor.byte(&mut byte);
            if byte != 0 {
                cursor.check(!todo.last().is_some_and(Action::is_start));
                push(&mut todo, slot.decode(byte)?);
            }
        }
        let waits = slot.script.is_some_and(|script| script.pid.is_none());
        let starts = matches!(todo.last(), Some(Action::Script(_)));
        if waits && !starts {
            // Other actions came first.
            cursor.check(!todo.last().is_some_and(Action::is_start));
            let byte = slot.script.map_or(0, |s| control::encode(s.control));
            cursor.check(todo.push(Action::Script(byte)).is_ok());
        }
        cursor.check(waits || !starts);
        cursor.is_valid().then_some((slot, todo))
    }

    /// Gives a restored state a log service if the service directory has one
    /// now, whose state is in `fresh`.
    pub fn match_log(&mut self, fresh: &Self) {
        let old = self.log;
        self.log = fresh.log.map(|fresh| old.unwrap_or(fresh));
    }

    /// Adapts a restored state to the service directory, whose state is in
    /// `fresh`, for a supervisor that was started anew: an end of the
    /// supervision that was not completed does not count.
    pub fn resume(&mut self, fresh: &Self) {
        let log = self.log.as_mut().zip(fresh.log.as_ref());
        let service = (&mut self.service, &fresh.service);
        for (process, fresh) in [Some(service), log].into_iter().flatten() {
            if process.want == Want::Exit {
                process.want = fresh.want;
            }
        }
        self.leaving = false;
        self.closed = false;
        self.drains = 0;
    }

    /// Passes all fields.
    fn pass(&mut self, cursor: &mut Cursor<'_>) {
        self.service.pass(cursor);
        let mut has_log = self.log.is_some();
        let mut log = self.log.unwrap_or(self.service);
        cursor.flag(&mut has_log);
        log.pass(cursor);
        cursor.check(!has_log || log.state != State::Finish);
        self.log = has_log.then_some(log);
        let script = self.script;
        let mut byte = script.map_or(0, |s| control::encode(s.control));
        let mut pid = script.and_then(|script| script.pid);
        let mut limit = script.and_then(|script| script.limit);
        cursor.byte(&mut byte);
        cursor.pid(&mut pid);
        cursor.time(&mut limit);
        self.script = control::decode(byte).map(|control| Script {
            control,
            pid,
            limit,
        });
        cursor.check(self.script.is_some() || byte == 0);
        cursor.flag(&mut self.leaving);
        cursor.flag(&mut self.closed);
        cursor.byte(&mut self.drains);
        cursor.check(self.drains <= DRAINS);
    }

    /// Returns the action of a byte.
    fn decode(&self, byte: u8) -> Option<Action> {
        let known = NAMED.iter().find(|(known, _)| *known == byte);
        if let Some((_, action)) = known {
            if *action == NAMED_FINISH {
                return Some(Action::Finish(self.service.exit));
            }
            if *action == NAMED_SCRIPT {
                let control = self.script?.control;
                return Some(Action::Script(control::encode(control)));
            }
            return Some(*action);
        }
        let role = if byte & TO_LOG == 0 {
            Role::Service
        } else {
            Role::Log
        };
        let byte = byte & !TO_LOG;
        let known = SIGNALS.iter().find(|(known, _)| *known == byte);
        let signal = match (known, control::decode(byte)) {
            (Some((_, signal)), _) => *signal,
            (None, Some(Control::Send(signal))) => signal,
            _ => return None,
        };
        Some(Action::Signal(role, signal))
    }
}

/// Returns the byte of an action.
fn encode(action: Action) -> u8 {
    if let Action::Signal(role, signal) = action
        && role != Role::Script
    {
        let known = SIGNALS.iter().find(|(_, known)| *known == signal);
        let sent = || control::encode(Control::Send(signal));
        let log = if role == Role::Log { TO_LOG } else { 0 };
        return known.map_or_else(sent, |(byte, _)| *byte) | log;
    }
    let named = match action {
        Action::Finish(_) => NAMED_FINISH,
        Action::Script(_) => NAMED_SCRIPT,
        Action::Run(_)
        | Action::Signal(..)
        | Action::SetDeadline
        | Action::TimedOut(_)
        | Action::Parked
        | Action::GiveUp
        | Action::ClosePipe
        | Action::Ended => action,
    };
    let known = NAMED.iter().find(|(_, known)| *known == named);
    known.map_or(0, |(byte, _)| *byte)
}

impl Process {
    /// Passes all fields.
    fn pass(&mut self, cursor: &mut Cursor<'_>) {
        cursor
            .choice(&mut self.state, &[State::Down, State::Run, State::Finish]);
        cursor.choice(&mut self.want, &[Want::Up, Want::Down, Want::Exit]);
        for flag in [
            &mut self.paused,
            &mut self.term,
            &mut self.once,
            &mut self.ready,
            &mut self.failed,
        ] {
            cursor.flag(flag);
        }
        cursor.pid(&mut self.pid);
        cursor.pid(&mut self.held);
        cursor.check(self.pid.is_none() || self.state != State::Down);
        cursor.check(self.pid.is_some() || self.state != State::Run);
        cursor.check(self.pid.is_none() || self.held.is_none());
        let (mut since, mut started_at) =
            (Some(self.since), Some(self.started_at));
        cursor.time(&mut since);
        cursor.time(&mut started_at);
        cursor.number(&mut self.status_time);
        cursor.check(since.is_some() && started_at.is_some());
        self.since = since.unwrap_or(Instant::AT_ONCE);
        self.started_at = started_at.unwrap_or(Instant::AT_ONCE);
        let mut due = self.due.map(|(due, _)| due);
        let mut waits = self.due.map_or(Waits::Nothing, |(_, waits)| waits);
        cursor.time(&mut due);
        cursor.choice(
            &mut waits,
            &[
                Waits::Nothing,
                Waits::RestartPause,
                Waits::Backoff,
                Waits::Parked,
                Waits::Fork,
            ],
        );
        self.due = due.map(|due| (due, waits));
        cursor.time(&mut self.limit);
        cursor.word(&mut self.short_runs);
        let [mut low, mut high] = self.exit.code.to_le_bytes();
        cursor.byte(&mut low);
        cursor.byte(&mut high);
        cursor.byte(&mut self.exit.signal);
        self.exit.code = i16::from_le_bytes([low, high]);
    }
}
