//! Replaces control characters, so that names and the output of services can
//! be shown on a terminal.
//!
//! Control characters are those of ASCII and U+0080 to U+009F. A byte that is
//! not part of well-formed UTF-8 is replaced too: a terminal that is not set
//! to UTF-8, or that decodes it leniently (an overlong form, a sequence cut
//! off by another one), may interpret it as a control character.

use heapless::Vec;

/// Shown in place of a replaced byte or character.
const REPLACEMENT: &[u8] = b"?";

/// Filter of a text that arrives in pieces of any size, even within a
/// character.
#[derive(Clone, Debug)]
pub struct Mask {
    /// Bytes of an incomplete character.
    begun: Vec<u8, 4>,
    /// Newline and tab are not replaced.
    keeps_lines: bool,
}

/// Form of some bytes in UTF-8.
enum Class {
    /// One whole character.
    Whole,
    /// The beginning of a character.
    Begun,
    /// Neither.
    Malformed,
}

impl Mask {
    /// Returns a mask for a name or other text within one line.
    pub const fn name() -> Self {
        Self {
            begun: Vec::new(),
            keeps_lines: false,
        }
    }

    /// Returns a mask for several lines: newline and tab are kept.
    pub const fn lines() -> Self {
        Self {
            begun: Vec::new(),
            keeps_lines: true,
        }
    }

    /// Takes a byte; calls `show` with each character that is now complete, or
    /// with its replacement.
    pub fn take(&mut self, byte: u8, show: &mut dyn FnMut(&[u8])) {
        // At most three are ever left.
        let _room = self.begun.push(byte).is_ok();
        if self.begun.len() > 1
            && matches!(classify(&self.begun), Class::Malformed)
        {
            // The character has no end; this byte may begin another.
            let _byte = self.begun.pop();
            self.end(show);
            let _room = self.begun.push(byte).is_ok();
        }
        match classify(&self.begun) {
            Class::Begun => return,
            Class::Whole if !self.is_control() => show(&self.begun),
            Class::Whole | Class::Malformed => show(REPLACEMENT),
        }
        self.begun.clear();
    }

    /// Ends the text; replaces each byte of an incomplete character.
    pub fn end(&mut self, show: &mut dyn FnMut(&[u8])) {
        for _ in 0..self.begun.len() {
            show(REPLACEMENT);
        }
        self.begun.clear();
    }

    /// Returns true if a terminal would interpret the character.
    fn is_control(&self) -> bool {
        match *self.begun {
            [b'\n' | b'\t'] => !self.keeps_lines,
            [byte] => byte.is_ascii_control(),
            [0xc2, second] => second < 0xa0,
            _ => false,
        }
    }
}

/// Classifies bytes as well-formed UTF-8 (Unicode 15.0, table 3-7) or not.
const fn classify(bytes: &[u8]) -> Class {
    match *bytes {
        [0x00..=0x7f]
        | [0xc2..=0xdf, 0x80..=0xbf]
        | [0xe0..=0xef, _, 0x80..=0xbf]
        | [0xf0..=0xf4, _, _, 0x80..=0xbf] => Class::Whole,
        [0xc2..=0xf4]
        | [0xe0, 0xa0..=0xbf]
        | [0xed, 0x80..=0x9f]
        | [0xe1..=0xec | 0xee..=0xef | 0xf1..=0xf3, 0x80..=0xbf]
        | [0xf0, 0x90..=0xbf]
        | [0xf4, 0x80..=0x8f]
        | [0xf0..=0xf4, _, 0x80..=0xbf] => Class::Begun,
        _ => Class::Malformed,
    }
}

/// Replaces the control characters of a text, except newline and tab. Returns
/// the text, which is not longer than before.
pub fn in_place(text: &mut [u8]) -> &[u8] {
    let mut mask = Mask::lines();
    let mut length = 0_usize;
    // It shows no more bytes than it took.
    let mut put = |text: &mut [u8], shown: &[u8]| {
        for (to, byte) in text.iter_mut().skip(length).zip(shown) {
            *to = *byte;
        }
        length = length.saturating_add(shown.len());
    };
    for at in 0..text.len() {
        if let Some(byte) = text.get(at).copied() {
            mask.take(byte, &mut |shown| put(text, shown));
        }
    }
    mask.end(&mut |shown| put(text, shown));
    text.get(..length).unwrap_or(&[])
}

