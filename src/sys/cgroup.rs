//! Finds, writes to and kills control groups of version 2 (cgroups(7), the
//! kernel's cgroup-v2 document).

use core::ffi::CStr;

use rustix::fd::AsFd as _;

use super::{At, CWD, Errno, Fd, file, proc, write_all};

/// The roots of the tree: alone, or beside version 1.
const TREES: [&CStr; 2] = [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"];

/// Bytes read of /proc/PID/cgroup. The line of version 2 is the last one,
/// after a line for each of a dozen controllers where version 1 is in use too.
pub const LIST: usize = 1024;

/// Opens the root of the tree; `None` where the kernel lacks it.
pub fn tree() -> Option<Fd> {
    TREES.iter().find_map(|path| {
        let tree = file::open_dir(CWD, path).ok()?;
        file::info(tree.as_fd(), c"cgroup.controllers").ok()?;
        Some(tree)
    })
}

/// Writes `text` to a file of a group.
pub fn write_file(
    group: At<'_>,
    name: &CStr,
    text: &[u8],
) -> Result<(), Errno> {
    let file = file::open_write(group, name)?;
    write_all(file.as_fd(), text)
}

/// Returns the group of a process or zombie: its path from the root of the
/// tree, with a `/` at its start, stored in `buffer`. `None` where that cannot
/// be read.
pub fn of(pid: u32, buffer: &mut [u8; LIST]) -> Option<&[u8]> {
    let list = proc::read(pid, "cgroup", buffer).ok()?;
    let mut lines = list.split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"0::"))
}

/// Returns true when a process is in a group, or in one below it.
pub fn contains(group: &[u8], pid: u32) -> bool {
    let mut list = [0; LIST];
    let below = of(pid, &mut list).and_then(|of| of.strip_prefix(group));
    below.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Kills every process of a group. ENOENT: the kernel lacks this (before Linux
/// 5.14), or there is no such group.
pub fn kill(group: &[u8]) -> Result<(), Errno> {
    let path = file::path_of(&[b".", group, b"/cgroup.kill"])?;
    let tree = tree().ok_or(Errno::ENOENT)?;
    write_file(tree.as_fd(), path.as_c_str(), b"1")
}
