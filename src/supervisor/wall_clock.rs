//! Adjusts the times in records after the wall clock was set.
//!
//! Every wait and every age is measured with the monotonic clock, so no
//! process is started or stopped because of such a change. Records hold wall
//! clock times; they are written again, so that `sv status` still shows the
//! right duration and `sv why` the right time.

use crate::{
    sys::{
        clock::{self, ClockSteps},
        poller::{Interest, Poller},
    },
    wire::clock::Now,
};

use super::{Reporter, Supervisor, TOKEN_CLOCK};

/// State of the wall clock.
#[derive(Debug)]
pub(super) struct WallClock {
    /// `None` where the kernel does not report changes: records keep their
    /// times.
    steps: Option<ClockSteps>,
    /// Both clocks when they were last compared.
    last: Now,
}

impl WallClock {
    /// Makes the loop wake up when the wall clock is set.
    pub(super) fn watch(poller: &Poller, reporter: &Reporter) -> Self {
        let steps = ClockSteps::new().and_then(|steps| {
            let added =
                poller.add(steps.as_fd(), Interest::Readable, TOKEN_CLOCK);
            added.map(|()| steps)
        });
        let steps = steps.inspect_err(|errno| {
            reporter.warn("unable to watch the wall clock", b"", *errno);
        });
        Self {
            steps: steps.ok(),
            // Comes after the watch: a step in between is reported, but is
            // none.
            last: clock::now(),
        }
    }
}

impl Supervisor {
    /// Handles a change of the wall clock.
    pub(super) fn handle_clock_change(&mut self) {
        if let Some(steps) = &self.wall_clock.steps {
            steps.take();
        }
        let now = clock::now();
        if !now.is_set_since(&self.wall_clock.last) {
            return;
        }
        let before = core::mem::replace(&mut self.wall_clock.last, now);
        let renamed = |moment| now.restamped(&before, moment);
        for index in 0..self.table.len() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            slot.machine.restamp(now);
            if let Some((death, _)) = &mut slot.death {
                death.when = renamed(death.when);
            }
            let service = slot.service.as_ref();
            let restamped = service.map_or(Ok(()), |s| s.restamp_why(&renamed));
            if let Err(failure) = restamped {
                self.warn_failure(index, failure);
            }
            self.publish_soon(index);
        }
    }
}
