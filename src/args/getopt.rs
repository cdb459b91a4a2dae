//! Parses single-letter options (contract §0.3).
//!
//! Bundles are allowed. A value may be attached or be the next argument. `--`
//! ends the options and is consumed; a lone `-` ends them and stays.

use core::ffi::CStr;

/// One parsed option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt<'a> {
    /// Option without a value.
    Flag(u8),
    /// Option with its value.
    Value(u8, &'a CStr),
    /// Letter that is not an option: `illegal option -- c`.
    Illegal(u8),
    /// Option whose value is missing: `option requires an argument -- c`.
    Missing(u8),
}

/// Iterator over the options of a command line, which it takes from an
/// iterator over the arguments after the program's name.
#[derive(Clone, Debug)]
pub struct Getopt<'a, I> {
    words: I,
    /// Rest of the current bundle, with its NUL.
    bundle: &'a CStr,
    /// Option letters; one followed by `:` takes a value.
    known: &'static [u8],
    /// Number of arguments consumed so far.
    used: usize,
}

impl<'a, I: Iterator<Item = &'a CStr> + Clone> Getopt<'a, I> {
    /// Returns an iterator over the options in `words`. `known` lists the
    /// letters; one followed by `:` takes a value.
    pub fn new(words: I, known: &'static [u8]) -> Self {
        Self {
            words,
            bundle: c"",
            known,
            used: 0,
        }
    }

    /// Returns the number of arguments consumed, which is the index of the
    /// first operand once all options are taken.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Takes the rest of the current bundle: after `Illegal(b'-')` that is a
    /// long option.
    pub fn rest(&mut self) -> &'a CStr {
        core::mem::take(&mut self.bundle)
    }

    /// Takes the next argument, for a long option.
    pub fn word(&mut self) -> Option<&'a CStr> {
        let word = self.words.next()?;
        self.used = self.used.saturating_add(1);
        Some(word)
    }

    /// Starts the bundle of the next argument, if that holds options.
    fn next_bundle(&mut self) -> Option<()> {
        let word = self.words.clone().next()?;
        match word.to_bytes() {
            b"--" => {
                self.word();
                None
            }
            [b'-', _, ..] => {
                self.word();
                self.bundle = skip(word, 1);
                Some(())
            }
            _ => None,
        }
    }
}

impl<'a, I: Iterator<Item = &'a CStr> + Clone> Iterator for Getopt<'a, I> {
    type Item = Opt<'a>;

    fn next(&mut self) -> Option<Opt<'a>> {
        if self.bundle.is_empty() {
            self.next_bundle()?;
        }
        let letter = *self.bundle.to_bytes().first()?;
        self.bundle = skip(self.bundle, 1);
        let index = self.known.iter().position(|known| *known == letter);
        let Some(index) = index.filter(|_| letter != b':') else {
            return Some(Opt::Illegal(letter));
        };
        if self.known.get(index.saturating_add(1)) != Some(&b':') {
            return Some(Opt::Flag(letter));
        }
        let attached = self.rest();
        if !attached.is_empty() {
            return Some(Opt::Value(letter, attached));
        }
        Some(match self.word() {
            Some(value) => Opt::Value(letter, value),
            None => Opt::Missing(letter),
        })
    }
}

/// Returns the text without its first `count` bytes.
pub(super) fn skip(text: &CStr, count: usize) -> &CStr {
    let bytes = text.to_bytes_with_nul();
    let rest = bytes.get(count..).unwrap_or(&[]);
    CStr::from_bytes_with_nul(rest).unwrap_or(c"")
}

#[cfg(test)]
mod test {
    use super::*;

    fn take(words: &[&'static CStr]) -> (Vec<Opt<'static>>, usize) {
        let words: Vec<&'static CStr> = words.to_vec();
        let mut options = Getopt::new(words.into_iter(), b"vw:V");
        let taken = options.by_ref().collect();
        (taken, options.used())
    }

    #[test]
    fn bundles_values_and_ends() {
        use Opt::{Flag, Illegal, Missing, Value};
        let rows: &[(&[&'static CStr], &[Opt<'_>], usize)] = &[
            (&[c"-vw5", c"up"], &[Flag(b'v'), Value(b'w', c"5")], 1),
            (&[c"-w", c"5", c"up"], &[Value(b'w', c"5")], 2),
            (&[c"--", c"-v"], &[], 1),
            (&[c"-", c"-v"], &[], 0),
            (&[c"up", c"-v"], &[], 0),
            (&[c"-x"], &[Illegal(b'x')], 1),
            (&[c"-:"], &[Illegal(b':')], 1),
            (&[c"-vw"], &[Flag(b'v'), Missing(b'w')], 1),
            (&[], &[], 0),
        ];
        for (words, options, used) in rows {
            assert_eq!(take(words), (options.to_vec(), *used), "{words:?}");
        }
    }
}
