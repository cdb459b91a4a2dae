//! What waits to be written to a directory: bytes that are gathered, so that
//! one read makes one write, or two or three when it brought very much.

use crate::{config, text::copy};

/// Bytes that are gathered: half of what one read can bring, since more of it
/// would be more dirty memory and no faster (measured), and some lines.
const BATCH_BYTES: usize = config::LOG_READ_BYTES / 2 + 6144;

/// Room for what is gathered, or for a config, or for a line as it is sent.
const OUTPUT_BYTES: usize =
    BATCH_BYTES + config::LOG_LINE_BYTES + config::FILE_BYTES;

/// Bytes on their way to one directory.
///
/// Not a `heapless::Vec`: that one copies byte by byte.
pub(in crate::applet) struct Output {
    bytes: [u8; OUTPUT_BYTES],
    /// At most `OUTPUT_BYTES`.
    length: usize,
}

impl Output {
    /// Nothing waits.
    #[allow(clippy::large_stack_arrays, reason = "it is never on the stack")]
    pub(in crate::applet) const NONE: Self = Self {
        bytes: [0; OUTPUT_BYTES],
        length: 0,
    };

    /// What waits.
    pub(in crate::applet) fn waiting(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// Nothing waits any more.
    pub(in crate::applet) fn clear(&mut self) {
        self.length = 0;
    }

    /// The room behind what waits.
    pub(in crate::applet) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.length..).unwrap_or(&mut [])
    }

    /// Appends bytes; false when that would be more than is gathered.
    pub(in crate::applet) fn add(&mut self, bytes: &[u8]) -> bool {
        let length = self.length.saturating_add(bytes.len());
        let added = length <= BATCH_BYTES && copy(self.room(), bytes);
        if added {
            self.length = length;
        }
        added
    }
}

/// Puts `parts` together at the start of `room`; nothing when they do not
/// fit.
pub(in crate::applet) fn join<'a>(
    room: &'a mut [u8],
    parts: &[&[u8]],
) -> Option<&'a [u8]> {
    let mut length = 0_usize;
    for part in parts {
        if !copy(room.get_mut(length..)?, part) {
            return None;
        }
        length = length.saturating_add(part.len());
    }
    room.get(..length)
}
