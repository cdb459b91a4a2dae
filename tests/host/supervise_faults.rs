//! Tests that a slot survives changes to its supervise directory: files
//! instead of its FIFOs, and the removal of all or part of it. It reports each
//! once, does not spin over it, and recovers when the cause is gone.

use std::{fs, os::unix::fs::FileTypeExt as _, path::Path, process::Command};

use rustix::process::{Signal, kill_process};

use crate::util::{TestDir, cpu_time, until, until_only_error};

#[test]
fn files_in_place_of_fifos() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.write("services/a/supervise/control", "");
    let _all = tmp.runsvdir();
    until_only_error(
        &tmp,
        "runsvdir services: warning: unable to start runsv a: \
         supervise/control exists but is not a fifo\n",
    );
    fs::remove_file(tmp.path("services/a/supervise/control")).unwrap();
    tmp.until_stat("a", "run");
}

/// Returns the line that reports a missing file of `services/a`.
fn missing_line(path: &str) -> String {
    format!("runsv services/a: warning: {path} was removed or replaced\n")
}

#[test]
fn fifos_replaced_by_files() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let mut one = tmp.start(&["runsv", "services/a"]);
    let pid = tmp.until_pid("a", None);
    for fifo in ["control", "ok"] {
        let fifo = format!("services/a/supervise/{fifo}");
        fs::remove_file(tmp.path(&fifo)).unwrap();
        tmp.write(&fifo, "");
    }
    // `sv` does not take a file for a supervisor's FIFO. The service continues
    // and is still restarted.
    let output = tmp.run(&["sv", "-w0", "stop", "a"]);
    assert_eq!(
        (output.stdout.as_str(), output.code),
        ("fail: a: runsv not running\n", 1)
    );
    assert_eq!(tmp.read("errors"), "", "nothing has happened yet");
    // The change is noticed at the next write, and repaired.
    kill_process(pid, Signal::KILL).unwrap();
    tmp.until_pid("a", Some(pid));
    until_only_error(&tmp, &missing_line("supervise/control"));
    let is_fifo = |name: &str| {
        let path = tmp.path(&format!("services/a/supervise/{name}"));
        fs::metadata(path).is_ok_and(|data| data.file_type().is_fifo())
    };
    for fifo in ["control", "ok"] {
        until(fifo, || is_fifo(fifo).then_some(()));
    }
    let output = tmp.run(&["sv", "-w", "20", "stop", "a"]);
    assert!(output.stdout.starts_with("ok: down: a: "), "{output:?}");
    assert!(cpu_time(one.pid()) < 50, "it spins");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(tmp.stat("a"), "down");
    assert_eq!(tmp.read("errors"), missing_line("supervise/control"));
}

#[test]
fn removed_files_are_recreated() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.service("a/log", "exec cat > /dev/null");
    let mut one = tmp.start(&["runsv", "services/a"]);
    let owners = ["a", "a/log"];
    for owner in owners {
        tmp.until_pid(owner, None);
    }
    let mut expected = String::new();
    for owner in owners {
        for name in ["lock", "control", "ok"] {
            let rest = owner.trim_start_matches(['a', '/']);
            let path = Path::new(rest).join("supervise").join(name);
            let path = path.to_str().unwrap();
            let file = tmp.path(&format!("services/a/{path}"));
            fs::remove_file(&file).unwrap();
            let pid = tmp.until_pid(owner, None);
            kill_process(pid, Signal::KILL).unwrap();
            tmp.until_pid(owner, Some(pid));
            expected += &missing_line(path);
            until("the line", || {
                (tmp.read("errors") == expected).then_some(())
            });
            until("the file", || file.exists().then_some(()));
            // Both `control` and `ok` work: without either, `sv` would fail.
            let output = tmp.run(&["sv", "-w", "20", "restart", owner]);
            assert!(output.stdout.starts_with("ok: run: a"), "{output:?}");
        }
    }
    // The lock is held again.
    let second = tmp.run(&["runsv", "services/a"]);
    assert_eq!(second.code, 111, "{second:?}");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(tmp.read("errors"), expected);
}

#[test]
fn replaced_files() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let mut one = tmp.start(&["runsv", "services/a"]);
    let pid = tmp.until_pid("a", None);
    // A directory is not removed for it; the creation is retried.
    let control = tmp.path("services/a/supervise/control");
    fs::remove_file(&control).unwrap();
    fs::create_dir(&control).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let pid = tmp.until_pid("a", Some(pid));
    until_only_error(&tmp, &missing_line("supervise/control"));
    kill_process(pid, Signal::KILL).unwrap();
    let pid = tmp.until_pid("a", Some(pid));
    assert!(control.is_dir());
    // A FIFO created by another program is accepted, unless runsv, which
    // retries meanwhile, is first.
    fs::remove_dir(&control).unwrap();
    let made = Command::new("mkfifo").arg(&control).status().unwrap();
    let is_fifo = |path| fs::metadata(path).unwrap().file_type().is_fifo();
    assert!(made.success() || is_fifo(&control));
    kill_process(pid, Signal::KILL).unwrap();
    tmp.until_pid("a", Some(pid));
    let output = tmp.run(&["sv", "-w", "20", "stop", "a"]);
    assert!(output.stdout.starts_with("ok: down: a: "), "{output:?}");
    assert!(cpu_time(one.pid()) < 50, "it spins");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(tmp.read("errors"), missing_line("supervise/control"));
}

#[test]
fn alarm_checks_the_files() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    let control = tmp.path("services/a/supervise/control");
    fs::remove_file(&control).unwrap();
    all.kill(Signal::ALARM);
    until("the FIFO", || control.exists().then_some(()));
    let line = "runsv a: warning: supervise/control was removed or replaced\n";
    assert_eq!(tmp.read("errors"), line);
    assert_eq!(tmp.pid("a"), Some(pid), "the service has not noticed");
    let output = tmp.run(&["sv", "-w", "20", "stop", "a"]);
    assert!(output.stdout.starts_with("ok: down: a: "), "{output:?}");
}

#[test]
fn removed_supervise_directory() {
    let tmp = TestDir::new();
    tmp.service("a", "echo up; exec sleep 1000");
    let output = tmp.path("output");
    let log = format!("exec cat >> {}", output.display());
    tmp.service("a/log", &log);
    let mut one = tmp.start(&["runsv", "services/a"]);
    let owners = ["a", "a/log"];
    let pids = owners.map(|owner| tmp.until_pid(owner, None));
    for owner in owners {
        let supervise = format!("services/{owner}/supervise");
        fs::remove_dir_all(tmp.path(&supervise)).unwrap();
    }
    // The removal is noticed at the next write.
    for (owner, pid) in owners.into_iter().zip(pids) {
        kill_process(pid, Signal::KILL).unwrap();
        tmp.until_pid(owner, Some(pid));
    }
    // Which file is missed first depends on what is written then.
    let errors = tmp.read("errors");
    let cause = errors.strip_prefix("runsv services/a: warning: ").unwrap();
    assert!(
        cause == "supervise/lock was removed or replaced\n"
            || cause.ends_with(": file does not exist\n"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
    for owner in owners {
        let output = tmp.run(&["sv", "-w", "20", "restart", owner]);
        assert!(output.stdout.starts_with("ok: run: a"), "{output:?}");
    }
    // The pipe to the logger is the same as before.
    fs::write(&output, "").unwrap();
    tmp.control("a", "t");
    until("a line", || (tmp.read("output") == "up\n").then_some(()));
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}
