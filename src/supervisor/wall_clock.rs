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

use super::{reporter::Reporter, source::Source};

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
            let added = poller.add(
                steps.as_fd(),
                Interest::Readable,
                Source::Clock.token(),
            );
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
    /// Handles a change of the clock: returns both clocks before and after it
    /// if it was set.
    pub(super) fn read_change(&mut self) -> Option<(Now, Now)> {
        if let Some(steps) = &self.steps {
            steps.take();
        }
        let now = clock::now();
        let is_set = now.is_set_since(&self.last);
        is_set.then(|| (core::mem::replace(&mut self.last, now), now))
    }
}
