//! Finds and makes the state directory of a directory that cannot hold its
//! state itself, such as one on a read-only file system.
//!
//! It is in the run directory, and its name is derived from device and inode
//! alone ([`rundir`]), so that `sv` finds what the supervisor made. After use
//! a state directory holds a few empty files; they disappear with the run
//! directory, at the next boot.

use core::ffi::CStr;

use crate::{
    config,
    sys::{AsFd as _, At, CWD, Errno, Fd, file, secure, start},
    text::{self, Line, Path, basename},
    wire::rundir,
};

/// Returns the run directory: $RUNT_RUN, or the board's.
pub fn run_dir() -> &'static CStr {
    start::variable(b"RUNT_RUN").unwrap_or(config::RUN_DIR)
}

/// Returns the path of the state directory of directory `of`, or of its entry
/// `entry` if that is not empty. ENAMETOOLONG when it does not fit
/// `config::PATH_BYTES`.
pub fn path(of: At<'_>, entry: &[u8]) -> Result<Path, Errno> {
    let identity = file::info_of(of)?.identity;
    let name = rundir::name(identity.device, identity.inode, entry);
    name.and_then(|name| {
        Path::join(&[run_dir().to_bytes(), b"/", name.as_bytes()])
    })
    .map_err(|_| Errno::ENAMETOOLONG)
}

/// Opens the state directory of a directory or of an entry of it. Makes it and
/// the run directory when missing, but not the parents of that.
///
/// All users may enter a state directory; its files have modes of their own,
/// as those of a supervise directory have. Directories that other users may
/// write to are refused ([`is_refusal`]); a sticky run directory is accepted,
/// because only the owners of its entries may rename them.
pub fn create(of: At<'_>, entry: &[u8]) -> Result<Fd, Errno> {
    open(of, entry, &|at, dir| match file::make_dir(at, dir, 0o755) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    })
}

/// Opens the state directory of a directory or of an entry of it; ENOENT when
/// it is missing. Refuses the same directories as [`create`].
pub fn find(of: At<'_>, entry: &[u8]) -> Result<Fd, Errno> {
    // Mostly it is missing.
    file::info_of_link(CWD, path(of, entry)?.as_c_str())?;
    open(of, entry, &|_, _| Ok(()))
}

/// Returns true when this errno refuses the run directory or a state
/// directory: it is a link, or another user owns it or may write to it.
pub fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EPERM | Errno::ELOOP | Errno::ENOTDIR)
}

/// Opens a state directory; calls `prepare` before it opens the run directory
/// and the state directory.
fn open(
    of: At<'_>,
    entry: &[u8],
    prepare: &dyn Fn(At<'_>, &CStr) -> Result<(), Errno>,
) -> Result<Fd, Errno> {
    let identity = file::info_of(of)?.identity;
    let name = rundir::name(identity.device, identity.inode, entry)
        .map_err(|_| Errno::ENAMETOOLONG)?;
    prepare(CWD, run_dir())?;
    // It is checked as well, and held open meanwhile.
    let run = secure::directory(CWD, run_dir(), true)?;
    prepare(run.as_fd(), name.as_c_str())?;
    secure::directory(run.as_fd(), name.as_c_str(), false)
}

/// Opens the state directory of `dir`, which need not exist: that of the entry
/// named by its last component in its parent directory. Makes it as [`create`]
/// does.
pub fn open_for(dir: &CStr) -> Result<Fd, Errno> {
    let (parent, name) = split_parent(dir)?;
    create(parent.as_fd(), name)
}

/// Opens the state directory of `dir` as [`open_for`] does, without making it.
pub fn find_for(dir: &CStr) -> Result<Fd, Errno> {
    let (parent, name) = split_parent(dir)?;
    find(parent.as_fd(), name)
}

/// Opens the parent directory of `dir`; returns it with the name of `dir` in
/// it.
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

/// The number of faults of a supervisor since the boot, in the state directory
/// of its services directory (of runsv: of its service directory), and its name
/// until it is complete.
const FAULTS: [&CStr; 2] = [c"faults", c"faults.new"];

/// Returns the number of faults that a state directory has; 0 without one.
pub fn faults(dir: Result<Fd, Errno>) -> u64 {
    let mut buffer = [0; 24];
    let [path, _] = FAULTS;
    let text =
        dir.and_then(|dir| file::read_whole(dir.as_fd(), path, &mut buffer));
    text.map_or(0, |text| text::leading_number(text).0)
}

/// Adds one to that number. If it cannot be written, the fault is not counted.
pub fn count_fault(dir: At<'_>) {
    let [path, new] = FAULTS;
    let mut buffer = [0; 24];
    let text = file::read_whole(dir, path, &mut buffer).unwrap_or(b"");
    let count = text::leading_number(text).0.saturating_add(1);
    write_number(dir, [path, new], count);
}

/// Writes a record of a number, in decimal, under the first name; under the
/// second until it is complete. If it cannot be written, nothing is kept.
pub(super) fn write_number(dir: At<'_>, names: [&CStr; 2], number: u64) {
    let [path, new] = names;
    let mut line = Line::new();
    line.number(number);
    let _kept = file::replace(dir, path, new, line.finish()).is_ok();
}

/// The record of a supervisor's longest loop iteration, in the state directory
/// of its services directory, and its name until it is complete. Scripts read
/// it by this name, which is older than `latency` in runt-limits(8).
pub const LATENCY: [&CStr; 2] = [c"turn", c"turn.new"];
