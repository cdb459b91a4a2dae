//! Where a directory keeps its state when it cannot hold it itself: a place
//! of its own in the run directory.

use core::ffi::CStr;

use super::{At, CWD, Errno, Fd, child::Environ, file};
use crate::{config, wire::rundir};
use rustix::fd::AsFd as _;

/// The run directory: $RUNT_RUN, or the board's.
pub fn run_dir(environ: Environ) -> &'static CStr {
    environ.get(b"RUNT_RUN").unwrap_or(config::RUN_DIR)
}

/// Opens the place in `run` that belongs to the directory `of`, or to an
/// `entry` of it that is not empty.
pub fn open(run: &CStr, of: At<'_>, entry: &[u8]) -> Result<Fd, Errno> {
    file::open_dir(
        file::open_dir(CWD, run)?.as_fd(),
        name(of, entry)?.as_c_str(),
    )
}

/// As `open`, and makes what is missing, but for what holds the run directory.
/// Everybody may enter a place; what is in it has modes of its own, as a
/// supervise directory in a service directory has.
pub fn make(run: &CStr, of: At<'_>, entry: &[u8]) -> Result<Fd, Errno> {
    let name = name(of, entry)?;
    make_dir(CWD, run)?;
    let run = file::open_dir(CWD, run)?;
    make_dir(run.as_fd(), name.as_c_str())?;
    file::open_dir(run.as_fd(), name.as_c_str())
}

/// The name of a place.
fn name(of: At<'_>, entry: &[u8]) -> Result<crate::text::Path, Errno> {
    let identity = file::info_of(of)?.identity;
    rundir::name(identity.device, identity.inode, entry)
        .map_err(|_| Errno::ENAMETOOLONG)
}

/// Makes a directory that may be there already.
fn make_dir(at: At<'_>, path: &CStr) -> Result<(), Errno> {
    match file::make_dir(at, path, 0o755) {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}
