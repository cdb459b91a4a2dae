//! Effect of a control byte on a slot: the table in `slot`, with the scripts
//! that can replace a signal (contract §2.6).

use super::{Action, Actions, DRAINS, Role, SlotState, push};
use crate::wire::{
    clock::Instant,
    control::{self, Control, Signal},
    status::Want,
};

/// The running script, or the one whose start was requested.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Script {
    pub(super) control: Control,
    pub(super) pid: Option<u32>,
    /// Deadline at which the script is killed.
    pub(super) limit: Option<Instant>,
}

impl SlotState {
    /// Carries out a control byte, or requests its script first; `settle` does
    /// the starts.
    pub(super) fn apply(
        &mut self,
        role: Role,
        control: Control,
        actions: &mut Actions,
    ) {
        if self.closed && matches!(control, Control::Up | Control::Once) {
            // The pipe is closed: no output could reach a log service started
            // now.
            return;
        }
        if self.closed && role == Role::Log && control == Control::Kill {
            // An operator wants it to exit, even if input is left to be read.
            self.drains = DRAINS;
        }
        let Some(process) = self.process_mut(role) else {
            return;
        };
        let runs = process.runs();
        match control {
            Control::Up | Control::Once => {
                let up = control == Control::Up;
                process.want = if up { Want::Up } else { Want::Down };
                process.failed = false;
                if process.is_down() {
                    process.due = None;
                    process.once = !up;
                    process.short_runs = 0;
                }
            }
            Control::Exit if role == Role::Log => {}
            Control::Down | Control::Exit => {
                let exit = control == Control::Exit;
                process.want = if exit { Want::Exit } else { Want::Down };
                process.once = false;
                process.ready = false;
                process.failed = false;
                if runs {
                    self.ask(role, Control::Term, actions);
                }
            }
            control if runs => self.ask(role, control, actions),
            Control::Kill if process.pid.is_some() => {
                push(actions, Action::Signal(role, Signal::Kill));
            }
            Control::Pause | Control::Cont => {
                process.paused = control == Control::Pause;
            }
            Control::Term | Control::Kill | Control::Send(_) => {}
        }
    }

    /// Requests the script of a control; a log service has none.
    pub(super) fn ask(
        &mut self,
        role: Role,
        control: Control,
        actions: &mut Actions,
    ) {
        if role == Role::Log {
            self.act(role, control, false, actions);
            return;
        }
        self.script = Some(Script {
            control,
            pid: None,
            limit: None,
        });
        push(actions, Action::Script(control::encode(control)));
    }

    /// Handles the end of the script, or its absence.
    pub(super) fn script_ended(
        &mut self,
        handled: bool,
        actions: &mut Actions,
    ) {
        if let Some(script) = self.script.take() {
            self.act(Role::Service, script.control, handled, actions);
        }
    }

    /// Applies a control to a process after its script. The process may have
    /// ended while the script ran.
    fn act(
        &mut self,
        role: Role,
        control: Control,
        handled: bool,
        actions: &mut Actions,
    ) {
        let Some(process) = self.process_mut(role) else {
            return;
        };
        let runs = process.runs();
        let mut send = |signal| {
            if runs && !handled {
                push(actions, Action::Signal(role, signal));
            }
        };
        match control {
            Control::Up => process.ready = true,
            Control::Term => {
                process.term |= runs && !handled;
                send(Signal::Terminate);
                if runs && role == Role::Service {
                    push(actions, Action::SetDeadline);
                }
                let next = match process.want {
                    Want::Up => return,
                    Want::Down => Control::Down,
                    Want::Exit => Control::Exit,
                };
                if runs {
                    push(actions, Action::Signal(role, Signal::Continue));
                }
                if role == Role::Service {
                    self.ask(role, next, actions);
                }
            }
            Control::Kill => send(Signal::Kill),
            Control::Pause => {
                process.paused = true;
                send(Signal::Stop);
            }
            Control::Cont => {
                process.paused = false;
                send(Signal::Continue);
            }
            Control::Send(signal) => send(signal),
            Control::Down | Control::Exit | Control::Once => {}
        }
    }
}
