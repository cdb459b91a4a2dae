//! Tests that runsvdir and runsv behave as runit's on this machine: start,
//! restart, finish, log, control, scan, exit.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{TestDir, cpu_time, shell::capacity, until};

#[test]
fn a_killed_service_is_restarted() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let _all = tmp.runsvdir();
    // They are written one after the other, and again if the start fails.
    let (old, record) = until("three files that agree", || {
        let pid = tmp.pid("a").filter(|_| tmp.stat("a") == "run")?;
        let record = fs::read(tmp.path("services/a/supervise/status"));
        let record = record.ok()?;
        let agrees = record.get(12..16)? == pid.as_raw_pid().to_le_bytes();
        agrees.then_some((pid, record))
    });
    assert_eq!(record.len(), 20);
    assert_eq!(record[16..], [0, b'u', 0, 1]);
    kill_process(old, Signal::KILL).unwrap();
    tmp.until_pid("a", Some(old));
    tmp.until_stat("a", "run");
}

#[test]
fn finish_gets_the_exit_status() {
    let tmp = TestDir::new();
    let ended = tmp.path("ended");
    let count = tmp.path("count");
    tmp.service(
        "a",
        &format!(
            "echo >> {0}; test $(wc -l < {0}) = 1 && exit 3; exec sleep 1000",
            count.display()
        ),
    );
    let finish = format!("echo \"$@\" >> {}", ended.display());
    tmp.script("services/a/finish", &finish);
    let _all = tmp.runsvdir();
    until("the first end", || {
        (tmp.read("ended") == "3 0\n").then_some(())
    });
    let pid = until("sleep", || {
        let pid = tmp.pid("a")?;
        let comm =
            fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_pid()));
        comm.is_ok_and(|comm| comm == "sleep\n").then_some(pid)
    });
    kill_process(pid, Signal::KILL).unwrap();
    until("the second end", || {
        (tmp.read("ended") == "3 0\n-1 9\n").then_some(())
    });
}

#[test]
fn control_bytes() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.write("services/a/down", "");
    let _all = tmp.runsvdir();
    tmp.until_stat("a", "down");
    tmp.control("a", "u");
    tmp.until_stat("a", "run");
    tmp.control("a", "p");
    tmp.until_stat("a", "run, paused");
    tmp.control("a", "c");
    tmp.until_stat("a", "run");
    tmp.control("a", "zd\n");
    tmp.until_stat("a", "down");
    tmp.control("a", "o");
    tmp.until_stat("a", "run, want down");
    let pid = tmp.pid("a").unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    tmp.until_stat("a", "down");
    tmp.control("a", "u");
    let pid = tmp.until_pid("a", None);
    tmp.control("a", "t");
    tmp.until_pid("a", Some(pid));
    tmp.control("a", "x");
    until("the end of its supervision", || {
        let output = tmp.run(&["sv", "status", "a"]);
        (output.stdout == "fail: a: runsv not running\n").then_some(())
    });
}

#[test]
fn down_signal_replaces_term() {
    let tmp = TestDir::new();
    tmp.service_ignoring("a", "TERM");
    tmp.write("services/a/down-signal", "QUIT\n");
    let _all = tmp.runsvdir();
    tmp.until_ignoring();
    tmp.until_stat("a", "run");
    let output = tmp.run(&["sv", "-w", "20", "stop", "a"]);
    assert_eq!(output.code, 0, "{output:?}");
}

#[test]
fn no_line_is_lost_when_service_or_logger_restarts() {
    let tmp = TestDir::new();
    let log = tmp.path("log");
    fs::create_dir(&log).unwrap();
    let next = tmp.path("next");
    // Each run of the script continues where the last one ended. TERM is
    // tested between two lines: the shell runs a trap between any two
    // commands.
    tmp.service(
        "a",
        &format!(
            "trap end=1 TERM\ni=$(cat {0} 2>/dev/null || echo 1)\n\
             while test $i -le 3000 -a -z \"$end\"; do\n\
             echo line $i; i=$((i+1))\ndone\necho $i > {0}\n\
             while test -z \"$end\"; do sleep 0.02; done",
            next.display()
        ),
    );
    let svlogd = format!("exec svlogd {}", log.display());
    tmp.script("services/a/log/run", &svlogd);
    let _all = tmp.runsvdir();
    let lines = || tmp.read("log/current").lines().count();
    for round in 1..=8 {
        until("more lines", || {
            (lines() >= (round * 20).min(3000)).then_some(())
        });
        let old = tmp.until_pid("a", None);
        tmp.control("a", "t");
        tmp.until_pid("a", Some(old));
        let log = "a/log";
        let old = tmp.until_pid(log, None);
        tmp.control(log, "t");
        tmp.until_pid(log, Some(old));
    }
    until("all lines", || (lines() >= 3000).then_some(()));
    let expected: String = (1..=3000).map(|i| format!("line {i}\n")).collect();
    assert!(tmp.read("log/current") == expected, "lines differ");
}

