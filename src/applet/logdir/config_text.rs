//! Texts of a log directory's config: patterns, prefix, processor.

use heapless::VecView;

use crate::sys::buffer::Buffer;

/// Bytes that the texts may need beyond the size of the config: a newline
/// behind the last pattern, a NUL behind the processor.
pub(in crate::applet) const TEXT_EXTRA: usize = 2;

/// Texts of one config, stored one behind the other in memory that the caller
/// provides. Empty texts touch none of it.
pub(in crate::applet) struct ConfigText {
    bytes: Buffer,
    /// End offsets of patterns, prefix and processor.
    ends: [usize; 3],
}

impl ConfigText {
    /// Starts without texts. `memory` has room for the longest config and
    /// [`TEXT_EXTRA`].
    pub(in crate::applet) fn new(memory: &'static mut VecView<u8>) -> Self {
        Self {
            bytes: Buffer::new(memory),
            ends: [0; 3],
        }
    }

    /// Returns the size in bytes up to which every config fits.
    pub(super) fn bound(&self) -> usize {
        self.bytes.capacity().saturating_sub(TEXT_EXTRA)
    }

    /// Removes all texts.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends = [0; 3];
    }

    /// Adds a pattern. All patterns are added before [`ConfigText::finish`].
    pub(super) fn add_pattern(&mut self, line: &[u8]) {
        self.add(0, line);
        self.add(0, b"\n");
    }

    /// Adds the prefix and the processor.
    pub(super) fn finish(&mut self, prefix: &[u8], command: &[u8]) {
        self.add(1, prefix);
        self.add(2, command);
        if !command.is_empty() {
            self.add(2, b"\0");
        }
    }

    /// Appends to a text, the last one so far. A part that does not fit is
    /// left out; this never happens with a config within the bound.
    fn add(&mut self, text: usize, part: &[u8]) {
        if self.bytes.append(part) {
            let end = self.bytes.len();
            self.ends
                .iter_mut()
                .skip(text)
                .for_each(|later| *later = end);
        }
    }

    /// Returns the patterns, each a line.
    pub(super) fn patterns(&self) -> &[u8] {
        let [end, ..] = self.ends;
        self.part(0, end)
    }

    /// Returns the text that is written before every line.
    pub(super) fn prefix(&self) -> &[u8] {
        let [start, end, _] = self.ends;
        self.part(start, end)
    }

    /// Returns the processor's command with a NUL; empty if there is none.
    pub(super) fn command(&self) -> &[u8] {
        let [_, start, end] = self.ends;
        self.part(start, end)
    }

    /// Returns the bytes between two offsets.
    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.as_slice().get(start..end).unwrap_or(&[])
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use heapless::Vec;
    use std::boxed::Box;

    /// Checks a config of these lines, without its last newline, in the memory
    /// that a config of its size has.
    fn check<const MEMORY: usize>(
        patterns: &[&[u8]],
        prefix: &[u8],
        command: &[u8],
    ) {
        let lines = patterns.iter().map(|line| line.len() + 1);
        let others = [prefix, command].map(|text| match text.len() {
            0 => 0,
            length => length + 2,
        });
        let size = lines.chain(others).sum::<usize>().saturating_sub(1);
        assert_eq!(size + TEXT_EXTRA, MEMORY);
        let memory = Box::leak(Box::new(Vec::<u8, MEMORY>::new()));
        let mut texts = ConfigText::new(memory);
        for _again in 0..2 {
            texts.clear();
            patterns.iter().for_each(|line| texts.add_pattern(line));
            texts.finish(prefix, command);
            let all: std::vec::Vec<u8> = patterns
                .iter()
                .flat_map(|l| [l, &b"\n"[..]].concat())
                .collect();
            assert_eq!(texts.patterns(), all);
            assert_eq!(texts.prefix(), prefix);
            let nul: &[u8] = if command.is_empty() { b"" } else { b"\0" };
            assert_eq!(texts.command(), [command, nul].concat());
        }
    }

    #[test]
    fn the_longest_config_fits() {
        check::<20>(&[b"+123", b"-56"], b"pre", b"cmd");
        check::<2>(&[], b"", b"");
        check::<10>(&[b"+1234567"], b"", b"");
        check::<6>(&[], b"", b"cmd");
    }
}
