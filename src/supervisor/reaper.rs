//! Collects signals and the exits of children.

use heapless::Vec;

use crate::{
    sys::{
        At, Errno,
        child::{ExitStatus, Zombie},
        signal::{Number, Signals},
    },
    text,
};

use super::{children, front::Command};

/// Maximum number of signals, and of a front's commands, passed to the owner
/// per iteration; more wait in the kernel.
const SIGNALS: usize = 4;

/// Exit code of a child that could not execute its program. As a stage of PID
/// 1 it asks for a restart, so that a broken script cannot switch a board off.
pub const CANNOT_RUN: u8 = 111;

/// Maximum number of its own children that an owner may await: a stage, its
/// work in a forked process, and the programs for ctrl-alt-del, a power
/// failure, a good boot and a test rig.
pub const AWAITED: usize = 6;

/// Events of one iteration that concern the owner.
#[derive(Debug, Default)]
pub struct Events {
    /// Signals for the owner.
    pub signals: Vec<Number, SIGNALS>,
    /// Commands of the front.
    pub commands: Vec<Command, SIGNALS>,
    /// Awaited children that have ended.
    pub ended: Vec<Ended, AWAITED>,
}

/// An awaited child that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its pid.
    pub pid: u32,
    /// Its exit status.
    pub status: ExitStatus,
    /// True when its program could not be executed. Without /proc, code
    /// [`CANNOT_RUN`] decides.
    pub failed_exec: bool,
}

/// Signals of this process, and the children whose exits its owner awaits.
pub(super) struct Reaper {
    signals: Signals,
    awaited: Vec<u32, AWAITED>,
}

impl Reaper {
    /// Receives the `wanted` signals from now on.
    pub(super) fn new(wanted: &[Number]) -> Result<Self, Errno> {
        Ok(Self {
            signals: Signals::take(wanted)?,
            awaited: Vec::new(),
        })
    }

    /// Returns the descriptor that is readable when a signal is pending.
    pub(super) fn signals(&self) -> At<'_> {
        self.signals.as_fd()
    }

    /// Reads pending signals; returns whether children may have ended.
    pub(super) fn read_signals(&self, events: &mut Events) -> bool {
        let mut reaps = false;
        // A bound of its own is needed: while children end all the time, there
        // is always one more CHLD.
        for _ in 0..SIGNALS {
            if events.signals.is_full() {
                break;
            }
            match self.signals.next() {
                Some(Number::CHILD) => reaps = true,
                Some(signal) => {
                    // There is room, as checked above.
                    let _room = events.signals.push(signal).is_ok();
                }
                None => break,
            }
        }
        reaps
    }

    /// Awaits the exit of a child; at most [`AWAITED`] can be.
    pub(super) fn await_exit(&mut self, pid: u32) {
        let _room = self.awaited.push(pid).is_ok();
    }

    /// Stops awaiting the exit of a child.
    pub(super) fn stop_awaiting(&mut self, pid: u32) {
        text::keep(&mut self.awaited, |awaited| *awaited != pid);
    }

    /// Reaps a child. Passes its exit to the owner if that awaits it, and
    /// returns it otherwise.
    pub(super) fn reap(
        &mut self,
        zombie: Zombie,
        events: &mut Events,
    ) -> Option<ExitStatus> {
        let pid = zombie.pid;
        let awaited = self.awaited.contains(&pid);
        let failed_exec = awaited && zombie.exited_before_exec(CANNOT_RUN);
        let status = children::try_wait(pid)?;
        if !awaited {
            return Some(status);
        }
        self.stop_awaiting(pid);
        let ended = Ended {
            pid,
            status,
            failed_exec,
        };
        // There is room for as many as are awaited.
        let _room = events.ended.push(ended).is_ok();
        None
    }
}
