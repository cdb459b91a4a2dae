//! How the log of a service becomes its logger's, where the board has a user
//! for that: a ring is made for it, a directory is given to it.
//!
//! Only what nobody but root can have put there is given, once: a directory
//! that is root's, that nobody else may write to and that holds nothing but
//! what a log directory holds, each log in it a file of one name that is root's
//! or that user's. What is the user's already is left alone, whatever it holds:
//! the user could have put there what is another's.

use core::ffi::CStr;

use crate::{
    sys::{
        AsFd, At, Errno, dir,
        file::{self, Kind},
        place,
    },
    wire::logname::LogName,
};

/// What a logger writes beside old logs.
const WRITTEN: [&CStr; 4] = [c"current", c"lock", c"state", c"newstate"];
/// What others may have there.
const OTHERS: [&CStr; 5] =
    [c"config", c"supervise", c"down", c"timeout-kill", c"main"];

/// Gives the log directory, or the ring, of a service directory to a user.
///
/// EPERM when it is not to be given.
pub(super) fn log(
    service: At<'_>,
    has_dir: bool,
    user: [u32; 2],
) -> Result<(), Errno> {
    if !has_dir {
        let place = place::make(service, b"")?;
        let ring = file::open_kept(place.as_fd(), place::RING)?;
        return file::give_open(ring.as_fd(), user);
    }
    let main = file::open_dir(service, c"log/main");
    let log = main.or_else(|_| file::open_dir(service, c"log"))?;
    let log = log.as_fd();
    let info = file::info_of(log)?;
    let [owner, _] = user;
    if info.owner == owner {
        return Ok(());
    }
    let mut all = info.owner == 0 && info.mode & 0o022 == 0;
    // Another opening for each: the offset of a listing belongs to one.
    let listed = file::open_dir(log, c".")?;
    dir::list(listed.as_fd(), |name| {
        all &= !is_written(name) && OTHERS.contains(&name)
            || is_written(name)
                && file::info_of_link(log, name).is_ok_and(|info| {
                    let theirs = info.owner == 0 || info.owner == owner;
                    info.kind == Kind::Regular && info.links == 1 && theirs
                });
    })?;
    if !all {
        return Err(Errno::EPERM);
    }
    let mut given = Ok(());
    let listed = file::open_dir(log, c".")?;
    dir::list(listed.as_fd(), |name| {
        if given.is_ok() && is_written(name) {
            given = file::give(log, name, user);
        }
    })?;
    given?;
    file::give_open(log, user)
}

/// Whether a logger writes a file of this name.
fn is_written(name: &CStr) -> bool {
    WRITTEN.contains(&name) || LogName::parse(name.to_bytes()).is_some()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::sys::{CWD, Fd, identity};
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        path::Path,
    };

    const USER: [u32; 2] = [7, 8];
    const OLD: &str = "@400000003b4a39c23294b13c.s";

    fn service() -> (tempfile::TempDir, Fd) {
        let service = tempfile::tempdir().unwrap();
        let log = service.path().join("log");
        fs::create_dir(&log).unwrap();
        for name in ["current", "lock", OLD, "config"] {
            fs::write(log.join(name), "").unwrap();
        }
        fs::create_dir(log.join("supervise")).unwrap();
        let path = format!("{}\0", service.path().display());
        let path = CStr::from_bytes_with_nul(path.as_bytes()).unwrap();
        let dir = file::open_dir(CWD, path).unwrap();
        (service, dir)
    }

    fn owner(path: &Path) -> (u32, u32) {
        let data = fs::symlink_metadata(path).unwrap();
        (data.uid(), data.gid())
    }

    #[test]
    fn a_log_directory_is_given_with_its_logs() {
        if !identity::is_root() {
            return;
        }
        let (service, dir) = service();
        let log_dir = service.path().join("log");
        assert_eq!(log(dir.as_fd(), true, USER), Ok(()));
        for name in ["current", "lock", OLD, "."] {
            assert_eq!(owner(&log_dir.join(name)), (7, 8), "{name}");
        }
        for name in ["config", "supervise"] {
            assert_eq!(owner(&log_dir.join(name)), (0, 0), "{name}");
        }
        // From then on it is not looked into.
        fs::write(log_dir.join("state"), "").unwrap();
        assert_eq!(log(dir.as_fd(), true, USER), Ok(()));
        assert_eq!(owner(&log_dir.join("state")), (0, 0));
    }

    #[test]
    fn nothing_else_is_given() {
        if !identity::is_root() {
            return;
        }
        let refused = |spoil: &dyn Fn(&Path)| {
            let (service, dir) = service();
            let log_dir = service.path().join("log");
            spoil(&log_dir);
            let before = owner(&log_dir);
            let given = log(dir.as_fd(), true, USER);
            assert_eq!(given, Err(Errno::EPERM));
            assert_eq!(owner(&log_dir), before);
            assert_ne!(owner(&log_dir.join("lock")), (7, 8));
        };
        refused(&|log| fs::write(log.join("messages"), "").unwrap());
        refused(&|log| chown(log, Some(9), None).unwrap());
        let open = fs::Permissions::from_mode(0o777);
        refused(&|log| fs::set_permissions(log, open.clone()).unwrap());
        refused(&|log| chown(log.join("current"), Some(9), None).unwrap());
        refused(&|log| {
            fs::remove_file(log.join("current")).unwrap();
            symlink("/etc/passwd", log.join("current")).unwrap();
        });
        refused(&|log| {
            let twice = log.with_file_name("twice");
            fs::hard_link(log.join("current"), twice).unwrap();
        });
    }
}
