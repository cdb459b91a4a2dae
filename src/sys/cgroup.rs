//! Which control group of the second version a process is in, and what is
//! done to one (cgroups(7), the kernel's cgroup-v2 document).

use core::ffi::CStr;

use rustix::fd::AsFd as _;

use super::{At, CWD, Errno, Fd, file, proc, write_all};

/// Where the tree is: alone, or beside the first version's.
const TREES: [&CStr; 2] = [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"];

/// Bytes read of /proc/PID/cgroup, whose last line is the second version's:
/// behind one for each of a dozen controllers where the first is in use too.
pub const LIST: usize = 1024;

/// The root of the tree; nothing where the kernel lacks it.
pub fn tree() -> Option<Fd> {
    TREES.iter().find_map(|path| {
        let tree = file::open_dir(CWD, path).ok()?;
        file::info(tree.as_fd(), c"cgroup.controllers").ok()?;
        Some(tree)
    })
}

/// Writes to a file of a group.
pub fn put(group: At<'_>, name: &CStr, text: &[u8]) -> Result<(), Errno> {
    let file = file::open_write(group, name)?;
    write_all(file.as_fd(), text)
}

/// The group of a process, or of a zombie: its path from the root of the tree,
/// kept in `buffer`, with a `/` at its start. Nothing where that cannot be
/// learned.
pub fn of(pid: u32, buffer: &mut [u8; LIST]) -> Option<&[u8]> {
    let list = proc::read(pid, "cgroup", buffer).ok()?;
    let mut lines = list.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"0::"))
}

/// Whether a process is in a group, or in one below it.
pub fn holds(group: &[u8], pid: u32) -> bool {
    let mut list = [0; LIST];
    let below = of(pid, &mut list).and_then(|of| of.strip_prefix(group));
    below.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Kills whatever is in a group. ENOENT: the kernel cannot (before Linux
/// 5.14), or there is no such group.
pub fn kill(group: &[u8]) -> Result<(), Errno> {
    let path = file::path_of(&[b".", group, b"/cgroup.kill"])?;
    let tree = tree().ok_or(Errno::ENOENT)?;
    put(tree.as_fd(), path.as_c_str(), b"1")
}
