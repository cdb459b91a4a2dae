//! Output buffer: gathers bytes so that one read causes one write, or two or
//! three after a very large read.

use heapless::VecView;

use crate::{config, sys::buffer::Buffer};

/// Bytes that are gathered at most: half of a full read, plus some lines. More
/// would dirty more memory and be no faster (measured).
const BATCH_BYTES: usize = config::LOG_READ_BYTES / 2 + 6144;

/// Size of the buffer in bytes: it also holds a config, or a line as it is
/// sent.
pub(in crate::applet) const OUTPUT: usize =
    BATCH_BYTES + config::LOG_LINE_BYTES + config::FILE_BYTES;

/// Bytes on their way to one directory.
pub(in crate::applet) struct Output {
    bytes: Buffer,
}

impl Output {
    /// Takes memory of [`OUTPUT`] bytes.
    pub(in crate::applet) fn new(memory: &'static mut VecView<u8>) -> Self {
        Self {
            bytes: Buffer::new(memory),
        }
    }

    /// Returns the gathered bytes.
    pub(in crate::applet) fn waiting(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// Empties the buffer.
    pub(in crate::applet) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends bytes. Returns `false`, and appends nothing, if that would
    /// exceed `BATCH_BYTES`.
    pub(in crate::applet) fn add(&mut self, bytes: &[u8]) -> bool {
        self.bytes.len().saturating_add(bytes.len()) <= BATCH_BYTES
            && self.bytes.append(bytes)
    }

    /// Lends the empty buffer to `work`, and empties it again.
    pub(super) fn lend<T>(&mut self, work: impl FnOnce(&mut Buffer) -> T) -> T {
        self.bytes.clear();
        let result = work(&mut self.bytes);
        self.bytes.clear();
        result
    }

    /// Returns whether [`Output::with_line`] has room for these parts.
    pub(super) fn has_room(&self, parts: &[&[u8]]) -> bool {
        let free = self.bytes.capacity().saturating_sub(self.bytes.len());
        parts.iter().map(|part| part.len()).sum::<usize>() <= free
    }

    /// Assembles a line behind the gathered bytes and passes it to `send`. It
    /// does not stay there. Returns `None` without room for it.
    pub(super) fn with_line<T>(
        &mut self,
        parts: &[&[u8]],
        send: impl FnOnce(&mut [u8]) -> Option<T>,
    ) -> Option<T> {
        let length = self.bytes.len();
        let result = self.bytes.join(parts).and_then(send);
        self.bytes.truncate(length);
        result
    }
}
