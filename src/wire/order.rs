//! What a supervisor tells the logger that it shares among its services, and
//! what that answers.
//!
//! Orders are records of [`BYTES`] on a pipe, numbers least byte first:
//!
//! | at | what |
//! |---|---|
//! | 0 | the stream, two bytes: the service's place in the supervisor's table |
//! | 2 | a control byte: `u` take it up, `x` it has ended, `t h a p c` as to a log service |
//! | 4 | the supervisor's descriptor of the service directory, four bytes |
//! | 8 | that of the directory with `supervise/log` in it, four bytes |
//! | 12 | the service's name, filled up with NULs |
//!
//! A record is shorter than what a pipe takes in one piece, so that there are
//! no parts of one. The answer, on another pipe, is the two bytes of a stream
//! that the logger is done with; each one taken up has one, unless the logger
//! ends.

use crate::{config, text::copy};

/// Bytes of an order.
pub const BYTES: usize = HEAD + config::NAME_BYTES;

/// Bytes before the name.
const HEAD: usize = 12;

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'a> {
    /// Which stream.
    pub stream: u16,
    /// What is to happen to it.
    pub byte: u8,
    /// Descriptors of the supervisor: the service directory, and where
    /// `supervise/log` is.
    pub dirs: [u32; 2],
    /// The service's name.
    pub name: &'a [u8],
}

/// The record of an order.
pub fn pack(order: Order<'_>) -> [u8; BYTES] {
    let mut record = [0; BYTES];
    let (head, name) = record.split_at_mut(HEAD);
    let number = u32::from(order.stream) | u32::from(order.byte) << 16;
    let [dir, base] = order.dirs;
    let (words, _) = head.as_chunks_mut();
    for (place, word) in words.iter_mut().zip([number, dir, base]) {
        *place = u32::to_le_bytes(word);
    }
    // It fits: names have a bound.
    let _fits = copy(name, order.name);
    record
}

/// What a record orders; `None` when it is none.
pub fn unpack(record: &[u8]) -> Option<Order<'_>> {
    let (head, name) = record.split_first_chunk::<HEAD>()?;
    let ([number, dir, base], _) = head.as_chunks().0.split_first_chunk()?;
    let [low, high, byte, _] = *number;
    Some(Order {
        stream: u16::from_le_bytes([low, high]),
        byte,
        dirs: [*dir, *base].map(u32::from_le_bytes),
        name: name.split(|byte| *byte == 0).next()?,
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_says_what_it_was_made_of(
            stream: u16,
            byte: u8,
            dirs: [u32; 2],
            name in proptest::collection::vec(
                1..=255_u8, 0..=config::NAME_BYTES
            ),
        ) {
            let order = Order { stream, byte, dirs, name: &name };
            let record = pack(order);
            prop_assert_eq!(unpack(&record), Some(order));
        }

        #[test]
        fn no_bytes_are_too_odd(
            bytes in proptest::collection::vec(0..=255_u8, 0..2 * BYTES),
        ) {
            let _any = unpack(&bytes);
        }
    }
}
