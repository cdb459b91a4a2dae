//! Tests that a slot survives changes to its supervise directory: files
//! instead of its FIFOs, and the removal of all or part of it. It reports each
//! once, does not spin over it, and recovers when the cause is gone.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{fs, os::unix::fs::FileTypeExt as _, path::Path, process::Command};

use rustix::process::{Signal, kill_process};
use util::{Place, spent, until, until_only};

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

/// Returns the line that reports a missing file of `services/a`.
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
    // `sv` does not take a file for a supervisor's FIFO. The service continues
    // and is still restarted.
    let said = place.run(&["sv", "-w0", "stop", "a"]);
    assert_eq!(
        (said.out.as_str(), said.code),
        ("fail: a: runsv not running\n", 1)
    );
    assert_eq!(place.read("errors"), "", "nothing has happened yet");
    // The change is noticed at the next write, and repaired.
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
            // Both `control` and `ok` work: without either, `sv` would fail.
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
    // A directory is not removed for it; the creation is retried.
    let control = place.path("services/a/supervise/control");
    fs::remove_file(&control).unwrap();
    fs::create_dir(&control).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let pid = place.until_pid("a", Some(pid));
    until_only(&place, &went("supervise/control"));
    kill_process(pid, Signal::KILL).unwrap();
    let pid = place.until_pid("a", Some(pid));
    assert!(control.is_dir());
    // A FIFO created by another program is accepted, unless runsv, which
    // retries meanwhile, is first.
    fs::remove_dir(&control).unwrap();
    let made = Command::new("mkfifo").arg(&control).status().unwrap();
    let is_fifo = |path| fs::metadata(path).unwrap().file_type().is_fifo();
    assert!(made.success() || is_fifo(&control));
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
    // The removal is noticed at the next write.
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
    // The pipe to the logger is the same as before.
    fs::write(&said, "").unwrap();
    place.control("a", "t");
    until("a line", || (place.read("said") == "up\n").then_some(()));
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}
