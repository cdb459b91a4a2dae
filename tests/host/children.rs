//! Tests that children start in the same state each time, whatever happened
//! before, and that one that hangs, or thousands of them, delay no other.

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

use crate::util::{self, Running, TestDir, skip, start_wrapped, until};

/// Starts a supervisor in a mount namespace in which `hang` is a file system
/// that answers no request. The supervisor keeps it mounted. Returns `None`
/// where that is impossible.
fn start_with_hang<'a>(
    tmp: &'a TestDir,
    words: &[&str],
) -> Option<Running<'a>> {
    fs::create_dir(tmp.path("hang")).unwrap();
    let mount = "exec 9<>/dev/fuse && mount -i -t fuse -o \
        fd=9,rootmode=40000,user_id=0,group_id=0 hang hang && exec \"$@\"";
    let wrapped = ["unshare", "-m", "sh", "-c", mount, "sh"];
    let works = Command::new("unshare")
        .args(&wrapped[1..5])
        .args(["sh", "true"])
        .current_dir(tmp.dir.path())
        .stderr(Stdio::null())
        .status();
    if !works.is_ok_and(|status| status.success()) {
        skip("needs root, unshare(1) and /dev/fuse");
        return None;
    }
    let bin = tmp.path("bin").join(words[0]);
    let bin = [bin.to_str().unwrap()];
    Some(start_wrapped(tmp, &[&wrapped, &bin, &words[1..]]))
}

/// Creates a service whose child hangs before it becomes its program.
fn hung_service(tmp: &TestDir, name: &str) {
    let run = tmp.path(&format!("services/{name}/run"));
    tmp.service(name, "");
    // A different name for each: the second lookup of a name waits for the
    // first.
    let text = format!("#!{}/{name}\n", tmp.path("hang").display());
    util::install(&run, text.as_bytes());
}

