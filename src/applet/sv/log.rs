//! What is in the log ring of a service (`wire::ring`).

use super::service::Silent;
use crate::{
    sys::{
        self, AsFd, At, CWD, Errno, fd, file, place, wait,
        watch::{Changes, Watch},
    },
    wire::ring::{HEADER, Reader, Ring},
};

/// Bytes read at once.
const BYTES: usize = 4096;

/// Shows the ring of a service directory, to its end or, if it `follows`,
/// for ever.
pub(super) fn show(dir: At<'_>, follows: bool) -> Result<(), Silent> {
    ring(dir, follows).map_err(|errno| {
        let what = "read log ring (see also log/)";
        Silent::Trouble(what, Some(errno))
    })
}

/// As [`show`].
fn ring(dir: At<'_>, follows: bool) -> Result<(), Errno> {
    let path = place::path(dir, b"")?;
    let place = file::open_dir(CWD, path.as_c_str())?;
    let file = file::open_read(place.as_fd(), place::RING)?;
    let watch = Watch::new()?;
    if follows {
        watch.add(path.as_c_str(), Changes::Content)?;
    }
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
                sys::write_all(fd::STDOUT, b"\n")?;
                open = false;
            }
            let Some((at, most)) = reader.next(now) else {
                break;
            };
            if !follows && reader.is_behind(first) {
                break;
            }
            let room = buffer.get_mut(..most.min(BYTES)).unwrap_or(&mut []);
            let count = file::read_at(file, room, at)?;
            let bytes = room.get(..count).unwrap_or(&[]);
            let from = reader.take(look(file)?, bytes);
            let shown = from.and_then(|from| bytes.get(from..)).unwrap_or(&[]);
            open = shown.last().map_or(open, |last| *last != b'\n');
            sys::write_all(fd::STDOUT, shown)?;
        }
        if !follows {
            return Ok(());
        }
        wait::readable([watch.as_fd()], None)?;
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
