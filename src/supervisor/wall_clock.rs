//! What a wall clock that was set changes: the moments in records.
//!
//! Every wait and every age is taken from the clock that never jumps, so no
//! process is started or stopped for it. Records hold wall clock moments; they
//! are written anew, so that `sv status` goes on to show how long it has been
//! and `sv why` when it was.

use crate::{
    sys::{
        clock::{self, Steps},
        poller::{Interest, Poller},
    },
    wire::clock::Now,
};

use super::{Reporter, Supervisor, TOKEN_CLOCK};

/// What is known of the wall clock.
#[derive(Debug)]
pub(super) struct WallClock {
    /// Nothing where the kernel does not tell: records keep their moments.
    steps: Option<Steps>,
    /// Both clocks, before it was set again.
    seen: Now,
}

impl WallClock {
    /// Wakes the loop when the wall clock is set.
    pub(super) fn watch(waiter: &Poller, voice: &Reporter) -> Self {
        let steps = Steps::new().and_then(|steps| {
            let added =
                waiter.add(steps.as_fd(), Interest::Readable, TOKEN_CLOCK);
            added.map(|()| steps)
        });
        let steps = steps.inspect_err(|errno| {
            voice.warn("unable to watch the wall clock", b"", *errno);
        });
        Self {
            steps: steps.ok(),
            // Behind the watch: a step in between is told, and is none.
            seen: clock::now(),
        }
    }
}

impl Supervisor {
    /// The wall clock was set.
    pub(super) fn clock_was_set(&mut self) {
        if let Some(steps) = &self.wall_clock.steps {
            steps.take();
        }
        let now = clock::now();
        if !now.is_set_since(&self.wall_clock.seen) {
            return;
        }
        let before = core::mem::replace(&mut self.wall_clock.seen, now);
        let renamed = |moment| now.renamed(&before, moment);
        for index in 0..self.table.len() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            slot.machine.restamp(now);
            if let Some((death, _)) = &mut slot.death {
                death.when = renamed(death.when);
            }
            let service = slot.service.as_ref();
            let told = service.map_or(Ok(()), |s| s.restamp_why(&renamed));
            if let Err(trouble) = told {
                self.warn_failure(index, trouble);
            }
            self.publish_soon(index);
        }
    }
}
