//! Log ring: a file of fixed size that keeps the newest lines of a stream,
//! written by one process and read by any at any time.
//!
//! | at | content, numbers little endian |
//! |---|---|
//! | 0 | number of bytes kept, eight bytes |
//! | 8 | number of bytes written since the ring was created, eight bytes |
//! | 16 | the data; the n-th byte is at n modulo the length of the data area |
//!
//! The data area is longer than the bytes kept by the maximum written at once
//! plus one. The bytes are written before their count, so a byte that is
//! counted and kept is never being overwritten: a reader that reads bytes and
//! then finds them still kept has read them intact. No lock is needed, and a
//! writer that dies leaves a valid ring.

use crate::text::copy;

/// Bytes before the data.
pub const HEADER: usize = 16;

/// Geometry and position of a ring, from its header and file length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Number of bytes kept.
    size: u64,
    /// Size of the data area in bytes.
    room: u64,
    /// Number of bytes written so far.
    end: u64,
}

impl Ring {
    /// Returns a new ring that keeps `size` bytes, of which at most `most` are
    /// written at once.
    pub fn new(size: u64, most: u64) -> Self {
        let room = size.saturating_add(most).saturating_add(1);
        Self { size, room, end: 0 }
    }

    /// Decodes a header; `length` is that of the file. A file that is invalid,
    /// or is being created, is read as an empty ring.
    pub fn unpack(header: &[u8; HEADER], length: u64) -> Self {
        let whole = u128::from_le_bytes(*header);
        let half = |bits: u128| {
            u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
        };
        let (size, end) = (half(whole), half(whole >> 64));
        let room = length.saturating_sub(16);
        if room > size {
            Self { size, room, end }
        } else {
            Self::new(0, 0)
        }
    }

    /// Encodes the header.
    pub fn header(self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let (size, end) = header.split_at_mut(8);
        // Each half has eight bytes.
        let _fits = copy(size, &self.size.to_le_bytes())
            && copy(end, &self.end.to_le_bytes());
        header
    }

    /// Returns the length of the file.
    pub fn length(self) -> u64 {
        self.room.saturating_add(16)
    }

    /// Returns true if both rings have the same geometry.
    pub fn has_geometry_of(self, other: Self) -> bool {
        (self.size, self.room) == (other.size, other.room)
    }

    /// Returns the file offset for the first of `bytes` and the number of them
    /// to write there, up to the end of the data area, and counts these as
    /// written. Returns `None` if `bytes` is empty.
    pub fn add(&mut self, bytes: &[u8]) -> Option<(u64, usize)> {
        let (at, run) = self.position(self.end)?;
        let count = usize::try_from(run).unwrap_or(usize::MAX);
        let count = count.min(bytes.len());
        let added = u64::try_from(count).unwrap_or(u64::MAX);
        self.end = self.end.saturating_add(added);
        (count > 0).then_some((at, count))
    }

    /// Returns the file offset of the byte with this count, and the number of
    /// bytes from there to the end of the data area.
    fn position(self, count: u64) -> Option<(u64, u64)> {
        let at = count.checked_rem(self.room)?;
        Some((at.saturating_add(16), self.room.saturating_sub(at)))
    }

    /// Returns the count of the oldest byte kept.
    fn start(self) -> u64 {
        self.end.saturating_sub(self.size)
    }
}

/// Position of a reader in a ring.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    at: u64,
    /// Skip everything up to a newline: the end of a line that was
    /// overwritten.
    skips: bool,
}

impl Reader {
    /// Returns true if the bytes that follow those read last were overwritten,
    /// or the ring was replaced.
    pub fn is_lost(self, ring: Ring) -> bool {
        self.at < ring.start() || self.at > ring.end
    }

    /// Returns the file offset and the maximum number of bytes to read next;
    /// `None` if all was read. After a loss it continues with the oldest whole
    /// line.
    pub fn next(&mut self, ring: Ring) -> Option<(u64, usize)> {
        let start = ring.start();
        if self.is_lost(ring) {
            // One byte earlier: a newline there shows that a line begins.
            self.skips = start > 0;
            self.at = start.saturating_sub(u64::from(self.skips));
        }
        let (at, run) = ring.position(self.at)?;
        let most = run.min(ring.end.saturating_sub(self.at));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        (most > 0).then_some((at, most))
    }

    /// Returns true if everything up to the end in the header `ring` was read.
    pub fn is_behind(self, ring: Ring) -> bool {
        self.at >= ring.end
    }

