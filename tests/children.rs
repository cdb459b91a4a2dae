//! Tests that children start in the same state each time, whatever happened
//! before, and that one that hangs, or thousands of them, delay no other.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl},
    process::{
        Pid, PidfdFlags, PidfdGetfdFlags, Signal, kill_process, pidfd_getfd,
        pidfd_open,
    },
};
use util::{Place, Running, skipped, start_by, until};

/// Starts a supervisor in a mount namespace in which `hang` is a file system
/// that answers no request. The supervisor keeps it mounted. Returns `None`
/// where that is impossible.
fn start_with_hang<'a>(
    place: &'a Place,
    words: &[&str],
) -> Option<Running<'a>> {
    fs::create_dir(place.path("hang")).unwrap();
    let mount = "exec 9<>/dev/fuse && mount -i -t fuse -o \
        fd=9,rootmode=40000,user_id=0,group_id=0 hang hang && exec \"$@\"";
    let wrapped = ["unshare", "-m", "sh", "-c", mount, "sh"];
    let works = Command::new("unshare")
        .args(&wrapped[1..5])
        .args(["sh", "true"])
        .current_dir(place.dir.path())
        .stderr(Stdio::null())
        .status();
    if !works.is_ok_and(|status| status.success()) {
        skipped("needs root, unshare(1) and /dev/fuse");
        return None;
    }
    let bin = place.path("bin").join(words[0]);
    let bin = [bin.to_str().unwrap()];
    Some(start_by(place, &[&wrapped, &bin, &words[1..]]))
}

/// Creates a service whose child hangs before it becomes its program.
fn hung_service(place: &Place, name: &str) {
    let run = place.path(&format!("services/{name}/run"));
    place.service(name, "");
    // A different name for each: the second lookup of a name waits for the
    // first.
    let text = format!("#!{}/{name}\n", place.path("hang").display());
    util::install(&run, text.as_bytes());
}

/// Waits until a service's child hangs. Returns the files it has open.
fn until_hung(place: &Place, name: &str) -> (Pid, Vec<PathBuf>) {
    let pid = place.until_pid(name, None);
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_pid()));
    until("a child that hangs", || {
        let at = fs::read_to_string(proc.join("wchan")).ok()?;
        at.contains("fuse").then_some(())
    });
    let open = fs::read_dir(proc.join("fd")).unwrap();
    let open = open.map(|file| fs::read_link(file.unwrap().path()).unwrap());
    (pid, open.collect())
}

#[test]
fn a_child_that_hangs_in_execve_holds_nothing_of_others() {
    let place = Place::new();
    let said = place.path("said");
    hung_service(&place, "a");
    place.script("services/a/log/run", "exec cat > /dev/null");
    hung_service(&place, "plain");
    place.service("b", "echo up; exec sleep 1000");
    place.script("services/b/log/run", &format!("cat > {}", said.display()));
    let Some(_all) = start_with_hang(&place, &["runsvdir", "services"]) else {
        return;
    };
    let mut hung = Vec::new();
    for name in ["a", "plain"] {
        let (pid, open) = until_hung(&place, name);
        let services = place.path("services");
        let dir = services.join(name);
        for path in &open {
            let own = *path == dir || *path == dir.join("supervise/log");
            assert!(own || !path.starts_with(&services), "{open:?}");
        }
        assert!(open.len() <= 5, "{open:?}");
        hung.push(pid);
    }
    until("the line", || (place.read("said") == "up\n").then_some(()));
    // Its logger reaches the end of its input, and `ok` is closed.
    let ended = place.run(&["sv", "-w", "20", "shutdown", "b"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for pid in hung {
        kill_process(pid, Signal::KILL).unwrap();
    }
}

#[test]
fn a_child_that_hangs_does_not_stand_for_a_dead_supervisor() {
    let place = Place::new();
    hung_service(&place, "a");
    place.script("services/a/log/run", "exec cat > /dev/null");
    let Some(mut one) = start_with_hang(&place, &["runsv", "services/a"])
    else {
        return;
    };
    let (hung, _) = until_hung(&place, "a");
    // The connection to the file system must outlive the supervisor.
    let fuse = format!("/proc/{}/fd/9", one.pid().as_raw_pid());
    let _connection = fs::File::open(fuse).ok();
    one.kill(Signal::KILL);
    assert_eq!(one.wait(), -9);
    let ok = place.path("services/a/supervise/ok");
    let flags = OFlags::WRONLY | OFlags::NONBLOCK;
    let opened = rustix::fs::open(&ok, flags, Mode::empty());
    assert_eq!(opened.unwrap_err(), rustix::io::Errno::NXIO);
    assert_eq!(place.run(&["sv", "status", "a"]).code, 1);
    // The lock is free.
    place.service("a", "exec sleep 1000");
    let mut next = place.start(&["runsv", "services/a"]);
    place.until_pid("a", Some(hung));
    kill_process(hung, Signal::KILL).unwrap();
    next.kill(Signal::TERM);
    assert_eq!(next.wait(), 0);
}

#[test]
fn every_child_has_the_limit_that_was_given() {
    let place = Place::new();
    let seen = place.path("seen").display().to_string();
    let shows = |who: &str| format!("echo {who} $(ulimit -Sn) >> {seen}");
    // Enough for the log to be rotated.
    let lines = "i=0; while test $i -lt 300; do \
         i=$((i+1)); echo 20 bytes and a number: $i; done";
    let run = format!("{}\n{lines}\nexec sleep 1000", shows("run"));
    place.service("a", &run);
    place.script("services/a/finish", &shows("finish"));
    place.script("services/a/control/h", &shows("script"));
    let config = format!("s4096\n!{}; cat\n", shows("processor"));
    place.write("services/a/log/main/config", &config);
    let limited = ["sh", "-c", "ulimit -Sn 99 && exec \"$@\"", "sh"];
    let bin = place.path("bin/runsvdir");
    let words = [bin.to_str().unwrap(), "services"];
    let _all = start_by(&place, &[&limited, &words]);
    place.until_stat("a", "run");
    place.control("a", "h");
    until("the processor", || {
        place.read("seen").contains("processor").then_some(())
    });
    place.control("a", "d");
    place.until_stat("a", "down");
    let seen = place.read("seen");
    for who in ["run", "finish", "script", "processor"] {
        assert!(seen.contains(&format!("{who} 99\n")), "{seen}");
    }
    assert!(seen.lines().all(|line| line.ends_with(" 99")), "{seen}");
}

/// Checks that a process's descriptor is nonblocking.
fn is_nonblocking(pid: Pid, number: u32) -> bool {
    let info = format!("/proc/{}/fdinfo/{number}", pid.as_raw_pid());
    let info = fs::read_to_string(info).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    flags & OFlags::NONBLOCK.bits() != 0
}

/// Makes a process's descriptor nonblocking, as the process itself may do.
fn make_nonblocking(pid: Pid, number: i32) -> rustix::io::Result<()> {
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let file = pidfd_getfd(process, number, PidfdGetfdFlags::empty())?;
    fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)
}

#[test]
fn no_child_inherits_that_a_descriptor_does_not_wait() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.script("services/a/log/run", "exec cat > /dev/null");
    place.service("b", "exec sleep 1000");
    let _all = place.runsvdir();
    let first = place.until_pid("a", None);
    let logger = place.until_pid("a/log", None);
    for (pid, number) in [(first, 0), (first, 1), (first, 2), (logger, 0)] {
        if make_nonblocking(pid, number).is_err() {
            return skipped("needs pidfd_getfd");
        }
    }
    for (name, old) in [("a", first), ("a/log", logger)] {
        place.control(name, "t");
        let pid = place.until_pid(name, Some(old));
        for number in 0..3 {
            until("a descriptor that waits", || {
                (!is_nonblocking(pid, number)).then_some(())
            });
        }
    }
    // The others' descriptors are unchanged.
    let other = place.until_pid("b", None);
    assert!((0..3).all(|number| !is_nonblocking(other, number)));
}

