//! Texts of a log directory's config: patterns, prefix, processor.

use crate::text::copy;

/// Bytes that the texts may need beyond the size of the config: a newline
/// behind the last pattern, a NUL behind the processor.
pub(in crate::applet) const TEXT_EXTRA: usize = 2;

/// Texts of one config, stored one behind the other in memory that the caller
/// provides. Empty texts touch none of it.
pub(in crate::applet) struct ConfigText {
    bytes: &'static mut [u8],
    /// End offsets of patterns, prefix and processor.
    ends: [usize; 3],
}

impl ConfigText {
    /// Starts without texts. `bytes` has room for the longest config and
    /// [`TEXT_EXTRA`].
    pub(in crate::applet) fn new(bytes: &'static mut [u8]) -> Self {
        Self {
            bytes,
            ends: [0; 3],
        }
    }

    /// Returns the size in bytes up to which every config fits.
    pub(super) fn bound(&self) -> usize {
        self.bytes.len().saturating_sub(TEXT_EXTRA)
    }

    /// Removes all texts.
    pub(super) fn clear(&mut self) {
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
        let [.., end] = self.ends;
        let room = self.bytes.get_mut(end..).unwrap_or(&mut []);
        if copy(room, part) {
            for later in self.ends.iter_mut().skip(text) {
                *later = end.saturating_add(part.len());
            }
        }
    }

    /// Returns the patterns, each a line.
    pub(super) fn patterns(&self) -> &[u8] {
        let [end, ..] = self.ends;
        self.bytes.get(..end).unwrap_or(&[])
    }

    /// Returns the text that is written before every line.
    pub(super) fn prefix(&self) -> &[u8] {
        let [start, end, _] = self.ends;
        self.bytes.get(start..end).unwrap_or(&[])
    }

    /// Returns the processor's command with a NUL; empty if there is none.
    pub(super) fn command(&self) -> &[u8] {
        let [_, start, end] = self.ends;
        self.bytes.get(start..end).unwrap_or(&[])
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_longest_config_fits() {
        let texts: [(&[&[u8]], &[u8], &[u8]); 4] = [
            (&[b"+123", b"-56"], b"pre", b"cmd"),
            (&[], b"", b""),
            (&[b"+1234567"], b"", b""),
            (&[], b"", b"cmd"),
        ];
        for (patterns, prefix, command) in texts {
            // A config of these lines, without its last newline.
            let lines = patterns.iter().map(|line| line.len() + 1);
            let others = [prefix, command].map(|text| match text.len() {
                0 => 0,
                length => length + 2,
            });
            let size = lines.chain(others).sum::<usize>().saturating_sub(1);
            let bytes =
                Box::leak(vec![0; size + TEXT_EXTRA].into_boxed_slice());
            let mut texts = ConfigText::new(bytes);
            for _again in 0..2 {
                texts.clear();
                patterns.iter().for_each(|line| texts.add_pattern(line));
                texts.finish(prefix, command);
                let all: Vec<u8> = patterns
                    .iter()
                    .flat_map(|l| [l, &b"\n"[..]].concat())
                    .collect();
                assert_eq!(texts.patterns(), all);
                assert_eq!(texts.prefix(), prefix);
                let nul: &[u8] = if command.is_empty() { b"" } else { b"\0" };
                assert_eq!(texts.command(), [command, nul].concat());
            }
        }
    }
}
