//! runsv-cg: manages the control group of a service, as Debian's does.
//!
//! # Synopsis
//! `runsv-cg create|control|remove|destroy|setup`
//!
//! # Description
//! For `run` and `finish` files written for Debian. All commands but `setup`
//! have to be run in a service directory with an executable `run` and a
//! directory `cgroup`. NAME is the last component of that directory's path.
//! Under this supervisor a service with `cgroup/` has its group without them:
//! the group is set up before each start of `run`, see runsv(8).
//!
//! # Commands
//! - `create`: makes the control group `runit/NAME` in the version 2 tree,
//!   does what `control` does and adds the calling process.
//! - `control`: copies the files of `cgroup` to the group's files of the same
//!   names, each in one write, and prints a line for one that cannot be
//!   copied.
//! - `remove`: removes the group, which must be empty.
//! - `destroy`: first kills all processes in the group and waits for at most a
//!   second.
//! - `setup`: mounts the tree on /sys/fs/cgroup if the kernel has one that is
//!   not mounted, makes `runit` and enables all controllers for it.
//! - `--help`: prints a summary.
//!
//! # Capacity
//! At most 64 files of at most 1023 bytes are copied. A longer file and the
//! first file too many are reported and left out, the others are copied.
//!
//! # Exit status
//! 0 success, also for `setup` when the kernel lacks the tree; 1 the group
//! cannot be made or removed; 100 wrong usage; 111 the working directory is
//! not a service directory with `cgroup`, or there is no group `runit`.
//!
//! # Differences from Debian
//! `setup` may be repeated, does not touch a tree that is mounted, and
//! succeeds on a kernel without control groups. `destroy` waits until the
//! killed processes are gone. A directory `supervise` is not required, since
//! the supervisor may keep its state elsewhere.

use core::time::Duration;

use crate::{
    supervisor::cgroup::{SERVICES, copy, make, make_services},
    sys::{
        self, AsFd, At, CWD, Errno, cgroup, child, error,
        file::{self, Kind},
        poller, power,
        start::Start,
    },
    text::{Line, Path, basename},
    wire::fstab::DATA_ONLY,
};

/// Exit code of a usage error.
const USAGE: u8 = 100;
/// Exit code when a group cannot be made or removed.
const FAILED: u8 = 1;

/// Maximum number of attempts of `destroy` to remove a group that it has
/// killed.
const ATTEMPTS: usize = 50;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.skip(1).iter();
    let command = words.next().unwrap_or(c"").to_bytes();
    match command {
        b"setup" => return set_up(),
        b"create" | b"control" | b"remove" | b"destroy" => {}
        _ => {
            let usage =
                b"usage: runsv-cg create|control|remove|destroy|setup\n";
            sys::print_error(usage);
            return USAGE;
        }
    }
    let services = cgroup::tree()
        .and_then(|tree| file::open_dir(tree.as_fd(), SERVICES).ok());
    let Some(services) = services else {
        sys::print_error(b"/sys/fs/cgroup/runit: not a directory\n");
        return super::FATAL;
    };
    let run = file::info(CWD, c"run");
    if !run.is_ok_and(|run| run.kind == Kind::Regular && run.mode & 0o111 != 0)
    {
        sys::print_error(b"must run in service directory\n");
        return super::FATAL;
    }
    let Ok(files) = file::open_dir(CWD, c"cgroup") else {
        sys::print_error(b"./cgroup: not a directory\n");
        return super::FATAL;
    };
    let services = services.as_fd();
    let mut buffer = [0; crate::config::PATH_BYTES];
    let name = file::link_target(CWD, c"/proc/self/cwd", &mut buffer);
    let name = name.and_then(|path| file::path_of(&[basename(path)]));
    let done = name.and_then(|name| match command {
        b"create" | b"control" => {
            apply(services, &name, files.as_fd(), command == b"create")
        }
        _ => remove(services, &name, command == b"destroy"),
    });
    match done {
        Ok(()) => 0,
        Err(errno) => {
            fail("use the group", b"", error::text(errno));
            FAILED
        }
    }
}

/// Runs `create` or `control`.
fn apply(
    services: At<'_>,
    name: &Path,
    files: At<'_>,
    creates: bool,
) -> Result<(), Errno> {
    let group = if creates {
        make(services, name.as_bytes())?
    } else {
        file::open_dir(services, name.as_c_str())?
    };
    copy(files, group.as_fd(), &mut |verb, file, cause| {
        fail(verb, file, cause);
    });
    if creates {
        let mut line = Line::new();
        line.number(child::parent_pid().into());
        cgroup::write_file(group.as_fd(), c"cgroup.procs", line.as_bytes())?;
    }
    Ok(())
}

/// Runs `remove` or `destroy`.
fn remove(services: At<'_>, name: &Path, kills: bool) -> Result<(), Errno> {
    if !kills {
        return file::remove_dir(services, name.as_c_str());
    }
    let group = file::open_dir(services, name.as_c_str())?;
    cgroup::write_file(group.as_fd(), c"cgroup.kill", b"1")?;
    for _ in 0..ATTEMPTS {
        match file::remove_dir(services, name.as_c_str()) {
            Err(Errno::EBUSY) => poller::sleep(PAUSE),
            other => return other,
        }
    }
    Err(Errno::EBUSY)
}

/// Runs `setup`. Returns the exit code.
fn set_up() -> u8 {
    if cgroup::tree().is_none() {
        let target = c"/sys/fs/cgroup";
        match power::mount(c"cgroup2", target, c"cgroup2", DATA_ONLY, c"") {
            // The kernel has no such tree.
            Err(Errno::ENODEV) => return 0,
            Err(errno) => {
                fail("mount", target.to_bytes(), error::text(errno));
                return FAILED;
            }
            Ok(()) => {}
        }
    }
    let made = cgroup::tree().ok_or(Errno::ENOENT);
    match made.and_then(|tree| make_services(tree.as_fd())) {
        Ok(_) => 0,
        Err(errno) => {
            fail("make the group", SERVICES.to_bytes(), error::text(errno));
            FAILED
        }
    }
}

/// Reports a failed step.
fn fail(verb: &str, subject: &[u8], cause: &str) {
    let mut line = Line::new();
    line.text("runsv-cg: unable to ").text(verb).text(" ");
    line.bytes(subject).text(": ").text(cause);
    sys::print_error(line.finish());
}
