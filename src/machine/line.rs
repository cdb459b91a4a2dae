//! How a stream falls into lines, whatever the pieces it is read in.
//!
//! ```text
//!             newline, or `limit` bytes without one
//!   Start --------------------------------------------+
//!     ^  \__ newline: Start                           |
//!     |                                               v
//!     +------------------- newline ---------------- Inside
//! ```
//!
//! A line's first `limit` bytes decide what becomes of it, so they are told
//! together; what follows is told as it comes (contract §5.3).

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// A line begins here: its first `limit` bytes are here if it has them.
    pub first: bool,
    /// A line ends here, with a newline that is not among `bytes`.
    pub last: bool,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The lines of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    limit: usize,
    inside: bool,
}

impl Lines {
    /// At the start of a line. `limit` is not 0.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            inside: false,
        }
    }

    /// Whether a line is open of which a part was told.
    pub fn is_inside(self) -> bool {
        self.inside
    }

    /// The next piece of `input` and how many bytes it used up; `None` when
    /// more is needed. At the end of the stream (`end`) an unterminated line
    /// is told as if it had its newline (§16.1).
    pub fn next<'a>(
        &mut self,
        input: &'a [u8],
        end: bool,
    ) -> Option<(Piece<'a>, usize)> {
        let first = !self.inside;
        let newline = input.iter().position(|byte| *byte == b'\n');
        let (bytes, used, last) = match newline {
            Some(at) => (input.get(..at)?, at.saturating_add(1), true),
            None if end && (self.inside || !input.is_empty()) => {
                (input, input.len(), true)
            }
            None if input.is_empty() => return None,
            None if first && input.len() < self.limit => return None,
            None => (input, input.len(), false),
        };
        self.inside = !last;
        Some((Piece { first, last, bytes }, used))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// What comes out when `stream` is read in pieces of these sizes: for
    /// each line its decisive bytes, and all of it.
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
            let mut done = 0;
            while let Some((piece, used)) = lines.next(&buffer[done..], end) {
                if piece.first {
                    let cut = piece.bytes.len().min(limit);
                    out.push((piece.bytes[..cut].to_vec(), Vec::new()));
                }
                out.last_mut().unwrap().1.extend_from_slice(piece.bytes);
                done += used;
            }
            buffer.drain(..done);
            assert!(buffer.len() < limit);
            if end {
                return out;
            }
        }
    }

    proptest! {
        #[test]
        fn the_cuts_of_reading_do_not_show(
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
