//! Puts the process into a control group with limits (`--cgroup`, cgroups(7),
//! the kernel's cgroup-v2 document).

use core::ffi::CStr;

use crate::{
    args::chpst::long::{Hardening, LIMITS},
    sys::{self, AsFd, Errno, cgroup, error, file},
    text::Line,
};

use super::{Stop, unable};

/// Creates the group if it does not exist, sets its limits, and joins it.
///
/// If the kernel lacks control groups or the file of a limit, prints a warning
/// and continues without.
pub(super) fn join(wanted: &Hardening<'_>) -> Result<(), Stop> {
    let Some(path) = wanted.group else {
        return Ok(());
    };
    let Some(mut group) = cgroup::tree() else {
        warn_missing(path, c"/sys/fs/cgroup/cgroup.controllers");
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
                // If it is refused, the file for the limit is missing below.
                let text = controller.as_bytes();
                let file = c"cgroup.subtree_control";
                let _refused =
                    cgroup::write_file(group.as_fd(), file, text).is_err();
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
        match cgroup::write_file(group.as_fd(), file, limit) {
            Ok(()) => {}
            Err(Errno::ENOENT) => warn_missing(path, file),
            Err(errno) => {
                return Err(failed("set limit of cgroup")(errno));
            }
        }
    }
    // 0 stands for the writing process.
    cgroup::write_file(group.as_fd(), c"cgroup.procs", b"0")
        .map_err(failed("join cgroup"))
}

/// Warns of a file that the kernel lacks.
fn warn_missing(path: &[u8], file: &CStr) {
    let mut line = Line::new();
    line.text("chpst: warning: cgroup ").bytes(path);
    line.text(": continuing without ").bytes(file.to_bytes());
    line.text(": ").text(error::text(Errno::ENOENT));
    sys::print_error(line.finish());
}
