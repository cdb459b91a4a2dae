//! Which lines of a stream are shown where little may be: so many bytes in a
//! second, then none until that is over and their number is told.
//!
//! ```text
//!            there is no room for a line, or nobody takes it
//!   Shows --------------------------------------------------> Leaves out
//!     ^                                                            |
//!     +------------------------------------------------------------+
//!        the second is over: [`Allowance::tell`], out of the next one
//! ```
//!
//! # Invariants
//! Each line is shown or counted. In any time of N seconds no more than N + 1
//! times the bytes of a second are shown, what is told about lines among them.

use core::time::Duration;

use crate::{config, wire::clock::Instant};

/// What the bytes are counted in.
const SECOND: Duration = Duration::from_secs(1);

/// What a stream may show.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// The end of the second at hand.
    until: Instant,
    /// Bytes that may still be shown in it.
    room: usize,
    /// Lines that were not shown and not told of.
    dropped: u64,
}

impl RateLimit {
    /// Nothing was shown.
    pub const NEW: Self = Self {
        until: Instant::at(0),
        room: 0,
        dropped: 0,
    };

    /// Whether a line of `length` bytes is shown.
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

    /// Lines could not be shown after all.
    pub fn drop_lines(&mut self, lines: u64) {
        self.dropped = self.dropped.saturating_add(lines);
    }

    /// How many lines were left out, if it is time to tell that, in at most
    /// `length` bytes.
    pub fn take_dropped(&mut self, length: usize, now: Instant) -> Option<u64> {
        if self.due()? > now {
            return None;
        }
        self.begin(now);
        self.room = self.room.saturating_sub(length);
        Some(core::mem::take(&mut self.dropped))
    }

    /// When there is something to tell.
    pub fn due(&self) -> Option<Instant> {
        (self.dropped > 0).then_some(self.until)
    }

    /// A second begins.
    fn begin(&mut self, now: Instant) {
        self.until = now.after(SECOND);
        self.room = config::LOG_CONSOLE;
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of what is told.
    const TOLD: usize = 20;

    proptest! {
        #[test]
        fn each_line_is_shown_or_counted_and_never_too_much(
            lines in proptest::collection::vec(
                (0..400_u64, 1..80_usize, proptest::bool::weighted(0.1)),
                0..200,
            ),
        ) {
            let mut allowance = RateLimit::NEW;
            let (mut at, mut sent, mut shown, mut told) = (7, 0, 0, 0);
            let mut written = vec![];
            for (pause, length, refused) in lines {
                at += pause * 1_000_000;
                let now = Instant::at(at);
                if let Some(count) = allowance.take_dropped(TOLD, now) {
                    told += count;
                    written.push((at, TOLD));
                }
                sent += 1;
                if !allowance.take(length, now) {
                    // It is told within a second.
                    let due = allowance.due().unwrap();
                    prop_assert!(due > now && due <= now.after(SECOND));
                } else if refused {
                    allowance.drop_lines(1);
                } else {
                    shown += 1;
                    written.push((at, length));
                }
            }
            let due = allowance.due().unwrap_or(Instant::at(at));
            told += allowance.take_dropped(TOLD, due).unwrap_or(0);
            prop_assert_eq!(shown + told, sent);
            prop_assert_eq!(allowance.due(), None);
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
