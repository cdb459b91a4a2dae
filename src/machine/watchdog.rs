//! When the hardware watchdog is fed, and when it is left to bite.
//!
//! ```text
//!             1            2
//!   (start) ----> fed ----------> starved
//!                 |_^ 1
//! ```
//!
//! Edges, all by [`Watchdog::step`]: 1 half a period has passed and all is
//! well; 2 something critical fails. Nothing leads back: who starves a
//! watchdog wants the machine to start again.

use core::time::Duration;

use crate::wire::clock::Instant;

/// What the owner does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Feed it.
    Ping,
    /// Say that it is fed no more.
    Stop,
}

/// A watchdog's meals.
#[derive(Clone, Copy, Debug)]
pub struct PingTimer {
    every: Duration,
    /// The next meal; none once it starves.
    next: Option<Instant>,
}

impl PingTimer {
    /// A watchdog that bites `period` after its last meal; hungry now.
    ///
    /// It is fed twice as often, so that a meal may be half a period late. A
    /// driver that claims none has one second, the least that it can claim.
    pub fn new(period: Duration, now: Instant) -> Self {
        let period = period.max(Duration::from_secs(1));
        Self {
            every: period.checked_div(2).unwrap_or(period),
            next: Some(now),
        }
    }

    /// When to step next.
    pub fn due(self) -> Option<Instant> {
        self.next
    }

    /// Its time has come, or not yet.
    pub fn step(&mut self, well: bool, now: Instant) -> Option<Action> {
        let next = self.next?;
        if now < next {
            return None;
        }
        self.next = well.then(|| now.after(self.every));
        Some(if well { Action::Ping } else { Action::Stop })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn it_is_fed_in_time_until_something_fails() {
        let period = Duration::from_secs(10);
        let mut watchdog = PingTimer::new(period, Instant::at(0));
        let mut now = Instant::at(0);
        for _ in 0..100 {
            assert_eq!(watchdog.step(true, now), Some(Action::Ping));
            assert_eq!(watchdog.step(true, now), None);
            let due = watchdog.due().unwrap();
            assert_eq!(due.since(now), period / 2);
            now = due;
        }
        assert_eq!(watchdog.step(false, Instant::at(now.nanos() - 1)), None);
        assert_eq!(watchdog.step(false, now), Some(Action::Stop));
        // All is well again: too late.
        assert_eq!(watchdog.step(true, now.after(period)), None);
        assert_eq!(watchdog.due(), None);
    }

    #[test]
    fn one_that_claims_no_period_keeps_nobody_busy() {
        let mut watchdog = PingTimer::new(Duration::ZERO, Instant::at(0));
        assert_eq!(watchdog.step(true, Instant::at(0)), Some(Action::Ping));
        assert!(watchdog.due().unwrap() > Instant::at(0));
    }
}
