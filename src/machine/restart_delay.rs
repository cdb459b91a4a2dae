//! Computes the delay before a process that has ended is started again.
//!
//! | the service directory sets | delay |
//! |---|---|
//! | nothing | [`RESTART_PAUSE`] after a run shorter than that (contract §2.5) |
//! | `runt/backoff` | doubles with each short run, up to its cap |
//! | `max-death-tally` | after that many short runs in a row: parked, [`PARK`] |
//!
//! A run is short when it is shorter than the backoff's reset-after; one that
//! an operator ended never counts as short. Without short runs the first row
//! holds. A parked service is still tried, forever.

use core::time::Duration;

use crate::wire::{clock::Now, options::Backoff, why::Waits};

/// Delay of a restart after a run that was shorter than this.
pub const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Delay before a start that the kernel refused, or a status file that could
/// not be written, is tried again.
pub const RETRY: Duration = Duration::from_secs(5);

/// Delay before each further try of a service that died too often.
pub const PARK: Duration = Duration::from_secs(300);

/// Restart settings of a service directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RestartDelay {
    /// `runt/backoff`.
    pub backoff: Option<Backoff>,
    /// `max-death-tally`: short runs in a row that park; 0 for no limit.
    pub max_deaths: u32,
}

impl RestartDelay {
    /// Returns true if a run of this length counts as short.
    pub fn is_short(&self, life: Duration) -> bool {
        let backoff = self.backoff.unwrap_or(Backoff::DEFAULT);
        life < Duration::from_millis(backoff.reset_after.into())
    }

    /// Returns the delay and its name after `short` short runs in a row, when
    /// the last start was `age` ago.
    pub fn wait(
        &self,
        short: u32,
        age: Duration,
        now: Now,
    ) -> (Duration, Waits) {
        if self.max_deaths != 0 && short >= self.max_deaths {
            return (PARK, Waits::Parked);
        }
        let doublings = short.checked_sub(1);
        if let (Some(backoff), Some(doublings)) = (self.backoff, doublings) {
            let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
            let wait = u64::from(backoff.first).saturating_mul(factor);
            let wait = wait.min(backoff.cap.into());
            let wait = wait.max(Backoff::LEAST.into());
            // The last digits of the clock are random enough: they differ for
            // processes that ended in the same millisecond.
            let chance =
                now.mono.nanos().wrapping_mul(0x9e37_79b9) >> 16 & 0x3ff;
            let most = wait.saturating_mul(backoff.jitter.into()) / 100;
            let jitter = most.saturating_mul(chance) >> 10;
            let wait = Duration::from_millis(wait.saturating_add(jitter));
            return (wait, Waits::Backoff);
        }
        if age < RESTART_PAUSE {
            return (RESTART_PAUSE, Waits::RestartPause);
        }
        (Duration::ZERO, Waits::Nothing)
    }
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::clock::{Instant, Wall};

    fn now(nanos: u64) -> Now {
        Now {
            mono: Instant::at(nanos),
            wall: Wall { secs: 0, nanos: 0 },
        }
    }

    #[test]
    fn runits_second_without_any_file() {
        let delay = RestartDelay::default();
        let waits = |millis, short| {
            delay.wait(short, Duration::from_millis(millis), now(0)).0
        };
        for short in [0, 1, 100, u32::MAX] {
            assert_eq!(waits(0, short), RESTART_PAUSE);
            assert_eq!(waits(999, short), RESTART_PAUSE);
            assert_eq!(waits(1000, short), Duration::ZERO);
        }
    }

    /// The names of the delays are those that `sv why` shows.
    #[test]
    fn each_delay_has_its_name() {
        let backoff = Some(Backoff::DEFAULT);
        let both = |backoff, max_deaths| RestartDelay {
            backoff,
            max_deaths,
        };
        let (short, long) = (Duration::ZERO, RESTART_PAUSE);
        // settings, short runs in a row, age, name
        let rows = [
            (both(None, 0), 9, short, Waits::RestartPause),
            (both(None, 0), 0, long, Waits::Nothing),
            (both(backoff, 0), 0, short, Waits::RestartPause),
            (both(backoff, 0), 0, long, Waits::Nothing),
            (both(backoff, 0), 1, short, Waits::Backoff),
            (both(backoff, 0), 1, long, Waits::Backoff),
            (both(backoff, 3), 2, short, Waits::Backoff),
            (both(backoff, 3), 3, short, Waits::Parked),
            (both(None, 3), 4, long, Waits::Parked),
        ];
        for (delay, deaths, age, name) in rows {
            let (wait, waits) = delay.wait(deaths, age, now(9));
            assert_eq!(waits, name, "{delay:?} {deaths} {age:?}");
            assert_eq!(wait.is_zero(), name == Waits::Nothing, "{delay:?}");
        }
    }

    /// Services that failed in the same second are spread over their share.
    #[test]
    fn jitter_takes_all_of_its_share() {
        let backoff = Backoff {
            first: 1000,
            cap: 1000,
            reset_after: 0,
            jitter: 50,
        };
        let delay = RestartDelay {
            backoff: Some(backoff),
            max_deaths: 0,
        };
        let mut waits: Vec<u128> = (0..2000)
            .map(|n| delay.wait(1, Duration::ZERO, now(n * 100_003)).0)
            .map(|wait| wait.as_millis())
            .collect();
        waits.sort_unstable();
        let [first, .., last] = waits[..] else {
            panic!()
        };
        assert!((1000..1005).contains(&first), "{first}");
        assert!((1495..1500).contains(&last), "{last}");
        // Not far from evenly.
        let middle = waits[waits.len() / 2];
        assert!((1200..1300).contains(&middle), "{middle}");
        let largest = waits.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(largest < Some(20), "{largest:?}");
    }

    #[test]
    fn a_backoff_doubles_up_to_its_cap() {
        let backoff = Backoff {
            first: 200,
            cap: 1500,
            reset_after: 5000,
            jitter: 0,
        };
        let delay = RestartDelay {
            backoff: Some(backoff),
            max_deaths: 6,
        };
        let waits = [1, 2, 3, 4, 5].map(|short| {
            delay.wait(short, Duration::ZERO, now(9)).0.as_millis()
        });
        assert_eq!(waits, [200, 400, 800, 1500, 1500]);
        let parked = delay.wait(6, Duration::ZERO, now(9));
        assert_eq!(parked, (PARK, Waits::Parked));
        assert!(delay.is_short(Duration::from_millis(4999)));
        assert!(!delay.is_short(Duration::from_millis(5000)));
    }

    proptest! {
        #[test]
        fn jitter_adds_at_most_its_share(
            short in 1..u32::MAX,
            first: u32,
            cap: u32,
            jitter in 0..1000_u32,
            at: u64,
        ) {
            let mut backoff = Backoff { first, cap, reset_after: 0, jitter };
            let wait = |backoff| {
                let delay = RestartDelay { backoff: Some(backoff), max_deaths: 0 };
                delay.wait(short, Duration::ZERO, now(at)).0.as_millis()
            };
            let with = wait(backoff);
            backoff.jitter = 0;
            let without = wait(backoff);
            prop_assert!(without <= u128::from(cap.max(Backoff::LEAST)));
            prop_assert!(without >= u128::from(Backoff::LEAST));
            prop_assert!(with >= without);
            prop_assert!(with <= without + without * u128::from(jitter) / 100);
        }
    }
}
