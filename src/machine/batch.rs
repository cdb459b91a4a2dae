//! Decides when a logger pauses before it reads more lines: while lines arrive
//! so fast that several are there after the pause, each of them costs less.
//!
//! Lines that are not read yet are safe in their pipe. After a large read
//! there is no pause: it would only slow the writer down.

use core::time::Duration;

use crate::wire::clock::Instant;

/// Length of the pause; too short to be noticed by a user who follows a log.
pub const PAUSE: Duration = Duration::from_millis(4);

/// Input that arrives this soon after the last is the start of a burst.
const BEFORE: Duration = Duration::from_millis(1);

/// Slightly longer than the pause: input was there when the pause ended.
const AFTER: Duration = Duration::from_millis(5);

/// Reads of fewer bytes than this count as small.
const SMALL: usize = 4096;

/// Rate of recent input.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Time of the last read.
    last: Instant,
    /// A pause preceded that read.
    paused: bool,
    /// Reads of fewer bytes than this count as small.
    small: usize,
}

impl Batch {
    /// Returns the state of a logger that has read nothing before `now`.
    /// `most` is the maximum number of bytes of a read; a read of half of it
    /// is never small.
    pub fn new(now: Instant, most: usize) -> Self {
        Self {
            last: now,
            paused: false,
            small: SMALL.min(most / 2),
        }
    }

    /// Records a read of this many bytes; returns true if a pause should
    /// follow.
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

    /// Returns the number of reads in a second when a line of 80 bytes arrives
    /// every `every` microseconds.
    fn reads(every: u64) -> usize {
        let at = |micros: u64| Instant::at(micros * 1000);
        let mut batch = Batch::new(at(0), 8192);
        let (mut now, mut next, mut reads) = (0, every, 0);
        while now < 1_000_000 {
            now = now.max(next);
            let lines = (now - next) / every + 1;
            next += lines * every;
            reads += 1;
            if batch.should_pause(usize::try_from(lines).unwrap() * 80, at(now))
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

    /// After a pause input counts as soon for slightly longer than that.
    #[test]
    fn the_ends_of_both_times() {
        let begin = Instant::at(1_000_000_000);
        let short = Duration::from_nanos(1);
        let mut batch = Batch::new(begin, 8192);
        let first = begin.after(BEFORE);
        assert!(!batch.should_pause(80, first));
        let mut now = first.after(BEFORE - short);
        assert!(batch.should_pause(80, now));
        now = now.after(AFTER - short);
        assert!(batch.should_pause(80, now));
        assert!(!batch.should_pause(80, now.after(AFTER)));
    }

    #[test]
    fn a_read_is_small_up_to_half_of_the_buffer_or_a_bound() {
        for (most, small) in [(1024, 512), (8192, SMALL), (65536, SMALL)] {
            let now = Instant::at(7);
            assert!(Batch::new(now, most).should_pause(small - 1, now));
            assert!(!Batch::new(now, most).should_pause(small, now));
        }
    }

    #[test]
    fn batching_never_delays_a_flood() {
        let mut batch = Batch::new(Instant::at(0), 1024);
        for micros in 1..100 {
            assert!(!batch.should_pause(512, Instant::at(micros * 1000)));
        }
    }
}
