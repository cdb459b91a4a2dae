//! Types for names, paths and lines of output: bytes of bounded length.

pub mod mask;

use core::ffi::CStr;

use heapless::{Vec, VecView};
use ufmt::uwrite;

use crate::config;

/// A service's name: any bytes but `/` and NUL, as a file name may have.
pub type Name = Vec<u8, { config::NAME_BYTES }, u8>;

/// Error: more bytes were given than the `limit`; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The capacity that was reached, in bytes.
    pub limit: usize,
}

/// Copies `bytes` into a name.
///
/// Returns `Err(TooLong)` if they are more than `config::NAME_BYTES`.
pub fn name(bytes: &[u8]) -> Result<Name, TooLong> {
    Name::from_slice(bytes).map_err(|_| TooLong {
        limit: config::NAME_BYTES,
    })
}

/// A path that ends in a NUL and contains no other.
#[derive(Clone, Debug)]
pub struct Path(Vec<u8, { config::PATH_BYTES }>);

impl Path {
    /// Joins `parts` without a separator.
    ///
    /// Returns `Err(TooLong)` if they and the NUL are more than
    /// `config::PATH_BYTES`, or if a part contains a NUL (which no file name
    /// can).
    pub fn join(parts: &[&[u8]]) -> Result<Self, TooLong> {
        let limit = TooLong {
            limit: config::PATH_BYTES,
        };
        let mut bytes = Vec::new();
        for part in parts {
            if part.contains(&0) {
                return Err(limit);
            }
            bytes.extend_from_slice(part).map_err(|_| limit)?;
        }
        bytes.push(0).map_err(|_| limit)?;
        Ok(Self(bytes))
    }

    /// Appends a part; `Err(TooLong)` leaves the path as it was.
    pub fn push(&mut self, part: &[u8]) -> Result<(), TooLong> {
        let limit = config::PATH_BYTES;
        let length = self.as_bytes().len();
        if part.len() >= limit.saturating_sub(length) || part.contains(&0) {
            return Err(TooLong { limit });
        }
        self.0.truncate(length);
        for byte in part.iter().chain(&[0]) {
            // There is room, as checked above.
            let _room = self.0.push(*byte).is_ok();
        }
        Ok(())
    }

    /// Truncates the path to its first `length` bytes.
    pub fn cut(&mut self, length: usize) {
        let length = length.min(self.as_bytes().len());
        self.0.truncate(length);
        // The path had room at least for its own NUL.
        let _room = self.0.push(0).is_ok();
    }

    /// Returns the path in the form that the kernel takes.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }

    /// Returns the path without its NUL.
    pub fn as_bytes(&self) -> &[u8] {
        self.as_c_str().to_bytes()
    }
}

/// Builder of one line of at most `config::MESSAGE_BYTES`.
///
/// Text that does not fit is left out and the line then ends in `...`, which
/// shows that it was cut.
#[derive(Clone, Debug, Default)]
pub struct Line {
    bytes: Vec<u8, { config::MESSAGE_BYTES }>,
    cut: bool,
}

impl Line {
    /// Returns an empty line.
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            cut: false,
        }
    }

    /// Appends text from outside: a name, a path, an argument. Control
    /// characters are shown as `?` ([`mask`]): a file name may contain any
    /// bytes, and a line must stay one line.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let Self { bytes: line, cut } = self;
        mask::each(bytes, &mut |shown| {
            *cut = *cut || line.extend_from_slice(shown).is_err();
        });
        self
    }

    /// Appends a text of this program unchanged.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for byte in text.as_bytes() {
            self.cut |= self.bytes.push(*byte).is_err();
        }
        self
    }

    /// Appends a number in decimal.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.cut |= uwrite!(self.bytes, "{}", number).is_err();
        self
    }

    /// Ends the line with a newline and returns the bytes to write.
    pub fn finish(&mut self) -> &[u8] {
        // A full line has no room for the newline.
        self.cut |= self.bytes.is_full();
        let end: &[u8] = if self.cut { b"...\n" } else { b"\n" };
        let mut room = config::MESSAGE_BYTES.saturating_sub(end.len());
        // No character is cut in two.
        while self.bytes.get(room).is_some_and(|byte| byte & 0xc0 == 0x80) {
            room = room.saturating_sub(1);
        }
        self.bytes.truncate(room);
        for byte in end {
            self.cut |= self.bytes.push(*byte).is_err();
        }
        &self.bytes
    }

    /// Returns the line so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns the number in the leading decimal digits of `text`, and the rest.
