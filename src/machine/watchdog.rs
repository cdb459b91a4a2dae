//! Decides when the hardware watchdog is pinged, and when pings stop for good:
//!
//! ```text
//!             1               2
//!   (start) ----> pinged ----------> stopped
//!                  |_^ 1
//! ```
//!
//! Edges, both by [`PingTimer::step`]: 1 half a period has passed and all is
//! well; 2 a critical part fails. There is no edge back: once pings stop, the
//! machine is to be reset.

use core::time::Duration;

use crate::wire::clock::Instant;

/// Request to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ping the watchdog.
    Ping,
    /// Report that pings have stopped.
    Stop,
}

/// Timer of a watchdog's pings.
#[derive(Clone, Copy, Debug)]
pub struct PingTimer {
    every: Duration,
    /// Time of the next ping; `None` once pings have stopped.
    next: Option<Instant>,
}

impl PingTimer {
    /// Returns the timer of a watchdog that resets the machine `period` after
    /// the last ping; the first ping is due now.
    ///
    /// Pings are sent twice in each period, so that one may be half a period
    /// late. For a driver that reports no period one second is used, the
    /// minimum that it can report.
    pub fn new(period: Duration, now: Instant) -> Self {
        let period = period.max(Duration::from_secs(1));
        Self {
            every: period.checked_div(2).unwrap_or(period),
            next: Some(now),
        }
    }

    /// Returns the time of the next step.
    pub fn due(self) -> Option<Instant> {
        self.next
    }

    /// Requests a ping or the end of pings if it is time for it; `well` tells
    /// if all critical parts work.
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
    fn pings_are_in_time_until_a_critical_service_fails() {
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
        // All is well again, but too late.
        assert_eq!(watchdog.step(true, now.after(period)), None);
        assert_eq!(watchdog.due(), None);
    }

    #[test]
    fn a_driver_without_a_period_causes_no_busy_loop() {
        let mut watchdog = PingTimer::new(Duration::ZERO, Instant::at(0));
        assert_eq!(watchdog.step(true, Instant::at(0)), Some(Action::Ping));
        assert!(watchdog.due().unwrap() > Instant::at(0));
    }
}
