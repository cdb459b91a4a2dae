//! Output buffer: gathers bytes so that one read causes one write, or two or
//! three after a very large read.

use crate::{config, text::copy};

/// Bytes that are gathered at most: half of a full read, plus some lines. More
/// would dirty more memory and be no faster (measured).
const BATCH_BYTES: usize = config::LOG_READ_BYTES / 2 + 6144;

/// Size of the buffer: it also holds a config, or a line as it is sent.
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
    /// An empty buffer.
    #[allow(clippy::large_stack_arrays, reason = "it is never on the stack")]
    pub(in crate::applet) const NONE: Self = Self {
        bytes: [0; OUTPUT_BYTES],
        length: 0,
    };

    /// Returns the gathered bytes.
    pub(in crate::applet) fn waiting(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }

    /// Empties the buffer.
    pub(in crate::applet) fn clear(&mut self) {
        self.length = 0;
    }

    /// Returns the free space behind the gathered bytes.
    pub(in crate::applet) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.length..).unwrap_or(&mut [])
    }

    /// Appends bytes. Returns `false`, and appends nothing, if that would
    /// exceed
    /// `BATCH_BYTES`.
    pub(in crate::applet) fn add(&mut self, bytes: &[u8]) -> bool {
        let length = self.length.saturating_add(bytes.len());
        let added = length <= BATCH_BYTES && copy(self.room(), bytes);
        if added {
            self.length = length;
        }
        added
    }
}

/// Concatenates `parts` at the start of `room` and returns the result; `None`
/// if they do not fit.
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
