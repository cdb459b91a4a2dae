//! Which directory a name on the command line leads to (contract §4.2).

use core::ffi::CStr;

use crate::{
    args::sv::is_path,
    config,
    sys::{AsFd, CWD, Errno, Fd, child::Environ, file, rundir},
    text::basename,
};

/// The services directory: $SVDIR or the built-in one. When that is missing,
/// those of other distributions are looked for.
pub(in crate::applet) fn services(environ: Environ) -> &'static CStr {
    if let Some(dir) = environ.get(b"SVDIR") {
        return dir;
    }
    let all = [config::SERVICES_DIR, c"/service", c"/var/service"];
    let found = all.into_iter().find(|dir| file::info(CWD, dir).is_ok());
    found.unwrap_or(config::SERVICES_DIR)
}

/// Where plain names are looked up: in the overlay, if there is one, then in
/// the services directory.
pub(super) type Places = [Option<&'static CStr>; 2];

/// All places, the one that decides first.
pub(super) fn places(environ: Environ) -> Places {
    let services = services(environ);
    [rundir::overlay(services), Some(services)]
}

/// Opens a service's directory, once: a link that moves later does not
/// change what a command is about.
pub(super) fn directory(environ: Environ, name: &CStr) -> Result<Fd, Errno> {
    if is_path(name.to_bytes()) {
        return file::open_dir(CWD, name);
    }
    in_places(&places(environ), name)
}

/// Opens the directory of a plain name, in the first place that has one:
/// what is no directory in the overlay hides one that can still be asked.
pub(super) fn in_places(places: &Places, name: &CStr) -> Result<Fd, Errno> {
    let mut found = Err(Errno::ENOENT);
    for place in places.iter().flatten() {
        let place = file::open_dir(CWD, place);
        found = place.and_then(|at| file::open_dir(at.as_fd(), name));
        if found.is_ok() {
            break;
        }
    }
    found
}

/// Whether a name is one that no supervisor takes up.
pub(super) fn is_hidden(name: &[u8]) -> bool {
    basename(name).starts_with(b".")
}
