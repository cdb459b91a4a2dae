//! Encodes a row of the ledger: the state of one slot, which outlives the
//! process that keeps it.
//!
//! The ledger is a file of 32-bit words: a header, then a row for each entry
//! of the table. A row has a check sum, so that one that was damaged is not
//! trusted. Numbers are little-endian. Releases that change the layout change
//! [`FORMAT`].

use super::clock::Instant;

/// Number of the layout.
pub const FORMAT: u32 = 1;

/// Bytes of the fields of a row.
pub const BYTES: usize = 212;

/// Fields of a row.
pub type Fields = [u8; BYTES];

/// Cursor that stores values in the fields of a row one after the other, or
/// loads them.
#[derive(Debug)]
pub struct Cursor<'f> {
    fields: &'f mut Fields,
    at: usize,
    loads: bool,
    valid: bool,
}

impl<'f> Cursor<'f> {
    /// Returns a cursor that stores.
    pub fn store(fields: &'f mut Fields) -> Self {
        Self {
            fields,
            at: 0,
            loads: false,
            valid: true,
        }
    }

    /// Returns a cursor that loads.
    pub fn load(fields: &'f mut Fields) -> Self {
        Self {
            loads: true,
            ..Self::store(fields)
        }
    }

    /// Returns whether all values so far were in range.
    pub fn is_valid(&self) -> bool {
        self.valid
    }

    /// Records that a value is in range or not.
    pub fn check(&mut self, valid: bool) {
        self.valid &= valid;
    }

    /// Passes a number of eight bytes.
    pub fn number(&mut self, value: &mut u64) {
        let mut halves = [*value, *value >> 32]
            .map(|half| u32::try_from(half & u64::from(u32::MAX)).unwrap_or(0));
        for half in &mut halves {
            self.word(half);
        }
        let [low, high] = halves.map(u64::from);
        *value = low | high << 32;
    }

    /// Passes a byte, as most values are.
    #[inline(never)]
    pub fn byte(&mut self, value: &mut u8) {
        let field = self.fields.get_mut(self.at);
        self.at = self.at.saturating_add(1);
        match field {
            Some(field) if self.loads => *value = *field,
            Some(field) => *field = *value,
            None => self.valid = false,
        }
    }

    /// Passes a number of four bytes.
    #[inline(never)]
    pub fn word(&mut self, value: &mut u32) {
        let rest = self.fields.get_mut(self.at..).unwrap_or_default();
        self.at = self.at.saturating_add(4);
        match rest.first_chunk_mut() {
            Some(field) if self.loads => *value = u32::from_le_bytes(*field),
            Some(field) => *field = value.to_le_bytes(),
            None => self.valid = false,
        }
    }

    /// Passes a flag.
    pub fn flag(&mut self, value: &mut bool) {
        let mut byte = u8::from(*value);
        self.byte(&mut byte);
        self.valid &= byte < 2;
        *value = byte != 0;
    }

    /// Passes a time, if there is one.
    pub fn time(&mut self, value: &mut Option<Instant>) {
        let stored = |time: Instant| time.nanos().saturating_add(1);
        let mut number = value.map_or(0, stored);
        self.number(&mut number);
        *value = number.checked_sub(1).map(Instant::at);
    }

    /// Passes a process id, if there is one.
    pub fn pid(&mut self, value: &mut Option<u32>) {
        let mut number = value.unwrap_or(0);
        self.word(&mut number);
        *value = Some(number).filter(|number| *number != 0);
    }

    /// Passes one of several values.
    pub fn choice<T: Copy + PartialEq>(&mut self, value: &mut T, all: &[T]) {
        let index = all.iter().position(|known| known == value);
        let mut byte = u8::try_from(index.unwrap_or(0)).unwrap_or(0);
        self.byte(&mut byte);
        match all.get(usize::from(byte)) {
            Some(known) => *value = *known,
            None => self.valid = false,
        }
    }
}

/// Returns the check sum of the words of a row; it is not 0. It changes with
/// every change of one word.
pub fn check(words: impl Iterator<Item = u32>) -> u32 {
    let sum = words.fold(FORMAT, |sum, word| {
        (sum ^ word).wrapping_mul(0x9e37_79b1).rotate_left(13)
    });
    sum.max(1)
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_are_loaded_as_stored(
            number: u64,
            byte: u8,
            word: u32,
            flag: bool,
            time in proptest::option::of(0..u64::MAX - 1),
            pid in proptest::option::of(1..u32::MAX),
            letter in proptest::sample::select(&b"abc"[..]),
        ) {
            let values = (number, byte, word, flag, time.map(Instant::at), pid);
            let pass = |cursor: &mut Cursor<'_>, mut values: (_, _, _, _, _, _), mut letter| {
                cursor.number(&mut values.0);
                cursor.byte(&mut values.1);
                cursor.word(&mut values.2);
                cursor.flag(&mut values.3);
                cursor.time(&mut values.4);
                cursor.pid(&mut values.5);
                cursor.choice(&mut letter, b"abc");
                (values, letter)
            };
            let mut fields = [0; BYTES];
            pass(&mut Cursor::store(&mut fields), values, letter);
            let mut cursor = Cursor::load(&mut fields);
            let loaded = pass(&mut cursor, (0, 0, 0, false, None, None), b'a');
            prop_assert!(cursor.is_valid());
            prop_assert_eq!(loaded, (values, letter));
        }

        #[test]
        fn a_change_of_a_word_changes_the_sum(
            words: [u32; 55],
            at in 0..55_usize,
            flips in 1..u32::MAX,
        ) {
            let mut other = words;
            other[at] ^= flips;
            // All but one in four billion sums stand for themselves.
            prop_assert_ne!(check(words.into_iter()), check(other.into_iter()));
        }
    }

    #[test]
    fn values_out_of_range_are_invalid() {
        let mut fields = [7; BYTES];
        let mut cursor = Cursor::load(&mut fields);
        cursor.flag(&mut false);
        assert!(!cursor.is_valid());
        let mut cursor = Cursor::load(&mut fields);
        cursor.choice(&mut 1, &[1, 2, 3]);
        assert!(!cursor.is_valid());
        let mut cursor = Cursor::load(&mut fields);
        for _ in 0..BYTES {
            cursor.byte(&mut 0);
        }
        assert!(cursor.is_valid());
        cursor.byte(&mut 0);
        assert!(!cursor.is_valid());
    }
}