    /// Takes bytes that were read; `ring` is the header as read after them.
    /// Returns the index of the first byte to show, or `None` if they were
    /// overwritten during the read.
    pub fn take(&mut self, ring: Ring, bytes: &[u8]) -> Option<usize> {
        let kept = self.at >= ring.start().saturating_sub(1);
        if !kept || self.at > ring.end {
            // Start again with the oldest line.
            self.at = u64::MAX;
            return None;
        }
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(count);
        if !self.skips {
            return Some(0);
        }
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        self.skips = newline.is_none();
        Some(newline.map_or(bytes.len(), |at| at.saturating_add(1)))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// Maximum bytes written at once.
    const MOST: usize = 20;

    /// Writes a block as the logger does; stops before the header if it dies.
    fn write(file: &mut [u8], ring: &mut Ring, block: &[u8], dies: bool) {
        let mut rest = block;
        let before = *ring;
        while let Some((at, count)) = ring.add(rest) {
            let at = usize::try_from(at).unwrap();
            file[at..at + count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
        }
        if dies {
            *ring = before;
        } else {
            file[..HEADER].copy_from_slice(&ring.header());
        }
    }

    /// Returns what a reader shows of the file now, `piece` bytes at a time.
    fn read(file: &[u8], reader: &mut Reader, piece: usize) -> Vec<u8> {
        let mut shown = Vec::new();
        let look = || {
            let length = u64::try_from(file.len()).unwrap();
            Ring::unpack(file.first_chunk().unwrap(), length)
        };
        while let Some((at, most)) = reader.next(look()) {
            let at = usize::try_from(at).unwrap();
            let bytes = &file[at..at + most.min(piece)];
            let from = reader.take(look(), bytes).unwrap();
            shown.extend_from_slice(&bytes[from..]);
        }
        shown
    }

    /// Returns the newest whole lines of `all` in its last `size` bytes.
    fn newest(all: &[u8], size: usize) -> Vec<u8> {
        let Some(start) = all.len().checked_sub(size).filter(|s| *s > 0) else {
            return all.to_vec();
        };
        let newline = all[start - 1..].iter().position(|b| *b == b'\n');
        newline.map_or(vec![], |at| all[start + at..].to_vec())
    }

    fn blocks() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
        let byte = prop_oneof![Just(b'\n'), Just(b'a'), Just(b'b')];
        let block = proptest::collection::vec(byte, 0..=MOST);
        proptest::collection::vec((block, proptest::bool::weighted(0.1)), 0..40)
    }

    #[test]
    fn a_reader_is_behind_until_it_has_read_the_end() {
        let mut ring = Ring::new(50, 20);
        let mut reader = Reader::default();
        assert!(reader.is_behind(ring), "nothing is written");
        let (at, count) = ring.add(b"abcd\n").unwrap();
        assert_eq!((at, count), (16, 5));
        for piece in [&b"ab"[..], b"cd\n"] {
            assert!(!reader.is_behind(ring));
            assert!(reader.next(ring).is_some());
            assert_eq!(reader.take(ring, piece), Some(0));
        }
        assert!(reader.is_behind(ring));
        assert_eq!(reader.next(ring), None);
    }

    #[test]
    fn a_ring_that_is_replaced_during_a_read_is_read_anew() {
        let mut old = Ring::new(50, 20);
        let mut reader = Reader::default();
        for line in [&b"0123456789\n"[..], b"more\n"] {
            old.add(line);
            assert!(reader.next(old).is_some());
            assert_eq!(reader.take(old, line), Some(0));
        }
        let mut new = Ring::new(50, 20);
        new.add(b"abc\n");
        assert!(reader.is_lost(new));
        assert_eq!(reader.take(new, b"even more\n"), None);
        assert_eq!(reader.next(new), Some((16, 4)));
    }

    #[test]
    fn the_geometry_of_a_ring_is_both_its_sizes() {
        let mut ring = Ring::new(50, 20);
        assert!(!ring.has_geometry_of(Ring::new(50, 21)));
        assert!(!ring.has_geometry_of(Ring::new(51, 19)));
        ring.add(b"written");
        assert!(ring.has_geometry_of(Ring::new(50, 20)));
    }

    proptest! {
        #[test]
        fn the_newest_whole_lines_come_out(
            blocks in blocks(), size in 0..60_usize, piece in 1..30_usize,
        ) {
            let mut ring = Ring::new(size as u64, MOST as u64);
            let mut file = vec![0; ring.length() as usize];
            file[..HEADER].copy_from_slice(&ring.header());
            let mut all = Vec::new();
            let mut follower = Reader::default();
            let mut followed = Vec::new();
            for (block, dies) in blocks {
                write(&mut file, &mut ring, &block, dies);
                if !dies {
                    all.extend(block);
                }
                let shown = read(&file, &mut Reader::default(), piece);
                prop_assert_eq!(shown, newest(&all, size));
                followed.extend(read(&file, &mut follower, piece));
                // Its writer continues with the state in the file.
                let header = file.first_chunk().unwrap();
                prop_assert_eq!(Ring::unpack(header, ring.length()), ring);
            }
            if size > 2 * MOST {
                // A reader that follows closely has seen everything.
                prop_assert_eq!(followed, all);
            }
        }

        #[test]
        fn bytes_overwritten_during_a_read_are_not_shown(
            first in blocks(), then in blocks(), size in 0..60_usize,
            piece in 1..30_usize,
        ) {
            let mut ring = Ring::new(size as u64, MOST as u64);
            let mut file = vec![0; ring.length() as usize];
            let mut all = Vec::new();
            for (block, _) in first {
                write(&mut file, &mut ring, &block, false);
                all.extend(block);
            }
            let mut reader = Reader::default();
            let Some((at, most)) = reader.next(ring) else { return Ok(()) };
            for (block, dies) in then {
                write(&mut file, &mut ring, &block, dies);
                if !dies {
                    all.extend(block);
                }
            }
            let at = usize::try_from(at).unwrap();
            let bytes = &file[at..at + most.min(piece)];
            let from = reader.take(ring, bytes);
            let shown = &bytes[from.unwrap_or(bytes.len())..];
            let there = shown.is_empty()
                || all.windows(shown.len()).any(|part| part == shown);
            prop_assert!(there, "{:?}", shown);
        }

        #[test]
        fn any_header_is_read_without_panic(
            header: [u8; HEADER],
            length: u64,
            at: u64,
        ) {
            let mut ring = Ring::unpack(&header, length);
            let mut reader = Reader { at, skips: true };
            let _any = (ring.add(b"abc"), reader.next(ring));
            let _any = reader.take(ring, b"abc");
        }
    }
}
