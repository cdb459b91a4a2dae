//! Tests that sv waits until its command has taken effect, and no longer: with
//! a simulated supervisor, and with ours.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use runt::wire::{
    clock::Wall,
    status::{State, Status, Want},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::util::{
    Output, TestDir,
    fake_supervisor::{FakeSupervisor, begin, down, end, masked, up},
    output_of, until,
};

#[test]
fn waiting_ends_when_the_command_has_taken_effect() {
    let tmp = TestDir::new();
    let a = FakeSupervisor::new(&tmp, "a");
    // Without a `run` it would be a log of the shared logger, whose process
    // stays.
    tmp.write("services/a/run", "");
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
        let mut child = begin(&tmp, &words);
        if !bytes.is_empty() {
            a.until_received(bytes);
        }
        for status in *not_yet {
            a.publish(status);
        }
        assert_eq!(child.try_wait().unwrap(), None, "{command}");
        a.publish(then);
        let Output {
            stdout: out, code, ..
        } = end(child);
        assert_eq!((out, code), (format!("ok: {line}\n"), 0), "{command}");
    }
}

#[test]
fn waiting_works_without_inotify() {
    let tmp = TestDir::new();
    let a = FakeSupervisor::new(&tmp, "a");
    let mut none = Command::new("unshare");
    none.args(["-Ur", "sh", "-c"]);
    let without = "echo 0 > /proc/sys/user/max_inotify_instances || exit 77; \
                exec \"$@\"";
    none.arg(without).arg("sh").arg(tmp.path("bin/sv"));
    none.args(["-w", "60", "start", "a"]);
    none.env("SVDIR", tmp.path("services")).stdin(Stdio::null());
    let child = none.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: no unshare");
        return;
    };
    let sent = until("a byte, or no user namespace", || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        (a.received() == "u").then_some(true)
    });
    if !sent {
        eprintln!("skipped: no user namespace: {}", end(child).stderr);
        return;
    }
    a.publish(&up());
    let Output {
        stdout: out, code, ..
    } = end(child);
    assert_eq!((out.as_str(), code), ("ok: run: a: (pid 77) Ns\n", 0));
}

#[test]
fn the_end_of_a_supervisor_ends_the_wait() {
    let tmp = TestDir::new();
    let mut a = FakeSupervisor::new(&tmp, "a");
    let mut child = begin(&tmp, &["sv", "-w", "60", "shutdown", "a"]);
    a.until_received("x");
    a.publish(&down());
    assert_eq!(child.try_wait().unwrap(), None);
    a.close_fifos();
    let Output {
        stdout: out, code, ..
    } = end(child);
    assert_eq!((out.as_str(), code), ("ok: a: runsv not running\n", 0));
    // A supervisor that ends during any other wait is a failure.
    a.open_fifos();
    let child = begin(&tmp, &["sv", "-w", "60", "start", "a"]);
    a.until_received("u");
    a.close_fifos();
    let Output {
        stdout: out, code, ..
    } = end(child);
    assert_eq!((out.as_str(), code), ("fail: a: runsv not running\n", 1));
}

#[test]
fn timeouts_are_reported_or_killed() {
    let tmp = TestDir::new();
    let a = FakeSupervisor::new(&tmp, "a");
    let b = FakeSupervisor::new(&tmp, "b");
    a.publish(&up());
    b.publish(&up());
    let mut command = tmp.command(&["sv", "stop", "a", "b"]);
    let Output {
        stdout: out, code, ..
    } = output_of(command.env("SVWAIT", "0"));
    assert_eq!(
        masked(&out),
        "timeout: run: a: (pid 77) Ns\ntimeout: run: b: (pid 77) Ns\n"
    );
    assert_eq!(
        (code, a.received(), b.received()),
        (2, "d".into(), "d".into())
    );
    let output = tmp.run(&["sv", "-w", "none", "force-stop", "a"]);
    assert_eq!(masked(&output.stdout), "kill: run: a: (pid 77) Ns\n");
    assert_eq!((output.code, a.received()), (1, "dk".into()));
}

