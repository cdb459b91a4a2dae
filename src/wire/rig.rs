//! The file that tells PID 1 what to run for a test rig: words, each ended by
//! a NUL. They are the nonce of the verdict; `exit` if the machine has an exit
//! device, else nothing; the program; its arguments.

use core::ffi::CStr;

/// The second word, when the machine has an exit device.
pub const EXIT: &[u8] = b"exit";

/// Program that PID 1 is to run, and the form of its report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RigCommand<'a> {
    /// Text that only PID 1 and the host know; empty when there is none.
    pub nonce: &'a [u8],
    /// True when the machine has an exit device.
    pub exit_device: bool,
    /// The whole content of the file.
    pub text: &'a [u8],
    /// The program and its arguments, each ended by a NUL.
    command: &'a [u8],
}

impl<'a> RigCommand<'a> {
    /// Parses the file's content; `None` without the first two words. A
    /// command whose last word does not end is incomplete and is left out.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let (nonce, rest) = word(text)?;
        let (exit, command) = word(rest)?;
        let whole = command.ends_with(&[0]);
        Some(Self {
            text,
            nonce: nonce.to_bytes(),
            exit_device: exit.to_bytes() == EXIT,
            command: if whole { command } else { &[] },
        })
    }

    /// Returns the program and its arguments.
    pub fn words(self) -> impl Iterator<Item = &'a CStr> {
        let mut rest = self.command;
        core::iter::from_fn(move || {
            let (word, tail) = word(rest)?;
            rest = tail;
            Some(word)
        })
    }
}

/// Splits the first word from a text.
fn word(text: &[u8]) -> Option<(&CStr, &[u8])> {
    let word = CStr::from_bytes_until_nul(text).ok()?;
    let rest = text.get(word.to_bytes_with_nul().len()..)?;
    Some((word, rest))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn commands() {
        let parse = |text: &'static [u8]| {
            let rig = RigCommand::parse(text)?;
            let words = rig.words().map(CStr::to_bytes).collect::<Vec<_>>();
            Some((rig.nonce, rig.exit_device, words))
        };
        let rows: [(_, &[u8], _, &[&[u8]]); 5] = [
            (
                &b"n\0exit\0/a\0b c\0\0"[..],
                b"n",
                true,
                &[b"/a", b"b c", b""],
            ),
            (b"\0\0/a\0", b"", false, &[b"/a"]),
            (b"n\0exits\0/a\0b", b"n", false, &[]),
            (b"n\0exit\0", b"n", true, &[]),
            (b"n\0\0/a", b"n", false, &[]),
        ];
        for (text, nonce, exit, words) in rows {
            assert_eq!(parse(text), Some((nonce, exit, words.to_vec())));
        }
        for text in [&b""[..], b"n", b"n\0", b"n\0exit"] {
            assert_eq!(parse(text), None);
        }
    }
}
