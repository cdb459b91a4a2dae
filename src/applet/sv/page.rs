//! How an answer of many lines is written: a screenful at a time.

use heapless::Vec;
use ufmt::uwrite;

use crate::{sys, text::mask};

/// Bytes of one write: a screen of 24 lines of 80 columns, and a bit.
const BYTES: usize = 2048;

/// An answer on descriptor 1, to be flushed at its end.
pub(super) struct Page(Vec<u8, BYTES>);

impl Page {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends what somebody else chose; what a terminal obeys is shown as
    /// `?`.
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

    /// Writes what is there. Nobody is left to tell when that fails.
    pub(super) fn flush(&mut self) {
        let _written = sys::print(&self.0);
        self.0.clear();
    }
}

/// A number in decimal.
pub(super) fn digits(number: u64) -> Vec<u8, 20> {
    let mut digits = Vec::new();
    // Twenty digits are the longest there is.
    let _fits = uwrite!(digits, "{}", number).is_ok();
    digits
}
