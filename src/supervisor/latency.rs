//! Measures the longest iteration of the loop, and publishes it where `runt
//! limits` finds it.
//!
//! An iteration lasts from the wake-up to the next sleep: no request is
//! answered meanwhile. The first scan, and what the owner did before it, does
//! not count: no request can have come by then.

use core::time::Duration;

use crate::{
    sys::{AsFd, clock, file},
    text::Line,
    wire::clock::Instant,
};

use super::{Supervisor, rundir};

/// Minimum time between two records: while many things fail at once, each
/// iteration may be the longest yet.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longest iteration so far.
#[derive(Debug)]
pub(super) struct Latency {
    /// Time at which this iteration began.
    woke_at: Instant,
    worst: Duration,
    /// Value in the published record.
    published: Duration,
    /// Time at which the next record may be written.
    due: Instant,
}

impl Latency {
    /// Starts without a measurement.
    pub(super) fn new() -> Self {
        let now = clock::mono();
        Self {
            woke_at: now,
            worst: Duration::ZERO,
            published: Duration::ZERO,
            due: now.after(INTERVAL),
        }
    }

    /// Begins an iteration: the loop woke up.
    pub(super) fn begin(&mut self, now: Instant) {
        self.woke_at = now;
    }

    /// Returns the duration of this iteration so far.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.since(self.woke_at)
    }

    /// Ends an iteration: the loop goes to sleep.
    pub(super) fn end(&mut self) {
        self.worst = self.worst.max(self.elapsed(clock::mono()));
    }
}

impl Supervisor {
    /// Writes the record if an iteration was longer than it says: microseconds
    /// in decimal, as `turn` in the services directory's run directory. If it
    /// cannot be written, nothing is kept.
    pub(super) fn publish_latency(&mut self) {
        let latency = &mut self.latency;
        let Some(services) = &self.services else {
            return;
        };
        if latency.worst == latency.published || latency.woke_at < latency.due {
            return;
        }
        latency.published = latency.worst;
        latency.due = latency.woke_at.after(INTERVAL);
        let mut line = Line::new();
        let micros = latency.worst.as_secs().wrapping_mul(1_000_000);
        line.number(micros.wrapping_add(latency.worst.subsec_micros().into()));
        let written = rundir::open_for(services.path()).map(|run_dir| {
            let [path, new] = rundir::LATENCY;
            file::replace(
                run_dir.as_fd(),
                path,
                new,
                line.text("\n").as_bytes(),
            )
        });
        let _kept = written.is_ok();
    }
}