#[test]
fn services_follow_their_links() {
    let tmp = TestDir::new();
    tmp.script("other/b/run", "exec sleep 1000");
    tmp.service("a", "exec sleep 1000");
    let _all = tmp.runsvdir();
    tmp.until_stat("a", "run");
    let link = tmp.path("services/b");
    symlink("../other/b", &link).unwrap();
    tmp.until_stat("b", "run");
    let pid = tmp.pid("b").unwrap();
    fs::remove_file(&link).unwrap();
    until("the end of b", || {
        (tmp.read("other/b/supervise/stat") == "down\n").then_some(())
    });
    assert!(rustix::process::test_kill_process(pid).is_err());
    assert_eq!(tmp.stat("a"), "run");
}

#[test]
fn the_services_directory_can_be_switched() {
    let tmp = TestDir::new();
    tmp.script("one/a/run", "exec sleep 1000");
    tmp.script("two/b/run", "exec sleep 1000");
    symlink("one", tmp.path("services")).unwrap();
    let mut all = tmp.start(&["runsvdir", "services"]);
    tmp.until_stat("a", "run");
    symlink("two", tmp.path("new")).unwrap();
    fs::rename(tmp.path("new"), tmp.path("services")).unwrap();
    tmp.until_stat("b", "run");
    until("the end of a", || {
        (tmp.read("one/a/supervise/stat") == "down\n").then_some(())
    });
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
}

#[test]
fn term_leaves_services_running_and_controllable() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let mut all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    all.kill(Signal::TERM);
    assert_eq!(all.wait(), 0);
    assert_eq!(tmp.pid("a"), Some(pid));
    let output = tmp.run(&["sv", "force-stop", "a"]);
    assert_eq!((output.code, tmp.stat("a").as_str()), (0, "down"));
    let output = tmp.run(&["sv", "-v", "exit", "a"]);
    assert_eq!(output.stdout, "ok: a: runsv not running\n");
}

#[test]
fn hup_stops_all_services() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let mut all = tmp.runsvdir();
    tmp.until_stat("a", "run");
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    until("the end of a", || (tmp.stat("a") == "down").then_some(()));
}

#[test]
fn broken_services_are_reported_once() {
    let tmp = TestDir::new();
    tmp.service("good", "exec sleep 1000");
    fs::create_dir_all(tmp.path("services/none")).unwrap();
    tmp.write("services/plain/run", "#!/bin/sh\n");
    symlink("nowhere", tmp.path("services/dangling")).unwrap();
    tmp.write("services/file", "");
    fs::create_dir_all(tmp.path(&format!("services/{}", "n".repeat(100))))
        .unwrap();
    let _all = tmp.runsvdir();
    tmp.until_stat("good", "run");
    // Restarted at least once: the reason is not repeated.
    let counted = |what: &str| tmp.read("errors").matches(what).count();
    until("both reasons", || {
        let none =
            counted("none: fatal: unable to start ./run: file does not exist");
        let plain =
            counted("plain: fatal: unable to start ./run: access denied");
        (none == 1 && plain == 1).then_some(())
    });
    until("the link and the name", || {
        let link = counted("unable to stat dangling: file does not exist");
        let name = counted("name too long (name-bytes = 64)");
        (link == 1 && name == 1).then_some(())
    });
    let text = tmp.read("errors");
    assert!(!text.contains("file:") && !text.contains("good"), "{text}");
}

#[test]
fn a_failed_exec_is_not_taken_for_exit_code_111() {
    let tmp = TestDir::new();
    tmp.service("a", "exit 111");
    let _all = tmp.runsvdir();
    let deaths = || {
        let why = fs::read_to_string(tmp.path("services/a/supervise/why"));
        why.unwrap_or_default().matches("exit 111").count()
    };
    until("its own exit code", || (deaths() >= 1).then_some(()));
    let run = tmp.path("services/a/run");
    fs::set_permissions(run, fs::Permissions::from_mode(0o600)).unwrap();
    // The first failure is reported, although the code is the same.
    let line = "a: fatal: unable to start ./run: access denied";
    let count = || tmp.read("errors").matches(line).count();
    until("the reason", || (count() == 1).then_some(()));
    let failures = deaths();
    until("a third failure", || {
        (deaths() >= failures + 2).then_some(())
    });
    assert_eq!(count(), 1);
}

