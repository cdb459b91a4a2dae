//! Bounds the work of one iteration of the loop.

use core::time::Duration;

use crate::{sys::clock, wire::clock::Instant};

/// Maximum number of slots served per iteration. Reacting to a child's exit,
/// starting what is due and adding a service directory all count, since each
/// may start a process.
const SLOTS_PER_ITERATION: usize = 16;

/// Time after which an iteration serves no further slot or child, although
/// fewer than [`SLOTS_PER_ITERATION`] were: when the process is preempted or a
/// system call is slow, what waits is asked for again first.
const ITERATION_TIME: Duration = Duration::from_millis(5);

/// Work budget of an iteration.
#[derive(Debug)]
pub(super) struct Budget {
    /// Time at which the iteration began.
    began: Instant,
    /// Owner's deadline for the iteration.
    until: Option<Instant>,
    /// Number of slots served and children reaped.
    served: usize,
    /// Set if ended children or due slots are left for the next iteration.
    backlog: bool,
}

impl Budget {
    /// Returns the budget of the work before the first iteration.
    pub(super) fn new() -> Self {
        Self {
            began: clock::mono(),
            until: None,
            served: 0,
            backlog: false,
        }
    }

    /// Begins an iteration, with the owner's deadline for it.
    pub(super) fn begin(&mut self, now: Instant, until: Option<Instant>) {
        self.began = now;
        self.until = until;
        self.served = 0;
    }

    /// Returns the time at which the iteration began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Counts a slot served or a child reaped; returns whether the iteration
    /// has to end.
    pub(super) fn spend(&mut self) -> bool {
        self.served = self.served.saturating_add(1);
        let now = clock::mono();
        self.served >= SLOTS_PER_ITERATION
            || self.until.is_some_and(|until| until <= now)
            || now.since(self.began) >= ITERATION_TIME
    }

    /// Records that work is left for the next iteration.
    pub(super) fn leave_backlog(&mut self) {
        self.backlog = true;
    }

    /// Returns whether work is left for the next iteration.
    pub(super) fn has_backlog(&self) -> bool {
        self.backlog
    }

    /// Returns whether the last iteration left work, and clears that record.
    pub(super) fn take_backlog(&mut self) -> bool {
        core::mem::take(&mut self.backlog)
    }
}
