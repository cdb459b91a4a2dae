//! Whether a slot outlives what is done to its supervise directory: a full or
//! read-only disk under it, files in the place of its FIFOs, the removal of all
//! or of a part of it. It
//! says so once, does not spin over it, and goes on when the cause is gone.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use util::{Place, skipped, spent, until, until_only};

/// A runsv whose supervise directory is on a disk of 32 kB that only it sees.
struct Disk<'a> {
    place: &'a Place,
    one: Child,
    /// The way to it from outside.
    inside: PathBuf,
}

impl<'a> Disk<'a> {
    /// Starts it for `services/a`. `None`, and a line that says so, where a
    /// mount name space cannot be had.
    fn start(place: &'a Place) -> Option<Self> {
        place.service("a", "exec sleep 1000");
        let small = place.path("small");
        fs::create_dir(&small).unwrap();
        symlink("../../small/a", place.path("services/a/supervise")).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=32k small {} && exec runsv services/a",
            small.display()
        );
        let command = place.command(&["runsv"]);
        let mut unshare = Command::new("unshare");
        unshare.args(["-m", "sh", "-c", &script]);
        unshare.current_dir(place.dir.path());
        for (name, value) in command.get_envs() {
            unshare.env(name, value.unwrap_or_default());
        }
        unshare.stderr(fs::File::create(place.path("errors")).unwrap());
        unshare.stdin(Stdio::null()).stdout(Stdio::null());
        let mut one = unshare.spawn().unwrap();
        let root = format!("/proc/{}/root", one.id());
        let inside = PathBuf::from(root + &small.to_string_lossy());
        let runs = until("the service, or the end", || {
            let stat = fs::read_to_string(inside.join("a/stat"));
            let ended = one.try_wait().unwrap().map(|_| false);
            ended.or((stat.ok()? == "run\n").then_some(true))
        });
        if !runs {
            skipped(&format!("no mount name space: {}", place.read("errors")));
            return None;
        }
        Some(Self { place, one, inside })
    }

    fn until_stat(&self, wanted: &str) {
        until(wanted, || {
            let stat = fs::read_to_string(self.inside.join("a/stat"));
            (stat.ok()?.trim_end() == wanted).then_some(())
        });
    }

    fn control(&self, byte: &str) {
        fs::write(self.inside.join("a/control"), byte).unwrap();
    }

    /// Runs a command of the shell, in which `$1` is the disk's directory, in
    /// its name space.
    fn run(&self, script: &str) {
        let done = Command::new("nsenter")
            .args(["-m", "-t", &self.one.id().to_string()])
            .args(["sh", "-ec", script, "sh"])
            .arg(self.place.path("small"))
            .status();
        assert!(done.unwrap().success());
    }

    /// The disk takes nothing now, because of `cause`: one line, and what it
    /// says after `mend` is true.
    fn is_outlived(mut self, cause: &str, mend: impl FnOnce(&Self)) {
        self.control("p");
        until("the line", || {
            (!self.place.read("errors").is_empty()).then_some(())
        });
        // The service is controlled all the same.
        let pid = fs::read_to_string(self.inside.join("a/pid")).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        until("the signal", || {
            let stat = fs::read_to_string(&stat).unwrap();
            stat.contains(") T ").then_some(())
        });
        mend(&self);
        self.until_stat("run, paused");
        let said = self.place.read("errors");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.ends_with(&format!(".new: {cause}\n")), "{said}");
        assert!(spent(Pid::from_child(&self.one)) < 50, "it spins");
        self.control("x");
        until("the end", || self.one.try_wait().unwrap());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        if self.one.try_wait().is_ok_and(|ended| ended.is_none()) {
            let fifo = self.inside.join("a/control");
            let _gone = fs::write(fifo, "kx").is_err();
            let _gone = kill_process(Pid::from_child(&self.one), Signal::TERM);
            let _reaped = self.one.wait();
        }
    }
}

#[test]
fn no_space_under_supervise() {
    let place = Place::new();
    let Some(disk) = Disk::start(&place) else {
        return;
    };
    let fill = disk.inside.join("fill");
    let full = fs::write(&fill, vec![0; 1 << 16]);
    assert_eq!(full.unwrap_err().raw_os_error(), Some(28));
    disk.is_outlived("out of disk space", |_| fs::remove_file(fill).unwrap());
}

#[test]
fn a_supervise_that_becomes_read_only() {
    let place = Place::new();
    let Some(disk) = Disk::start(&place) else {
        return;
    };
    // The lock is open for writing: only another mount may be read-only.
    disk.run("mount --bind $1 $1; mount -o remount,bind,ro $1");
    let mend = |disk: &Disk<'_>| disk.run("umount $1");
    disk.is_outlived("read-only file system", mend);
}

#[test]
fn fifos_that_are_files() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.write("services/a/supervise/control", "");
    let _all = place.runsvdir();
    until_only(
        &place,
        "runsvdir services: warning: unable to start runsv a: \
         supervise/control exists but is not a fifo\n",
    );
    fs::remove_file(place.path("services/a/supervise/control")).unwrap();
    place.until_stat("a", "run");
}

/// The line that says that a file of `services/a` went.
fn went(path: &str) -> String {
    format!("runsv services/a: warning: {path} was removed or replaced\n")
}

