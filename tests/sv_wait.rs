//! Tests that sv waits until its command has taken effect, and no longer: with
//! a simulated supervisor, and with ours.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/played.rs"]
mod played;
mod util;

use std::{
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use played::{Played, begin, down, end, masked, up};
use runt::wire::{
    clock::Wall,
    status::{State, Status, Want},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use util::{Place, Said, said, until};

#[test]
fn waiting_ends_when_the_command_has_taken_effect() {
    let place = Place::new();
    let a = Played::new(&place, "a");
    // Without a `run` it would be a log of the shared logger, whose process
    // stays.
    place.write("services/a/run", "");
    // The same second, another nanosecond.
    let since = Wall {
        nanos: 2,
        ..up().since
    };
    let other = Status {
        pid: 78,
        since,
        ..up()
    };
    let rows: &[(&str, &str, Status, &[Status], Status, &str)] = &[
        // command, bytes, before, not yet, then, line
        ("start", "u", down(), &[], up(), "run: a: (pid 77) Ns"),
        (
            "stop",
            "d",
            up(),
            &[
                Status {
                    term: true,
                    want: Want::Down,
                    ..up()
                },
                Status {
                    state: State::Finish,
                    pid: 0,
                    want: Want::Down,
                    ..up()
                },
            ],
            down(),
            "down: a: Ns, normally up",
        ),
        (
            "restart",
            "tcu",
            up(),
            &[
                Status { term: true, ..up() },
                Status { pid: 0, ..up() },
                // The clock was set: the old process has a new label.
                Status { since, ..up() },
            ],
            other,
            "run: a: (pid 78) Ns",
        ),
        (
            "try-restart",
            "tc",
            up(),
            &[Status {
                state: State::Finish,
                pid: 78,
                ..up()
            }],
            Status { pid: 79, ..other },
            "run: a: (pid 79) Ns",
        ),
        (
            "-v pause",
            "p",
            up(),
            &[Status { pid: 78, ..up() }],
            Status {
                paused: true,
                ..up()
            },
            "run: a: (pid 77) Ns, paused",
        ),
        (
            "check",
            "",
            Status { pid: 0, ..up() },
            &[],
            up(),
            "run: a: (pid 77) Ns",
        ),
    ];
    for (command, bytes, before, not_yet, then, line) in rows {
        a.publish(before);
        let words: Vec<&str> = command.split(' ').collect();
        let words = [&["sv", "-w", "60"], &words[..], &["a"]].concat();
        let mut child = begin(&place, &words);
        if !bytes.is_empty() {
            a.until_sent(bytes);
        }
        for status in *not_yet {
            a.publish(status);
        }
        assert_eq!(child.try_wait().unwrap(), None, "{command}");
        a.publish(then);
        let Said { out, code, .. } = end(child);
        assert_eq!((out, code), (format!("ok: {line}\n"), 0), "{command}");
    }
}

#[test]
fn waiting_works_where_changes_are_not_told() {
    let place = Place::new();
    let a = Played::new(&place, "a");
    let mut none = Command::new("unshare");
    none.args(["-Ur", "sh", "-c"]);
    let deaf = "echo 0 > /proc/sys/user/max_inotify_instances || exit 77; \
                exec \"$@\"";
    none.arg(deaf).arg("sh").arg(place.path("bin/sv"));
    none.args(["-w", "60", "start", "a"]);
    none.env("SVDIR", place.path("services"))
        .stdin(Stdio::null());
    let child = none.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no unshare");
        return;
    };
    let sent = until("a byte, or no user namespace", || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        (a.sent() == "u").then_some(true)
    });
    if !sent {
        eprintln!("skipped: no user namespace: {}", end(child).err);
        return;
    }
    a.publish(&up());
    let Said { out, code, .. } = end(child);
    assert_eq!((out.as_str(), code), ("ok: run: a: (pid 77) Ns\n", 0));
}

#[test]
fn a_supervisor_that_leaves_ends_the_wait_for_it() {
    let place = Place::new();
    let mut a = Played::new(&place, "a");
    let mut child = begin(&place, &["sv", "-w", "60", "shutdown", "a"]);
    a.until_sent("x");
    a.publish(&down());
    assert_eq!(child.try_wait().unwrap(), None);
    a.leave();
    let Said { out, code, .. } = end(child);
    assert_eq!((out.as_str(), code), ("ok: a: runsv not running\n", 0));
    // A supervisor that ends during any other wait is a failure.
    a.appear();
    let child = begin(&place, &["sv", "-w", "60", "start", "a"]);
    a.until_sent("u");
    a.leave();
    let Said { out, code, .. } = end(child);
    assert_eq!((out.as_str(), code), ("fail: a: runsv not running\n", 1));
}

#[test]
fn what_takes_too_long_is_told_or_killed() {
    let place = Place::new();
    let a = Played::new(&place, "a");
    let b = Played::new(&place, "b");
    a.publish(&up());
    b.publish(&up());
    let mut command = place.command(&["sv", "stop", "a", "b"]);
    let Said { out, code, .. } = said(command.env("SVWAIT", "0"));
    assert_eq!(
        masked(&out),
        "timeout: run: a: (pid 77) Ns\ntimeout: run: b: (pid 77) Ns\n"
    );
    assert_eq!((code, a.sent(), b.sent()), (2, "d".into(), "d".into()));
    let said = place.run(&["sv", "-w", "none", "force-stop", "a"]);
    assert_eq!(masked(&said.out), "kill: run: a: (pid 77) Ns\n");
    assert_eq!((said.code, a.sent()), (1, "dk".into()));
}

