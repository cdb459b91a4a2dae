//! Splitting a stream into lines, read by read; incomplete input is kept.

use crate::{args::svlogd::Request, machine::line::Lines, text};

/// A stream of lines that is read piece by piece.
pub(in crate::applet) struct LineReader {
    lines: Lines,
    /// Bytes of an incomplete line at the front of the input: less than
    /// [`Request::length`].
    pub(in crate::applet) kept: usize,
    /// Bytes read of the open line.
    column: usize,
}

impl LineReader {
    /// Starts at the beginning of a line. The first `length` bytes of a line
    /// decide where it goes.
    pub(in crate::applet) fn new(length: usize) -> Self {
        Self {
            lines: Lines::new(length),
            kept: 0,
            column: 0,
        }
    }

    /// Returns whether a line is incomplete.
    pub(in crate::applet) fn is_open(&self) -> bool {
        self.kept > 0 || self.lines.is_inside()
    }

    /// Processes `count` bytes that were read behind the kept ones in `input`:
    /// passes everything that can be logged to `log`, and moves the rest to
    /// the front.
    pub(in crate::applet) fn take(
        &mut self,
        request: &Request<'_>,
        input: &mut [u8],
        count: usize,
        log: &mut dyn FnMut(Lines, &[u8]),
    ) {
        let all = self.kept.saturating_add(count);
        let new = input.get_mut(self.kept..all).unwrap_or(&mut []);
        self.replace(request, new);
        let read = input.get(..all).unwrap_or(&[]);
        let ripe = self.lines.ready_bytes(read);
        self.pass(read.get(..ripe).unwrap_or(&[]), log);
        self.kept = all.saturating_sub(ripe);
        text::to_front(input, ripe, self.kept);
    }

    /// Handles the end of the input: ends an open line with a newline (§16.1).
    pub(in crate::applet) fn end(
        &mut self,
        input: &mut [u8],
        log: &mut dyn FnMut(Lines, &[u8]),
    ) {
        if !self.is_open() {
            return;
        }
        // There is room: the kept bytes are fewer than a line has.
        if let Some(byte) = input.get_mut(self.kept) {
            *byte = b'\n';
        }
        self.pass(input.get(..=self.kept).unwrap_or(&[]), log);
        self.kept = 0;
    }

    /// Logs a block of lines.
    fn pass(&mut self, block: &[u8], log: &mut dyn FnMut(Lines, &[u8])) {
        log(self.lines, block);
        self.lines.consumed(block);
    }

    /// Replaces unprintable bytes in the first [`Request::length`] bytes of
    /// each line, if the options say so.
    fn replace(&mut self, request: &Request<'_>, bytes: &mut [u8]) {
        if request.replacement.is_none() {
            return;
        }
        for byte in bytes {
            if *byte == b'\n' {
                self.column = 0;
                continue;
            }
            if self.column < request.length {
                *byte = request.replace(*byte);
            }
            self.column = self.column.saturating_add(1);
        }
    }
}
