//! Tests that sv reads its command line, sends its bytes and reports the state
//! as the contract has it (§4.1 to §4.5, §4.8).
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/played.rs"]
mod played;
#[path = "util/shell.rs"]
mod shell;
mod util;

use std::{fs, os::unix::process::CommandExt as _};

use played::{Played, begin, down, end, masked, up};
use runt::wire::{
    clock::Wall,
    status::{State, Status, Want},
};
use shell::bound;
use util::{Place, Said, said, until};

/// Runs the program under another name, as a link in /etc/init.d does.
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
    // They are sent regardless of the record.
    for want in [Want::Up, Want::Down] {
        for term in [false, true] {
            played.publish(&Status { want, term, ..up() });
            for (command, sent) in [("up", "u"), ("down", "d")] {
                place.run(&["sv", command, "a"]);
                assert_eq!(played.sent(), sent, "{want:?} {term}");
            }
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_locks_nobody_out() {
    let place = Place::new();
    let played = Played::new(&place, "a");
    let damages: [(&str, &dyn Fn()); 4] = [
        ("read supervise/status: bad format", &|| {
            played.write_status(b"");
        }),
        ("read supervise/status: bad format", &|| {
            played.write_status(&[0xff; 21]);
        }),
        ("open supervise/status: file does not exist", &|| {
            let path = place.path("services/a/supervise/status");
            fs::remove_file(path).unwrap();
        }),
        ("read supervise/status: is a directory", &|| {
            let path = place.path("services/a/supervise/status");
            fs::create_dir(path).unwrap();
        }),
    ];
    for (what, damage) in damages {
        damage();
        for (command, sent) in [("up", "u"), ("down", "d"), ("hup", "h")] {
            let said = place.run(&["sv", command, "a"]);
            assert_eq!((said.out.as_str(), said.code), ("", 0), "{what}");
            assert_eq!(played.sent(), sent, "{what}");
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
            let said = place.run(&["sv", "-w0", command, "a"]);
            assert_eq!((said.out, said.code), (line.clone(), 1), "{command}");
            assert_eq!(played.sent(), sent, "{what}");
        }
        let said = place.run(&["sv", "status", "a"]);
        assert_eq!((said.out, said.code), (line, 1));
    }
}

#[test]
fn a_record_that_is_missing_is_waited_for() {
    let place = Place::new();
    let played = Played::new(&place, "a");
    fs::remove_file(place.path("services/a/supervise/status")).unwrap();
    let child = begin(&place, &["sv", "-w", "60", "start", "a"]);
    played.until_sent("u");
    played.publish(&up());
    let Said { out, code, .. } = end(child);
    assert_eq!((out.as_str(), code), ("ok: run: a: (pid 77) Ns\n", 0));
}

#[test]
fn up_right_behind_down_is_not_lost() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let mut one = place.start(&["runsv", "services/a"]);
    place.until_pid("a", None);
    let status = place.path("services/a/supervise/status");
    for _ in 0..20 {
        assert_eq!(place.run(&["sv", "down", "a"]).code, 0);
        assert_eq!(place.run(&["sv", "up", "a"]).code, 0);
        until("a wanted up", || {
            (fs::read(&status).ok()?[17] == b'u').then_some(())
        });
        place.until_stat("a", "run");
    }
    place.control("a", "x");
    assert_eq!(one.wait(), 0);
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
    // A time in the future.
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
    let gone = "down: a: Ns; warning: a/log: no logger yet: log/ was added \
                later, restart a\n";
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
    let said = place.run(&["sv", "status", "services/a/"]);
    let line = "warning: services/a/: unable to open supervise/status: \
                file does not exist\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
    drop(a);
    let said = place.run(&["sv", "down", "a"]);
    assert_eq!(said.out, "fail: a: runsv not running\n");
    let said = place.run(&["sv", "exit", "a"]);
    let line = "ok: a: runsv not running\n";
    assert_eq!((said.out.as_str(), said.code), (line, 0));
    // A FIFO is replaced by a file.
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
    let services = bound(&place, "services");
    let many = vec!["a"; services + 6];
    let said = place.run(&[&["sv", "-w0", "up"], &many[..]].concat());
    let line = format!(
        "fail: a: too many services to wait for (the bound is {services})"
    );
    let refused = said.out.lines().filter(|said| *said == line).count();
    assert_eq!((refused, said.code), (6, 99), "{}", said.out);
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
    assert_eq!(a.sent(), "ud");
    a.write_status(b"");
    let line = "warning: a: unable to read supervise/status: bad format\n";
    row(&["status"], line, 4);
    // A log service that is down does not affect the exit code.
    a.publish(&up());
    let _log = Played::new(&place, "a/log");
    let line = "run: a: (pid 77) Ns; down: log: Ns, normally up\n";
    row(&["status"], line, 0);
}