///
/// No digits give 0; a number that does not fit a `u64` gives the largest one
/// (contract §0.3: runit does not check for overflow at all).
pub fn leading_number(text: &[u8]) -> (u64, &[u8]) {
    let mut number: u64 = 0;
    let mut rest = text;
    while let [digit @ b'0'..=b'9', tail @ ..] = rest {
        number = number
            .saturating_mul(10)
            .saturating_add(u64::from(digit.wrapping_sub(b'0')));
        rest = tail;
    }
    (number, rest)
}

/// Returns the number that `text` spells; `None` unless it is only digits.
pub fn whole_number(text: &[u8]) -> Option<u64> {
    match leading_number(text) {
        (number, []) if !text.is_empty() => Some(number),
        _ => None,
    }
}

/// Returns the part of a path after its last `/`.
pub fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// Moves `count` bytes from `from` to the front. Not `copy_within`: its bounds
/// are checked by a panic.
pub fn to_front(bytes: &mut [u8], from: usize, count: usize) {
    for at in 0..count {
        let byte = bytes.get(from.saturating_add(at)).copied();
        if let (Some(byte), Some(place)) = (byte, bytes.get_mut(at)) {
            *place = byte;
        }
    }
}

/// Keeps the items of a list for which `wanted` returns true, in order.
///
/// Not `Vec::retain`, which alone would link `memmove`: 700 bytes.
pub fn keep<T>(list: &mut VecView<T>, mut wanted: impl FnMut(&mut T) -> bool) {
    let mut kept = 0_usize;
    for at in 0..list.len() {
        if list.get_mut(at).is_some_and(&mut wanted) {
            // There is no such entry when the item is in position already.
            if let Some((before, rest)) = list.split_at_mut_checked(at)
                && let (Some(free), [item, ..]) = (before.get_mut(kept), rest)
            {
                core::mem::swap(free, item);
            }
            kept = kept.saturating_add(1);
        }
    }
    list.truncate(kept);
}

/// Copies `from` to the start of `to`. Returns false and copies nothing if it
/// does not fit.
///
/// All uses of `copy_from_slice` go through here: it is a panic path unless
/// the compiler sees that the lengths are equal, and a byte-wise copy is slow.
pub fn copy(to: &mut [u8], from: &[u8]) -> bool {
    match to.get_mut(..from.len()) {
        Some(start) if start.len() == from.len() => {
            start.copy_from_slice(from);
            true
        }
        Some(_) | None => false,
    }
}

/// Returns the first position of `byte` in `bytes`.
///
/// Reads a word at a time: this is most of the work of svlogd on a line.
pub fn find(bytes: &[u8], byte: u8) -> Option<usize> {
    const ONES: usize = usize::MAX / 255;
    const TOPS: usize = ONES << 7;
    let pattern = ONES.wrapping_mul(usize::from(byte));
    let (words, tail) = bytes.as_chunks::<{ size_of::<usize>() }>();
    let mut at = 0_usize;
    for word in words {
        // A byte that equals the wanted one is now 0, and the lowest 0 gets
        // its top bit: a borrow reaches only those above it.
        let word = usize::from_le_bytes(*word) ^ pattern;
        let found = word.wrapping_sub(ONES) & !word & TOPS;
        if found != 0 {
            let bits = usize::try_from(found.trailing_zeros()).unwrap_or(0);
            return Some(at.saturating_add(bits >> 3));
        }
        at = at.saturating_add(size_of::<usize>());
    }
    let behind = tail.iter().position(|other| *other == byte)?;
    Some(at.saturating_add(behind))
}

