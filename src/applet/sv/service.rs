//! How one service directory is asked and told (contract §4.4).

use crate::{
    sys::{self, AsFd, At, Errno, error, file, place},
    text::Line,
    wire::status::{self, Status, Want},
};

/// Why a service cannot be asked or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::applet) enum Silent {
    /// It has no supervisor now.
    Unsupervised,
    /// Something could not be done: what, and why.
    Trouble(&'static str, Option<Errno>),
}

impl Silent {
    /// The text in runit's words: `runsv not running`, or `unable to WHAT:
    /// CAUSE`.
    pub(in crate::applet) fn text(self, line: &mut Line) -> &mut Line {
        let (what, cause) = match self {
            Self::Unsupervised => return line.text("runsv not running"),
            Self::Trouble(what, cause) => (what, cause),
        };
        line.text("unable to ").text(what);
        match cause {
            Some(errno) => line.text(": ").text(error::text(errno)),
            None => line,
        }
    }

    /// Whether a supervisor may be about to come: none has been here, or the
    /// last one is gone, or it has published nothing yet.
    pub(in crate::applet) fn may_pass(self) -> bool {
        match self {
            Self::Unsupervised => true,
            Self::Trouble(what, Some(Errno::ENOENT)) => {
                what == OPEN_OK || what == OPEN_STATUS
            }
            Self::Trouble(..) => false,
        }
    }
}

/// What [`probe`] does first.
const OPEN_OK: &str = "open supervise/ok";

/// What it does then.
const OPEN_STATUS: &str = "open supervise/status";

/// What is said of a directory that cannot be entered.
pub(super) const ENTER: &str = "change to service directory";

/// Asks for a service's status.
///
/// A record that is not exactly [`status::BYTES`] long is `bad format`:
/// runit reads over what is too much.
pub(in crate::applet) fn probe(dir: At<'_>) -> Result<Status, Silent> {
    let trouble = |what| move |errno| Silent::Trouble(what, Some(errno));
    let place = match place::open_write(dir, c"supervise/ok") {
        Ok((_, place)) => place,
        Err(Errno::ENXIO) => return Err(Silent::Unsupervised),
        Err(errno) => return Err(trouble(OPEN_OK)(errno)),
    };
    let dir = place.as_ref().map_or(dir, AsFd::as_fd);
    let record = file::open_read(dir, c"supervise/status")
        .map_err(trouble(OPEN_STATUS))?;
    // One more than it has: so that a longer file is seen to be one.
    let mut bytes = [0; status::BYTES + 1];
    let count = sys::read(record.as_fd(), &mut bytes)
        .map_err(trouble("read supervise/status"))?;
    bytes
        .get(..count)
        .and_then(status::unpack)
        .ok_or(Silent::Trouble("read supervise/status: bad format", None))
}

/// Whether a service was told already what these control bytes tell: then
/// nothing is sent. `u` always is: the record may be older than a `d` that was
/// sent just now, and one that waits to be started again is to be at once.
pub(super) fn is_told(act: &[u8], now: &Status) -> bool {
    match act {
        [] => true,
        [b'd', ..] => now.want != Want::Up && now.term,
        _ => false,
    }
}

/// Sends control bytes, all in one write.
pub(in crate::applet) fn send(dir: At<'_>, act: &[u8]) -> Result<(), Silent> {
    let opened = place::open_write(dir, c"supervise/control");
    let (fifo, _) = opened.map_err(|errno| match errno {
        Errno::ENXIO => Silent::Unsupervised,
        errno => Silent::Trouble("open supervise/control", Some(errno)),
    })?;
    match sys::write_once(fifo.as_fd(), act) {
        Ok(count) if count == act.len() => Ok(()),
        Ok(_) | Err(_) => {
            Err(Silent::Trouble("write to supervise/control", None))
        }
    }
}

/// Whether a service is up unless somebody takes it down: it has no file
/// `down`.
pub(in crate::applet) fn is_normally_up(dir: At<'_>) -> Result<bool, Errno> {
    match file::info(dir, c"down") {
        Ok(_) => Ok(false),
        Err(Errno::ENOENT) => Ok(true),
        Err(errno) => Err(errno),
    }
}