/// Waits until a service's child hangs. Returns the files it has open.
fn until_hung(tmp: &TestDir, name: &str) -> (Pid, Vec<PathBuf>) {
    let pid = tmp.until_pid(name, None);
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
fn a_child_hanging_in_execve_holds_no_foreign_descriptors() {
    let tmp = TestDir::new();
    let output = tmp.path("output");
    hung_service(&tmp, "a");
    tmp.script("services/a/log/run", "exec cat > /dev/null");
    hung_service(&tmp, "plain");
    tmp.service("b", "echo up; exec sleep 1000");
    tmp.script("services/b/log/run", &format!("cat > {}", output.display()));
    let Some(_all) = start_with_hang(&tmp, &["runsvdir", "services"]) else {
        return;
    };
    let mut hung = Vec::new();
    for name in ["a", "plain"] {
        let (pid, open) = until_hung(&tmp, name);
        let services = tmp.path("services");
        let dir = services.join(name);
        for path in &open {
            let own = *path == dir || *path == dir.join("supervise/log");
            assert!(own || !path.starts_with(&services), "{open:?}");
        }
        assert!(open.len() <= 5, "{open:?}");
        hung.push(pid);
    }
    until("the line", || (tmp.read("output") == "up\n").then_some(()));
    // Its logger reaches the end of its input, and `ok` is closed.
    let ended = tmp.run(&["sv", "-w", "20", "shutdown", "b"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    for pid in hung {
        kill_process(pid, Signal::KILL).unwrap();
    }
}

#[test]
fn a_hanging_child_does_not_make_a_dead_supervisor_look_alive() {
    let tmp = TestDir::new();
    hung_service(&tmp, "a");
    tmp.script("services/a/log/run", "exec cat > /dev/null");
    let Some(mut one) = start_with_hang(&tmp, &["runsv", "services/a"]) else {
        return;
    };
    let (hung, _) = until_hung(&tmp, "a");
    // The connection to the file system must outlive the supervisor.
    let fuse = format!("/proc/{}/fd/9", one.pid().as_raw_pid());
    let _connection = fs::File::open(fuse).ok();
    one.kill(Signal::KILL);
    assert_eq!(one.wait(), -9);
    let ok = tmp.path("services/a/supervise/ok");
    let flags = OFlags::WRONLY | OFlags::NONBLOCK;
    let opened = rustix::fs::open(&ok, flags, Mode::empty());
    assert_eq!(opened.unwrap_err(), rustix::io::Errno::NXIO);
    assert_eq!(tmp.run(&["sv", "status", "a"]).code, 1);
    // The lock is free.
    tmp.service("a", "exec sleep 1000");
    let mut next = tmp.start(&["runsv", "services/a"]);
    tmp.until_pid("a", Some(hung));
    kill_process(hung, Signal::KILL).unwrap();
    next.kill(Signal::TERM);
    assert_eq!(next.wait(), 0);
}

#[test]
fn children_get_the_original_descriptor_limit() {
    let tmp = TestDir::new();
    let seen = tmp.path("seen").display().to_string();
    let shows = |who: &str| format!("echo {who} $(ulimit -Sn) >> {seen}");
    // Enough for the log to be rotated.
    let lines = "i=0; while test $i -lt 300; do \
         i=$((i+1)); echo 20 bytes and a number: $i; done";
    let run = format!("{}\n{lines}\nexec sleep 1000", shows("run"));
    tmp.service("a", &run);
    tmp.script("services/a/finish", &shows("finish"));
    tmp.script("services/a/control/h", &shows("script"));
    let config = format!("s4096\n!{}; cat\n", shows("processor"));
    tmp.write("services/a/log/main/config", &config);
    let limited = ["sh", "-c", "ulimit -Sn 99 && exec \"$@\"", "sh"];
    let bin = tmp.path("bin/runsvdir");
    let words = [bin.to_str().unwrap(), "services"];
    let _all = start_wrapped(&tmp, &[&limited, &words]);
    tmp.until_stat("a", "run");
    tmp.control("a", "h");
    until("the processor", || {
        tmp.read("seen").contains("processor").then_some(())
    });
    tmp.control("a", "d");
    tmp.until_stat("a", "down");
    let seen = tmp.read("seen");
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
fn children_do_not_inherit_nonblocking_mode() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.script("services/a/log/run", "exec cat > /dev/null");
    tmp.service("b", "exec sleep 1000");
    let _all = tmp.runsvdir();
    let first = tmp.until_pid("a", None);
    let logger = tmp.until_pid("a/log", None);
    for (pid, number) in [(first, 0), (first, 1), (first, 2), (logger, 0)] {
        if make_nonblocking(pid, number).is_err() {
            return skip("needs pidfd_getfd");
        }
    }
    for (name, old) in [("a", first), ("a/log", logger)] {
        tmp.control(name, "t");
        let pid = tmp.until_pid(name, Some(old));
        for number in 0..3 {
            until("a descriptor that waits", || {
                (!is_nonblocking(pid, number)).then_some(())
            });
        }
    }
    // The others' descriptors are unchanged.
    let other = tmp.until_pid("b", None);
    assert!((0..3).all(|number| !is_nonblocking(other, number)));
}

#[test]
fn a_service_of_another_user_can_open_dev_stdout() {
    let tmp = TestDir::new();
    if !rustix::process::getuid().is_root() {
        return skip("needs root");
    }
    let text = "echo out > /dev/stdout; echo error > /dev/stderr; \
                exec sleep 1000";
    let user = "chpst -u :65534:65534 sh -c";
    tmp.service("a", &format!("exec 2>&1; exec {user} '{text}'"));
    let output = tmp.path("output").display().to_string();
    tmp.script("services/a/log/run", &format!("exec cat >> {output}"));
    // Descriptor 2 as it comes from a supervisor with a LOG.
    let word = ".".repeat(40);
    tmp.service("b", &format!("exec {user} '{text}' > /dev/null"));
    let all = tmp.start(&["runsvdir", "services", &word]);
    until("both lines", || {
        (tmp.read("output") == "out\nerror\n").then_some(())
    });
    let title = format!("/proc/{}/cmdline", all.pid().as_raw_pid());
    until("the line in the title", || {
        let title = fs::read_to_string(&title).ok()?;
        title.contains("error").then_some(())
    });
    // Only its own user may read it.
    let pipe = fs::metadata(tmp.path("services/a/supervise/log")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&pipe.permissions());
    assert_eq!(mode & 0o777, 0o622);
}

#[test]
fn a_reachable_log_pipe_stays_private() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.script("services/a/log/run", "exec cat > /dev/null");
    tmp.write("services/a/supervise/x", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let supervise = tmp.path("services/a/supervise");
    fs::set_permissions(&supervise, mode).unwrap();
    let _all = tmp.runsvdir();
    tmp.until_stat("a", "run");
    let pipe = fs::metadata(supervise.join("log")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&pipe.permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn control_scripts_get_the_pid() {
    let tmp = TestDir::new();
    // HUP is sent too: it must not end the service before `d` is read.
    tmp.service("a", "trap '' HUP; exec sleep 1000");
    let seen = tmp.path("seen").display().to_string();
    for byte in ["u", "h", "t", "d"] {
        let script = format!("services/a/control/{byte}");
        let text = format!("echo \"{byte} $# $1.\" >> {seen}; exit 1");
        tmp.script(&script, &text);
    }
    let _all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None).as_raw_pid();
    tmp.control("a", "hd");
    tmp.until_stat("a", "down");
    let seen = until("the last script", || {
        let seen = tmp.read("seen");
        (seen.lines().count() == 4).then_some(seen)
    });
    let head = format!("u 1 .\nh 1 {pid}.\nt 1 {pid}.\nd 1 ");
    assert!(seen.starts_with(&head), "{seen}");
}
