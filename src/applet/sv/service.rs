//! Reads the status of one service directory and sends it control bytes
//! (contract §4.4).

use core::ffi::CStr;

use crate::{
    supervisor::rundir,
    sys::{
        self, AsFd, At, Errno, Fd, error, file,
        secure::{self, FifoEnds},
    },
    text::Line,
    wire::status::{self, Status},
};

/// Reason why the supervisor of a service cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::applet) enum Unavailable {
    /// The service has no supervisor now.
    Unsupervised,
    /// A step failed: its name, and the cause if there is one.
    Failed(&'static str, Option<Errno>),
}

impl Unavailable {
    /// Appends the reason in runit's words: `runsv not running`, or `unable
    /// to WHAT: CAUSE`.
    pub(in crate::applet) fn text(self, line: &mut Line) -> &mut Line {
        let (what, cause) = match self {
            Self::Unsupervised => return line.text("runsv not running"),
            Self::Failed(what, cause) => (what, cause),
        };
        line.text("unable to ").text(what);
        match cause {
            Some(errno) => line.text(": ").text(error::text(errno)),
            None => line,
        }
    }

    /// Returns true when a supervisor may still appear: there has been none
    /// yet, the last one has ended, or it has published nothing yet.
    pub(in crate::applet) fn is_transient(self) -> bool {
        match self {
            Self::Unsupervised => true,
            Self::Failed(what, Some(Errno::ENOENT)) => {
                [OPEN_OK, OPEN_CONTROL, OPEN_STATUS].contains(&what)
            }
            Self::Failed(..) => false,
        }
    }

    /// Returns true when the service has never had a supervisor.
    pub(super) fn is_new(self) -> bool {
        self == Self::Failed(OPEN_OK, Some(Errno::ENOENT))
    }

    /// Returns true when a supervisor runs and only its record cannot be
    /// read: it still takes commands, and its next record may be readable.
    pub(super) fn is_record(self) -> bool {
        matches!(self, Self::Failed(what, _) if RECORD.contains(&what))
    }
}

/// First step of [`probe`].
const OPEN_OK: &str = "open supervise/ok";

/// First step of [`send`].
const OPEN_CONTROL: &str = "open supervise/control";

/// Second step of [`probe`].
const OPEN_STATUS: &str = "open supervise/status";

/// Third step of [`probe`].
const READ_STATUS: &str = "read supervise/status";

/// Message for a record of another length.
const BAD_FORMAT: &str = "read supervise/status: bad format";

/// Steps of [`probe`] after a supervisor has been found.
const RECORD: [&str; 3] = [OPEN_STATUS, READ_STATUS, BAD_FORMAT];

/// Message for a service directory that cannot be opened.
pub(super) const ENTER: &str = "change to service directory";

/// Reads the status of a service.
///
/// A record that is not exactly [`status::BYTES`] long is `bad format`:
/// runit ignores the bytes beyond that.
pub(in crate::applet) fn probe(dir: At<'_>) -> Result<Status, Unavailable> {
    let failed = |what| move |errno| Unavailable::Failed(what, Some(errno));
    let rundir = match open_fifo(dir, c"supervise/ok") {
        Ok((_, rundir)) => rundir,
        Err(Errno::ENXIO) => return Err(Unavailable::Unsupervised),
        Err(errno) => return Err(failed(OPEN_OK)(errno)),
    };
    let dir = rundir.as_ref().map_or(dir, AsFd::as_fd);
    let record = file::open_read(dir, c"supervise/status")
        .map_err(failed(OPEN_STATUS))?;
    // One byte more than a record, to detect a longer file.
    let mut bytes = [0; status::BYTES + 1];
    let count =
        sys::read(record.as_fd(), &mut bytes).map_err(failed(READ_STATUS))?;
    bytes
        .get(..count)
        .and_then(status::unpack)
        .ok_or(Unavailable::Failed(BAD_FORMAT, None))
}

/// Sends control bytes, all in one write.
pub(in crate::applet) fn send(
    dir: At<'_>,
    act: &[u8],
) -> Result<(), Unavailable> {
    let opened = open_fifo(dir, c"supervise/control");
    let (fifo, _) = opened.map_err(|errno| match errno {
        Errno::ENXIO => Unavailable::Unsupervised,
        errno => Unavailable::Failed(OPEN_CONTROL, Some(errno)),
    })?;
    match sys::write_once(fifo.as_fd(), act) {
        Ok(count) if count == act.len() => Ok(()),
        Ok(_) | Err(_) => {
            Err(Unavailable::Failed("write to supervise/control", None))
        }
    }
}

/// Opens a FIFO of the supervise directory of `dir` for writing: in `dir`, or
/// if it has no reader there, in the state directory, which is then returned
/// too.
///
/// ENXIO: there is no supervisor. Any other error is the reason why it could
/// not be opened in `dir`.
pub(super) fn open_fifo(
    dir: At<'_>,
    fifo: &CStr,
) -> Result<(Fd, Option<Fd>), Errno> {
    let open = |at| secure::fifo(at, fifo, FifoEnds::Writer);
    let errno = match open(dir) {
        Ok(fifo) => return Ok((fifo, None)),
        Err(errno) => errno,
    };
    let state = rundir::find(dir, b"").map_err(|_| errno)?;
    match open(state.as_fd()) {
        Ok(fifo) => Ok((fifo, Some(state))),
        Err(Errno::ENXIO) if errno == Errno::ENOENT => Err(Errno::ENXIO),
        Err(_) => Err(errno),
    }
}

/// Returns true when a service is started automatically: it has no file
/// `down`.
pub(in crate::applet) fn is_normally_up(dir: At<'_>) -> Result<bool, Errno> {
    match file::info(dir, c"down") {
        Ok(_) => Ok(false),
        Err(Errno::ENOENT) => Ok(true),
        Err(errno) => Err(errno),
    }
}
