//! Requests of a slot to its owner, and what the owner tells it.

use heapless::Vec;

use crate::{machine::restart_delay::RestartDelay, wire::control::Signal};

/// Maximum number of actions of one step: the end of a script `t` gives TERM,
/// its limit, CONT and the next script. The exhaustive test proves the bound.
pub const ACTIONS: usize = 4;

/// Child of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `./run` of the service directory, followed by its `./finish`.
    Service,
    /// `./run` of its `log` directory.
    Log,
    /// The running script of the `control` directory.
    Script,
}

/// Request to the owner of a slot; requests are carried out in order.
///
/// The first three are starts: the owner reports [`super::SlotState::started`] or
/// [`super::SlotState::refused`] before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Start `./run`.
    Run(Role),
    /// Start `./finish` with this exit of `./run` as its arguments.
    Finish(Exit),
    /// Start the script of this byte; refused when there is none.
    Script(u8),
    /// Send this signal to the process.
    Signal(Role, Signal),
    /// The service is being stopped: call [`super::SlotState::set_deadline`] if it has
    /// a deadline.
    SetDeadline,
    /// The child has exceeded its deadline: kill it and report that.
    TimedOut(Role),
    /// The service has died too often and is parked: report that.
    Parked,
    /// `./finish` exited with 125, so the service is now wanted down: report
    /// that.
    GiveUp,
    /// Close the write end of the log pipe, and set the log service's deadline
    /// as for [`Action::SetDeadline`]. Requested again when the log service was
    /// started again.
    ClosePipe,
    /// The slot has ended: release all its resources.
    Ended,
}

/// Requests of one step, in the order to carry them out.
pub type Actions = Vec<Action, ACTIONS>;

/// Exit status of a child, in the form that `./finish` gets as arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exit {
    /// Its exit code, or -1 when a signal ended it.
    pub code: i16,
    /// Low byte of the wait status.
    pub signal: u8,
}

impl Exit {
    /// Exit status of a process that was not a child of this supervisor.
    pub const UNKNOWN: Self = Self {
        code: -1,
        signal: 0,
    };
}

/// Settings of the service directory, read when a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Facts {
    /// A `finish` script exists.
    pub finish: bool,
    /// Delay of the next start.
    pub restart_delay: RestartDelay,
}

impl Action {
    /// Returns true if the owner reports the action's result.
    pub fn is_start(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Finish(_) | Self::Script(_))
    }
}

/// Adds an action. The exhaustive test proves the bound, so nothing is ever
/// dropped here. Not inlined: that costs more than the call.
#[inline(never)]
pub(super) fn push(actions: &mut Actions, action: Action) {
    let full = actions.push(action).is_err();
    debug_assert!(!full, "ACTIONS is too small");
}
