//! What a moment is: on the clock that never jumps, and on the wall clock.

use core::time::Duration;

/// A moment of CLOCK_MONOTONIC, in nanoseconds. Every wait uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `wait` from this one; the end of time when that is past it.
    pub fn after(self, wait: Duration) -> Self {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// How long it is from `earlier` to this moment; zero if it lies later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A moment of CLOCK_REALTIME, as runit's records want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall {
    /// Seconds since 1970; a clock before that counts as 1970.
    pub secs: u64,
    /// Nanoseconds, below one thousand million.
    pub nanos: u32,
}

impl Wall {
    /// Nanoseconds since 1970; the largest number after the year 2554.
    pub fn in_nanos(self) -> u64 {
        let secs = self.secs.saturating_mul(1_000_000_000);
        secs.saturating_add(self.nanos.into())
    }
}

/// One look at both clocks, taken once for each turn of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For waits.
    pub mono: Instant,
    /// For records.
    pub wall: Wall,
}
