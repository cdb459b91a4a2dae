//! Finds the service directory for a name on the command line (contract
//! §4.2).

use core::ffi::CStr;

use crate::{
    args::sv::is_path,
    config,
    supervisor::overlay,
    sys::{AsFd, CWD, Errno, Fd, child::Environ, file},
    text::basename,
};

/// Returns the services directory: $SVDIR, or the built-in one, or the first
/// of other distributions' directories that exists.
pub(in crate::applet) fn services(environ: Environ) -> &'static CStr {
    if let Some(dir) = environ.get(b"SVDIR") {
        return dir;
    }
    let all = [config::SERVICES_DIR, c"/service", c"/var/service"];
    let found = all.into_iter().find(|dir| file::info(CWD, dir).is_ok());
    found.unwrap_or(config::SERVICES_DIR)
}

/// Directories in which plain names are looked up: the overlay, if there is
/// one, then the services directory.
pub(super) type SearchDirs = [Option<&'static CStr>; 2];

/// Returns the directories to search, in order of precedence.
pub(super) fn search_dirs(environ: Environ) -> SearchDirs {
    let services = services(environ);
    [overlay::of(services), Some(services)]
}

/// Opens the directory of a service. It is opened only once per command, so
/// that a link that changes later does not redirect the command.
pub(super) fn directory(environ: Environ, name: &CStr) -> Result<Fd, Errno> {
    if is_path(name.to_bytes()) {
        return file::open_dir(CWD, name);
    }
    find(&search_dirs(environ), name)
}

/// Opens the directory of a plain name, from the first of `dirs` that has
/// one. A mask in the overlay is not a directory: the service that it hides
/// can still be queried.
pub(super) fn find(dirs: &SearchDirs, name: &CStr) -> Result<Fd, Errno> {
    let mut found = Err(Errno::ENOENT);
    for path in dirs.iter().flatten() {
        let dir = file::open_dir(CWD, path);
        found = dir.and_then(|dir| file::open_dir(dir.as_fd(), name));
        if found.is_ok() {
            break;
        }
    }
    found
}

/// Returns true for a name that supervisors ignore.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    basename(name).starts_with(b".")
}
