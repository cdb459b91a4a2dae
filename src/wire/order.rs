//! Messages between a supervisor and the logger that its services share.
//!
//! Orders are messages of [`BYTES`] on a socket, numbers little endian:
//!
//! | at | content |
//! |---|---|
//! | 0 | the stream, two bytes: the service's index in the supervisor's table |
//! | 2 | a control byte: `u` add the stream, `x` it has ended, `t h a p c` as to a log service |
//! | 3 | with `u`: 1 for its log directory, 0 for its log ring |
//! | 4 | the service's name, padded with NULs |
//!
//! `u` carries two open descriptors: the service directory, and the pipe to be
//! read. The answer, on the same socket, is the two bytes of a stream that the
//! logger has finished; there is one answer for each stream added, unless the
//! logger ends.

use crate::{config, text::copy};

/// Bytes of an order.
pub const BYTES: usize = HEAD + config::NAME_BYTES;

/// Bytes before the name.
const HEAD: usize = 4;

/// Order of the supervisor to the logger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggerOrder<'a> {
    /// Number of the stream.
    pub stream: u16,
    /// Control byte for the stream.
    pub byte: u8,
    /// The stream is logged to the log directory, not to a ring.
    pub has_dir: bool,
    /// The service's name.
    pub name: &'a [u8],
}

/// Encodes an order.
pub fn pack(order: LoggerOrder<'_>) -> [u8; BYTES] {
    let mut record = [0; BYTES];
    let (head, name) = record.split_at_mut(HEAD);
    let [low, high] = order.stream.to_le_bytes();
    let bytes = [low, high, order.byte, order.has_dir.into()];
    // It fits: the length of names is bounded.
    let _fits = copy(head, &bytes) && copy(name, order.name);
    record
}

/// Decodes an order; `None` if the record is malformed.
pub fn unpack(record: &[u8]) -> Option<LoggerOrder<'_>> {
    let (head, name) = record.split_first_chunk::<HEAD>()?;
    let [low, high, byte, has_dir] = *head;
    Some(LoggerOrder {
        stream: u16::from_le_bytes([low, high]),
        byte,
        has_dir: has_dir != 0,
        name: name.split(|byte| *byte == 0).next()?,
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unpack_undoes_pack(
            stream: u16,
            byte: u8,
            has_dir: bool,
            name in proptest::collection::vec(
                1..=255_u8, 0..=config::NAME_BYTES
            ),
        ) {
            let order = LoggerOrder { stream, byte, has_dir, name: &name };
            let record = pack(order);
            prop_assert_eq!(unpack(&record), Some(order));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in proptest::collection::vec(0..=255_u8, 0..2 * BYTES),
        ) {
            let _any = unpack(&bytes);
        }
    }
}