#[test]
fn check_decides_whether_a_service_is_up() {
    let tmp = TestDir::new();
    let a = FakeSupervisor::new(&tmp, "a");
    a.publish(&up());
    let check = |text: &str| tmp.script("services/a/check", text);
    let row = |line: &str, err: &str, code: i32| {
        let output = tmp.run(&["sv", "-w1", "check", "a"]);
        let out = format!("{line}: run: a: (pid 77) Ns\n");
        assert_eq!(masked(&output.stdout), out);
        assert_eq!((output.stderr.as_str(), output.code), (err, code));
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
    tmp.write("services/a/check", "");
    fs::remove_file(tmp.path("services/a/check")).unwrap();
    symlink("/dev/null", tmp.path("services/a/check")).unwrap();
    row("ok", "warning: unable to run a/check: access denied\n", 0);
}

#[test]
fn a_hanging_check_does_not_delay_other_services() {
    let tmp = TestDir::new();
    let a = FakeSupervisor::new(&tmp, "a");
    let b = FakeSupervisor::new(&tmp, "b");
    a.publish(&up());
    mknodat(
        CWD,
        tmp.path("services/a/go"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    tmp.script("services/a/check", ": > begun; read line < go");
    let mut child = begin(&tmp, &["sv", "-w", "1", "start", "a", "b"]);
    b.until_received("u");
    until("the check", || {
        tmp.path("services/a/begun").exists().then_some(())
    });
    b.publish(&up());
    let mut out = child.stdout.take().unwrap();
    let mut line = [0; 23];
    out.read_exact(&mut line).unwrap();
    assert!(line.starts_with(b"ok: run: b: (pid 77) "));
    // The check has no limit of its own (contract §4.7).
    fs::write(tmp.path("services/a/go"), "line\n").unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\nok: run: a: (pid 77) "), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn start_waits_for_a_supervisor() {
    let tmp = TestDir::new();
    // At first only the directory exists; then its supervisor appears.
    fs::create_dir_all(tmp.path("services/a")).unwrap();
    let mut child = begin(&tmp, &["sv", "-w", "60", "start", "a"]);
    assert_eq!(child.try_wait().unwrap(), None);
    let mut a = FakeSupervisor::new(&tmp, "a");
    a.until_received("u");
    a.publish(&up());
    let Output {
        stdout: out, code, ..
    } = end(child);
    assert_eq!((out.as_str(), code), ("ok: run: a: (pid 77) Ns\n", 0));
    // The supervisor is gone, and none follows.
    a.close_fifos();
    let output = tmp.run(&["sv", "-w0", "start", "a"]);
    let line = "fail: a: runsv not running\n";
    assert_eq!((output.stdout.as_str(), output.code), (line, 1));
    fs::remove_dir_all(tmp.path("services/a/supervise")).unwrap();
    let output = tmp.run(&["sv", "-w0", "restart", "a"]);
    let sends = "warning: a: unable to open supervise/control: \
                 file does not exist\n";
    assert_eq!((output.stdout.as_str(), output.code), (sends, 1));
    // A command that does not wait fails at once, and so do `stop` and
    // `check`.
    let asks = sends.replace("/control", "/ok");
    let rows: [(&[&str], &str); 3] = [
        (&["up"], sends),
        (&["-w60", "stop"], sends),
        (&["-w60", "check"], &asks),
    ];
    for (command, line) in rows {
        let output = tmp.run(&[&["sv"], command, &["a"]].concat());
        assert_eq!((output.stdout.as_str(), output.code), (line, 1));
    }
}

#[test]
fn a_run_that_exits_at_once_is_not_started() {
    let tmp = TestDir::new();
    tmp.write("services/a/down", "");
    let _all = tmp.runsvdir();
    tmp.until_supervised("a");
    let rows = [
        ("#!/nowhere", "1", "timeout: ", 1),
        ("#!/bin/sh\nexit 1", "1", "timeout: ", 1),
        ("#!/bin/sh\nexec sleep 1000", "60", "ok: run: a: (pid ", 0),
    ];
    for (text, wait, line, code) in rows {
        // By rename: a script that is open for writing is `text busy`.
        tmp.script("services/a/run.new", "");
        let new = tmp.path("services/a/run.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, tmp.path("services/a/run")).unwrap();
        let output = tmp.run(&["sv", "-w", "60", "stop", "a"]);
        assert_eq!(
            (&*masked(&output.stdout), output.code),
            ("ok: down: a: Ns\n", 0)
        );
        // The command is sent in each round, although an earlier round sent
        // it.
        let output = tmp.run(&["sv", "-w", wait, "start", "a"]);
        assert!(output.stdout.starts_with(line), "{output:?}");
        assert_eq!(output.code, code);
    }
}

#[test]
fn start_right_after_linking() {
    let tmp = TestDir::new();
    tmp.script("other/b/run", "exec sleep 1000");
    tmp.write("other/b/down", "");
    let _all = tmp.runsvdir();
    for _ in 0..10 {
        symlink("../other/b", tmp.path("services/b")).unwrap();
        let output = tmp.run(&["sv", "-w", "30", "start", "b"]);
        assert!(output.stdout.starts_with("ok: run: b: "), "{output:?}");
        fs::remove_file(tmp.path("services/b")).unwrap();
        until("the end of b", || {
            let output = tmp.run(&["sv", "status", "./other/b"]);
            (output.stdout == "fail: ./other/b: runsv not running\n")
                .then_some(())
        });
    }
}