/// Returns the FNV-1a hash of a text.
pub fn hash(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_line_that_is_cut_ends_in_dots() {
        let mut line = Line::new();
        line.bytes(&[b'x'; config::MESSAGE_BYTES]);
        let _full = line.finish();
        let mut line = Line::new();
        for _ in 0..config::MESSAGE_BYTES {
            line.number(10);
        }
        let bytes = line.finish();
        assert_eq!(bytes.len(), config::MESSAGE_BYTES);
        assert!(bytes.ends_with(b"...\n"));
    }

    #[test]
    fn a_line_is_whole_or_ends_in_dots() {
        type Add = fn(&mut Line) -> &mut Line;
        let adds: [Add; 3] =
            [|l| l.bytes(b"10"), |l| l.text("10"), |l| l.number(10)];
        let most = config::MESSAGE_BYTES;
        for add in adds {
            for before in 0..most + 3 {
                let mut line = Line::new();
                line.bytes(&vec![b'x'; before]);
                let whole = [&vec![b'x'; before], &b"10\n"[..]].concat();
                let cut = [&vec![b'x'; most - 4], &b"...\n"[..]].concat();
                let fits = whole.len() <= most;
                let expected = if fits { whole } else { cut };
                assert_eq!(add(&mut line).finish(), expected, "{before}");
            }
        }
    }

    #[test]
    fn a_line_is_cut_between_characters() {
        for before in 0..8 {
            let mut line = Line::new();
            line.bytes(&[b'x'; 8][..before]);
            line.bytes("\u{20ac}".repeat(config::MESSAGE_BYTES).as_bytes());
            let bytes = line.finish();
            assert!(bytes.len() > config::MESSAGE_BYTES - 7);
            assert!(bytes.ends_with(b"\xac...\n"), "{before}");
            assert!(core::str::from_utf8(bytes).is_ok(), "{before}");
        }
    }

    #[test]
    fn a_line_holds_no_control_characters() {
        let mut line = Line::new();
        line.bytes(b"a\n\x1b[2J\x7f\x9b\xc2\x9bz");
        assert_eq!(line.as_bytes(), b"a??[2J???z");
        let mut line = Line::new();
        line.bytes("\u{11b}\u{201b}".as_bytes()).text("\n");
        assert_eq!(line.as_bytes(), "\u{11b}\u{201b}\n".as_bytes());
    }

    #[test]
    fn a_path_takes_all_or_nothing() {
        let long = [b'a'; config::PATH_BYTES];
        let limit = TooLong {
            limit: config::PATH_BYTES,
        };
        assert_eq!(Path::join(&[&long]).err(), Some(limit));
        assert_eq!(Path::join(&[b"a\0b"]).err(), Some(limit));
        let path = Path::join(&[b"/a", b"/", b"b"]).unwrap();
        assert_eq!(path.as_c_str(), c"/a/b");
        assert!(Path::join(&[&long[1..]]).is_ok());
        let mut path = path;
        path.cut(2);
        assert_eq!(path.push(&long[2..]).err(), Some(limit));
        assert_eq!(path.push(b"\0").err(), Some(limit));
        assert_eq!(path.as_c_str(), c"/a");
        assert!(path.push(&long[3..]).is_ok());
        path.cut(1);
        assert_eq!(path.as_c_str(), c"/");
        path.cut(9);
        assert_eq!(path.as_c_str(), c"/");
    }

    proptest::proptest! {
        #[test]
        fn a_byte_is_found_where_it_first_stands(
            bytes in proptest::collection::vec(0..4_u8, 0..70), byte in 0..5_u8
        ) {
            // Bytes that differ in the lowest or in the topmost bit.
            let value = |n: u8| [0, 1, 128, 129, 255][usize::from(n)];
            let bytes: std::vec::Vec<u8> =
                bytes.into_iter().map(value).collect();
            let byte = value(byte);
            let naive = bytes.iter().position(|other| *other == byte);
            proptest::prop_assert_eq!(find(&bytes, byte), naive);
        }
    }

    #[test]
    fn a_name_takes_all_or_nothing() {
        let long = [b'a'; config::NAME_BYTES + 1];
        for length in 0..=config::NAME_BYTES {
            assert_eq!(name(&long[..length]).unwrap(), long[..length]);
        }
        let limit = config::NAME_BYTES;
        assert_eq!(name(&long).err(), Some(TooLong { limit }));
    }

    /// Test vectors of the authors of FNV.
    #[test]
    fn a_hash_is_that_of_fnv_1a() {
        let rows: [(&[u8], u32); 3] = [
            (b"", 0x811c_9dc5),
            (b"a", 0xe40c_292c),
            (b"foobar", 0xbf9c_f968),
        ];
        for (text, value) in rows {
            assert_eq!(hash(text), value, "{text:?}");
        }
    }

    #[test]
    fn retain_keeps_the_order() {
        for mask in 0..32_u8 {
            let mut list = Vec::<u8, 5>::from_slice(&[0, 1, 2, 3, 4]).unwrap();
            let wanted = |item: &mut u8| mask & (1 << *item) != 0;
            keep(&mut list, wanted);
            let mut model = std::vec![0, 1, 2, 3, 4];
            model.retain_mut(wanted);
            assert_eq!(list.as_slice(), model.as_slice());
        }
    }

    #[test]
    fn numbers_as_runit_scans_them() {
        assert_eq!(leading_number(b"12x"), (12, &b"x"[..]));
        assert_eq!(leading_number(b"abc"), (0, &b"abc"[..]));
        assert_eq!(whole_number(b""), None);
        assert_eq!(whole_number(b"7 "), None);
        assert_eq!(whole_number(b"99999999999999999999"), Some(u64::MAX));
        assert_eq!(basename(b"/a/b"), b"b");
        assert_eq!(basename(b"b"), b"b");
    }
}
