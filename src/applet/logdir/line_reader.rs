//! Splitting a stream into lines, read by read; incomplete input is kept.

use crate::{args::svlogd::Request, machine::line::Lines, sys::buffer::Buffer};

/// A stream of lines that is read piece by piece.
pub(in crate::applet) struct LineReader {
    lines: Lines,
    /// Bytes of an incomplete line at the front of the input: less than
    /// [`Request::length`].
    kept: usize,
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

    /// Processes what was read behind the kept bytes of `input`: passes
    /// everything that can be logged to `log`, and keeps the rest.
    pub(in crate::applet) fn take(
        &mut self,
        request: &Request<'_>,
        input: &mut Buffer,
        log: &mut dyn FnMut(Lines, &[u8]),
    ) {
        self.replace(request, input.tail_mut(self.kept));
        let read = input.as_slice();
        let ready = self.lines.ready_bytes(read);
        self.pass(read.get(..ready).unwrap_or(&[]), log);
        input.remove_front(ready);
        self.kept = input.len();
    }

    /// Handles the end of the input: ends an open line with a newline (§16.1).
    pub(in crate::applet) fn end(
        &mut self,
        input: &mut Buffer,
        log: &mut dyn FnMut(Lines, &[u8]),
    ) {
        if !self.is_open() {
            return;
        }
        // There is room: the kept bytes are fewer than a line has.
        let _fits = input.append(b"\n");
        self.pass(input.as_slice(), log);
        input.clear();
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
