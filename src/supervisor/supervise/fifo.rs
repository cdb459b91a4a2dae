//! Creates and opens the FIFOs of a supervise directory.

use core::ffi::CStr;

use crate::sys::{
    At, Errno, Fd,
    file::{self, Kind},
    secure::{
        self,
        FifoEnds::{Both, Reader},
    },
};

use super::{Failure, FileNames, PIPE, failure};

/// Opens the control FIFO of the supervise directory at `at`, creates `ok`
/// and, with `piped`, the log pipe. The flag is true if `ok` had to be
/// created.
pub(in super::super) fn open_ends(
    at: At<'_>,
    names: &FileNames,
    piped: bool,
) -> Result<(Fd, bool), Failure> {
    if piped {
        make_pipe(at)?;
    }
    Ok((open_fifo(at, names.control)?, fifo(at, names.ok)?))
}

/// Creates the log pipe of the supervise directory at `at`.
pub(in super::super) fn make_pipe(at: At<'_>) -> Result<(), Failure> {
    fifo(at, PIPE).map(|_| ())
}

/// Opens `ok` for reading, which shows that a supervisor is running.
pub(in super::super) fn open_ok(
    at: At<'_>,
    names: &FileNames,
) -> Result<Fd, Failure> {
    secure::fifo(at, names.ok, Reader).map_err(failure("open", names.ok))
}

/// Opens a FIFO, created if missing, for reading and writing, so that it never
/// reports end of file and accepts writes without a reader.
pub(in super::super) fn open_fifo(
    at: At<'_>,
    path: &'static CStr,
) -> Result<Fd, Failure> {
    // Mostly it is there.
    secure::fifo(at, path, Both).or_else(|_| {
        fifo(at, path)?;
        secure::fifo(at, path, Both).map_err(failure("open", path))
    })
}

/// Verb of the failure where a name must be a FIFO's and is not.
pub(in super::super) const USE_AS_FIFO: &str = "use as a fifo";

/// Ensures that `path` is a FIFO; returns true if it had to be created.
pub(in super::super) fn fifo(
    at: At<'_>,
    path: &'static CStr,
) -> Result<bool, Failure> {
    match file::info_of_link(at, path) {
        Ok(info) if info.kind == Kind::Fifo => Ok(false),
        Ok(_) => Err(failure(USE_AS_FIFO, path)(Errno::EEXIST)),
        Err(_) => file::make_fifo(at, path, 0o600)
            .map(|()| true)
            .map_err(failure("create", path)),
    }
}

/// Makes room for a FIFO: removes a regular file or a link.
pub(in super::super) fn remove_regular(
    at: At<'_>,
    path: &'static CStr,
) -> Result<(), Failure> {
    let file = file::info_of_link(at, path)
        .is_ok_and(|info| matches!(info.kind, Kind::Regular | Kind::Link));
    if file {
        file::remove(at, path).map_err(failure("remove", path))?;
    }
    Ok(())
}