#[test]
fn fifos_that_become_files() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let mut one = place.start(&["runsv", "services/a"]);
    let pid = place.until_pid("a", None);
    for fifo in ["control", "ok"] {
        let fifo = format!("services/a/supervise/{fifo}");
        fs::remove_file(place.path(&fifo)).unwrap();
        place.write(&fifo, "");
    }
    // Who does not ask where it writes is not heard; the service stays what
    // it is, and is still started again.
    let said = place.run(&["sv", "-w0", "stop", "a"]);
    assert_eq!(
        (said.out.starts_with("timeout: run: a: "), said.code),
        (true, 1)
    );
    assert_eq!(place.read("errors"), "", "nothing has happened yet");
    // It is noticed when something is written, and mended.
    kill_process(pid, Signal::KILL).unwrap();
    place.until_pid("a", Some(pid));
    until_only(&place, &went("supervise/control"));
    let is_fifo = |name: &str| {
        let path = place.path(&format!("services/a/supervise/{name}"));
        fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo())
    };
    for fifo in ["control", "ok"] {
        until(fifo, || is_fifo(fifo).then_some(()));
    }
    let said = place.run(&["sv", "-w", "20", "stop", "a"]);
    assert!(said.out.starts_with("ok: down: a: "), "{said:?}");
    assert!(spent(one.pid()) < 50, "it spins");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(place.stat("a"), "down");
    assert_eq!(place.read("errors"), went("supervise/control"));
}

#[test]
fn each_file_that_is_removed() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.service("a/log", "exec cat > /dev/null");
    let mut one = place.start(&["runsv", "services/a"]);
    let owners = ["a", "a/log"];
    for owner in owners {
        place.until_pid(owner, None);
    }
    let mut expected = String::new();
    for owner in owners {
        for name in ["lock", "control", "ok"] {
            let rest = owner.trim_start_matches(['a', '/']);
            let path = Path::new(rest).join("supervise").join(name);
            let path = path.to_str().unwrap();
            let file = place.path(&format!("services/a/{path}"));
            fs::remove_file(&file).unwrap();
            let pid = place.until_pid(owner, None);
            kill_process(pid, Signal::KILL).unwrap();
            place.until_pid(owner, Some(pid));
            expected += &went(path);
            until("the line", || {
                (place.read("errors") == expected).then_some(())
            });
            until("the file", || file.exists().then_some(()));
            // Both ways in work, or sv could not see what it waits for.
            let said = place.run(&["sv", "-w", "20", "restart", owner]);
            assert!(said.out.starts_with("ok: run: a"), "{said:?}");
        }
    }
    // The lock is held again.
    let second = place.run(&["runsv", "services/a"]);
    assert_eq!(second.code, 111, "{second:?}");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(place.read("errors"), expected);
}

#[test]
fn a_file_that_another_took_the_place_of() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let mut one = place.start(&["runsv", "services/a"]);
    let pid = place.until_pid("a", None);
    // A directory is not removed for it; it is tried again.
    let control = place.path("services/a/supervise/control");
    fs::remove_file(&control).unwrap();
    fs::create_dir(&control).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let pid = place.until_pid("a", Some(pid));
    until_only(&place, &went("supervise/control"));
    kill_process(pid, Signal::KILL).unwrap();
    let pid = place.until_pid("a", Some(pid));
    assert!(control.is_dir());
    // Somebody else's FIFO is as good as ours.
    fs::remove_dir(&control).unwrap();
    let made = Command::new("mkfifo").arg(&control).status();
    assert!(made.unwrap().success());
    kill_process(pid, Signal::KILL).unwrap();
    place.until_pid("a", Some(pid));
    let said = place.run(&["sv", "-w", "20", "stop", "a"]);
    assert!(said.out.starts_with("ok: down: a: "), "{said:?}");
    assert!(spent(one.pid()) < 50, "it spins");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(place.read("errors"), went("supervise/control"));
}

#[test]
fn files_are_looked_for_on_demand() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let all = place.runsvdir();
    let pid = place.until_pid("a", None);
    let control = place.path("services/a/supervise/control");
    fs::remove_file(&control).unwrap();
    all.kill(Signal::ALARM);
    until("the FIFO", || control.exists().then_some(()));
    let line = "runsv a: warning: supervise/control was removed or replaced\n";
    assert_eq!(place.read("errors"), line);
    assert_eq!(place.pid("a"), Some(pid), "the service has not noticed");
    let said = place.run(&["sv", "-w", "20", "stop", "a"]);
    assert!(said.out.starts_with("ok: down: a: "), "{said:?}");
}

#[test]
fn a_supervise_that_is_removed() {
    let place = Place::new();
    place.service("a", "echo up; exec sleep 1000");
    let said = place.path("said");
    let log = format!("exec cat >> {}", said.display());
    place.service("a/log", &log);
    let mut one = place.start(&["runsv", "services/a"]);
    let owners = ["a", "a/log"];
    let pids = owners.map(|owner| place.until_pid(owner, None));
    for owner in owners {
        let supervise = format!("services/{owner}/supervise");
        fs::remove_dir_all(place.path(&supervise)).unwrap();
    }
    // It is noticed when there is something to be written.
    for (owner, pid) in owners.into_iter().zip(pids) {
        kill_process(pid, Signal::KILL).unwrap();
        place.until_pid(owner, Some(pid));
    }
    let line = "runsv services/a: warning: unable to open supervise/pid.new: \
                file does not exist\n";
    assert_eq!(place.read("errors"), line);
    for owner in owners {
        let said = place.run(&["sv", "-w", "20", "restart", owner]);
        assert!(said.out.starts_with("ok: run: a"), "{said:?}");
    }
    // The pipe is what it was.
    fs::write(&said, "").unwrap();
    place.control("a", "t");
    until("a line", || (place.read("said") == "up\n").then_some(()));
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}
