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

use crate::{
    config,
    text::{self, Name, copy},
};

/// Bytes of an order.
pub const BYTES: usize = 12 + config::NAME_BYTES;

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which stream.
    pub stream: u16,
    /// What is to happen to it.
    pub byte: u8,
    /// Descriptors of the supervisor: the service directory, and where
    /// `supervise/log` is.
    pub dirs: [u32; 2],
    /// The service's name.
    pub name: Name,
}

/// The record of an order.
pub fn pack(order: &Order) -> [u8; BYTES] {
    let mut record = [0; BYTES];
    let [dir, base] = order.dirs;
    let [low, high] = order.stream.to_le_bytes();
    let parts: [&[u8]; 4] = [
        &[low, high, order.byte, 0],
        &dir.to_le_bytes(),
        &base.to_le_bytes(),
        &order.name,
    ];
    let mut at = 0_usize;
    for part in parts {
        // A name fits: it has a bound.
        let _fits = copy(record.get_mut(at..).unwrap_or(&mut []), part);
        at = at.saturating_add(part.len());
    }
    record
}

/// What a record orders; `None` when it is none.
pub fn unpack(record: &[u8]) -> Option<Order> {
    let ([low, high, byte, 0], rest) = record.split_first_chunk()? else {
        return None;
    };
    let (dir, rest) = rest.split_first_chunk()?;
    let (base, rest) = rest.split_first_chunk()?;
    let name = rest.split(|byte| *byte == 0).next()?;
    Some(Order {
        stream: u16::from_le_bytes([*low, *high]),
        byte: *byte,
        dirs: [u32::from_le_bytes(*dir), u32::from_le_bytes(*base)],
        name: text::name(name).ok()?,
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
            let name = text::name(&name).unwrap();
            let order = Order { stream, byte, dirs, name };
            prop_assert_eq!(unpack(&pack(&order)), Some(order));
        }

        #[test]
        fn no_bytes_are_too_odd(
            bytes in proptest::collection::vec(0..=255_u8, 0..2 * BYTES),
        ) {
            let _any = unpack(&bytes);
        }
    }
}
