//! Splits a stream into lines, independently of the blocks in which it is
//! read.
//!
//! ```text
//!             newline, or `limit` bytes without one
//!   Start --------------------------------------------+
//!     ^  \__ newline: Start                           |
//!     |                                               v
//!     +------------------- newline ---------------- Inside
//! ```
//!
//! The first `limit` bytes of a line decide how it is handled, so they are
//! delivered together; the rest is delivered as it is read (contract §5.3).

use crate::text::find;

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// A line begins here; its first `limit` bytes are included if it has as
    /// many.
    pub first: bool,
    /// The bytes, including the newline if the line ends here.
    pub bytes: &'a [u8],
}

impl<'a> Piece<'a> {
    /// Returns the bytes without a newline.
    pub fn text(&self) -> &'a [u8] {
        match self.bytes {
            [text @ .., b'\n'] => text,
            text => text,
        }
    }
}

/// Position of a stream within its lines.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    limit: usize,
    inside: bool,
}

impl Lines {
    /// Returns the position at the start of a line. `limit` is not 0.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            inside: false,
        }
    }

    /// Returns true if part of a line was delivered and its end was not.
    pub fn is_inside(self) -> bool {
        self.inside
    }

    /// Returns how many bytes of `input` can be delivered now: all whole
    /// lines, and the part of an incomplete line whose handling is decided.
    pub fn ready_bytes(self, input: &[u8]) -> usize {
        let newline = input.iter().rposition(|byte| *byte == b'\n');
        let whole = newline.map_or(0, |at| at.saturating_add(1));
        let open = input.len().saturating_sub(whole);
        let decided = open >= self.limit || self.inside && whole == 0;
        if decided { input.len() } else { whole }
    }

    /// Returns the pieces of a block of [`Lines::ready_bytes`].
    pub fn pieces(self, block: &[u8]) -> Pieces<'_> {
        Pieces {
            rest: block,
            inside: self.inside,
        }
    }

    /// Records that a block was delivered.
    pub fn consumed(&mut self, block: &[u8]) {
        if let Some(last) = block.last() {
            self.inside = *last != b'\n';
        }
    }
}

/// Pieces of a block, in order.
#[derive(Clone, Debug)]
pub struct Pieces<'a> {
    rest: &'a [u8],
    inside: bool,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let newline = find(self.rest, b'\n');
        let end = newline.map_or(self.rest.len(), |at| at.saturating_add(1));
        let (bytes, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        let first = !core::mem::replace(&mut self.inside, newline.is_none());
        Some(Piece { first, bytes })
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// Returns what is delivered when `stream` is read in pieces of these
    /// sizes: for each line its decisive bytes, and the whole line.
    fn read(
        stream: &[u8],
        sizes: &[usize],
        limit: usize,
    ) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut lines = Lines::new(limit);
        let (mut buffer, mut out) =
            (Vec::new(), Vec::<(Vec<u8>, Vec<u8>)>::new());
        let mut rest = stream;
        let mut sizes = sizes.iter().cycle();
        loop {
            let end = rest.is_empty();
            let size = (*sizes.next().unwrap()).min(rest.len());
            buffer.extend_from_slice(&rest[..size]);
            rest = &rest[size..];
            if end && (lines.is_inside() || !buffer.is_empty()) {
                // The program ends an incomplete last line in the same manner.
                buffer.push(b'\n');
            }
            let ready = lines.ready_bytes(&buffer);
            for piece in lines.pieces(&buffer[..ready]) {
                if piece.first {
                    let cut = piece.text().len().min(limit);
                    out.push((piece.text()[..cut].to_vec(), Vec::new()));
                }
                out.last_mut().unwrap().1.extend_from_slice(piece.text());
            }
            lines.consumed(&buffer[..ready]);
            if let Some(last) = buffer[..ready].last() {
                assert_eq!(lines.is_inside(), *last != b'\n');
            }
            buffer.drain(..ready);
            assert!(buffer.len() < limit);
            if end {
                assert!(buffer.is_empty() && !lines.is_inside());
                return out;
            }
        }
    }

    proptest! {
        #[test]
        fn the_sizes_of_reads_do_not_matter(
            stream in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'a'), Just(b'b')], 0..80
            ),
            sizes in proptest::collection::vec(1..20_usize, 1..6),
            limit in 1..12_usize,
        ) {
            let mut naive: Vec<&[u8]> = stream.split(|b| *b == b'\n').collect();
            if naive.last() == Some(&&b""[..]) {
                naive.pop();
            }
            let expected: Vec<_> = naive
                .iter()
                .map(|l| (l[..l.len().min(limit)].to_vec(), l.to_vec()))
                .collect();
            prop_assert_eq!(read(&stream, &sizes, limit), expected);
        }
    }
}
