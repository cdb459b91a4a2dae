//! State that a process passes to its next execution, as numbers, and their
//! text: `NUMBER,NUMBER,...` in hexadecimal, the first of which is a checksum
//! of the others.

use heapless::Vec;

use super::clock::Instant;

/// Maximum number of numbers.
pub const NUMBERS: usize = 56;

/// Bytes of their text: each number has at most 16 digits and a comma.
pub const TEXT: usize = (NUMBERS + 1) * 17;

/// Numbers, in the order in which they are written and read.
pub type Numbers = Vec<u64, NUMBERS>;

/// Writes numbers.
#[derive(Debug, Default)]
pub struct Writer(pub Numbers);

impl Writer {
    /// Adds a number.
    #[inline(never)]
    pub fn put(&mut self, number: u64) {
        // A record that is cut does not match its checksum's length.
        let _room = self.0.push(number).is_ok();
    }

    /// Adds a number that may be missing, and is not `u64::MAX`.
    #[inline(never)]
    pub fn put_option(&mut self, number: Option<u64>) {
        self.put(number.map_or(0, |number| number.saturating_add(1)));
    }
}

impl Writer {
    /// Adds a time.
    pub fn put_time(&mut self, time: Option<Instant>) {
        self.put_option(time.map(Instant::nanos));
    }

    /// Adds flags, the first as the lowest bit.
    pub fn put_flags(&mut self, flags: &[bool]) {
        let flags = flags.iter().rev();
        self.put(flags.fold(0, |all, flag| all << 1 | u64::from(*flag)));
    }
}

/// Reads numbers in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Reader<'n>(pub &'n [u64]);

impl Reader<'_> {
    /// Returns the next number; 0 after the last.
    #[inline(never)]
    pub fn take(&mut self) -> u64 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Returns the next number if it has at most 32 bits, else 0.
    pub fn take_word(&mut self) -> u32 {
        u32::try_from(self.take()).unwrap_or(0)
    }

    /// Returns the next number that may be missing.
    pub fn take_option(&mut self) -> Option<u64> {
        self.take().checked_sub(1)
    }
}

impl Reader<'_> {
    /// Returns the next time.
    pub fn take_time(&mut self) -> Option<Instant> {
        self.take_option().map(Instant::at)
    }

    /// Returns the next number as flags.
    pub fn take_flags<const N: usize>(&mut self) -> [bool; N] {
        let mut bits = self.take();
        core::array::from_fn(|_| {
            let flag = bits & 1 != 0;
            bits >>= 1_u32;
            flag
        })
    }

    /// Returns the next number as a process id, if there is one.
    pub fn take_pid(&mut self) -> Option<u32> {
        self.take_option().and_then(|pid| u32::try_from(pid).ok())
    }
}

/// Returns the checksum of numbers: it depends on their order and count.
pub fn checksum(numbers: &[u64]) -> u64 {
    let count = u64::try_from(numbers.len()).unwrap_or(u64::MAX);
    numbers.iter().fold(!count, |sum, number| {
        sum.rotate_left(7) ^ number.wrapping_add(0x9e37_79b9_7f4a_7c15)
    })
}

/// Appends the text of a number; returns the number of bytes in use.
pub fn put_number(text: &mut [u8], used: usize, number: u64) -> usize {
    let digits = (64_u32.saturating_sub(number.leading_zeros())).div_ceil(4);
    let digits = usize::try_from(digits.max(1)).unwrap_or(1);
    let end = used.saturating_add(digits);
    let Some(places) = text.get_mut(used..=end) else {
        return used;
    };
    let mut rest = number;
    for (index, place) in places.iter_mut().rev().enumerate() {
        let digit = u8::try_from(rest & 15).unwrap_or(0);
        *place = match (index, digit) {
            (0, _) => b',',
            (_, 0..=9) => b'0'.saturating_add(digit),
            _ => b'a'.saturating_sub(10).saturating_add(digit),
        };
        if index > 0 {
            rest >>= 4_u32;
        }
    }
    end.saturating_add(1)
}

/// Reads the numbers of a text. `None` if it is malformed, has too many
/// numbers, or does not match its checksum.
pub fn read(text: &[u8]) -> Option<Numbers> {
    let mut numbers = Numbers::new();
    let mut words = text.strip_suffix(b",")?.split(|byte| *byte == b',');
    let sum = number(words.next()?)?;
    for word in words {
        numbers.push(number(word)?).ok()?;
    }
    (checksum(&numbers) == sum).then_some(numbers)
}

/// Reads a hexadecimal number of at most 16 digits.
fn number(word: &[u8]) -> Option<u64> {
    let fits = (1..=16).contains(&word.len());
    fits.then_some(())?;
    word.iter().try_fold(0, |number: u64, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4_u32 | u64::from(digit))
    })
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    /// Returns the text of numbers.
    fn text(numbers: &[u64]) -> std::vec::Vec<u8> {
        let mut text = [0; TEXT];
        let mut used = put_number(&mut text, 0, checksum(numbers));
        for number in numbers {
            used = put_number(&mut text, used, *number);
        }
        text[..used].to_vec()
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_written(
            numbers in proptest::collection::vec(any::<u64>(), 0..=NUMBERS)
        ) {
            let read = read(&text(&numbers)).unwrap();
            prop_assert_eq!(&read[..], &numbers[..]);
        }

        #[test]
        fn a_changed_byte_is_noticed(
            numbers in proptest::collection::vec(any::<u64>(), 1..=NUMBERS),
            at: prop::sample::Index,
            byte: u8,
        ) {
            let mut text = text(&numbers);
            let place = at.get_mut(&mut text);
            let other = byte.to_ascii_lowercase() != *place
                && byte.to_ascii_lowercase() != byte.to_ascii_uppercase();
            if other {
                *place = byte;
                prop_assert_eq!(read(&text), None);
            }
        }

        #[test]
        fn any_text_is_read(text: std::vec::Vec<u8>) {
            let _numbers = read(&text);
        }
    }

    #[test]
    fn texts() {
        assert_eq!(text(&[0, 255]).len(), 17 + 2 + 3);
        assert!(text(&[0, 255]).ends_with(b",0,ff,"));
        let mut writer = Writer::default();
        writer.put(7);
        writer.put_option(None);
        writer.put_option(Some(0));
        let mut reader = Reader(&writer.0);
        assert_eq!(reader.take(), 7);
        assert_eq!(reader.take_option(), None);
        assert_eq!(reader.take_option(), Some(0));
        assert_eq!((reader.take(), reader.take_option()), (0, None));
        let mut writer = Writer::default();
        writer.put_flags(&[true, false, true]);
        writer.put_time(Some(Instant::at(9)));
        writer.put_option(Some(12));
        assert_eq!(writer.0, [5, 10, 13]);
        let mut reader = Reader(&writer.0);
        assert_eq!(reader.take_flags(), [true, false, true, false]);
        assert_eq!(reader.take_time(), Some(Instant::at(9)));
        assert_eq!(reader.take_pid(), Some(12));
    }
}
