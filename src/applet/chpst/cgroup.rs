//! How the process gets into a control group with limits (`--cgroup`,
//! cgroups(7), the kernel's cgroup-v2 document).

use core::ffi::CStr;

use crate::{
    args::chpst::long::{Hardening, LIMITS},
    sys::{self, AsFd, Errno, cgroup, error, file},
    text::Line,
};

use super::{Stop, unable};

/// Makes the group if it is not there, sets its limits, joins it.
///
/// What the kernel lacks, all groups or a limit, is said and left out.
pub(super) fn join(wanted: &Hardening<'_>) -> Result<(), Stop> {
    let Some(path) = wanted.group else {
        return Ok(());
    };
    let Some(mut group) = cgroup::tree() else {
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
                let _refused = cgroup::put(group.as_fd(), file, text).is_err();
            }
        }
        let name = file::path_of(&[name]).map_err(failed("make cgroup"))?;
        match file::make_dir(group.as_fd(), name.as_c_str(), 0o755) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(failed("make cgroup")(errno)),
        }
        group = file::open_dir(group.as_fd(), name.as_c_str())
            .map_err(failed("open cgroup"))?;
    }
    for ((file, _), limit) in limits() {
        let Some(limit) = limit else { continue };
        match cgroup::put(group.as_fd(), file, limit) {
            Ok(()) => {}
            Err(Errno::ENOENT) => lacks(path, file),
            Err(errno) => {
                return Err(failed("set limit of cgroup")(errno));
            }
        }
    }
    // 0 is who writes it.
    cgroup::put(group.as_fd(), c"cgroup.procs", b"0")
        .map_err(failed("join cgroup"))
}

/// Says what the kernel lacks.
fn lacks(path: &[u8], file: &CStr) {
    let mut line = Line::new();
    line.text("chpst: warning: cgroup ").bytes(path);
    line.text(": goes on without ").bytes(file.to_bytes());
    line.text(": ").text(error::text(Errno::ENOENT));
    sys::print_error(line.finish());
}
