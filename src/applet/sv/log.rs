//! What is in the log ring of a service (`wire::ring`).

use heapless::Vec;

use super::service::Silent;
use crate::{
    sys::{
        self, AsFd, At, Errno, fd, file,
        inotify::{Inotify, WatchKind},
        poller, rundir, secure,
    },
    text::mask::Mask,
    wire::ring::{HEADER, Reader, Ring},
};

/// Bytes read at once.
const BYTES: usize = 4096;

/// Lines on their way to descriptor 1.
struct Shown {
    /// Lines go as they are.
    raw: bool,
    mask: Mask,
    /// Never more than was taken, and a character that it completed.
    bytes: Vec<u8, { BYTES + 4 }>,
}

impl Shown {
    /// Writes a piece of at most [`BYTES`]; what a terminal obeys is masked.
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

    /// Ends the text that was shown, which may be cut.
    fn end(&mut self) -> Result<(), Errno> {
        self.mask.end(&mut |shown| {
            let _fits = self.bytes.extend_from_slice(shown).is_ok();
        });
        self.flush()
    }

    /// Writes what is masked.
    fn flush(&mut self) -> Result<(), Errno> {
        let written = sys::write_all(fd::STDOUT, &self.bytes);
        self.bytes.clear();
        written
    }
}

/// Shows the ring of a service directory, to its end or, if it `follows`,
/// for ever; `raw` as it is, else without what a terminal obeys.
pub(super) fn show(
    dir: At<'_>,
    follows: bool,
    raw: bool,
) -> Result<(), Silent> {
    let mut shown = Shown {
        raw,
        mask: Mask::lines(),
        bytes: Vec::new(),
    };
    ring(dir, follows, &mut shown).map_err(|errno| {
        let what = "read log ring (see also log/)";
        Silent::Trouble(what, Some(errno))
    })
}

/// As [`show`].
fn ring(dir: At<'_>, follows: bool, out: &mut Shown) -> Result<(), Errno> {
    let path = rundir::path(dir, b"")?;
    let place = rundir::find(dir, b"")?;
    let file = secure::read(place.as_fd(), rundir::RING)?;
    let watch = if follows {
        let watch = Inotify::new()?;
        watch.add(path.as_c_str(), WatchKind::Content)?;
        Some(watch)
    } else {
        None
    };
    let file = file.as_fd();
    // A stream that never rests has no other end.
    let first = look(file)?;
    let mut reader = Reader::default();
    let mut buffer = [0; BYTES];
    // A part of a line was shown last.
    let mut open = false;
    loop {
        loop {
            let now = look(file)?;
            if open && reader.is_lost(now) {
                // Its rest is gone: what follows is another line.
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
            let from = reader.take(look(file)?, bytes);
            let shown = from.and_then(|from| bytes.get(from..)).unwrap_or(&[]);
            open = shown.last().map_or(open, |last| *last != b'\n');
            out.show(shown)?;
        }
        let Some(watch) = &watch else {
            return out.end();
        };
        poller::readable([watch.as_fd()], None)?;
        // What has changed is looked at; that it has is all they say.
        sys::read(watch.as_fd(), &mut buffer)?;
    }
}

/// What a ring's file says now; one that is being made has nothing in it.
fn look(file: At<'_>) -> Result<Ring, Errno> {
    let mut header = [0; HEADER];
    file::read_at(file, &mut header, 0)?;
    let length = file::info_of(file)?.size;
    Ok(Ring::unpack(&header, length))
}