#[test]
fn another_user_can_open_what_it_writes_to() {
    let place = Place::new();
    if !rustix::process::getuid().is_root() {
        return skipped("needs root");
    }
    let text = "echo out > /dev/stdout; echo error > /dev/stderr; \
                exec sleep 1000";
    let user = "chpst -u :65534:65534 sh -c";
    place.service("a", &format!("exec 2>&1; exec {user} '{text}'"));
    let said = place.path("said").display().to_string();
    place.script("services/a/log/run", &format!("exec cat >> {said}"));
    // Descriptor 2 as it comes from a supervisor with a LOG.
    let word = ".".repeat(40);
    place.service("b", &format!("exec {user} '{text}' > /dev/null"));
    let all = place.start(&["runsvdir", "services", &word]);
    until("both lines", || {
        (place.read("said") == "out\nerror\n").then_some(())
    });
    let title = format!("/proc/{}/cmdline", all.pid().as_raw_pid());
    until("the line in the title", || {
        let title = fs::read_to_string(&title).ok()?;
        title.contains("error").then_some(())
    });
    // Only its own user may read it.
    let pipe = fs::metadata(place.path("services/a/supervise/log")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&pipe.permissions());
    assert_eq!(mode & 0o777, 0o622);
}

#[test]
fn a_pipe_that_others_can_reach_stays_closed_to_them() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.script("services/a/log/run", "exec cat > /dev/null");
    place.write("services/a/supervise/x", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let supervise = place.path("services/a/supervise");
    fs::set_permissions(&supervise, mode).unwrap();
    let _all = place.runsvdir();
    place.until_stat("a", "run");
    let pipe = fs::metadata(supervise.join("log")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&pipe.permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_script_is_told_the_process() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let seen = place.path("seen").display().to_string();
    for byte in ["u", "h", "t", "d"] {
        let script = format!("services/a/control/{byte}");
        let text = format!("echo \"{byte} $# $1.\" >> {seen}; exit 1");
        place.script(&script, &text);
    }
    let _all = place.runsvdir();
    let pid = place.until_pid("a", None).as_raw_pid();
    place.control("a", "hd");
    place.until_stat("a", "down");
    let seen = until("the last script", || {
        let seen = place.read("seen");
        (seen.lines().count() == 4).then_some(seen)
    });
    let head = format!("u 1 .\nh 1 {pid}.\nt 1 {pid}.\nd 1 ");
    assert!(seen.starts_with(&head), "{seen}");
}
