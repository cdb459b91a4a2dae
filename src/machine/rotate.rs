//! When a log file is full (contract §5.6).
//!
//! # Invariants
//! A file never grows beyond its bound; a line that fits the space that is
//! left below the bound is not split.

/// How full `current` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Bytes in the file, or on their way to it.
    pub size: u64,
    /// The bound (`s`), 0 for none.
    pub bound: u64,
    /// The bytes that a line is expected to have at most (`-l`).
    pub line: u64,
}

impl Fill {
    /// How many of `count` bytes may be added now; 0 says to rotate first.
    pub fn room(self, count: usize) -> usize {
        if self.bound == 0 {
            return count;
        }
        let left = self.bound.saturating_sub(self.size);
        count.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Bytes were added.
    pub fn add(&mut self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.size = self.size.saturating_add(count);
    }

    /// Whether to rotate at the end of a line: another one might not fit. A
    /// bound below one line's length never says so (§5.6: the subtraction is
    /// unsigned).
    pub fn is_full(self) -> bool {
        self.bound != 0
            && self
                .bound
                .checked_sub(self.line)
                .is_some_and(|most| self.size >= most)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_file_outgrows_its_bound(
            bound in 1..3000_u64,
            line in 1..1200_u64,
            lines in proptest::collection::vec(0..1500_usize, 1..60),
        ) {
            let mut fill = Fill { size: 0, bound, line };
            let (mut written, mut total) = (0, 0);
            for length in lines {
                let mut left = length + 1;
                total += left;
                while left > 0 {
                    let room = fill.room(left);
                    if room == 0 {
                        fill.size = 0;
                        continue;
                    }
                    fill.add(room);
                    prop_assert!(fill.size <= bound);
                    written += room;
                    left -= room;
                }
                if fill.is_full() {
                    fill.size = 0;
                }
            }
            prop_assert_eq!(written, total);
        }
    }

    #[test]
    fn defaults_rotate_in_the_last_thousand_bytes() {
        let mut fill = Fill {
            size: 998_999,
            bound: 1_000_000,
            line: 1000,
        };
        assert!(!fill.is_full());
        fill.add(1);
        assert!(fill.is_full());
        assert_eq!(fill.room(2000), 1000);
        let none = Fill {
            size: u64::MAX,
            bound: 0,
            line: 1000,
        };
        assert!(!none.is_full() && none.room(7) == 7);
        let short = Fill {
            size: 500,
            bound: 500,
            line: 1000,
        };
        assert!(!short.is_full() && short.room(1) == 0);
    }
}