/// Calls `show` with each character of a name, or with its replacement.
pub fn each(name: &[u8], show: &mut dyn FnMut(&[u8])) {
    let mut mask = Mask::name();
    for byte in name {
        mask.take(*byte, show);
    }
    mask.end(show);
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    /// Returns what is shown of a text that comes in pieces of these sizes.
    fn shown(
        mut mask: Mask,
        text: &[u8],
        sizes: &[usize],
    ) -> std::vec::Vec<u8> {
        let mut all = std::vec::Vec::new();
        let mut rest = text;
        let mut sizes = sizes.iter().cycle();
        while !rest.is_empty() {
            let size =
                sizes.next().map_or(1, |size| *size).clamp(1, rest.len());
            let (piece, tail) = rest.split_at(size);
            for byte in piece {
                mask.take(*byte, &mut |shown| all.extend_from_slice(shown));
            }
            rest = tail;
        }
        mask.end(&mut |shown| all.extend_from_slice(shown));
        all
    }

    /// Does the same with the decoder of std.
    fn model(text: &[u8], keeps_lines: bool) -> std::string::String {
        let mut all = std::string::String::new();
        for chunk in text.utf8_chunks() {
            for char in chunk.valid().chars() {
                let kept = keeps_lines && matches!(char, '\n' | '\t');
                all.push(if char.is_control() && !kept {
                    '?'
                } else {
                    char
                });
            }
            all.extend(chunk.invalid().iter().map(|_| '?'));
        }
        all
    }

    /// Bytes that form whole, cut, overlong and wrong characters.
    fn texts() -> impl Strategy<Value = std::vec::Vec<u8>> {
        let byte = prop_oneof![
            any::<u8>(),
            0x80..=0xa0_u8,
            prop::sample::select(
                b"\n\t\x1b\x7fa\xc0\xc1\xc2\xc3\xe0\xe1\xed\xf0\xf4\xf5\xbf"
                    .to_vec()
            ),
        ];
        prop::collection::vec(byte, 0..40)
    }

    #[test]
    fn control_characters_are_replaced() {
        let rows: [(&[u8], &str); 12] = [
            (b"a b~", "a b~"),
            (b"\x1b[2J\x07\r\x7f\0", "?[2J????"),
            (
                "d\u{e9}j\u{e0} \u{20ac}\u{1f600}".as_bytes(),
                "d\u{e9}j\u{e0} \u{20ac}\u{1f600}",
            ),
            // U+009B is CSI.
            (b"\xc2\x9b31m", "?31m"),
            (b"\x9b31m", "?31m"),
            (b"\xc2\xa0", "\u{a0}"),
            // A character that is complete does not hide what follows.
            (b"\xc3\x9b\x9bm", "\u{db}?m"),
            // The overlong forms of U+009B and ESC.
            (b"\xe0\x82\x9b", "???"),
            (b"\xc0\x9b", "??"),
            // A surrogate, and what is beyond U+10FFFF.
            (b"\xed\xa0\x80\xf4\x90\x80\x80", "???????"),
            // Cut off by another, by ASCII, and by the end.
            (b"\xe2\x82\xc3\xa9\xe2\x82[\xf0\x9f", "??\u{e9}??[??"),
            (b"\xff\xfe", "??"),
        ];
        for (text, expected) in rows {
            let shown = shown(Mask::name(), text, &[1]);
            assert_eq!(std::str::from_utf8(&shown), Ok(expected));
        }
        assert_eq!(shown(Mask::name(), b"a\n\tb", &[9]), b"a??b");
        assert_eq!(shown(Mask::lines(), b"a\n\t\rb", &[9]), b"a\n\t?b");
    }

    proptest! {
        #[test]
        fn no_control_character_is_shown(
            text in texts(),
            sizes in prop::collection::vec(1..5_usize, 1..4),
        ) {
            let name = shown(Mask::name(), &text, &sizes);
            let name = std::string::String::from_utf8(name).unwrap();
            prop_assert!(!name.contains(char::is_control), "{name:?}");
            prop_assert_eq!(&name, &model(&text, false));
            let lines = shown(Mask::lines(), &text, &sizes);
            let lines = std::string::String::from_utf8(lines).unwrap();
            prop_assert_eq!(&lines, &model(&text, true));
            let mut text = text;
            prop_assert_eq!(in_place(&mut text), lines.as_bytes());
            let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
            prop_assert!(!lines.contains(obeyed), "{lines:?}");
            // Masked text stays unchanged.
            let again = shown(Mask::name(), name.as_bytes(), &[3]);
            prop_assert_eq!(again, name.into_bytes());
        }
    }
}
