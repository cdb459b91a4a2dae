//! When a logger pauses before it looks for more lines: while they come so
//! fast that several are there afterwards, each of them costs less.
//!
//! Lines that are not read yet are safe in their pipe. When much came at once
//! there is no pause: it would only slow the writer down.

use core::time::Duration;

use crate::wire::clock::Instant;

/// How long the pause is: nobody who follows a log sees it.
pub const PAUSE: Duration = Duration::from_millis(4);

/// What comes so soon after the last is the beginning of many.
const BEFORE: Duration = Duration::from_millis(1);

/// As long as the pause, and a little: something was there when it ended.
const AFTER: Duration = Duration::from_millis(5);

/// Fewer bytes than this at once are little.
const SMALL: usize = 4096;

/// How fast lines came lately.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// When something was read last.
    last: Instant,
    /// There was a pause before that.
    paused: bool,
    /// Fewer bytes than this at once are little.
    small: usize,
}

impl Batch {
    /// Nothing was read before `now`, and no more than `most` bytes can be at
    /// once: then half of that is much.
    pub fn new(now: Instant, most: usize) -> Self {
        Self {
            last: now,
            paused: false,
            small: SMALL.min(most / 2),
        }
    }

    /// So many bytes were read: whether to pause now.
    pub fn should_pause(&mut self, bytes: usize, now: Instant) -> bool {
        let soon = if self.paused { AFTER } else { BEFORE };
        self.paused = bytes < self.small && now.since(self.last) < soon;
        self.last = now;
        self.paused
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// Lines of 80 bytes come every so many microseconds for a second: how
    /// often they are read.
    fn reads(every: u64) -> usize {
        let at = |micros: u64| Instant::at(micros * 1000);
        let mut gather = Batch::new(at(0), 8192);
        let (mut now, mut next, mut reads) = (0, every, 0);
        while now < 1_000_000 {
            now = now.max(next);
            let lines = (now - next) / every + 1;
            next += lines * every;
            reads += 1;
            if gather
                .should_pause(usize::try_from(lines).unwrap() * 80, at(now))
            {
                now += 4000;
            }
        }
        reads
    }

    #[test]
    fn few_lines_are_read_at_once() {
        assert_eq!(reads(100_000), 10);
        assert_eq!(reads(1100), 910);
    }

    #[test]
    fn many_lines_are_read_together() {
        assert!(reads(625) < 1600 / 5);
        assert!(reads(250) < 4000 / 14);
    }

    #[test]
    fn a_flood_is_never_held_up() {
        let mut gather = Batch::new(Instant::at(0), 1024);
        for micros in 1..100 {
            assert!(!gather.should_pause(512, Instant::at(micros * 1000)));
        }
    }
}
