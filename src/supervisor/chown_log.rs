//! Changes the owner of a service's log to the loggers' user, on boards that
//! have such a user: creates a ring for it, or creates `log/main` and gives
//! that to it.
//!
//! `log` itself stays root's: its owner could put a `run` there, which the
//! supervisor would execute. Only what root alone can have put there is given
//! away, and only once: a directory that belongs to root, that no other user
//! may write to and that holds only what a log directory holds. Each log in it
//! must be a file with one name that belongs to root or to that user, and
//! `log` must belong to root and be writable by root only. What belongs to the
//! user already is left alone, whatever it holds: the user could have put
//! other users' files there.

use core::ffi::CStr;

use crate::{
    sys::{
        AsFd, At, Errno, Fd, dir,
        file::{self, Info},
        secure,
    },
    wire::logname::LogName,
};

use super::{log_ring, rundir};

/// Files that a logger writes besides old logs.
const WRITTEN: [&CStr; 4] = [c"current", c"lock", c"state", c"newstate"];
/// File that the administrator keeps there.
const CONFIG: &CStr = c"config";

/// Gives the log directory, or the ring, of a service directory to a user.
///
/// Returns EPERM if it must not be given away.
pub(super) fn to_user(
    service: At<'_>,
    has_dir: bool,
    user: [u32; 2],
) -> Result<(), Errno> {
    if !has_dir {
        let run_dir = rundir::create(service, b"")?;
        let ring = secure::update(run_dir.as_fd(), log_ring::FILE)?;
        if file::info_of(ring.as_fd())?.links > 1 {
            return Err(Errno::EPERM);
        }
        return file::fchown(ring.as_fd(), user);
    }
    let log = file::open_dir(service, c"log")?;
    let is_roots = |dir: &Info| dir.owner == 0 && dir.mode & 0o022 == 0;
    if !is_roots(&file::info_of(log.as_fd())?) {
        return Err(Errno::EPERM);
    }
    match file::make_dir(log.as_fd(), c"main", 0o755) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let main = file::open_dir(log.as_fd(), c"main")?;
    let main = main.as_fd();
    let info = file::info_of(main)?;
    let [owner, _] = user;
    if info.owner == owner {
        return Ok(());
    }
    // Another user's directory is not even listed: it may be very long.
    if !is_roots(&info) {
        return Err(Errno::EPERM);
    }
    let mut all = true;
    // Each listing opens the directory again, since the offset belongs to the
    // open file.
    let listed = file::open_dir(main, c".")?;
    dir::list(listed.as_fd(), |name| {
        all &= name == CONFIG
            || is_written(name) && log_file(main, name, owner).is_ok();
    })?;
    if !all {
        return Err(Errno::EPERM);
    }
    let mut changed = Ok(());
    let listed = file::open_dir(main, c".")?;
    dir::list(listed.as_fd(), |name| {
        if changed.is_ok() && is_written(name) {
            changed = log_file(main, name, owner)
                .and_then(|file| file::fchown(file.as_fd(), user));
        }
    })?;
    changed?;
    file::fchown(main, user)
}

/// Opens a file that is to be given to `owner`. Returns EPERM unless it has
/// one name and belongs to root or that user already.
fn log_file(main: At<'_>, name: &CStr, owner: u32) -> Result<Fd, Errno> {
    let file = secure::read(main, name)?;
    let info = file::info_of(file.as_fd())?;
    if info.links == 1 && (info.owner == 0 || info.owner == owner) {
        Ok(file)
    } else {
        Err(Errno::EPERM)
    }
}

/// Returns whether a logger writes a file of this name.
fn is_written(name: &CStr) -> bool {
    WRITTEN.contains(&name) || LogName::parse(name.to_bytes()).is_some()
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::sys::{CWD, identity};
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
        path::Path,
    };

    const USER: [u32; 2] = [7, 8];
    const OLD: &str = "@400000003b4a39c23294b13c.s";

    /// Creates a service directory whose log directory holds logs.
    fn service() -> (tempfile::TempDir, Fd) {
        let service = tempfile::tempdir().unwrap();
        let main = service.path().join("log/main");
        fs::create_dir_all(&main).unwrap();
        for name in ["current", "lock", OLD, "config"] {
            fs::write(main.join(name), "").unwrap();
        }
        fs::create_dir(service.path().join("log/supervise")).unwrap();
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
    fn a_log_directory_changes_owner_with_its_logs() {
        if !identity::is_root() {
            return;
        }
        let (service, dir) = service();
        let main = service.path().join("log/main");
        assert_eq!(to_user(dir.as_fd(), true, USER), Ok(()));
        for name in ["current", "lock", OLD, "."] {
            assert_eq!(owner(&main.join(name)), (7, 8), "{name}");
        }
        for name in ["config", "..", "../supervise"] {
            assert_eq!(owner(&main.join(name)), (0, 0), "{name}");
        }
        // From then on its content is not checked.
        fs::write(main.join("state"), "").unwrap();
        assert_eq!(to_user(dir.as_fd(), true, USER), Ok(()));
        assert_eq!(owner(&main.join("state")), (0, 0));
    }

    #[test]
    fn a_missing_log_directory_is_created() {
        if !identity::is_root() {
            return;
        }
        let (service, dir) = service();
        let main = service.path().join("log/main");
        fs::remove_dir_all(&main).unwrap();
        assert_eq!(to_user(dir.as_fd(), true, USER), Ok(()));
        assert_eq!(owner(&main), (7, 8));
        assert_eq!(owner(&service.path().join("log")), (0, 0));
    }

    #[test]
    fn unexpected_files_are_refused() {
        if !identity::is_root() {
            return;
        }
        let refused = |spoil: &dyn Fn(&Path)| {
            let (service, dir) = service();
            let main = service.path().join("log/main");
            spoil(&main);
            let before = owner(&main);
            let given = to_user(dir.as_fd(), true, USER);
            assert_eq!(given, Err(Errno::EPERM));
            assert_eq!(owner(&main), before);
            assert_ne!(owner(&main.join("lock")), (7, 8));
        };
        refused(&|main| fs::write(main.join("messages"), "").unwrap());
        refused(&|main| fs::write(main.join("run"), "").unwrap());
        refused(&|main| chown(main, Some(9), None).unwrap());
        let open = fs::Permissions::from_mode(0o777);
        refused(&|main| fs::set_permissions(main, open.clone()).unwrap());
        let above = fs::Permissions::from_mode(0o775);
        refused(&|main| {
            let log = main.parent().unwrap();
            fs::set_permissions(log, above.clone()).unwrap();
        });
        refused(&|main| {
            chown(main.parent().unwrap(), Some(9), None).unwrap();
        });
        refused(&|main| chown(main.join("current"), Some(9), None).unwrap());
        refused(&|main| {
            fs::remove_file(main.join("current")).unwrap();
            symlink("/etc/passwd", main.join("current")).unwrap();
        });
        refused(&|main| {
            let twice = main.with_file_name("twice");
            fs::hard_link(main.join("current"), twice).unwrap();
        });
    }
}
