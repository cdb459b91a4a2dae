//! Sets up the control group of a service whose directory has `cgroup/`, as
//! Debian's `runsv-cg` does (contract §18).
//!
//! Before each start of `./run`, the supervisor creates the group `runit/NAME`
//! and copies the files of `cgroup/` to the files of the same name there, each
//! by one write. The child joins the group before anything else, through a
//! file that was opened here. A file that cannot be copied is reported and
//! left out; without version 2 of control groups nothing is done.

use core::ffi::CStr;

use crate::{
    sys::{
        AsFd, At, Errno, Fd, cgroup, dir, error,
        file::{self, Kind},
    },
    text::basename,
};

/// Name of the group of all services, in the root of the hierarchy.
pub const SERVICES: &CStr = c"runit";

/// Maximum number of files in one `cgroup/`. No capacity: the kernel itself has
/// fewer files that can be written to in a group. One more is reported with
/// [`TOO_MANY`], and it and those after it are left out.
const FILES: usize = 64;

/// Size in bytes from which a file is too long. No capacity: a setting takes
/// one line. A longer file is reported with [`TOO_LONG`] and left out.
const BYTES: usize = 1024;

/// Cause of a failure when there are more than [`FILES`].
const TOO_MANY: &str = "more than 64 files";

/// Cause of a failure when a file has [`BYTES`] or more.
const TOO_LONG: &str = "more than 1023 bytes";

/// Callback for a failure: the verb, the name of the file in `cgroup/` and the
/// cause.
pub(super) type Report<'a> = &'a mut dyn FnMut(&str, &[u8], &str);

/// Creates and fills the group of the service directory `service`; returns its
/// `cgroup.procs`.
pub(super) fn set_up(
    service: At<'_>,
    name: &[u8],
    report: Report<'_>,
) -> Option<Fd> {
    let files = file::open_dir(service, c"cgroup").ok()?;
    let tree = cgroup::tree()?;
    let group = make_services(tree.as_fd())
        .and_then(|services| make(services.as_fd(), name))
        .map_err(|errno| report("set up", b"", error::text(errno)))
        .ok()?;
    copy(files.as_fd(), group.as_fd(), report);
    let procs = c"cgroup.procs";
    file::open_write(group.as_fd(), procs)
        .map_err(|errno| report("open", procs.to_bytes(), error::text(errno)))
        .ok()
}

/// Opens the group of all services. If it is missing, creates it and enables
/// all controllers of the root for it and for the groups in it; a controller
/// that the kernel refuses shows when a file is copied.
pub fn make_services(tree: At<'_>) -> Result<Fd, Errno> {
    let made = file::make_dir(tree, SERVICES, 0o755);
    if made.is_err_and(|errno| errno != Errno::EEXIST) {
        made?;
    }
    let services = file::open_dir(tree, SERVICES)?;
    if made.is_ok() {
        enable_all(tree);
        enable_all(services.as_fd());
    }
    Ok(services)
}

/// Enables all controllers of a group for the groups in it.
fn enable_all(group: At<'_>) {
    let mut buffer = [0; 256];
    let list = file::read_whole(group, c"cgroup.controllers", &mut buffer);
    for name in list.unwrap_or(b"").split(u8::is_ascii_whitespace) {
        if let Ok(word) = file::path_of(&[b"+", name]) {
            let file = c"cgroup.subtree_control";
            let _refused =
                cgroup::write_file(group, file, word.as_bytes()).is_err();
        }
    }
}

/// Opens the group of the service `name`, created if missing.
pub fn make(services: At<'_>, name: &[u8]) -> Result<Fd, Errno> {
    let name = file::path_of(&[basename(name)])?;
    match file::make_dir(services, name.as_c_str(), 0o755) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    file::open_dir(services, name.as_c_str())
}

/// Copies the files of a `cgroup/` to those of a group. Names that begin with
/// a dot are skipped.
pub fn copy(files: At<'_>, group: At<'_>, report: Report<'_>) {
    let mut count = 0_usize;
    let listed = dir::list(files, |name| {
        if name.to_bytes().starts_with(b".") || count > FILES {
            return;
        }
        count = count.saturating_add(1);
        let copied = if count > FILES {
            Err(("use", TOO_MANY))
        } else {
            copy_one(files, group, name)
        };
        if let Err((verb, cause)) = copied {
            report(verb, name.to_bytes(), cause);
        }
    });
    if let Err(errno) = listed {
        report("read", b"", error::text(errno));
    }
}

/// Copies one file; returns verb and cause of a failure.
fn copy_one(
    files: At<'_>,
    group: At<'_>,
    name: &CStr,
) -> Result<(), (&'static str, &'static str)> {
    let read = |errno| ("read", error::text(errno));
    if file::info(files, name).map_err(read)?.kind != Kind::Regular {
        return Err(read(Errno::EINVAL));
    }
    let mut buffer = [0; BYTES];
    let text = file::read_whole(files, name, &mut buffer).map_err(read)?;
    if text.len() == BYTES {
        return Err(("read", TOO_LONG));
    }
    cgroup::write_file(group, name, text)
        .map_err(|errno| ("apply", error::text(errno)))
}

#[cfg(test)]
mod test {
    use std::fs;

    use super::*;

    /// Copies files with these lengths to empty files of the same names;
    /// returns the number of those written, and the reports.
    fn copied(lengths: &[usize]) -> (usize, Vec<String>) {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let path =
            |dir: usize, number| dirs[dir].path().join(format!("{number}"));
        for (number, length) in lengths.iter().enumerate() {
            fs::write(path(0, number), "x".repeat(*length)).unwrap();
            fs::write(path(1, number), "").unwrap();
        }
        let [files, group] = dirs.each_ref().map(|dir| {
            let path = format!("{}\0", dir.path().display());
            let path = CStr::from_bytes_with_nul(path.as_bytes()).unwrap();
            file::open_dir(crate::sys::CWD, path).unwrap()
        });
        let mut reports = Vec::new();
        copy(files.as_fd(), group.as_fd(), &mut |verb, _, cause| {
            reports.push(format!("{verb}: {cause}"));
        });
        let written =
            |number: &usize| fs::metadata(path(1, *number)).unwrap().len() > 0;
        ((0..lengths.len()).filter(written).count(), reports)
    }

    #[test]
    fn what_exceeds_a_limit_is_reported_and_left_out() {
        assert_eq!(copied(&[9; FILES]), (FILES, vec![]));
        let many = vec!["use: more than 64 files".into()];
        assert_eq!(copied(&[9; FILES + 3]), (FILES, many));
        let long = vec!["read: more than 1023 bytes".into()];
        assert_eq!(copied(&[BYTES, BYTES - 1]), (1, long));
    }
}
