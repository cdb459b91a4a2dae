//! Rolling log in a process title (contract §3.3).
//!
//! The title is a text of fixed length. Its first [`KEPT`] bytes stay; new
//! text is added at the end and moves the rest to the left. A dot is added at
//! the start and every [`DOT`], so that old text disappears.

use core::time::Duration;

use crate::{text, wire::clock::Instant};

/// Bytes at the start that never change: they identify the title.
pub const KEPT: usize = 5;

/// Minimum bytes of a title.
pub const LEAST: usize = 7;

/// Interval at which a dot is added.
pub const DOT: Duration = Duration::from_secs(900);

/// Time of the next dot.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    dot: Instant,
}

impl Title {
    /// Returns the state in which the first dot is due now.
    pub fn new(now: Instant) -> Self {
        Self { dot: now }
    }

    /// Returns the next time at which [`Title::tick`] has work to do.
    pub fn due(self) -> Instant {
        self.dot
    }

    /// Adds a dot if it is due.
    pub fn tick(&mut self, title: &mut [u8], now: Instant) {
        if self.dot <= now {
            self.dot = now.after(DOT);
            push(title, b".");
        }
    }
}

/// Adds text at the end. NULs are left out: they would end the title.
pub fn push(title: &mut [u8], bytes: &[u8]) {
    let Some(room) = title.get_mut(KEPT..) else {
        return;
    };
    let shown = bytes.iter().filter(|byte| **byte != 0);
    let count = shown.clone().count();
    let stays = room.len().saturating_sub(count);
    text::to_front(room, count, stays);
    // From the end: text that would be moved out at once has no room.
    for (to, byte) in room.iter_mut().rev().zip(shown.rev()) {
        *to = *byte;
    }
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    /// Adds one byte at a time, as the contract describes it.
    fn naive(title: &mut [u8], bytes: &[u8]) {
        for byte in bytes.iter().filter(|byte| **byte != 0) {
            if let [_, _, _, _, _, room @ ..] = title
                && !room.is_empty()
            {
                room.rotate_left(1);
                *room.last_mut().unwrap() = *byte;
            }
        }
    }

    #[test]
    fn a_dot_at_the_start_and_every_quarter_of_an_hour() {
        let mut title = *b"log: ....x";
        let start = Instant::at(7);
        let mut machine = Title::new(start);
        assert_eq!(machine.due(), start);
        machine.tick(&mut title, start);
        assert_eq!(&title, b"log: ...x.");
        machine.tick(&mut title, start.after(DOT - Duration::from_nanos(1)));
        assert_eq!(&title, b"log: ...x.");
        assert_eq!(machine.due(), start.after(DOT));
        machine.tick(&mut title, start.after(DOT));
        assert_eq!(&title, b"log: ..x..");
        push(&mut title, b"a\0\0b\n");
        assert_eq!(&title, b"log: ..ab\n");
    }

    proptest! {
        #[test]
        fn a_whole_text_is_pushed_as_byte_by_byte(
            title in proptest::collection::vec(any::<u8>(), 0..20),
            parts in proptest::collection::vec(
                proptest::collection::vec(0..4u8, 0..30), 0..4),
        ) {
            let mut one = title.clone();
            let mut other = title;
            for part in &parts {
                push(&mut one, part);
                naive(&mut other, part);
            }
            prop_assert_eq!(one, other);
        }
    }
}
