//! Where a directory keeps what it cannot hold itself: its state in a place
//! of its own in the run directory, its changed entries in an overlay.
//!
//! The supervisor makes the place of a service directory that is on a
//! read-only file system; `sv` looks there when it finds no supervisor in the
//! service directory. The name comes from device and inode alone
//! ([`rundir`]). What a directory leaves behind in the run directory is some
//! empty files; they go with the run directory, at the next boot.

use core::ffi::CStr;

use super::{
    At, CWD, Errno, Fd, file,
    secure::{self, Ends},
    start,
};
use crate::{
    config,
    text::{Path, basename},
    wire::{options, rundir},
};
use rustix::fd::AsFd as _;

/// The run directory: $RUNT_RUN, or the board's.
pub fn run_dir() -> &'static CStr {
    start::variable(b"RUNT_RUN").unwrap_or(config::RUN_DIR)
}

/// The path of the place that belongs to the directory `of`, or to an `entry`
/// of it that is not empty. ENAMETOOLONG when it does not fit
/// `config::PATH_BYTES`.
pub fn path(of: At<'_>, entry: &[u8]) -> Result<Path, Errno> {
    let identity = file::info_of(of)?.identity;
    let name = rundir::name(identity.device, identity.inode, entry);
    name.and_then(|name| {
        Path::join(&[run_dir().to_bytes(), b"/", name.as_bytes()])
    })
    .map_err(|_| Errno::ENAMETOOLONG)
}

/// Opens the place that belongs to a directory or an entry of it, and makes
/// what is missing, but for what holds the run directory.
///
/// Everybody may enter a place; what is in it has modes of its own, as a
/// supervise directory in a service directory has. Neither the run directory
/// nor a place is used that is not ours alone (a sticky run directory, whose places
/// only their owners rename, is): see [`is_refusal`].
pub fn create(of: At<'_>, entry: &[u8]) -> Result<Fd, Errno> {
    open(of, entry, &|at, dir| match file::make_dir(at, dir, 0o755) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    })
}

/// Opens the place that belongs to a directory or an entry of it, if it is
/// there. The same is refused as by [`make`].
pub fn find(of: At<'_>, entry: &[u8]) -> Result<Fd, Errno> {
    open(of, entry, &|_, _| Ok(()))
}

/// Whether this is why the run directory, or a place in it, is refused: it is
/// a link, or somebody else owns it or may write to it.
pub fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::ELOOP | Errno::ENOTDIR)
}

/// Opens a place; `prepare` comes before each directory on the way.
fn open(
    of: At<'_>,
    entry: &[u8],
    prepare: &dyn Fn(At<'_>, &CStr) -> Result<(), Errno>,
) -> Result<Fd, Errno> {
    let identity = file::info_of(of)?.identity;
    let name = rundir::name(identity.device, identity.inode, entry)
        .map_err(|_| Errno::ENAMETOOLONG)?;
    prepare(CWD, run_dir())?;
    // What is in it is looked at as well, and held open.
    let run = secure::directory(CWD, run_dir(), true)?;
    prepare(run.as_fd(), name.as_c_str())?;
    secure::directory(run.as_fd(), name.as_c_str(), false)
}

/// Opens the place that belongs to `dir`, which need not be there: that of its
/// last component in the directory that it stands in.
pub fn open_for(dir: &CStr) -> Result<Fd, Errno> {
    let (parent, name) = split_parent(dir)?;
    create(parent.as_fd(), name)
}

/// As [`of`], without making anything.
pub fn find_of(dir: &CStr) -> Result<Fd, Errno> {
    let (parent, name) = split_parent(dir)?;
    find(parent.as_fd(), name)
}

/// The directory that `dir` stands in, and its name there.
fn split_parent(dir: &CStr) -> Result<(Fd, &[u8]), Errno> {
    let mut path = dir.to_bytes();
    while let [rest @ .., b'/'] = path {
        path = rest;
    }
    let name = basename(path);
    let parent = path.strip_suffix(name).unwrap_or(path);
    let parent = file::path_of(&[parent, b"."])?;
    Ok((file::open_dir(CWD, parent.as_c_str())?, name))
}

/// The record of a supervisor's longest turn in the place of its services
/// directory, and its name until it is whole.
pub const LATENCY: [&CStr; 2] = [c"turn", c"turn.new"];

/// The name of a log ring in the place of its service directory.
pub const RING: &CStr = c"ring";

/// How many bytes the log ring of a service directory keeps, 0 for none: what
/// `runt/log-ring` says, or the board. `None` when that is no number, or one
/// that is more than [`MOST_RING`].
pub fn ring_bytes(dir: At<'_>) -> Option<u64> {
    let mut buffer = [0; 16];
    let bytes = match file::read_whole(dir, c"runt/log-ring", &mut buffer) {
        Ok(text) => options::number(text)?.into(),
        Err(_) => u64::try_from(config::LOG_RING).unwrap_or(0),
    };
    (bytes <= MOST_RING).then_some(bytes)
}

/// Most bytes of a log ring: it is memory.
const MOST_RING: u64 = 16 << 20;

/// Opens a FIFO of the supervise directory of `dir` for writing: in `dir`, or
/// when nobody reads there in its place, which is then answered too.
///
/// ENXIO: it has no supervisor. Else the reason why it could not be opened in
/// `dir`.
pub fn open_write(dir: At<'_>, fifo: &CStr) -> Result<(Fd, Option<Fd>), Errno> {
    let open = |at| secure::fifo(at, fifo, Ends::Writer);
    let errno = match open(dir) {
        Ok(fifo) => return Ok((fifo, None)),
        Err(errno) => errno,
    };
    let place = find(dir, b"").map_err(|_| errno)?;
    match open(place.as_fd()) {
        Ok(fifo) => Ok((fifo, Some(place))),
        Err(Errno::ENXIO) if errno == Errno::ENOENT => Err(Errno::ENXIO),
        Err(_) => Err(errno),
    }
}

/// The overlay of a services directory: a writable directory each entry of
/// which hides the one of the same name, so that a link to a service directory
/// adds or replaces a service and a link to /dev/null takes one away.
///
/// The board's belongs to the board's services directory;
/// $RUNT_SERVICES_OVERLAY belongs to any.
pub fn overlay(services: &CStr) -> Option<&'static CStr> {
    let own = services == config::SERVICES_DIR;
    let overlay = start::variable(b"RUNT_SERVICES_OVERLAY")
        .or(own.then_some(config::SERVICES_OVERLAY));
    overlay.filter(|path| !path.is_empty())
}
