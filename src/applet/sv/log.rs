//! Shows the lines in the log ring of a service (`sv log`, `wire::ring`).

use heapless::Vec;

use super::service::Unavailable;
use crate::{
    supervisor::{log_ring, rundir},
    sys::{
        self, AsFd, At, Errno, fd, file,
        inotify::{Inotify, WatchKind},
        poller, secure,
    },
    text::mask::Mask,
    wire::ring::{HEADER, Reader, Ring},
};

/// Maximum number of bytes of one read.
const BYTES: usize = 4096;

/// Output of lines to descriptor 1.
struct Output {
    /// Writes lines as they are, without masking.
    raw: bool,
    mask: Mask,
    /// Masked bytes: at most one piece, and a character that it completed.
    bytes: Vec<u8, { BYTES + 4 }>,
}

impl Output {
    /// Writes a piece of at most [`BYTES`] bytes. Masks control characters
    /// unless `raw`.
    fn show(&mut self, piece: &[u8]) -> Result<(), Errno> {
        if self.raw {
            return sys::write_all(fd::STDOUT, piece);
        }
        for byte in piece {
            self.mask.take(*byte, &mut |shown| {
                let _fits = self.bytes.extend_from_slice(shown).is_ok();
            });
        }
        self.flush()
    }

    /// Ends the text shown so far, which may stop inside a character.
    fn end(&mut self) -> Result<(), Errno> {
        self.mask.end(&mut |shown| {
            let _fits = self.bytes.extend_from_slice(shown).is_ok();
        });
        self.flush()
    }

    /// Writes the masked bytes.
    fn flush(&mut self) -> Result<(), Errno> {
        let written = sys::write_all(fd::STDOUT, &self.bytes);
        self.bytes.clear();
        written
    }
}

/// Shows the log ring of a service directory, up to its end or, if `follows`,
/// forever. Control characters are masked unless `raw`.
pub(super) fn show(
    dir: At<'_>,
    follows: bool,
    raw: bool,
) -> Result<(), Unavailable> {
    let mut out = Output {
        raw,
        mask: Mask::lines(),
        bytes: Vec::new(),
    };
    show_ring(dir, follows, &mut out).map_err(|errno| {
        let what = "read log ring (see also log/)";
        Unavailable::Failed(what, Some(errno))
    })
}

/// Does the work of [`show`].
fn show_ring(
    dir: At<'_>,
    follows: bool,
    out: &mut Output,
) -> Result<(), Errno> {
    let path = rundir::path(dir, b"")?;
    let rundir = rundir::find(dir, b"")?;
    let file = secure::read(rundir.as_fd(), log_ring::FILE)?;
    let watch = if follows {
        let watch = Inotify::new()?;
        watch.add(path.as_c_str(), WatchKind::Content)?;
        Some(watch)
    } else {
        None
    };
    let file = file.as_fd();
    // The end as of now: a busy stream would never reach another one.
    let first = read_header(file)?;
    let mut reader = Reader::default();
    let mut buffer = [0; BYTES];
    // The last byte shown was not a newline.
    let mut open = false;
    loop {
        loop {
            let now = read_header(file)?;
            if open && reader.is_lost(now) {
                // The rest of that line was overwritten: another one follows.
                out.end()?;
                out.show(b"\n")?;
                open = false;
            }
            let Some((at, most)) = reader.next(now) else {
                break;
            };
            if watch.is_none() && reader.is_behind(first) {
                break;
            }
            let room = buffer.get_mut(..most.min(BYTES)).unwrap_or(&mut []);
            let count = file::read_at(file, room, at)?;
            let bytes = room.get(..count).unwrap_or(&[]);
            let from = reader.take(read_header(file)?, bytes);
            let shown = from.and_then(|from| bytes.get(from..)).unwrap_or(&[]);
            open = shown.last().map_or(open, |last| *last != b'\n');
            out.show(shown)?;
        }
        let Some(watch) = &watch else {
            return out.end();
        };
        poller::readable([watch.as_fd()], None)?;
        // The events say no more than that the ring has changed.
        sys::read(watch.as_fd(), &mut buffer)?;
    }
}

/// Reads the header of a ring. A file that is being created counts as an
/// empty ring.
fn read_header(file: At<'_>) -> Result<Ring, Errno> {
    let mut header = [0; HEADER];
    file::read_at(file, &mut header, 0)?;
    let length = file::info_of(file)?.size;
    Ok(Ring::unpack(&header, length))
}
