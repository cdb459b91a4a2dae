//! Taking over what another supervisor, or this one before a fault, has
//! started.

use super::{Actions, Role, SlotState};
use crate::wire::{
    clock::Now,
    status::{State, Status, Want},
};

impl SlotState {
    /// Takes over a running process that another supervisor has started, as
    /// its published status describes it. To be called before anything is
    /// started.
    pub fn adopt(&mut self, role: Role, status: &Status, now: Now) {
        if let Some(process) = self.process_mut(role) {
            process.adopt(status, now);
        }
    }

    /// Restores the want that this supervisor published before a fault.
    pub fn restore_want(&mut self, role: Role, want: Want) {
        if let Some(process) = self.process_mut(role) {
            process.want = want;
        }
    }

    /// Starts nothing in this role before the process `pid`, if any, has ended:
    /// it may be left from another supervisor.
    pub fn hold(&mut self, role: Role, pid: Option<u32>) {
        if let Some(process) = self.process_mut(role) {
            process.held = pid;
        }
    }

    /// Holds the role as [`SlotState::hold`] does, although its process was
    /// taken to run.
    pub fn hold_running(&mut self, role: Role) {
        if let Some(process) = self.process_mut(role) {
            process.held = process.pid.take();
            process.state = State::Down;
        }
    }

    /// Returns the process that a role is held for.
    pub fn held(&self, role: Role) -> Option<u32> {
        self.process(role)?.held
    }

    /// Handles the end of a process that was held.
    pub fn release(&mut self, role: Role, now: Now) -> Actions {
        if let Some(process) = self.process_mut(role) {
            process.held = None;
        }
        self.tick(now)
    }
}