#[test]
fn one_service_more_than_slots() {
    let tmp = TestDir::new();
    let slots = capacity(&tmp, "slots");
    for number in 0..=slots {
        tmp.service(&format!("s{number:02}"), "exec sleep 1000");
    }
    let _all = tmp.runsvdir();
    until("all services", || {
        let up = (0..=slots)
            .filter(|number| tmp.stat(&format!("s{number:02}")) == "run");
        (up.count() == slots).then_some(())
    });
    let text = until("the refusal", || {
        let text = tmp.read("errors");
        text.contains("too many").then_some(text)
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let output = format!("too many services (slots = {slots})");
    assert!(text.contains(&output), "{text}");
}

#[test]
fn children_start_in_a_clean_state() {
    let tmp = TestDir::new();
    let out = tmp.path("out");
    tmp.service(
        "a",
        &format!(
            "grep -E '^Sig(Blk|Ign)|^ShdPnd' /proc/self/status > {0}.new\n\
             ls /proc/self/fd | wc -l >> {0}.new\npwd >> {0}.new\n\
             echo $MARK >> {0}.new\nmv {0}.new {0}\nexec sleep 1000",
            out.display()
        ),
    );
    let mut command = tmp.command(&["runsvdir", "services"]);
    let mut child = command.env("MARK", "kept").spawn().unwrap();
    let text = until("what the child sees", || {
        Some(tmp.read("out")).filter(|text| !text.is_empty())
    });
    kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
    child.wait().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // ls has the directory open besides the three.
    let none = "0000000000000000";
    assert_eq!(lines[0], format!("ShdPnd:\t{none}"));
    assert_eq!(lines[1], format!("SigBlk:\t{none}"));
    assert_eq!(lines[2], format!("SigIgn:\t{none}"));
    assert_eq!(lines[3].trim(), "4");
    assert_eq!(lines[4], tmp.path("services/a").to_str().unwrap());
    assert_eq!(lines[5], "kept");
    until("the end", || (tmp.stat("a") == "down").then_some(()));
}

#[test]
fn a_supervisor_precedes_its_children() {
    fn nice(pid: Pid) -> String {
        let pid = pid.as_raw_nonzero();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        let stat = stat.unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(16).unwrap().to_owned()
    }
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    // A level that was chosen is that of all.
    for (start, expected) in [
        (&["runsv", "services/a"][..], ["-10", "0"]),
        (&["chpst", "-n", "3", "runsv", "services/a"], ["3", "3"]),
    ] {
        let mut one = tmp.start(start);
        tmp.until_stat("a", "run");
        let levels = [nice(one.pid()), nice(tmp.pid("a").unwrap())];
        if nice(rustix::process::getpid()) == "0" {
            assert_eq!(levels, expected);
        }
        one.kill(Signal::TERM);
        assert_eq!(one.wait(), 0);
    }
}

#[test]
fn runsv_supervises_one_service() {
    let tmp = TestDir::new();
    assert_eq!(tmp.run(&["runsv"]).code, 1);
    assert_eq!(tmp.run(&["runsv", "a", "b"]).code, 1);
    let output = tmp.run(&["runsv", "services/none"]);
    let text = "runsv services/none: fatal: unable to change to directory: \
                file does not exist\n";
    assert_eq!((output.code, output.stderr.as_str()), (111, text));
    tmp.service("a", "exec sleep 1000");
    let mut one = tmp.start(&["runsv", "services/a"]);
    tmp.until_stat("a", "run");
    let output = tmp.run(&["runsv", "services/a"]);
    let text = "runsv services/a: fatal: unable to lock supervise/lock: \
                temporary failure\n";
    assert_eq!((output.code, output.stderr.as_str()), (111, text));
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(tmp.stat("a"), "down");
}

#[test]
fn changes_in_the_parent_do_not_keep_a_stopping_runsv_busy() {
    let tmp = TestDir::new();
    tmp.service_ignoring("a", "TERM");
    let mut one = tmp.start(&["runsv", "services/a"]);
    tmp.until_ignoring();
    one.kill(Signal::TERM);
    tmp.until_stat("a", "run, got TERM, want exit");
    tmp.write("services/beside", "");
    let output = tmp.run(&["sv", "-w", "2", "stop", "a"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(cpu_time(one.pid()) < 50, "it spins");
    tmp.control("a", "k");
    assert_eq!(one.wait(), 0);
}
