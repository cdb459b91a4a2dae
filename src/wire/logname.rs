//! Names of old logs: `@TAI64N.c`, 27 characters (contract §5.2).

use core::ffi::CStr;

use super::{clock::Wall, tai};

/// Length of a name without its NUL.
pub const BYTES: usize = tai::LABEL + 2;

/// Kind of a file, the last letter of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `s`: complete.
    Safe,
    /// `u`: not closed properly, or waiting for its processor.
    Unsafe,
    /// `t`: output of a processor, in progress or left unfinished.
    Temporary,
}

impl Kind {
    /// Returns the letter.
    fn code(self) -> u8 {
        match self {
            Self::Safe => b's',
            Self::Unsafe => b'u',
            Self::Temporary => b't',
        }
    }
}

/// File name with its NUL. Aligned so that it is copied in words.
#[repr(align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName([u8; BYTES + 1]);

impl LogName {
    /// Returns the name of a log that was closed at this time.
    pub fn new(wall: Wall, kind: Kind) -> Self {
        let mut name = [0; BYTES + 1];
        let bytes = tai::label(wall).into_iter().chain([b'.', kind.code()]);
        for (to, byte) in name.iter_mut().zip(bytes) {
            *to = byte;
        }
        Self(name)
    }

    /// Returns the name of a log that was closed at this time or, if that is
    /// not later than `newest`, one nanosecond after `newest`: where the clock
    /// was set back, or never set, the newest log must not look like the
    /// oldest.
    pub fn after(newest: Option<Self>, wall: Wall, kind: Kind) -> Self {
        let least = newest.and_then(|newest| newest.moment());
        let wall = least.map_or(wall, |least| wall.max(least.next()));
        Self::new(wall, kind)
    }

    /// Reads the name of a file: 27 characters that begin with `@`, with any
    /// letter at the end (contract §5.6).
    pub fn parse(name: &[u8]) -> Option<Self> {
        if name.len() != BYTES || !name.starts_with(b"@") {
            return None;
        }
        let mut own = [0; BYTES + 1];
        for (to, byte) in own.iter_mut().zip(name) {
            *to = *byte;
        }
        Some(Self(own))
    }

    /// Returns the kind; `None` if the letter is not one of ours.
    pub fn kind(&self) -> Option<Kind> {
        let code = self.0.get(BYTES.wrapping_sub(1))?;
        [Kind::Safe, Kind::Unsafe, Kind::Temporary]
            .into_iter()
            .find(|kind| kind.code() == *code)
    }

    /// Returns the same label with another letter.
    pub fn with(mut self, kind: Kind) -> Self {
        if let Some(code) = self.0.get_mut(BYTES.wrapping_sub(1)) {
            *code = kind.code();
        }
        self
    }

    /// Returns the time in the name; `None` if its label is malformed, or in
    /// the half that TAI64 reserves.
    pub fn moment(&self) -> Option<Wall> {
        let mut packed = [0; tai::BYTES];
        let digits = self.0.get(1..tai::LABEL)?;
        for (to, pair) in packed.iter_mut().zip(digits.chunks_exact(2)) {
            let [high, low] = *pair else { return None };
            *to = digit(high)? << 4 | digit(low)?;
        }
        let [first, ..] = packed;
        (first < 0x80).then(|| tai::unpack(packed))
    }

    /// Returns the name.
    pub fn as_bytes(&self) -> &[u8] {
        self.as_c_str().to_bytes()
    }

    /// Returns the name in the form that the kernel takes.
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// Returns the value of a lower-case hexadecimal digit.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(character.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_contains_its_time_and_names_sort_by_it(
            a in 0..u64::MAX >> 2, b in 0..u64::MAX >> 2, nanos in 0..1_000_000_000_u32
        ) {
            let name = |secs| LogName::new(Wall { secs, nanos }, Kind::Safe);
            prop_assert_eq!(name(a).moment(), Some(Wall { secs: a, nanos }));
            prop_assert_eq!(name(a).cmp(&name(b)), a.cmp(&b));
            prop_assert_eq!(LogName::parse(name(a).as_bytes()), Some(name(a)));
        }

        #[test]
        fn any_file_name_is_read(name in proptest::collection::vec(1..255_u8, 0..40)) {
            if let Some(parsed) = LogName::parse(&name) {
                prop_assert_eq!(parsed.as_bytes(), &name[..]);
                let _label = parsed.moment();
            }
        }
    }

    #[test]
    fn the_next_name_is_newer_than_any_valid_one() {
        let wall = Wall { secs: 7, nanos: 0 };
        for (label, next) in [
            ("@400000000000000a00000000", "@400000000000001100000000"),
            ("@4000000000000012ffffffff", "@400000000000001300000000"),
            ("@40000000000000123b9ac9ff", "@400000000000001300000000"),
            ("@400000000000001200000000", "@400000000000001200000001"),
            // Reserved: there is no later one.
            ("@ffffffffffffffffffffffff", "@400000000000001100000000"),
        ] {
            let old = LogName::parse(format!("{label}.s").as_bytes());
            let new = LogName::after(old, wall, Kind::Unsafe);
            assert_eq!(new.as_bytes(), format!("{next}.u").as_bytes());
        }
    }

    #[test]
    fn other_files_are_not_logs() {
        assert_eq!(LogName::parse(b"current"), None);
        assert_eq!(LogName::parse(b"@400000000000000a00000000.ss"), None);
        let t = LogName::parse(b"@400000000000000a00000000.t").unwrap();
        assert_eq!(t.kind(), Some(Kind::Temporary));
        assert_eq!(t.with(Kind::Safe).kind(), Some(Kind::Safe));
        assert_eq!(t.with(Kind::Unsafe).as_bytes().last(), Some(&b'u'));
        let other = LogName::parse(b"@40000000000000XX00000000.s").unwrap();
        assert_eq!(other.moment(), None);
        let other = LogName::parse(b"@400000000000000a00000000.x").unwrap();
        assert_eq!(other.kind(), None);
    }
}
