//! Records of utmp and wtmp (contract §10, utmp(5)).
//!
//! ```text
//! at        bytes     field
//!   0           2     type: 7 a user's process, 8 one that has ended
//!   4           4     pid
//!   8          32     line, padded with NULs
//!  40           4     id
//!  44          32     user
//!  76         256     host
//! 332       2 + 2     how the process ended
//! 336       4 (8)     session
//! 340 (344) 4 (8)     seconds since 1970
//! 344 (352) 4 (8)     microseconds
//! 348 (360)    16     address
//! 364 (376)    20     unused: 384 (400) bytes in all
//! ```
//!
//! Numbers are in the machine's byte order. The values in parentheses are
//! those of AArch64, the only one of our machines where glibc stores times in
//! the width of a register. All others, x86-64, riscv64 and those of 32 bits,
//! have 384 bytes.

/// Times have 64 bits.
const WIDE: bool = cfg!(target_arch = "aarch64");
/// Length of a record in bytes.
pub const BYTES: usize = if WIDE { 400 } else { 384 };

/// Offset of the type.
const TYPE: usize = 0;
/// Offset of the line.
const LINE: usize = 8;
/// Offset of user and host, which are adjacent.
const USER: usize = 44;
/// Offset of the field after the host.
const EXIT: usize = 332;
/// Offset of the seconds.
const SECONDS: usize = if WIDE { 344 } else { 340 };
/// Maximum bytes of a line's name.
const NAME: usize = 32;

/// The type of a process that has ended.
const DEAD: u16 = 8;

/// Name that fits the line field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Returns `None` if `name` is too long.
    pub fn new(name: &'a [u8]) -> Option<Self> {
        (name.len() <= NAME).then_some(Self(name))
    }

    /// Returns the name.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// Record of utmp or wtmp.
#[derive(Clone, Debug)]
pub struct Record([u8; BYTES]);

impl Record {
    /// Returns an empty record.
    pub fn new() -> Self {
        Self([0; BYTES])
    }

    /// Returns a record with this line and everything else empty.
    pub fn of_line(line: Name<'_>) -> Self {
        let mut record = Self::new();
        record.set(LINE, line.0.iter().copied());
        record
    }

    /// Returns its bytes, to be read and written.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Returns true if it says that a user is logged in on `line`.
    pub fn is_login(&self, line: Name<'_>) -> bool {
        let field = self.0.iter().skip(LINE).take(NAME);
        let padded = line.0.iter().chain(&[0; NAME]).take(NAME);
        self.0.get(USER).is_some_and(|first| *first != 0) && field.eq(padded)
    }

    /// Makes it the record of a process that ended at `now`, in seconds.
    pub fn end(&mut self, now: u64) {
        self.set(TYPE, DEAD.to_ne_bytes());
        self.set(USER, core::iter::repeat_n(0, EXIT.saturating_sub(USER)));
        if WIDE {
            self.set(SECONDS, now.to_ne_bytes());
        } else {
            // After 2038 these are the low 32 bits, read without a sign.
            let low = u32::try_from(now & 0xffff_ffff).unwrap_or(0);
            self.set(SECONDS, low.to_ne_bytes());
        }
    }

    /// Writes bytes at an offset.
    fn set(&mut self, at: usize, bytes: impl IntoIterator<Item = u8>) {
        for (to, byte) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = byte;
        }
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_record_is_found_and_ended() {
        let line = Name::new(b"pts/1").unwrap();
        let mut record = Record::of_line(line);
        assert!(!record.is_login(line));
        record.set(USER, *b"joe");
        assert!(record.is_login(line));
        assert!(!record.is_login(Name::new(b"pts/10").unwrap()));
        assert!(!record.is_login(Name::new(b"pts/").unwrap()));
        record.set(EXIT, [1]);
        let mut ended = record.clone();
        ended.end(0x0102_0304);
        assert!(!ended.is_login(line));
        let differ = |at: &usize| record.0[*at] != ended.0[*at];
        let differ: Vec<usize> = (0..BYTES).filter(differ).collect();
        assert_eq!(differ, [0, 44, 45, 46, 340, 341, 342, 343]);
        assert_eq!(ended.0[340..344], 0x0102_0304_u32.to_ne_bytes());
    }

    #[test]
    fn bytes_that_are_read_make_the_record() {
        let line = Name::new(b"tty1").unwrap();
        assert_eq!(line.as_bytes(), b"tty1");
        assert!(Record::default().0 == [0; BYTES]);
        let mut written = Record::of_line(line);
        written.set(USER, *b"joe");
        let mut read = Record::new();
        assert_eq!(read.bytes().len(), BYTES);
        read.bytes().copy_from_slice(written.bytes());
        assert!(read.is_login(line));
    }

    #[test]
    fn a_name_may_fill_its_field() {
        let line = Name::new(&[b'x'; 32]).unwrap();
        let mut record = Record::of_line(line);
        record.set(USER, *b"joe");
        assert!(record.is_login(line));
        assert!(Name::new(&[b'x'; 33]).is_none());
    }
}
