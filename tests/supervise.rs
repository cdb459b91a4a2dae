//! Tests that runsvdir and runsv behave as runit's on this machine: start,
//! restart, finish, log, control, scan, exit.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/shell.rs"]
mod shell;
mod util;

use std::{fs, os::unix::fs::symlink};

use rustix::process::{Signal, kill_process};
use shell::bound;
use util::{Place, spent, until};

#[test]
fn a_killed_service_comes_back() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let _all = place.runsvdir();
    // They are written one after the other, and again if the start fails.
    let (old, record) = until("three files that agree", || {
        let pid = place.pid("a").filter(|_| place.stat("a") == "run")?;
        let record = fs::read(place.path("services/a/supervise/status"));
        let record = record.ok()?;
        let agrees = record.get(12..16)? == pid.as_raw_pid().to_le_bytes();
        agrees.then_some((pid, record))
    });
    assert_eq!(record.len(), 20);
    assert_eq!(record[16..], [0, b'u', 0, 1]);
    kill_process(old, Signal::KILL).unwrap();
    place.until_pid("a", Some(old));
    place.until_stat("a", "run");
}

#[test]
fn finish_learns_how_run_ended() {
    let place = Place::new();
    let ended = place.path("ended");
    let count = place.path("count");
    place.service(
        "a",
        &format!(
            "echo >> {0}; test $(wc -l < {0}) = 1 && exit 3; exec sleep 1000",
            count.display()
        ),
    );
    let finish = format!("echo \"$@\" >> {}", ended.display());
    place.script("services/a/finish", &finish);
    let _all = place.runsvdir();
    until("the first end", || {
        (place.read("ended") == "3 0\n").then_some(())
    });
    let pid = until("sleep", || {
        let pid = place.pid("a")?;
        let comm =
            fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_pid()));
        comm.is_ok_and(|comm| comm == "sleep\n").then_some(pid)
    });
    kill_process(pid, Signal::KILL).unwrap();
    until("the second end", || {
        (place.read("ended") == "3 0\n-1 9\n").then_some(())
    });
}

#[test]
fn control_bytes_do_what_they_say() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.write("services/a/down", "");
    let _all = place.runsvdir();
    place.until_stat("a", "down");
    place.control("a", "u");
    place.until_stat("a", "run");
    place.control("a", "p");
    place.until_stat("a", "run, paused");
    place.control("a", "c");
    place.until_stat("a", "run");
    place.control("a", "zd\n");
    place.until_stat("a", "down");
    place.control("a", "o");
    place.until_stat("a", "run, want down");
    let pid = place.pid("a").unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    place.until_stat("a", "down");
    place.control("a", "u");
    let pid = place.until_pid("a", None);
    place.control("a", "t");
    place.until_pid("a", Some(pid));
    place.control("a", "x");
    until("the end of its supervision", || {
        let said = place.run(&["sv", "status", "a"]);
        (said.out == "fail: a: runsv not running\n").then_some(())
    });
}

#[test]
fn a_down_signal_stops_who_ignores_term() {
    let place = Place::new();
    place.deaf_service("a", "TERM");
    place.write("services/a/down-signal", "QUIT\n");
    let _all = place.runsvdir();
    place.until_deaf();
    place.until_stat("a", "run");
    let said = place.run(&["sv", "-w", "20", "stop", "a"]);
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn no_line_is_lost_between_service_and_logger() {
    let place = Place::new();
    let log = place.path("log");
    fs::create_dir(&log).unwrap();
    let next = place.path("next");
    // Each run of the script continues where the last one ended. TERM is
    // tested between two lines: the shell runs a trap between any two
    // commands.
    place.service(
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
    place.script("services/a/log/run", &svlogd);
    let _all = place.runsvdir();
    let lines = || place.read("log/current").lines().count();
    for round in 1..=8 {
        until("more lines", || {
            (lines() >= (round * 20).min(3000)).then_some(())
        });
        let old = place.until_pid("a", None);
        place.control("a", "t");
        place.until_pid("a", Some(old));
        let log = "a/log";
        let old = place.until_pid(log, None);
        place.control(log, "t");
        place.until_pid(log, Some(old));
    }
    until("all lines", || (lines() >= 3000).then_some(()));
    let expected: String = (1..=3000).map(|i| format!("line {i}\n")).collect();
    assert!(place.read("log/current") == expected, "lines differ");
}

#[test]
fn services_come_and_go_with_their_links() {
    let place = Place::new();
    place.script("other/b/run", "exec sleep 1000");
    place.service("a", "exec sleep 1000");
    let _all = place.runsvdir();
    place.until_stat("a", "run");
    let link = place.path("services/b");
    symlink("../other/b", &link).unwrap();
    place.until_stat("b", "run");
    let pid = place.pid("b").unwrap();
    fs::remove_file(&link).unwrap();
    until("the end of b", || {
        (place.read("other/b/supervise/stat") == "down\n").then_some(())
    });
    assert!(rustix::process::test_kill_process(pid).is_err());
    assert_eq!(place.stat("a"), "run");
}

#[test]
fn the_services_directory_itself_may_be_switched() {
    let place = Place::new();
    place.script("one/a/run", "exec sleep 1000");
    place.script("two/b/run", "exec sleep 1000");
    symlink("one", place.path("services")).unwrap();
    let mut all = place.start(&["runsvdir", "services"]);
    place.until_stat("a", "run");
    symlink("two", place.path("new")).unwrap();
    fs::rename(place.path("new"), place.path("services")).unwrap();
    place.until_stat("b", "run");
    until("the end of a", || {
        (place.read("one/a/supervise/stat") == "down\n").then_some(())
    });
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
}

#[test]
fn term_leaves_services_that_stay_controllable() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let mut all = place.runsvdir();
    let pid = place.until_pid("a", None);
    all.kill(Signal::TERM);
    assert_eq!(all.wait(), 0);
    assert_eq!(place.pid("a"), Some(pid));
    let said = place.run(&["sv", "force-stop", "a"]);
    assert_eq!((said.code, place.stat("a").as_str()), (0, "down"));
    let said = place.run(&["sv", "-v", "exit", "a"]);
    assert_eq!(said.out, "ok: a: runsv not running\n");
}

#[test]
fn hup_stops_all() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let mut all = place.runsvdir();
    place.until_stat("a", "run");
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    until("the end of a", || (place.stat("a") == "down").then_some(()));
}