#[test]
fn check_decides_whether_a_service_is_up() {
    let place = Place::new();
    let a = Played::new(&place, "a");
    a.publish(&up());
    let check = |text: &str| place.script("services/a/check", text);
    let row = |line: &str, err: &str, code: i32| {
        let said = place.run(&["sv", "-w1", "check", "a"]);
        let out = format!("{line}: run: a: (pid 77) Ns\n");
        assert_eq!(masked(&said.out), out);
        assert_eq!((said.err.as_str(), said.code), (err, code));
    };
    // Descriptor 1 is closed; name and directory are as in runit.
    check(
        "test ! -e /proc/$$/fd/1 && test \"$0\" = check && test -d supervise",
    );
    row("ok", "", 0);
    check("kill -9 $$");
    row("ok", "", 0);
    check("exit 1");
    row("timeout", "", 1);
    check("test -e again || { : > again; exit 1; }");
    row("ok", "", 0);
    place.write("services/a/check", "");
    fs::remove_file(place.path("services/a/check")).unwrap();
    symlink("/dev/null", place.path("services/a/check")).unwrap();
    row("ok", "warning: unable to run a/check: access denied\n", 0);
}

#[test]
fn a_check_that_hangs_holds_no_other_service_up() {
    let place = Place::new();
    let a = Played::new(&place, "a");
    let b = Played::new(&place, "b");
    a.publish(&up());
    mknodat(
        CWD,
        place.path("services/a/go"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    place.script("services/a/check", ": > begun; read line < go");
    let mut child = begin(&place, &["sv", "-w", "1", "start", "a", "b"]);
    b.until_sent("u");
    until("the check", || {
        place.path("services/a/begun").exists().then_some(())
    });
    b.publish(&up());
    let mut out = child.stdout.take().unwrap();
    let mut line = [0; 23];
    out.read_exact(&mut line).unwrap();
    assert!(line.starts_with(b"ok: run: b: (pid 77) "));
    // The check has no limit of its own (contract §4.7).
    fs::write(place.path("services/a/go"), "line\n").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\nok: run: a: (pid 77) "), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn start_waits_for_a_supervisor_to_come() {
    let place = Place::new();
    // At first only the directory exists; then its supervisor appears.
    fs::create_dir_all(place.path("services/a")).unwrap();
    let mut child = begin(&place, &["sv", "-w", "60", "start", "a"]);
    assert_eq!(child.try_wait().unwrap(), None);
    let a = Played::new(&place, "a");
    a.until_sent("u");
    a.publish(&up());
    let Said { out, code, .. } = end(child);
    assert_eq!((out.as_str(), code), ("ok: run: a: (pid 77) Ns\n", 0));
    // The supervisor is gone, and none follows.
    drop(a);
    let said = place.run(&["sv", "-w0", "start", "a"]);
    let line = "fail: a: runsv not running\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
    fs::remove_dir_all(place.path("services/a/supervise")).unwrap();
    let said = place.run(&["sv", "-w0", "restart", "a"]);
    let sends = "warning: a: unable to open supervise/control: \
                 file does not exist\n";
    assert_eq!((said.out.as_str(), said.code), (sends, 1));
    // A command that does not wait fails at once, and so do `stop` and
    // `check`.
    let asks = sends.replace("/control", "/ok");
    let rows: [(&[&str], &str); 3] = [
        (&["up"], sends),
        (&["-w60", "stop"], sends),
        (&["-w60", "check"], &asks),
    ];
    for (command, line) in rows {
        let said = place.run(&[&["sv"], command, &["a"]].concat());
        assert_eq!((said.out.as_str(), said.code), (line, 1));
    }
}

#[test]
fn a_run_that_ends_at_once_is_not_started() {
    let place = Place::new();
    place.write("services/a/down", "");
    let _all = place.runsvdir();
    place.until_supervised("a");
    let rows = [
        ("#!/nowhere", "1", "timeout: ", 1),
        ("#!/bin/sh\nexit 1", "1", "timeout: ", 1),
        ("#!/bin/sh\nexec sleep 1000", "60", "ok: run: a: (pid ", 0),
    ];
    for (text, wait, line, code) in rows {
        // By rename: a script that is open for writing is `text busy`.
        place.script("services/a/run.new", "");
        let new = place.path("services/a/run.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, place.path("services/a/run")).unwrap();
        let said = place.run(&["sv", "-w", "60", "stop", "a"]);
        assert_eq!((&*masked(&said.out), said.code), ("ok: down: a: Ns\n", 0));
        // The command is sent in each round, although an earlier round sent
        // it.
        let said = place.run(&["sv", "-w", wait, "start", "a"]);
        assert!(said.out.starts_with(line), "{said:?}");
        assert_eq!(said.code, code);
    }
}

#[test]
fn start_right_after_linking() {
    let place = Place::new();
    place.script("other/b/run", "exec sleep 1000");
    place.write("other/b/down", "");
    let _all = place.runsvdir();
    for _ in 0..10 {
        symlink("../other/b", place.path("services/b")).unwrap();
        let said = place.run(&["sv", "-w", "30", "start", "b"]);
        assert!(said.out.starts_with("ok: run: b: "), "{said:?}");
        fs::remove_file(place.path("services/b")).unwrap();
        until("the end of b", || {
            let said = place.run(&["sv", "status", "./other/b"]);
            (said.out == "fail: ./other/b: runsv not running\n").then_some(())
        });
    }
}
