//! Tests that sv reads its command line, sends its bytes and reports the state
//! as the contract has it (§4.1 to §4.5, §4.8).

use std::{fs, os::unix::process::CommandExt as _};

use runt::wire::{
    clock::Wall,
    status::{State, Status, Want},
};

use crate::util::{
    Output, TestDir,
    fake_supervisor::{FakeSupervisor, begin, down, end, masked, up},
    output_of,
    shell::capacity,
    until,
};

/// Runs the program under another name, as a link in /etc/init.d does.
fn run_as(tmp: &TestDir, name: &str, words: &[&str]) -> Output {
    let mut command = tmp.command(&[&["sv"], words].concat());
    let Output {
        stdout,
        stderr,
        code,
    } = output_of(command.arg0(name));
    let stdout = masked(&stdout);
    Output {
        stdout,
        stderr,
        code,
    }
}

#[test]
fn wrong_command_lines() {
    let tmp = TestDir::new();
    let usage = "usage: sv [-v] [-w sec] command service ...\n\n";
    let lsb = "usage: a [-w sec] command\n\n";
    let rows: &[(&str, &[&str], &str, &str, i32)] = &[
        ("sv", &["up"], "", usage, 100),
        ("sv", &["rest", "a"], "", usage, 100),
        ("sv", &["force", "a"], "", usage, 100),
        ("sv", &["-z"], "sv: illegal option -- z\n", usage, 100),
        (
            "/usr/bin/sv",
            &["-v", "-w"],
            "sv: option requires an argument -- w\n",
            usage,
            100,
        ),
        ("sv", &["-V", "up", "a"], "runt ", usage, 100),
        ("/etc/init.d/a", &[], "", lsb, 2),
        ("a", &["sta"], "", lsb, 2),
        ("a", &["bad"], "", lsb, 2),
        ("a", &["-q"], "a: illegal option -- q\n", lsb, 2),
    ];
    for (name, words, first, last, code) in rows {
        let output = run_as(&tmp, name, words);
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (*code, ""),
            "{words:?}"
        );
        let rest = output.stderr.strip_suffix(last).unwrap();
        if words.contains(&"-V") {
            assert!(rest.starts_with(first), "{rest}");
        } else {
            assert_eq!(rest, *first, "{words:?}");
        }
    }
}

#[test]
fn every_command_sends_its_control_bytes() {
    let tmp = TestDir::new();
    let supervisor = FakeSupervisor::new(&tmp, "a");
    let rows: &[(&str, &str)] = &[
        ("up", "u"),
        ("down", "d"),
        ("once", "o"),
        ("pause", "p"),
        ("cont", "c"),
        ("hup", "h"),
        ("alarm", "a"),
        ("interrupt", "i"),
        ("quit", "q"),
        ("1", "1"),
        ("2", "2"),
        ("term", "t"),
        ("kill", "k"),
        ("exit", "x"),
        ("xit", "x"),
        ("check", ""),
        ("status", ""),
        ("-w0 start", "u"),
        ("-w0 stop", "d"),
        ("-w0 shutdown", "x"),
        ("-w0 restart", "tcu"),
        ("-w0 reload", "h"),
        ("-w0 try-restart", "tc"),
        ("-w0 force-stop", "d"),
        ("-w0 force-shutdown", "xk"),
        ("-w0 Exit", "xk"),
        ("-w0 force-reload", "tc"),
        ("-w0 force-restart", "tcuk"),
        ("-w0 D", "d"),
        ("-w0 T", "tc"),
    ];
    for (command, sent) in rows {
        let words: Vec<&str> = command.split(' ').collect();
        tmp.run(&[&["sv"], &words[..], &["a"]].concat());
        assert_eq!(supervisor.received(), *sent, "{command}");
    }
    // They are sent regardless of the record.
    for want in [Want::Up, Want::Down] {
        for term in [false, true] {
            supervisor.publish(&Status { want, term, ..up() });
            for (command, sent) in [("up", "u"), ("down", "d")] {
                tmp.run(&["sv", command, "a"]);
                assert_eq!(supervisor.received(), sent, "{want:?} {term}");
            }
        }
    }
}