#[test]
fn what_cannot_run_costs_one_line_each_and_nothing_else() {
    let place = Place::new();
    place.service("good", "exec sleep 1000");
    fs::create_dir_all(place.path("services/none")).unwrap();
    place.write("services/plain/run", "#!/bin/sh\n");
    symlink("nowhere", place.path("services/dangling")).unwrap();
    place.write("services/file", "");
    fs::create_dir_all(place.path(&format!("services/{}", "n".repeat(100))))
        .unwrap();
    let _all = place.runsvdir();
    place.until_stat("good", "run");
    // Restarted at least once: the reason is not repeated.
    let counted = |what: &str| place.read("errors").matches(what).count();
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
    let text = place.read("errors");
    assert!(!text.contains("file:") && !text.contains("good"), "{text}");
}

#[test]
fn one_service_more_than_slots() {
    let place = Place::new();
    let slots = bound(&place, "slots");
    for number in 0..=slots {
        place.service(&format!("s{number:02}"), "exec sleep 1000");
    }
    let _all = place.runsvdir();
    until("all services", || {
        let up = (0..=slots)
            .filter(|number| place.stat(&format!("s{number:02}")) == "run");
        (up.count() == slots).then_some(())
    });
    let text = until("the refusal", || {
        let text = place.read("errors");
        text.contains("too many").then_some(text)
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    let said = format!("too many services (slots = {slots})");
    assert!(text.contains(&said), "{text}");
}

#[test]
fn children_start_clean() {
    let place = Place::new();
    let out = place.path("out");
    place.service(
        "a",
        &format!(
            "grep -E '^Sig(Blk|Ign)|^ShdPnd' /proc/self/status > {0}.new\n\
             ls /proc/self/fd | wc -l >> {0}.new\npwd >> {0}.new\n\
             echo $MARK >> {0}.new\nmv {0}.new {0}\nexec sleep 1000",
            out.display()
        ),
    );
    let mut command = place.command(&["runsvdir", "services"]);
    let mut child = command.env("MARK", "kept").spawn().unwrap();
    let text = until("what the child sees", || {
        Some(place.read("out")).filter(|text| !text.is_empty())
    });
    kill_process(rustix::process::Pid::from_child(&child), Signal::HUP)
        .unwrap();
    child.wait().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    // ls has the directory open besides the three.
    let none = "0000000000000000";
    assert_eq!(lines[0], format!("ShdPnd:\t{none}"));
    assert_eq!(lines[1], format!("SigBlk:\t{none}"));
    assert_eq!(lines[2], format!("SigIgn:\t{none}"));
    assert_eq!(lines[3].trim(), "4");
    assert_eq!(lines[4], place.path("services/a").to_str().unwrap());
    assert_eq!(lines[5], "kept");
    until("the end", || (place.stat("a") == "down").then_some(()));
}

#[test]
fn runsv_is_one_slot() {
    let place = Place::new();
    assert_eq!(place.run(&["runsv"]).code, 1);
    assert_eq!(place.run(&["runsv", "a", "b"]).code, 1);
    let said = place.run(&["runsv", "services/none"]);
    let text = "runsv services/none: fatal: unable to change to directory: \
                file does not exist\n";
    assert_eq!((said.code, said.err.as_str()), (111, text));
    place.service("a", "exec sleep 1000");
    let mut one = place.start(&["runsv", "services/a"]);
    place.until_stat("a", "run");
    let said = place.run(&["runsv", "services/a"]);
    let text = "runsv services/a: fatal: unable to lock supervise/lock: \
                temporary failure\n";
    assert_eq!((said.code, said.err.as_str()), (111, text));
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(place.stat("a"), "down");
}

#[test]
fn changes_beside_a_directory_do_not_keep_a_stopping_runsv_busy() {
    let place = Place::new();
    place.deaf_service("a", "TERM");
    let mut one = place.start(&["runsv", "services/a"]);
    place.until_deaf();
    one.kill(Signal::TERM);
    place.until_stat("a", "run, got TERM, want exit");
    place.write("services/beside", "");
    let said = place.run(&["sv", "-w", "2", "stop", "a"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(spent(one.pid()) < 50, "it spins");
    place.control("a", "k");
    assert_eq!(one.wait(), 0);
}
