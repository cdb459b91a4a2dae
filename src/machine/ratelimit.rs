//! Limits the lines that are shown of a stream: a number of bytes in each
//! second, then none until the second is over and the number of dropped lines
//! was reported.
//!
//! ```text
//!           no budget for a line, or the output refuses it
//!   Shows --------------------------------------------------> Drops
//!     ^                                                         |
//!     +---------------------------------------------------------+
//!        the second is over: [`RateLimit::take_dropped`], from the
//!        budget of the next one
//! ```
//!
//! # Invariants
//! Each line is shown or counted. In any period of N seconds, at most N + 1
//! times the bytes of a second are shown, reports of dropped lines included.

use core::time::Duration;

use crate::{config, wire::clock::Instant};

/// Period for which the bytes are counted.
const SECOND: Duration = Duration::from_secs(1);

/// Budget of a stream.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// End of the current second.
    until: Instant,
    /// Bytes that may still be shown in it.
    room: usize,
    /// Lines that were neither shown nor reported.
    dropped: u64,
}

impl RateLimit {
    /// Budget of a stream of which nothing was shown yet.
    pub const NEW: Self = Self {
        until: Instant::at(0),
        room: 0,
        dropped: 0,
    };

    /// Takes `length` bytes for a line from the budget; returns true if the
    /// line is to be shown.
    pub fn take(&mut self, length: usize, now: Instant) -> bool {
        if self.dropped == 0 && now >= self.until {
            self.begin(now);
        }
        let shown = self.dropped == 0 && length <= self.room;
        if shown {
            self.room = self.room.saturating_sub(length);
        } else {
            self.drop_lines(1);
        }
        shown
    }

    /// Counts lines that could not be shown after all.
    pub fn drop_lines(&mut self, lines: u64) {
        self.dropped = self.dropped.saturating_add(lines);
    }

    /// Returns the number of dropped lines if it is time to report it, and
    /// takes the `length` bytes of the report from the budget.
    pub fn take_dropped(&mut self, length: usize, now: Instant) -> Option<u64> {
        if self.due()? > now {
            return None;
        }
        self.begin(now);
        self.room = self.room.saturating_sub(length);
        Some(core::mem::take(&mut self.dropped))
    }

    /// Returns the time of the next report, if one is due.
    pub fn due(&self) -> Option<Instant> {
        (self.dropped > 0).then_some(self.until)
    }

    /// Begins a second.
    fn begin(&mut self, now: Instant) {
        self.until = now.after(SECOND);
        self.room = config::LOG_CONSOLE;
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of a report.
    const REPORT: usize = 20;

    #[test]
    fn a_second_takes_exactly_its_bytes() {
        let most = config::LOG_CONSOLE;
        let start = Instant::at(7);
        let second = start.after(SECOND);
        let mut limit = RateLimit::NEW;
        assert!(limit.take(most - 1, start) && limit.take(1, start));
        assert_eq!(limit.due(), None);
        // The next one begins exactly a second later.
        assert!(limit.take(most, second));
        assert!(!limit.take(1, second));
        assert_eq!(limit.due(), Some(second.after(SECOND)));
        assert_eq!(limit.take_dropped(REPORT, second), None);
        let third = second.after(SECOND);
        assert_eq!(limit.take_dropped(REPORT, third), Some(1));
        // The report is part of that second.
        assert!(limit.take(most - REPORT, third) && !limit.take(1, third));
    }

    proptest! {
        #[test]
        fn each_line_is_shown_or_counted_and_never_too_much(
            lines in proptest::collection::vec(
                (0..400_u64, 1..80_usize, proptest::bool::weighted(0.1)),
                0..200,
            ),
        ) {
            let mut limit = RateLimit::NEW;
            let (mut at, mut sent, mut shown, mut reported) = (7, 0, 0, 0);
            let mut written = vec![];
            for (pause, length, refused) in lines {
                at += pause * 1_000_000;
                let now = Instant::at(at);
                if let Some(count) = limit.take_dropped(REPORT, now) {
                    reported += count;
                    written.push((at, REPORT));
                }
                sent += 1;
                if !limit.take(length, now) {
                    // It is reported within a second.
                    let due = limit.due().unwrap();
                    prop_assert!(due > now && due <= now.after(SECOND));
                } else if refused {
                    limit.drop_lines(1);
                } else {
                    shown += 1;
                    written.push((at, length));
                }
            }
            let due = limit.due().unwrap_or(Instant::at(at));
            reported += limit.take_dropped(REPORT, due).unwrap_or(0);
            prop_assert_eq!(shown + reported, sent);
            prop_assert_eq!(limit.due(), None);
            for (from, (began, _)) in written.iter().enumerate() {
                let mut bytes = 0;
                for (at, length) in &written[from..] {
                    bytes += length;
                    let seconds = (at - began) / 1_000_000_000 + 2;
                    let most = config::LOG_CONSOLE as u64 * seconds;
                    prop_assert!(bytes as u64 <= most);
                }
            }
        }
    }
}