#[test]
fn an_unreadable_status_does_not_prevent_control() {
    let tmp = TestDir::new();
    let supervisor = FakeSupervisor::new(&tmp, "a");
    let damages: [(&str, &dyn Fn()); 4] = [
        ("read supervise/status: bad format", &|| {
            supervisor.write_status(b"");
        }),
        ("read supervise/status: bad format", &|| {
            supervisor.write_status(&[0xff; 21]);
        }),
        ("open supervise/status: file does not exist", &|| {
            let path = tmp.path("services/a/supervise/status");
            fs::remove_file(path).unwrap();
        }),
        ("read supervise/status: is a directory", &|| {
            let path = tmp.path("services/a/supervise/status");
            fs::create_dir(path).unwrap();
        }),
    ];
    for (what, damage) in damages {
        damage();
        for (command, sent) in [("up", "u"), ("down", "d"), ("hup", "h")] {
            let output = tmp.run(&["sv", command, "a"]);
            assert_eq!(
                (output.stdout.as_str(), output.code),
                ("", 0),
                "{what}"
            );
            assert_eq!(supervisor.received(), sent, "{what}");
        }
        // A command that waits reports at the end that the state is unknown; a
        // `force-` command then sends its kill as well.
        let line = format!("warning: a: unable to {what}\n");
        for (command, sent) in [
            ("restart", "tcu"),
            ("stop", "d"),
            ("force-stop", "dk"),
            ("check", ""),
        ] {
            let output = tmp.run(&["sv", "-w0", command, "a"]);
            assert_eq!(
                (output.stdout, output.code),
                (line.clone(), 1),
                "{command}"
            );
            assert_eq!(supervisor.received(), sent, "{what}");
        }
        let output = tmp.run(&["sv", "status", "a"]);
        assert_eq!((output.stdout, output.code), (line, 1));
    }
}

#[test]
fn a_missing_status_is_waited_for() {
    let tmp = TestDir::new();
    let supervisor = FakeSupervisor::new(&tmp, "a");
    fs::remove_file(tmp.path("services/a/supervise/status")).unwrap();
    let child = begin(&tmp, &["sv", "-w", "60", "start", "a"]);
    supervisor.until_received("u");
    supervisor.publish(&up());
    let Output {
        stdout: out, code, ..
    } = end(child);
    assert_eq!((out.as_str(), code), ("ok: run: a: (pid 77) Ns\n", 0));
}

#[test]
fn up_right_after_down_is_not_lost() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let mut one = tmp.start(&["runsv", "services/a"]);
    tmp.until_pid("a", None);
    let status = tmp.path("services/a/supervise/status");
    for _ in 0..20 {
        assert_eq!(tmp.run(&["sv", "down", "a"]).code, 0);
        assert_eq!(tmp.run(&["sv", "up", "a"]).code, 0);
        until("a wanted up", || {
            (fs::read(&status).ok()?[17] == b'u').then_some(())
        });
        tmp.until_stat("a", "run");
    }
    tmp.control("a", "x");
    assert_eq!(one.wait(), 0);
}

#[test]
fn status_lines() {
    let tmp = TestDir::new();
    let supervisor = FakeSupervisor::new(&tmp, "a");
    let (paused, term) = (true, true);
    let finish = State::Finish;
    let rows = [
        (down(), "down: a: Ns, normally up\n"),
        (
            Status {
                want: Want::Up,
                ..down()
            },
            "down: a: Ns, normally up, want up\n",
        ),
        (up(), "run: a: (pid 77) Ns\n"),
        (Status { paused, ..up() }, "run: a: (pid 77) Ns, paused\n"),
        (Status { paused, ..down() }, "down: a: Ns, normally up\n"),
        (
            Status {
                want: Want::Down,
                term,
                paused,
                ..up()
            },
            "run: a: (pid 77) Ns, paused, want down, got TERM\n",
        ),
        (
            Status {
                state: finish,
                ..up()
            },
            "finish: a: (pid 77) Ns\n",
        ),
        (
            Status {
                state: finish,
                pid: 0,
                ..up()
            },
            "finish: a: (pid 0) Ns, normally up, want up\n",
        ),
    ];
    for (status, line) in &rows {
        supervisor.publish(status);
        let output = tmp.run(&["sv", "status", "a"]);
        assert_eq!((masked(&output.stdout).as_str(), output.code), (*line, 0));
    }
    tmp.write("services/a/down", "");
    supervisor.publish(&up());
    let output = tmp.run(&["sv", "s", "a"]);
    assert_eq!(
        masked(&output.stdout),
        "run: a: (pid 77) Ns, normally down\n"
    );
    // A time in the future.
    let secs = 1 << 40;
    let since = Wall { secs, nanos: 0 };
    supervisor.publish(&Status { since, ..down() });
    let output = tmp.run(&["sv", "s", "a"]);
    assert_eq!(output.stdout, "down: a: 0s\n");

    let log = FakeSupervisor::new(&tmp, "a/log");
    let output = tmp.run(&["sv", "s", "a", "a/log"]);
    assert_eq!(
        masked(&output.stdout),
        "down: a: 0s; down: log: Ns, normally up\n\
         down: a/log: Ns, normally up\n"
            .replace("0s", "Ns")
    );
    drop(log);
    let output = tmp.run(&["sv", "s", "a"]);
    let gone = "down: a: Ns; fail: a/log: runsv not running\n";
    assert_eq!((masked(&output.stdout).as_str(), output.code), (gone, 1));
    fs::remove_file(tmp.path("services/a/log/supervise/ok")).unwrap();
    let output = tmp.run(&["sv", "s", "a"]);
    let gone = "down: a: Ns; warning: a/log: no logger yet: log/ was added \
                later, restart a\n";
    assert_eq!((masked(&output.stdout).as_str(), output.code), (gone, 1));
    fs::remove_dir_all(tmp.path("services/a/log")).unwrap();
    tmp.write("services/a/log", "");
    let output = tmp.run(&["sv", "s", "a"]);
    let odd = "down: a: Ns; warning: a/log: unable to change directory: \
               not a directory\n";
    assert_eq!((masked(&output.stdout).as_str(), output.code), (odd, 1));
}

