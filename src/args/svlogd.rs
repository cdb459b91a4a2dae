//! Parses the command line of `svlogd` (contract §5.1).

use core::ffi::CStr;

use crate::wire::stamp::Style;

use super::getopt::{Getopt, Opt};

/// Treatment of every line by svlogd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Timestamp of each line.
    pub style: Style,
    /// Replacement for unprintable bytes; `None` keeps them.
    pub replacement: Option<u8>,
    /// Further bytes to replace.
    pub also: &'a [u8],
    /// Maximum number of bytes of a line that are processed.
    pub length: usize,
    /// Reports on descriptor 2 what svlogd does.
    pub verbose: bool,
}

impl Request<'_> {
    /// Returns the request of a command line with only `stamps` times `-t`.
    pub fn stamped(stamps: usize) -> Self {
        Self {
            style: match stamps {
                0 => Style::Plain,
                1 => Style::Label,
                2 => Style::Date,
                _ => Style::Iso,
            },
            replacement: None,
            also: b"",
            length: LENGTH,
            verbose: false,
        }
    }

    /// Returns the byte to write to the log for `byte`.
    pub fn replace(&self, byte: u8) -> u8 {
        match self.replacement {
            Some(new) if !(32..=126).contains(&byte) => new,
            Some(new) if self.also.contains(&byte) => new,
            Some(_) | None => byte,
        }
    }
}

/// Reason why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// An option is wrong. The message names it.
    Option(Opt<'a>),
    /// `-V` was given.
    Version,
    /// A value is wrong, or no directory is named.
    Usage,
}

/// Letters of the options.
pub const OPTIONS: &[u8] = b"tr:R:l:b:vV";

/// Default of `-l`, the maximum number of bytes of a line.
pub const LENGTH: usize = 1000;
/// Default of `-b`, the size of the buffer in bytes.
const BUFFER: usize = 1024;

/// Parses `words`, the arguments after the program's name. Also returns the
/// number of arguments that the options take.
pub fn request<'a, I>(mut words: I) -> Result<(Request<'a>, usize), Error<'a>>
where
    I: Iterator<Item = &'a CStr> + Clone,
{
    let mut options = Getopt::new(words.clone(), OPTIONS);
    let mut stamps = 0_usize;
    let mut buffer = BUFFER;
    let mut request = Request::stamped(0);
    let number = |text: &CStr, default| {
        let (number, _) = crate::text::leading_number(text.to_bytes());
        match usize::try_from(number).unwrap_or(usize::MAX) {
            0 => default,
            number => number,
        }
    };
    for option in &mut options {
        match option {
            Opt::Flag(b't') => stamps = stamps.saturating_add(1),
            Opt::Flag(b'v') => request.verbose = true,
            Opt::Flag(_) => return Err(Error::Version),
            Opt::Value(b'r', text) => {
                let [byte] = text.to_bytes() else {
                    return Err(Error::Usage);
                };
                request.replacement = Some(*byte);
            }
            Opt::Value(b'R', text) => {
                request.also = text.to_bytes();
                request.replacement.get_or_insert(b'_');
            }
            Opt::Value(b'l', text) => request.length = number(text, LENGTH),
            Opt::Value(_, text) => buffer = number(text, BUFFER),
            Opt::Illegal(_) | Opt::Missing(_) => {
                return Err(Error::Option(option));
            }
        }
    }
    let used = options.used();
    request.style = Request::stamped(stamps).style;
    let named = words.nth(used).is_some();
    if buffer <= request.length || !named {
        return Err(Error::Usage);
    }
    Ok((request, used))
}

#[cfg(test)]
mod test {
    use super::*;

    fn read<'a>(words: &[&'a CStr]) -> Result<(Request<'a>, usize), Error<'a>> {
        request(words.iter().copied())
    }

    #[test]
    fn the_options() {
        let (plain, used) = read(&[c"dir"]).unwrap();
        assert_eq!((plain.style, plain.length, used), (Style::Plain, 1000, 0));
        let (full, used) =
            read(&[c"-ttv", c"-R", c"xy", c"-l10", c"-b", c"20", c"d"])
                .unwrap();
        assert_eq!(used, 6);
        assert_eq!((full.style, full.verbose), (Style::Date, true));
        assert_eq!(full.length, 10);
        let out: Vec<u8> = b"axb\t\xc3".map(|b| full.replace(b)).to_vec();
        assert_eq!(out, b"a_b__");
        assert_eq!(read(&[c"-r+", c"d"]).unwrap().0.replace(7), b'+');
        assert_eq!(read(&[c"-l0", c"d"]).unwrap().0.length, 1000);
    }

    /// Contract §5.1: each further `-t` makes the timestamp easier to read.
    #[test]
    fn each_t_selects_the_next_style() {
        let styles = [Style::Label, Style::Date, Style::Iso, Style::Iso];
        let words = [c"-t", c"-tt", c"-ttt", c"-tttt"];
        for (word, style) in words.into_iter().zip(styles) {
            assert_eq!(read(&[word, c"d"]).unwrap().0.style, style, "{word:?}");
        }
        let apart = read(&[c"-t", c"-v", c"-t", c"d"]).unwrap().0;
        assert_eq!(
            apart,
            Request {
                verbose: true,
                ..Request::stamped(2)
            }
        );
    }

    /// Contract §5.1: the buffer must be larger than a line.
    #[test]
    fn a_line_is_shorter_than_the_buffer() {
        let rows = [
            (c"-l1023", c"-b0", true),
            (c"-l1024", c"-b0", false),
            (c"-l10", c"-b11", true),
            (c"-l10", c"-b10", false),
            (c"-l0", c"-b1001", true),
            (c"-l0", c"-b1000", false),
        ];
        for (line, buffer, fits) in rows {
            let taken = read(&[line, buffer, c"d"]);
            assert_eq!(taken.is_ok(), fits, "{line:?} {buffer:?}");
        }
    }

    #[test]
    fn errors() {
        let usage = Err(Error::Usage);
        assert_eq!(read(&[]), usage);
        assert_eq!(read(&[c"-r", c"", c"d"]), usage);
        assert_eq!(read(&[c"-r", c"xy", c"d"]), usage);
        assert_eq!(read(&[c"-l", c"2000", c"d"]), usage);
        assert_eq!(read(&[c"-V", c"d"]), Err(Error::Version));
        assert_eq!(read(&[c"-x"]), Err(Error::Option(Opt::Illegal(b'x'))));
        assert_eq!(read(&[c"-l"]), Err(Error::Option(Opt::Missing(b'l'))));
    }
}
