//! Collects signals and the exits of children.

use heapless::Vec;

use crate::{
    sys::{
        At, Errno,
        child::ExitStatus,
        signal::{Number, Signals},
    },
    text,
};

use super::{children, front::Command};

/// Maximum number of signals, and of a front's commands, passed to the owner
/// per iteration; more wait in the kernel.
const SIGNALS: usize = 4;

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
    /// Awaited children that have ended, and how.
    pub ended: Vec<(u32, ExitStatus), AWAITED>,
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

    /// Reaps the child `pid`, a zombie. Passes its exit to the owner if that
    /// awaits it, and returns it otherwise.
    pub(super) fn reap(
        &mut self,
        pid: u32,
        events: &mut Events,
    ) -> Option<ExitStatus> {
        let end = children::try_wait(pid)?;
        if !self.awaited.contains(&pid) {
            return Some(end);
        }
        self.stop_awaiting(pid);
        // There is room for as many as are awaited.
        let _room = events.ended.push((pid, end)).is_ok();
        None
    }
}
