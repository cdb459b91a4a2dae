//! Measures the longest iteration of the loop, and publishes it where `runt
//! limits` finds it.
//!
//! An iteration lasts from the wake-up to the next sleep: no request is
//! answered meanwhile. The first scan, and what the owner did before it, does
//! not count: no request can have come by then.

use core::{ffi::CStr, time::Duration};

use crate::{
    sys::{AsFd as _, clock},
    wire::clock::Instant,
};

use super::rundir;

/// Minimum time between two records: while many things fail at once, each
/// iteration may be the longest yet.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longest iteration so far.
#[derive(Debug)]
pub(super) struct Latency {
    worst: Duration,
    /// Value in the published record.
    published: Duration,
    /// Time at which the next record may be written.
    due: Instant,
}

impl Latency {
    /// Starts without a measurement.
    pub(super) fn new() -> Self {
        Self {
            worst: Duration::ZERO,
            published: Duration::ZERO,
            due: clock::mono().after(INTERVAL),
        }
    }

    /// Measures an iteration: it began at `began` and ends now.
    pub(super) fn measure(&mut self, began: Instant) {
        self.worst = self.worst.max(clock::mono().since(began));
    }

    /// Writes the record if an iteration was longer than it says: microseconds
    /// in decimal, as `turn` in the run directory of `services`, the services
    /// directory. If it cannot be written, nothing is kept.
    pub(super) fn publish(&mut self, services: &'static CStr, now: Instant) {
        if self.worst == self.published || now < self.due {
            return;
        }
        self.published = self.worst;
        self.due = now.after(INTERVAL);
        let micros = self.worst.as_secs().wrapping_mul(1_000_000);
        let micros = micros.wrapping_add(self.worst.subsec_micros().into());
        if let Ok(dir) = rundir::open_for(services) {
            rundir::write_number(dir.as_fd(), rundir::LATENCY, micros);
        }
    }
}
