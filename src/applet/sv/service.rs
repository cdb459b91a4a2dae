//! How one service directory is asked and told (contract §4.4).

use crate::{
    sys::{self, AsFd, At, Errno, error, file, rundir},
    text::Line,
    wire::status::{self, Status},
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

    /// Returns whether a supervisor may still appear: there was none yet, the
    /// last one has ended, or it has published nothing yet.
    pub(in crate::applet) fn may_pass(self) -> bool {
        match self {
            Self::Unsupervised => true,
            Self::Trouble(what, Some(Errno::ENOENT)) => {
                [OPEN_OK, OPEN_CONTROL, OPEN_STATUS].contains(&what)
            }
            Self::Trouble(..) => false,
        }
    }

    /// Returns whether no supervisor has ever been here.
    pub(super) fn is_new(self) -> bool {
        self == Self::Trouble(OPEN_OK, Some(Errno::ENOENT))
    }

    /// Returns whether a supervisor is alive and only its record cannot be
    /// read: it still takes commands, and its next record may be readable.
    pub(super) fn is_record(self) -> bool {
        matches!(self, Self::Trouble(what, _) if RECORD.contains(&what))
    }
}

/// The first step of [`probe`].
const OPEN_OK: &str = "open supervise/ok";

/// The first step of [`send`].
const OPEN_CONTROL: &str = "open supervise/control";

/// The second step of [`probe`].
const OPEN_STATUS: &str = "open supervise/status";

/// The third.
const READ_STATUS: &str = "read supervise/status";

/// The message for a record of another length.
const BAD_FORMAT: &str = "read supervise/status: bad format";

/// The steps of [`probe`] that follow when a supervisor has been found.
const RECORD: [&str; 3] = [OPEN_STATUS, READ_STATUS, BAD_FORMAT];

/// What is said of a directory that cannot be entered.
pub(super) const ENTER: &str = "change to service directory";

/// Asks for a service's status.
///
/// A record that is not exactly [`status::BYTES`] long is `bad format`:
/// runit reads over what is too much.
pub(in crate::applet) fn probe(dir: At<'_>) -> Result<Status, Silent> {
    let trouble = |what| move |errno| Silent::Trouble(what, Some(errno));
    let place = match rundir::open_write(dir, c"supervise/ok") {
        Ok((_, place)) => place,
        Err(Errno::ENXIO) => return Err(Silent::Unsupervised),
        Err(errno) => return Err(trouble(OPEN_OK)(errno)),
    };
    let dir = place.as_ref().map_or(dir, AsFd::as_fd);
    let record = file::open_read(dir, c"supervise/status")
        .map_err(trouble(OPEN_STATUS))?;
    // One more than it has: so that a longer file is seen to be one.
    let mut bytes = [0; status::BYTES + 1];
    let count =
        sys::read(record.as_fd(), &mut bytes).map_err(trouble(READ_STATUS))?;
    bytes
        .get(..count)
        .and_then(status::unpack)
        .ok_or(Silent::Trouble(BAD_FORMAT, None))
}

/// Sends control bytes, all in one write.
pub(in crate::applet) fn send(dir: At<'_>, act: &[u8]) -> Result<(), Silent> {
    let opened = rundir::open_write(dir, c"supervise/control");
    let (fifo, _) = opened.map_err(|errno| match errno {
        Errno::ENXIO => Silent::Unsupervised,
        errno => Silent::Trouble(OPEN_CONTROL, Some(errno)),
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
