//! Times of the monotonic clock and of the wall clock.

use core::{num::NonZero, time::Duration};

/// Time of CLOCK_MONOTONIC in nanoseconds. Every wait uses it.
///
/// The value is stored plus one and so is never 0: `Option<Instant>` takes no
/// more memory than an `Instant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(NonZero<u64>);

// Functions that multiply or divide 64 bits are not inlined: on 32-bit
// machines a copy at each call costs more than the call.
impl Instant {
    /// Deadline that has passed at any time.
    pub const AT_ONCE: Self = Self::at(0);

    /// Returns the time this many nanoseconds after the clock's start.
    pub const fn at(nanos: u64) -> Self {
        Self(NonZero::<u64>::MIN.saturating_add(nanos))
    }

    /// Returns the nanoseconds since the clock's start.
    pub const fn nanos(self) -> u64 {
        self.0.get().saturating_sub(1)
    }

    /// Returns the time `wait` after this one; the maximum if that overflows.
    #[inline(never)]
    pub fn after(self, wait: Duration) -> Self {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }

    /// Returns the time from `earlier` to this one; zero if `earlier` is
    /// later.
    #[inline(never)]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos().saturating_sub(earlier.nanos()))
    }
}

/// Returns the earliest of several times; `None` if there is none.
#[inline(never)]
pub fn earliest(times: &[Option<Instant>]) -> Option<Instant> {
    times.iter().copied().flatten().min()
}

/// Time of CLOCK_REALTIME, as runit's records use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall {
    /// Seconds since 1970; a clock before that counts as 1970.
    pub secs: u64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl Wall {
    /// Returns the nanoseconds since 1970; the maximum after the year 2554.
    #[inline(never)]
    pub fn in_nanos(self) -> u64 {
        let secs = self.secs.saturating_mul(1_000_000_000);
        secs.saturating_add(self.nanos.into())
    }

    /// Returns the time this many nanoseconds after the beginning of 1970.
    #[inline(never)]
    pub fn from_nanos(nanos: u64) -> Self {
        Self {
            secs: nanos / 1_000_000_000,
            nanos: u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
        }
    }

    /// Returns the time one nanosecond later.
    pub fn next(self) -> Self {
        match self.nanos {
            999_999_999 => Self {
                secs: self.secs.saturating_add(1),
                nanos: 0,
            },
            nanos => Self {
                nanos: nanos.saturating_add(1),
                ..self
            },
        }
    }
}

/// Reading of both clocks, taken once in each iteration of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For waits.
    pub mono: Instant,
    /// For records.
    pub wall: Wall,
}

/// Minimum change of the wall clock that counts as a step: times are shown in
/// whole seconds, and files are not to be rewritten for less.
const STEP: Duration = Duration::from_secs(1);

impl Now {
    /// Returns the wall clock time of `moment` according to this reading, as
    /// if the clock were never set; 1970 for anything earlier.
    pub fn to_wall(&self, moment: Instant) -> Wall {
        let now = self.wall.in_nanos();
        let (here, there) = (self.mono.nanos(), moment.nanos());
        Wall::from_nanos(if there < here {
            now.saturating_sub(here.saturating_sub(there))
        } else {
            now.saturating_add(there.saturating_sub(here))
        })
    }

    /// Returns the wall clock time of `moment` after the clock was set since
    /// the reading `before`. A time before the boot of this machine, or after
    /// the step, was not taken with the old setting and stays unchanged.
    pub fn restamped(&self, before: &Self, moment: Wall) -> Wall {
        let (start, end) = (Instant::at(0), self.mono);
        let uptime = before.to_wall(start)..=before.to_wall(end);
        if !uptime.contains(&moment) {
            return moment;
        }
        let age = before.to_wall(end).in_nanos();
        let age = age.saturating_sub(moment.in_nanos());
        Wall::from_nanos(self.wall.in_nanos().saturating_sub(age))
    }

    /// Returns true if the wall clock was set between `before` and this
    /// reading.
    pub fn is_set_since(&self, before: &Self) -> bool {
        let expected = before.to_wall(self.mono).in_nanos();
        let step = expected.abs_diff(self.wall.in_nanos());
        u128::from(step) >= STEP.as_nanos()
    }
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    /// Returns a reading of both clocks.
    fn at(mono: u64, wall: u64) -> Now {
        Now {
            mono: Instant::at(mono),
            wall: Wall::from_nanos(wall),
        }
    }

    proptest! {
        #[test]
        fn wall_clock_times_keep_their_distance(
            mono in 0..1u64 << 50,
            wall in 0..1u64 << 60,
            other in 0..1u64 << 50,
        ) {
            let now = at(mono, wall);
            let there = now.to_wall(Instant::at(other)).in_nanos();
            let expected = i128::from(wall) + i128::from(other) - i128::from(mono);
            prop_assert_eq!(i128::from(there), expected.max(0));
            // From the new setting it looks the same.
            let then = at(other, there);
            if there > 0 {
                prop_assert_eq!(then.to_wall(now.mono), now.wall);
                prop_assert!(!then.is_set_since(&now));
            }
        }
    }

    #[test]
    fn a_time_keeps_its_age_when_the_clock_is_set() {
        let secs = 1_000_000_000;
        let today = 1_800_000_000 * secs;
        // Up for 100 seconds, since 50 seconds after 1970; then the clock is
        // set.
        let before = at(90 * secs, 140 * secs);
        let now = at(100 * secs, today);
        for (moment, name) in [
            (150 * secs, today),
            (149 * secs, today - secs),
            (50 * secs, today - 100 * secs),
            // Times before this boot.
            (49 * secs, 49 * secs),
            (today - 9000 * secs, today - 9000 * secs),
            // Recorded after the step.
            (today, today),
        ] {
            let renamed = now.restamped(&before, Wall::from_nanos(moment));
            assert_eq!(renamed.in_nanos(), name, "{moment}");
        }
        // Back by an hour: nothing is earlier than 1970.
        let back = at(100 * secs, 30 * secs);
        let old = Wall::from_nanos(60 * secs);
        assert_eq!(back.restamped(&before, old).in_nanos(), 0);
    }

    #[test]
    fn a_reading_is_followed_by_the_next_nanosecond() {
        for nanos in [0, 1, 999_999_998, 999_999_999] {
            let wall = Wall { secs: 7, nanos };
            assert_eq!(wall.next().in_nanos(), wall.in_nanos() + 1);
            assert!(wall.next().nanos < 1_000_000_000);
        }
    }

    #[test]
    fn the_monotonic_clock_stops_at_its_ends() {
        let (first, last) = (Instant::at(0), Instant::at(u64::MAX));
        assert_eq!(first.since(last), Duration::ZERO);
        assert_eq!(last.after(Duration::from_secs(1)), last);
        assert_eq!(first.after(Duration::MAX), last);
        let later = first.after(Duration::from_nanos(5));
        assert_eq!((later.nanos(), later.since(first).as_nanos()), (5, 5));
    }

    #[test]
    fn a_second_is_a_step() {
        let secs = 1_000_000_000;
        let before = at(5 * secs, 100 * secs);
        for (later, set) in [
            (at(7 * secs, 102 * secs), false),
            (at(7 * secs, 103 * secs - 1), false),
            (at(7 * secs, 103 * secs), true),
            (at(7 * secs, 101 * secs + 1), false),
            (at(7 * secs, 101 * secs), true),
            (at(7 * secs, 0), true),
            (at(7 * secs, u64::MAX), true),
        ] {
            assert_eq!(later.is_set_since(&before), set, "{later:?}");
        }
    }
}
