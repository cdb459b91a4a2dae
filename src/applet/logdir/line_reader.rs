//! Which lines a read brings: what is undecided is kept for the next one.

use crate::{args::svlogd::Request, machine::line::Lines, text};

/// A stream of lines that is read piece by piece.
pub(in crate::applet) struct LineReader {
    lines: Lines,
    /// Bytes at the front of the input that are not decided: less than
    /// [`Request::length`].
    pub(in crate::applet) kept: usize,
    /// Bytes of the open line that were read.
    column: usize,
}

impl LineReader {
    /// At the start of a line, of which `length` bytes are looked at.
    pub(in crate::applet) fn new(length: usize) -> Self {
        Self {
            lines: Lines::new(length),
            kept: 0,
            column: 0,
        }
    }

    /// Whether a line is open.
    pub(in crate::applet) fn is_open(&self) -> bool {
        self.kept > 0 || self.lines.is_inside()
    }

    /// `count` bytes were read to behind what is kept in `input`: gives `log`
    /// what is ripe, and keeps the rest at the front.
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

    /// The input has ended: a line that it left open gets its newline
    /// (§16.1).
    pub(in crate::applet) fn end(
        &mut self,
        input: &mut [u8],
        log: &mut dyn FnMut(Lines, &[u8]),
    ) {
        if !self.is_open() {
            return;
        }
        // What is kept is shorter than a line: there is room.
        if let Some(byte) = input.get_mut(self.kept) {
            *byte = b'\n';
        }
        self.pass(input.get(..=self.kept).unwrap_or(&[]), log);
        self.kept = 0;
    }

    /// Logs a block of lines that is ripe.
    fn pass(&mut self, block: &[u8], log: &mut dyn FnMut(Lines, &[u8])) {
        log(self.lines, block);
        self.lines.consumed(block);
    }

    /// Replaces odd bytes in the first part of each line.
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
