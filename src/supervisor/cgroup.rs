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

use super::{Supervisor, service_prefix};

/// Name of the group of all services, in the root of the hierarchy.
pub const SERVICES: &CStr = c"runit";

/// Maximum number of files in one `cgroup/`.
const FILES: usize = 64;

/// Maximum size of such a file in bytes; the kernel accepts less for most
/// files.
const BYTES: usize = 1024;

/// Callback for a failure: the verb, the name of the file in `cgroup/` and the
/// cause.
type Report<'a> = &'a mut dyn FnMut(&str, &[u8], Errno);

/// State of a service's membership in its group.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// Open `cgroup.procs`.
    pub(super) procs: Option<Fd>,
    /// Set if the last start had failures, which were reported.
    reported: bool,
}

impl Supervisor {
    /// Sets up the control group that the next `./run` of a slot joins.
    /// Failures are reported once as long as each start has some.
    pub(super) fn set_up_cgroup(&mut self, index: usize) {
        let slot = self.table.get_mut(index).and_then(Option::as_mut);
        let Some(slot) = slot else { return };
        let Some(service) = &mut slot.service else {
            return;
        };
        let (mut failed, reported) = (false, service.cgroup.reported);
        let mut report = |verb: &str, file: &[u8], errno| {
            failed = true;
            if !reported {
                let mut line = service_prefix(&slot.name, "warning");
                line.text("unable to ").text(verb).text(" cgroup/");
                line.bytes(file).text(": ").text(error::text(errno));
                self.reporter.print(&mut line);
            }
        };
        let procs = set_up(service.dir(), &slot.name, &mut report);
        service.cgroup = Membership {
            procs,
            reported: failed,
        };
    }
}

/// Creates and fills the group of the service directory `service`; returns its
/// `cgroup.procs`.
fn set_up(service: At<'_>, name: &[u8], report: Report<'_>) -> Option<Fd> {
    let files = file::open_dir(service, c"cgroup").ok()?;
    let tree = cgroup::tree()?;
    let group = make_services(tree.as_fd())
        .and_then(|services| make(services.as_fd(), name))
        .map_err(|errno| report("set up", b"", errno))
        .ok()?;
    copy(files.as_fd(), group.as_fd(), report);
    let procs = c"cgroup.procs";
    file::open_write(group.as_fd(), procs)
        .map_err(|errno| report("open", procs.to_bytes(), errno))
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
/// a dot are skipped. EFBIG stands for a file that is too long, EMFILE for one
/// too many.
pub fn copy(files: At<'_>, group: At<'_>, report: Report<'_>) {
    let mut count = 0_usize;
    let listed = dir::list(files, |name| {
        if name.to_bytes().starts_with(b".") || count > FILES {
            return;
        }
        count = count.saturating_add(1);
        let copied = if count > FILES {
            Err(("use", Errno::EMFILE))
        } else {
            copy_one(files, group, name)
        };
        if let Err((verb, errno)) = copied {
            report(verb, name.to_bytes(), errno);
        }
    });
    if let Err(errno) = listed {
        report("read", b"", errno);
    }
}

/// Copies one file; returns the verb of what failed.
fn copy_one(
    files: At<'_>,
    group: At<'_>,
    name: &CStr,
) -> Result<(), (&'static str, Errno)> {
    let read = |errno| ("read", errno);
    if file::info(files, name).map_err(read)?.kind != Kind::Regular {
        return Err(("read", Errno::EINVAL));
    }
    let mut buffer = [0; BYTES];
    let text = file::read_whole(files, name, &mut buffer).map_err(read)?;
    if text.len() == BYTES {
        return Err(("read", Errno::EFBIG));
    }
    cgroup::write_file(group, name, text).map_err(|errno| ("apply", errno))
}
