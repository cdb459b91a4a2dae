//! How the process gets into a control group with limits (`--cgroup`,
//! cgroups(7), the kernel's cgroup-v2 document).

use core::ffi::CStr;

use crate::{
    args::chpst::long::{Hardening, LIMITS},
    sys::{self, AsFd, At, CWD, Errno, Fd, error, file},
    text::{Line, Path},
};

use super::{Stop, unable};

/// Where the second version's tree is: alone, or beside the first one's.
const TREES: [&CStr; 2] = [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"];

/// Makes the group if it is not there, sets its limits, joins it.
///
/// What the kernel lacks, all groups or a limit, is said and left out.
pub(super) fn join(wanted: &Hardening<'_>) -> Result<(), Stop> {
    let Some(path) = wanted.group else {
        return Ok(());
    };
    let Some(mut group) = TREES.iter().find_map(|tree| open_tree(tree)) else {
        lacks(path, c"/sys/fs/cgroup/cgroup.controllers");
        return Ok(());
    };
    let failed = |what| move |errno| unable(what, Some(path), errno);
    let limits = || LIMITS.iter().zip(wanted.group_limits);
    for name in path.split(|byte| *byte == b'/') {
        if name.is_empty() {
            continue;
        }
        for ((_, controller), limit) in limits() {
            if limit.is_some() {
                // When it is refused there is no file for the limit below.
                let text = controller.as_bytes();
                let file = c"cgroup.subtree_control";
                let _refused = put(group.as_fd(), file, text).is_err();
            }
        }
        let name = Path::join(&[name]).map_err(|_| Errno::ENAMETOOLONG);
        let name = name.map_err(failed("make cgroup"))?;
        match file::make_dir(group.as_fd(), name.as_c_str(), 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed("make cgroup")(errno)),
        }
        group = file::open_dir(group.as_fd(), name.as_c_str())
            .map_err(failed("open cgroup"))?;
    }
    for ((file, _), limit) in limits() {
        let Some(limit) = limit else { continue };
        match put(group.as_fd(), file, limit) {
            Ok(()) => {}
            Err(Errno::ENOENT) => lacks(path, file),
            Err(errno) => {
                return Err(failed("set limit of cgroup")(errno));
            }
        }
    }
    // 0 is who writes it.
    put(group.as_fd(), c"cgroup.procs", b"0").map_err(failed("join cgroup"))
}

/// The root of a tree of the second version.
fn open_tree(path: &CStr) -> Option<Fd> {
    let tree = file::open_dir(CWD, path).ok()?;
    file::info(tree.as_fd(), c"cgroup.controllers").ok()?;
    Some(tree)
}

/// Writes to a file of a group.
fn put(group: At<'_>, name: &CStr, text: &[u8]) -> Result<(), Errno> {
    let file = file::open_write(group, name)?;
    sys::write_all(file.as_fd(), text)
}

/// Says what the kernel lacks.
fn lacks(path: &[u8], file: &CStr) {
    let mut line = Line::new();
    line.text("chpst: warning: cgroup ").bytes(path);
    line.text(": goes on without ").bytes(file.to_bytes());
    line.text(": ").text(error::text(Errno::ENOENT));
    sys::complain(line.finish());
}