#[test]
fn unreachable_services_are_reported_in_order() {
    let tmp = TestDir::new();
    let mut a = FakeSupervisor::new(&tmp, "a");
    let _b = FakeSupervisor::new(&tmp, "b");
    a.write_status(&[0; 19]);
    fs::create_dir(tmp.path("services/new")).unwrap();
    let output = tmp.run(&["sv", "status", "none", "a", "", "b", "a/", "new"]);
    assert_eq!(
        masked(&output.stdout),
        "fail: none: unable to change to service directory: \
         file does not exist\n\
         warning: a: unable to read supervise/status: bad format\n\
         fail: : unable to change to service directory: file does not exist\n\
         down: b: Ns, normally up\n\
         fail: a/: unable to change to service directory: \
         file does not exist\n\
         warning: new: unable to open supervise/ok: file does not exist\n"
    );
    assert_eq!(output.code, 5);
    a.write_status(&[0; 21]);
    let output = tmp.run(&["sv", "status", "./services/a"]);
    let line = "warning: ./services/a: unable to read supervise/status: \
                bad format\n";
    assert_eq!((output.stdout.as_str(), output.code), (line, 1));
    fs::remove_file(tmp.path("services/a/supervise/status")).unwrap();
    let output = tmp.run(&["sv", "status", "services/a/"]);
    let line = "warning: services/a/: unable to open supervise/status: \
                file does not exist\n";
    assert_eq!((output.stdout.as_str(), output.code), (line, 1));
    a.close_fifos();
    let output = tmp.run(&["sv", "down", "a"]);
    assert_eq!(output.stdout, "fail: a: runsv not running\n");
    let output = tmp.run(&["sv", "exit", "a"]);
    let line = "ok: a: runsv not running\n";
    assert_eq!((output.stdout.as_str(), output.code), (line, 0));
    // A FIFO is replaced by a file.
    fs::remove_file(tmp.path("services/b/supervise/control")).unwrap();
    let output = tmp.run(&["sv", "up", "b"]);
    let line = "warning: b: unable to open supervise/control: \
                file does not exist\n";
    assert_eq!((output.stdout.as_str(), output.code), (line, 1));
}

#[test]
fn exit_code_is_at_most_99() {
    let tmp = TestDir::new();
    let many = vec!["none"; 130];
    let output = tmp.run(&[&["sv", "up"], &many[..]].concat());
    assert_eq!((output.code, output.stdout.lines().count()), (99, 130));
    let _a = FakeSupervisor::new(&tmp, "a");
    let services = capacity(&tmp, "services");
    let many = vec!["a"; services + 6];
    let output = tmp.run(&[&["sv", "-w0", "up"], &many[..]].concat());
    let line = format!(
        "fail: a: too many services to wait for (the bound is {services})"
    );
    let refused = output
        .stdout
        .lines()
        .filter(|output| *output == line)
        .count();
    assert_eq!((refused, output.code), (6, 99), "{}", output.stdout);
}

#[test]
fn lsb_init_script() {
    let tmp = TestDir::new();
    let a = FakeSupervisor::new(&tmp, "a");
    let row = |words: &[&str], out: &str, code: i32| {
        let output = run_as(&tmp, "/etc/init.d/a", words);
        assert_eq!(
            (output.stdout.as_str(), output.code),
            (out, code),
            "{words:?}"
        );
    };
    row(&["status"], "down: a: Ns, normally up\n", 3);
    a.publish(&up());
    row(&["status", "x"], "run: a: (pid 77) Ns\n", 0);
    row(
        &["-w", "0", "start", "ignored"],
        "ok: run: a: (pid 77) Ns\n",
        0,
    );
    row(&["-w0", "stop"], "timeout: run: a: (pid 77) Ns\n", 1);
    assert_eq!(a.received(), "ud");
    a.write_status(b"");
    let line = "warning: a: unable to read supervise/status: bad format\n";
    row(&["status"], line, 4);
    // A log service that is down does not affect the exit code.
    a.publish(&up());
    let _log = FakeSupervisor::new(&tmp, "a/log");
    let line = "run: a: (pid 77) Ns; down: log: Ns, normally up\n";
    row(&["status"], line, 0);
}
