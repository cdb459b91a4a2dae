//! Buffers output of many lines and writes it a screenful at a time.

use heapless::Vec;
use ufmt::uwrite;

use crate::{sys, text::mask};

/// Bytes of one write: slightly more than 24 lines of 80 columns.
const BYTES: usize = 2048;

/// Output to descriptor 1. The caller flushes it at the end.
pub(super) struct Page(Vec<u8, BYTES>);

impl Page {
    /// Returns an empty page.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends bytes from an untrusted source; control characters are shown
    /// as `?`.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        mask::each(bytes, &mut |shown| {
            self.raw(shown);
        });
        self
    }

    /// Appends bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            if self.0.is_full() {
                self.flush();
            }
            // There is room now.
            let _fits = self.0.push(*byte).is_ok();
        }
        self
    }

    /// Appends a text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.raw(text.as_bytes())
    }

    /// Appends a number in decimal.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.raw(&digits(number))
    }

    /// Writes the buffered bytes. A failure is ignored: there is no other
    /// output to report it to.
    pub(super) fn flush(&mut self) {
        let _written = sys::print(&self.0);
        self.0.clear();
    }
}

/// Formats a number in decimal.
pub(super) fn digits(number: u64) -> Vec<u8, 20> {
    let mut digits = Vec::new();
    // No number has more than 20 digits.
    let _fits = uwrite!(digits, "{}", number).is_ok();
    digits
}
