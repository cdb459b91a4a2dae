//! How single-letter options are taken apart (contract §0.3).
//!
//! Bundles are allowed; a value may be attached or be the next argument; `--`
//! ends the options and is taken, a lone `-` ends them and is kept.

use core::ffi::CStr;

/// One step through the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt<'a> {
    /// An option without a value.
    Flag(u8),
    /// An option with its value.
    Value(u8, &'a CStr),
    /// A letter that is no option: `illegal option -- c`.
    Illegal(u8),
    /// The value is missing: `option requires an argument -- c`.
    Missing(u8),
}

/// The options of a command line, taken from an iterator over the arguments
/// behind the program's name.
#[derive(Clone, Debug)]
pub struct Getopt<'a, I> {
    words: I,
    /// What is left of the bundle at hand, with its NUL.
    bundle: &'a CStr,
    /// Letters of options; one with a `:` behind it takes a value.
    known: &'static [u8],
    /// Arguments used up so far.
    used: usize,
}

impl<'a, I: Iterator<Item = &'a CStr> + Clone> Getopt<'a, I> {
    /// `known` lists the letters, each with a `:` behind it when it takes a
    /// value.
    pub fn new(words: I, known: &'static [u8]) -> Self {
        Self {
            words,
            bundle: c"",
            known,
            used: 0,
        }
    }

    /// How many arguments the options took: the first operand is behind them.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Takes what is left of the bundle at hand: behind `Illegal(b'-')` that
    /// is a long option.
    pub fn rest(&mut self) -> &'a CStr {
        core::mem::take(&mut self.bundle)
    }

    /// Takes the next argument, for a long option.
    pub fn word(&mut self) -> Option<&'a CStr> {
        let word = self.words.next()?;
        self.used = self.used.saturating_add(1);
        Some(word)
    }

    /// The bundle of the next argument, if that holds options.
    fn open(&mut self) -> Option<()> {
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
            self.open()?;
        }
        let letter = *self.bundle.to_bytes().first()?;
        self.bundle = skip(self.bundle, 1);
        let place = self.known.iter().position(|known| *known == letter);
        let Some(place) = place.filter(|_| letter != b':') else {
            return Some(Opt::Illegal(letter));
        };
        if self.known.get(place.saturating_add(1)) != Some(&b':') {
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
