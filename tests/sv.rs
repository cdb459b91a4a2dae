//! Whether sv sends, waits and says what the contract has it do: against a
//! supervisor that a test plays, ours and Debian's.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/peers.rs"]
mod peers;
mod util;

use std::{
    fs,
    io::{ErrorKind, Read as _},
    os::unix::{
        fs::{OpenOptionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use runt::wire::{
    clock::Wall,
    status::{self, State, Status, Want},
};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use util::{Place, Said, said, until};

/// A supervisor that the test plays: its FIFOs are open, it publishes what
/// the test says and keeps what it is sent.
struct Played {
    dir: PathBuf,
    /// `ok` and `control`, as long as it "lives".
    fifos: Option<(fs::File, fs::File)>,
}

impl Played {
    /// A service directory in `services` with a played supervisor.
    fn new(place: &Place, name: &str) -> Self {
        let dir = place.path(&format!("services/{name}"));
        fs::create_dir_all(dir.join("supervise")).unwrap();
        let mut played = Self { dir, fifos: None };
        played.publish(&down());
        played.appear();
        played
    }

    fn appear(&mut self) {
        let open = |name: &str| {
            let path = self.dir.join("supervise").join(name);
            let mode = Mode::from_raw_mode(0o600);
            let _there = mknodat(CWD, &path, FileType::Fifo, mode, 0).is_err();
            fs::OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(path)
                .unwrap()
        };
        // As a supervisor does: who finds `ok` finds the other too.
        let control = open("control");
        self.fifos = Some((open("ok"), control));
    }

    fn publish(&self, status: &Status) {
        self.write_status(&status::pack(status));
    }

    fn write_status(&self, bytes: &[u8]) {
        let new = self.dir.join("supervise/status.new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, self.dir.join("supervise/status")).unwrap();
    }

    /// What was sent since the last look.
    fn sent(&self) -> String {
        let mut bytes = [0; 64];
        let (_, control) = self.fifos.as_ref().unwrap();
        let mut control = control;
        match control.read(&mut bytes) {
            Ok(count) => String::from_utf8_lossy(&bytes[..count]).into_owned(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                String::new()
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until something was sent.
    fn until_sent(&self, bytes: &str) {
        until(&format!("the bytes {bytes}"), || {
            (self.sent() == bytes).then_some(())
        });
    }
}

/// A service that was taken down at the end of the 1980s.
fn down() -> Status {
    Status {
        since: Wall {
            secs: 600_000_000,
            nanos: 1,
        },
        pid: 0,
        paused: false,
        term: false,
        want: Want::Down,
        state: State::Down,
    }
}

/// The same, running.
fn up() -> Status {
    Status {
        pid: 77,
        want: Want::Up,
        state: State::Run,
        ..down()
    }
}

/// Replaces the seconds of status lines by `N`.
fn masked(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let (body, end) = word.split_at(word.len() - 1);
        let digits = body.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_time =
            digits.len() < body.len() && ["s", "s,", "s;"].contains(&digits);
        if is_time {
            out.push('N');
            out.push_str(digits);
        } else {
            out.push_str(body);
        }
        out.push_str(end);
    }
    out
}

/// Starts a command of ours to be waited for later.
fn begin(place: &Place, words: &[&str]) -> Child {
    let mut command = place.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// What a command begun said.
fn end(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    Said {
        out: masked(&String::from_utf8(output.stdout).unwrap()),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

/// Calls the program by another name, as a link in /etc/init.d does.
fn called(place: &Place, name: &str, words: &[&str]) -> Said {
    let mut command = place.command(&[&["sv"], words].concat());
    let Said { out, err, code } = said(command.arg0(name));
    let out = masked(&out);
    Said { out, err, code }
}

#[test]
fn a_wrong_command_line_is_said() {
    let place = Place::new();
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
        let said = called(&place, name, words);
        assert_eq!((said.code, said.out.as_str()), (*code, ""), "{words:?}");
        let rest = said.err.strip_suffix(last).unwrap();
        if words.contains(&"-V") {
            assert!(rest.starts_with(first), "{rest}");
        } else {
            assert_eq!(rest, *first, "{words:?}");
        }
    }
}

#[test]
fn every_command_sends_its_bytes() {
    let place = Place::new();
    let played = Played::new(&place, "a");
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
        place.run(&[&["sv"], &words[..], &["a"]].concat());
        assert_eq!(played.sent(), *sent, "{command}");
    }
    // What it was told already is not sent again.
    played.publish(&Status {
        want: Want::Up,
        ..up()
    });
    place.run(&["sv", "up", "a"]);
    assert_eq!(played.sent(), "");
    played.publish(&Status {
        want: Want::Down,
        ..up()
    });
    place.run(&["sv", "down", "a"]);
    assert_eq!(played.sent(), "d");
    let term = true;
    let want = Want::Down;
    played.publish(&Status { want, term, ..up() });
    place.run(&["sv", "down", "a"]);
    assert_eq!(played.sent(), "");
}

#[test]
fn status_lines() {
    let place = Place::new();
    let played = Played::new(&place, "a");
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
        played.publish(status);
        let said = place.run(&["sv", "status", "a"]);
        assert_eq!((masked(&said.out).as_str(), said.code), (*line, 0));
    }
    place.write("services/a/down", "");
    played.publish(&up());
    let said = place.run(&["sv", "s", "a"]);
    assert_eq!(masked(&said.out), "run: a: (pid 77) Ns, normally down\n");
    // From the future.
    let secs = 1 << 40;
    let since = Wall { secs, nanos: 0 };
    played.publish(&Status { since, ..down() });
    let said = place.run(&["sv", "s", "a"]);
    assert_eq!(said.out, "down: a: 0s\n");

    let log = Played::new(&place, "a/log");
    let said = place.run(&["sv", "s", "a", "a/log"]);
    assert_eq!(
        masked(&said.out),
        "down: a: 0s; down: log: Ns, normally up\n\
         down: a/log: Ns, normally up\n"
            .replace("0s", "Ns")
    );
    drop(log);
    let said = place.run(&["sv", "s", "a"]);
    let gone = "down: a: Ns; fail: a/log: runsv not running\n";
    assert_eq!((masked(&said.out).as_str(), said.code), (gone, 1));
    fs::remove_file(place.path("services/a/log/supervise/ok")).unwrap();
    let said = place.run(&["sv", "s", "a"]);
    let gone = "down: a: Ns; warning: a/log: unable to open supervise/ok: \
                file does not exist\n";
    assert_eq!((masked(&said.out).as_str(), said.code), (gone, 1));
    fs::remove_dir_all(place.path("services/a/log")).unwrap();
    place.write("services/a/log", "");
    let said = place.run(&["sv", "s", "a"]);
    let odd = "down: a: Ns; warning: a/log: unable to change directory: \
               not a directory\n";
    assert_eq!((masked(&said.out).as_str(), said.code), (odd, 1));
}

#[test]
fn what_cannot_be_asked_is_said_in_order() {
    let place = Place::new();
    let a = Played::new(&place, "a");
    let _b = Played::new(&place, "b");
    a.write_status(&[0; 19]);
    fs::create_dir(place.path("services/new")).unwrap();
    let said = place.run(&["sv", "status", "none", "a", "", "b", "a/", "new"]);
    assert_eq!(
        masked(&said.out),
        "fail: none: unable to change to service directory: \
         file does not exist\n\
         warning: a: unable to read supervise/status: bad format\n\
         fail: : unable to change to service directory: file does not exist\n\
         down: b: Ns, normally up\n\
         fail: a/: unable to change to service directory: \
         file does not exist\n\
         warning: new: unable to open supervise/ok: file does not exist\n"
    );
    assert_eq!(said.code, 5);
    a.write_status(&[0; 21]);
    let said = place.run(&["sv", "status", "./services/a"]);
    let line = "warning: ./services/a: unable to read supervise/status: \
                bad format\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
    fs::remove_file(place.path("services/a/supervise/status")).unwrap();
    let said = place.run(&["sv", "up", "services/a/"]);
    let line = "warning: services/a/: unable to open supervise/status: \
                file does not exist\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
    drop(a);
    let said = place.run(&["sv", "down", "a"]);
    assert_eq!(said.out, "fail: a: runsv not running\n");
    let said = place.run(&["sv", "exit", "a"]);
    let line = "ok: a: runsv not running\n";
    assert_eq!((said.out.as_str(), said.code), (line, 0));
    // A FIFO replaced by a file.
    fs::remove_file(place.path("services/b/supervise/control")).unwrap();
    let said = place.run(&["sv", "up", "b"]);
    let line = "warning: b: unable to open supervise/control: \
                file does not exist\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
}

#[test]
fn no_more_than_99_is_counted() {
    let place = Place::new();
    let many = vec!["none"; 130];
    let said = place.run(&[&["sv", "up"], &many[..]].concat());
    assert_eq!((said.code, said.out.lines().count()), (99, 130));
    let _a = Played::new(&place, "a");
    let many = vec!["a"; 70];
    let said = place.run(&[&["sv", "-w0", "up"], &many[..]].concat());
    let bound = "fail: a: too many services to wait for (the bound is 64)";
    let refused = said.out.lines().filter(|line| *line == bound).count();
    assert_eq!((refused, said.code), (6, 70), "{}", said.out);
}

#[test]
fn an_init_script() {
    let place = Place::new();
    let a = Played::new(&place, "a");
    let row = |words: &[&str], out: &str, code: i32| {
        let said = called(&place, "/etc/init.d/a", words);
        assert_eq!((said.out.as_str(), said.code), (out, code), "{words:?}");
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
    assert_eq!(a.sent(), "d");
    a.write_status(b"");
    let line = "warning: a: unable to read supervise/status: bad format\n";
    row(&["status"], line, 4);
    // A log service that is down is not what is asked for.
    a.publish(&up());
    let _log = Played::new(&place, "a/log");
    let line = "run: a: (pid 77) Ns; down: log: Ns, normally up\n";
    row(&["status"], line, 0);
}

#[test]
fn waiting_ends_when_the_command_has_taken_effect() {
    let place = Place::new();
    let a = Played::new(&place, "a");
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
    a.fifos = None;
    let Said { out, code, .. } = end(child);
    assert_eq!((out.as_str(), code), ("ok: a: runsv not running\n", 0));
    // One that leaves while something else is waited for is a failure.
    a.appear();
    let child = begin(&place, &["sv", "-w", "60", "start", "a"]);
    a.until_sent("u");
    a.fifos = None;
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
    // Descriptor 1 is closed, the name and the directory are as in runit.
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
    // Nothing is there but the directory; then its supervisor appears.
    fs::create_dir_all(place.path("services/a")).unwrap();
    let mut child = begin(&place, &["sv", "-w", "60", "start", "a"]);
    assert_eq!(child.try_wait().unwrap(), None);
    let a = Played::new(&place, "a");
    a.until_sent("u");
    a.publish(&up());
    let Said { out, code, .. } = end(child);
    assert_eq!((out.as_str(), code), ("ok: run: a: (pid 77) Ns\n", 0));
    // The last one is gone, and none comes.
    drop(a);
    let said = place.run(&["sv", "-w0", "start", "a"]);
    let line = "fail: a: runsv not running\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
    fs::remove_dir_all(place.path("services/a/supervise")).unwrap();
    let said = place.run(&["sv", "-w0", "restart", "a"]);
    let line = "warning: a: unable to open supervise/ok: file does not exist\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
    // Who does not wait is told at once, and so is who stops.
    for command in [&["up"][..], &["-w60", "stop"], &["-w60", "check"]] {
        let said = place.run(&[&["sv"], command, &["a"]].concat());
        assert_eq!((said.out.as_str(), said.code), (line, 1));
    }
}

#[test]
fn a_run_that_cannot_be_executed_is_not_started() {
    let place = Place::new();
    place.write("services/a/down", "");
    let _all = place.runsvdir();
    place.until_supervised("a");
    let rows = [
        ("#!/nowhere", "1", "timeout: ", 1),
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
        // It is told, although it was told to start before.
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

/// A runsv of anybody, ended with its service.
struct Supervising(Child);

impl Supervising {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(quiet.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Supervising {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let term = rustix::process::Signal::TERM;
            let _gone = rustix::process::kill_process(pid, term).is_err();
            let _reaped = self.0.wait();
        }
    }
}

/// What both an old and a new `sv` find on either supervisor.
fn drive(place: &Place, sv: &PathBuf, dir: &str) {
    let row = |words: &[&str], out: &str, code: i32| {
        let mut command = Command::new(sv);
        command.args(words).arg(dir).current_dir(place.dir.path());
        let said = said(&mut command);
        let mut line = masked(&said.out).replace(dir, "a");
        // Of the old process or the new one: Debian's sv compares seconds.
        if let Some((front, rest)) = line.split_once("(pid ") {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            line = format!("{front}(pid P{rest}");
        }
        assert_eq!((line.as_str(), said.code), (out, code), "{words:?}");
    };
    row(&["status"], "run: a: (pid P) Ns\n", 0);
    row(&["-v", "up"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "pause"], "ok: run: a: (pid P) Ns, paused\n", 0);
    row(&["-v", "cont"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "hup"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "stop"], "ok: down: a: Ns, normally up\n", 0);
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "restart"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "stop"], "ok: down: a: Ns, normally up\n", 0);
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "once"], "ok: run: a: (pid P) Ns, want down\n", 0);
    row(&["-w20", "force-stop"], "ok: down: a: Ns, normally up\n", 0);
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w20", "force-restart"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "shutdown"], "ok: a: runsv not running\n", 0);
    row(&["status"], "fail: a: runsv not running\n", 1);
}

#[test]
fn ours_and_debians_work_with_each_other() {
    let Some(debian) = peers::programs("runit") else {
        return;
    };
    let place = Place::new();
    let bin = place.path("bin");
    for (supervisor, control) in
        [(&bin, &debian), (&debian, &bin), (&bin, &bin)]
    {
        let dir = "./services/a";
        place.deaf_service("a", "HUP");
        let mut runsv = Command::new(supervisor.join("runsv"));
        runsv.arg(dir).current_dir(place.dir.path());
        let mut runsv = Supervising::start(&mut runsv);
        place.until_deaf();
        until("a service that runs", || {
            let said = place.run(&["sv", "status", dir]);
            said.out.starts_with("run: ").then_some(())
        });
        drive(&place, &control.join("sv"), dir);
        assert!(runsv.0.wait().unwrap().success());
        fs::remove_dir_all(place.path(dir)).unwrap();
    }
}

/// The rows of the table without its head, each within the screen.
fn rows(said: &Said) -> Vec<String> {
    for line in said.out.lines() {
        assert!(line.chars().count() < 80, "{line:?}");
        assert!(!line.ends_with(' '), "{line:?}");
    }
    let mut lines = said.out.lines();
    let head = "STATE   NAME                          PID    UP  LOG     FLAGS";
    assert_eq!(lines.next(), Some(head));
    lines.map(|line| line.to_string()).collect()
}

#[test]
fn all_services_in_one_table() {
    let place = Place::new();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let since = |ago: u64| Wall {
        secs: now - ago,
        nanos: 0,
    };
    let b = Played::new(&place, "b");
    let long = "a-name-that-is-longer-than-its-column";
    let a = Played::new(&place, long);
    let odd = Played::new(&place, "z\n\u{1b}é");
    a.publish(&Status {
        since: since(3 * 86_400 + 4 * 3600),
        ..up()
    });
    b.publish(&Status {
        since: since(600),
        pid: 4_194_304,
        want: Want::Down,
        term: true,
        paused: true,
        ..up()
    });
    place.write("services/b/down", "");
    let _log = Played::new(&place, "b/log");
    let _gone = Played::new(&place, "c/log");
    odd.publish(&Status {
        since: since(7200),
        ..down()
    });
    place.write("services/file", "");
    place.write("services/.hidden/run", "");
    symlink("nowhere", place.path("services/y")).unwrap();
    let expected = [
        "run     a-name-that-is-longer-t~       77    3d  -",
        "run     b                         4194304   10m  down    \
         got TERM, want down, ~",
        "-       c                               -     -  down    \
         not supervised",
        "-       y                               -     -  -       \
         file does not exist",
        "down    z??é                            -    2h  -       \
         normally up",
    ];
    for words in [&["sv"][..], &["sv", "list"]] {
        let said = place.run(words);
        assert_eq!(rows(&said), expected);
        assert_eq!((said.err.as_str(), said.code), ("", 0));
    }
    let mut command = place.command(&["sv"]);
    command.env("SVDIR", place.path("none"));
    let said = said(&mut command);
    let line = format!(
        "warning: {}: unable to read the services directory: \
         file does not exist\n",
        place.path("none").display()
    );
    assert!(said.out.ends_with(&line), "{said:?}");
    assert_eq!(said.code, 1);
}

#[test]
fn hundreds_of_services_are_listed_in_order() {
    let place = Place::new();
    for number in 0..300 {
        let name = format!("services/service-{number:03}");
        fs::create_dir_all(place.path(&name)).unwrap();
    }
    let said = place.run(&["sv", "list"]);
    let rows = rows(&said);
    assert_eq!(rows.len(), 300);
    for (number, row) in rows.iter().enumerate() {
        let start = format!("-       service-{number:03} ");
        assert!(row.starts_with(&start), "{row}");
    }
}

#[test]
fn one_json_object_for_each_service() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let place = Place::new();
    let a = Played::new(&place, "a");
    let term = true;
    let want = Want::Down;
    a.publish(&Status { want, term, ..up() });
    let seconds = |line: &str| {
        let (front, rest) = line.split_once("\"seconds\":").unwrap();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{front}\"seconds\":N{rest}")
    };
    let object = "{\"name\":\"a\",\"state\":\"run\",\"pid\":77,\
        \"seconds\":N,\"flags\":[\"want down\",\"got TERM\"],\
        \"log\":null}\n";
    let said = place.run(&["sv", "-j", "status", "a"]);
    assert_eq!((seconds(&said.out).as_str(), said.code), (object, 0));
    let said = place.run(&["sv", "-j", "list"]);
    assert_eq!((seconds(&said.out).as_str(), said.code), (object, 0));
    let said = place.run(&["sv", "-j"]);
    assert_eq!((seconds(&said.out).as_str(), said.code), (object, 0));

    drop(a);
    fs::create_dir(place.path("services/a/log")).unwrap();
    let said = place.run(&["sv", "-j", "status", "a", "none"]);
    assert_eq!(
        said.out,
        "{\"name\":\"a\",\"state\":null,\"error\":\"runsv not running\",\
         \"log\":{\"name\":\"log\",\"state\":null,\"error\":\
         \"unable to open supervise/ok: file does not exist\"}}\n\
         {\"name\":\"none\",\"state\":null,\"error\":\
         \"unable to change to service directory: file does not exist\"}\n"
    );
    assert_eq!(said.code, 2);

    // Every byte that a name can have; all strings are valid JSON.
    fs::remove_dir_all(place.path("services/a")).unwrap();
    let names: Vec<Vec<u8>> = vec![
        (1..=b'.' - 1).collect(),
        (b'0'..=0x7f).collect(),
        (0x80..=0xff).collect(),
        "é€𝄞".as_bytes().to_vec(),
    ];
    for name in &names {
        let dir = place.path("services").join(OsStr::from_bytes(name));
        fs::create_dir(dir).unwrap();
    }
    let said = place.run(&["sv", "-j", "list"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), names.len(), "{}", said.out);
    let mut shown: Vec<String> = Vec::new();
    for line in lines {
        let text = line.strip_prefix("{\"name\":\"").unwrap();
        let (name, _) = text.split_once("\",\"state\":").unwrap();
        shown.push(name.to_string());
    }
    let escaped = |range: core::ops::RangeInclusive<u8>| -> String {
        range.map(|byte| format!("\\u{byte:04x}")).collect()
    };
    // In the order of bytes: 01, 30, 80, c3.
    let mut first = escaped(1..=0x1f);
    first.push_str(" !\\\"#$%&'()*+,-");
    assert_eq!(shown[0], first);
    assert!(shown[1].contains("[\\\\]") && shown[1].ends_with("~\\u007f"));
    assert_eq!(shown[2], escaped(0x80..=0xff));
    let bytes = |text: &str| -> String {
        text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()
    };
    assert_eq!(shown[3], bytes("é€𝄞"));
}

#[test]
fn why_tells_how_a_service_ended() {
    use runt::wire::why::{Death, How, Waits, Why, pack};
    let place = Place::new();
    let a = Played::new(&place, "a");
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let wall = |secs| Wall { secs, nanos: 0 };
    a.publish(&Status {
        since: wall(now),
        want: Want::Up,
        ..down()
    });
    place.script("services/a/run", "exit 1");
    let said = place.run(&["sv", "why", "a"]);
    assert_eq!(
        masked(&said.out),
        "down: a: Ns, normally up, want up\n  run: ok\n"
    );
    let mut why = Why {
        restarts: 12,
        waits: Waits::Backoff,
        until: Some(wall(now + 3600)),
        ..Why::new()
    };
    let how = How::Killed(11, true);
    let when = wall(1_700_000_000);
    let lived = 90_061_000;
    why.died(Death { when, how, lived });
    why.died(Death {
        how: How::Exited(111),
        lived: 3,
        when,
    });
    fs::write(place.path("services/a/supervise/why"), pack(&why)).unwrap();
    fs::set_permissions(
        place.path("services/a/run"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let said = place.run(&["sv", "why", "a"]);
    let shown = masked(&said.out);
    let next = shown.split_once("until ").unwrap().1;
    let next = next.split_once('\n').unwrap().0.to_string();
    assert_eq!(
        shown.replace(&next, "NEXT"),
        "down: a: Ns, normally up, want up\n  run: not executable\n  \
         restarts 12\n  waits backoff until NEXT\n  \
         died 2023-11-14_22:13:20.00000 signal SEGV core after 90061000 ms\n  \
         died 2023-11-14_22:13:20.00000 exit 111 after 3 ms\n"
    );
    assert_eq!(said.code, 0);

    let said = place.run(&["sv", "-j", "why", "a"]);
    let (_, rest) = said.out.split_once("\"log\":null,").unwrap();
    assert_eq!(
        rest.replace(&next, "NEXT"),
        "\"run\":\"not executable\",\"restarts\":12,\"waits\":\"backoff\",\
         \"until\":\"NEXT\",\"deaths\":[{\"when\":\
         \"2023-11-14_22:13:20.00000\",\"signal\":\"SEGV\",\"core\":true,\
         \"lived-ms\":90061000},{\"when\":\"2023-11-14_22:13:20.00000\",\
         \"exit\":111,\"lived-ms\":3}]}\n"
    );
    // Once it runs, the pause is over.
    a.publish(&up());
    let said = place.run(&["sv", "why", "a"]);
    assert!(!said.out.contains("waits"), "{}", said.out);

    // Who is not supervised, and why.
    drop(a);
    fs::create_dir(place.path("services/new")).unwrap();
    fs::create_dir(place.path("services/.dot")).unwrap();
    let row = |name: &str, line: &str, reason: &str| {
        let said = place.run(&["sv", "why", name]);
        let out = format!("{line}\n  {reason}\n");
        assert!(said.out.starts_with(&out), "{}", said.out);
        assert_eq!(said.code, 1);
    };
    let gone = "its supervisor has ended or was told to exit";
    row("a", "fail: a: runsv not running", gone);
    let never = "unable to open supervise/ok: file does not exist";
    let new = format!("warning: new: {never}");
    row(
        "new",
        &new,
        "no supervisor has taken it up yet\n  run: file does not exist",
    );
    let dot = format!("warning: ./services/.dot: {never}");
    let reason = "a name that begins with a dot is not supervised";
    row("./services/.dot", &dot, reason);
    let said = place.run(&["sv", "-j", "why", "a", "none"]);
    assert_eq!((said.out.lines().count(), said.code), (2, 2));
}

#[test]
fn enable_and_disable_in_an_overlay() {
    let place = Place::new();
    for dir in ["services", "overlay"] {
        fs::create_dir(place.path(dir)).unwrap();
    }
    place.script("available/b/run", "exec sleep 1000");
    place.service("a", "exec sleep 1000");
    let row = |words: &[&str], out: &str, code: i32| {
        let mut command = place.command(&[&["sv"], words].concat());
        let said =
            said(command.env("RUNT_SERVICES_OVERLAY", place.path("overlay")));
        assert_eq!((said.out.as_str(), said.code), (out, code), "{words:?}");
    };
    let leads = |entry: &str| {
        let path = place.path("overlay").join(entry);
        fs::read_link(path).ok().map(|to| to.display().to_string())
    };
    let b = place.path("available/b").display().to_string();
    row(&["enable", "a"], "ok: a: enabled already\n", 0);
    row(&["disable", "a"], "ok: a: disabled\n", 0);
    assert_eq!(leads("a").as_deref(), Some("/dev/null"));
    row(&["disable", "a"], "ok: a: disabled already\n", 0);
    // What is hidden can still be asked.
    let hidden = "warning: a: unable to open supervise/ok: \
                  file does not exist\n";
    row(&["status", "a"], hidden, 1);
    row(&["enable", "a"], "ok: a: enabled\n", 0);
    assert_eq!(leads("a"), None);

    let word = "available/b";
    row(&["enable", word], "ok: available/b: enabled\n", 0);
    assert_eq!(leads("b"), Some(b));
    row(
        &["enable", &format!("{word}/")],
        "ok: available/b/: enabled already\n",
        0,
    );
    let new = "warning: b: unable to open supervise/ok: \
               file does not exist\n";
    row(&["status", "b"], new, 1);
    row(&["disable", "b"], "ok: b: disabled\n", 0);
    assert_eq!(leads("b"), None);
    row(&["disable", "b"], "ok: b: disabled already\n", 0);
    // One that was cut short has left its link.
    symlink("nowhere", place.path("overlay/.b.new")).unwrap();
    row(&["enable", word], "ok: available/b: enabled\n", 0);
    assert!(leads(".b.new").is_none());

    let none = "warning: none: unable to find it: file does not exist\n";
    row(&["enable", "none"], none, 1);
    let dot = "warning: .x: unable to supervise a name like this\n";
    row(
        &["enable", ".x", "/"],
        &format!("{dot}{}", dot.replace(".x", "/")),
        2,
    );
    place.write("overlay/c/run", "");
    let real = "warning: c: unable to replace what is no link\n";
    row(&["disable", "c"], real, 1);
    row(&["enable", "c"], "ok: c: enabled already\n", 0);
    fs::remove_dir_all(place.path("overlay")).unwrap();
    let line = "warning: a: unable to open the directory to change: \
                file does not exist\n";
    row(&["disable", "a"], line, 1);
}

#[test]
fn enable_and_disable_without_an_overlay() {
    let place = Place::new();
    place.script("available/b/run", "exec sleep 1000");
    let _all = place.runsvdir();
    let said = place.run(&["sv", "enable", "available/b"]);
    assert_eq!(
        (said.out.as_str(), said.code),
        ("ok: available/b: enabled\n", 0)
    );
    place.until_stat("b", "run");
    let said = place.run(&["sv", "disable", "b"]);
    assert_eq!((said.out.as_str(), said.code), ("ok: b: disabled\n", 0));
    until("the end of b", || {
        let stat = place.read("available/b/supervise/stat");
        (stat == "down\n").then_some(())
    });
    place.service("a", "exec sleep 1000");
    let said = place.run(&["sv", "disable", "a"]);
    let real = "warning: a: unable to replace what is no link\n";
    assert_eq!((said.out.as_str(), said.code), (real, 1));
}
