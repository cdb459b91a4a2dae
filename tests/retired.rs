//! Tests that the programs of runit 1.x and of daemontools work on our
//! directories as they did on theirs.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/peers.rs"]
mod peers;
mod util;

use std::{fs, path::Path, process::Command};

use util::{Place, Said, said, until};

/// Creates a running service, one that is down, one whose supervisor has
/// ended, and a directory that is no service.
fn three(place: &Place) -> util::Running<'_> {
    place.service("a", "exec sleep 1000");
    place.service("a/log", "exec cat >/dev/null");
    place.service("b", "exec sleep 1000");
    place.write("services/b/down", "");
    fs::create_dir_all(place.path("services/.c/supervise")).unwrap();
    let made = Command::new("mkfifo")
        .arg(place.path("services/.c/supervise/ok"))
        .arg(place.path("services/.c/supervise/control"))
        .status();
    assert!(made.unwrap().success());
    fs::create_dir_all(place.path("services/.d")).unwrap();
    let all = place.runsvdir();
    place.until_pid("a", None);
    place.until_pid("a/log", None);
    place.until_supervised("b");
    all
}

/// Replaces every number by `N`.
fn masked(said: Said) -> Said {
    let mask = |text: String| {
        let mut out = String::new();
        let mut digits = false;
        for c in text.chars() {
            if !c.is_ascii_digit() {
                out.push(c);
            } else if !digits {
                out.push('N');
            }
            digits = c.is_ascii_digit();
        }
        out
    };
    Said {
        out: mask(said.out),
        err: mask(said.err),
        code: said.code,
    }
}

/// Runs a program of `bin` in the services directory; returns its masked
/// output.
fn told(place: &Place, bin: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(bin.join(words[0]));
    command
        .args(&words[1..])
        .current_dir(place.path("services"));
    masked(said(&mut command))
}

#[test]
fn the_programs_of_daemontools() {
    let Some(theirs) = peers::programs("daemontools") else {
        return;
    };
    let place = Place::new();
    let _all = three(&place);
    let ours = place.path("bin");
    let same = |words: &[&str]| {
        let expected = told(&place, &theirs, words);
        let shown = told(&place, &ours, words);
        assert_eq!(shown, expected, "{words:?}");
        shown
    };
    let said = same(&["svstat", "a", "b", "a/log", ".c", ".d", "none", "/"]);
    assert_eq!(said.out.lines().count(), 7);
    same(&["svstat"]);
    for dir in ["a", "b", "a/log", ".c", ".d", "none"] {
        same(&["svok", dir]);
    }
    same(&["svok"]);
    same(&["svc"]);
    same(&["svc", "-u"]);
    same(&["svc", "-z", "a"]);
    same(&["svc", "-h", "none", "a", ".c", ".d"]);

    // Each controls our supervisor.
    for bin in [&theirs, &ours] {
        let row = |words: &[&str], stat: &str| {
            let said = told(&place, bin, words);
            let nothing = Said {
                out: String::new(),
                err: String::new(),
                code: 0,
            };
            assert_eq!(said, nothing, "{words:?}");
            place.until_stat("b", stat);
            until("the record", || {
                let theirs = told(&place, &theirs, &["svstat", "b"]);
                let ours = told(&place, &ours, &["svstat", "b"]);
                (theirs == ours).then_some(())
            });
        };
        row(&["svc", "-u", "b"], "run");
        row(&["svc", "-p", "b"], "run, paused");
        row(&["svc", "-c", "b"], "run");
        let old = place.pid("b");
        row(&["svc", "-t", "b"], "run");
        place.until_pid("b", old);
        row(&["svc", "-dp", "b"], "down, paused");
        row(&["svc", "-co", "b"], "run, want down");
        row(&["svc", "-k", "b"], "down");
    }
}

#[test]
fn runsvctrl_sends_and_does_not_wait() {
    let place = Place::new();
    let _all = three(&place);
    let bin = place.path("bin");
    let text = "u|d|o|p|c|h|a|i|q|N|N|t|k|x|e service ...";
    for words in [
        &["runsvctrl"][..],
        &["runsvctrl", "z", "a"],
        &["runsvctrl", "u"],
    ] {
        let said = told(&place, &bin, words);
        // The path of the test directory may hold digits.
        let last = said.err.split_once("runsvctrl ").unwrap().1;
        assert_eq!((last, said.code), (&*format!("{text}\n\n"), 1));
    }
    let said = told(&place, &bin, &["runsvctrl", "up", "b"]);
    assert_eq!((said.err.as_str(), said.code), ("", 0));
    place.until_stat("b", "run");
    let said = told(&place, &bin, &["runsvctrl", "d", "b", ".c", ".d", "no"]);
    place.until_stat("b", "down");
    let lines: Vec<&str> = said
        .err
        .lines()
        .map(|line| line.split_once("warning: ").unwrap().1)
        .collect();
    assert_eq!(
        lines,
        [
            ".c: runsv not running.",
            ".d: unable to open supervise/control: file does not exist",
            "no: unable to change directory: file does not exist",
        ]
    );
    assert_eq!(said.code, 3);
}

#[test]
fn runsvstat_tells_the_log_too() {
    let place = Place::new();
    let _all = three(&place);
    let bin = place.path("bin");
    let said = told(&place, &bin, &["runsvstat", "a", "b"]);
    let out = "a: run (pid N) N seconds\nb: down N seconds\n";
    assert_eq!((said.out.as_str(), said.code), (out, 0));
    let said = told(&place, &bin, &["runsvstat", "-l", "a", "b"]);
    let out = "a: run (pid N) N seconds\n  log: run (pid N) N seconds\n\
               b: down N seconds\n";
    assert_eq!((said.out.as_str(), said.code), (out, 0));
    let said = told(&place, &bin, &["runsvstat", ".c", "b"]);
    assert!(said.err.ends_with(": warning: .c: runsv not running.\n"));
    assert_eq!((said.out.as_str(), said.code), ("b: down N seconds\n", 1));
}

#[test]
fn svwaitup_and_svwaitdown_wait() {
    let place = Place::new();
    let _all = three(&place);
    let bin = place.path("bin");
    let err = |words: &[&str]| {
        let said = told(&place, &bin, words);
        let text: Vec<String> = said
            .err
            .lines()
            .map(|line| line.rsplit_once("bin/").map_or(line, |(_, l)| l))
            .map(String::from)
            .collect();
        (text.join("\n"), said.code)
    };
    let row = |words: &[&str], text: &str, code: i32| {
        assert_eq!(err(words), (text.to_string(), code), "{words:?}");
    };
    row(
        &["svwaitup", "-v", "a"],
        "svwaitup: a: is up (N seconds)",
        0,
    );
    row(&["svwaitup", "-s", "1", "a"], "", 0);
    row(&["svwaitup", "b"], "svwaitup: warning: b: is down.", 1);
    for seconds in ["0", "601", "x"] {
        let (text, code) = err(&["svwaitup", "-s", seconds, "a"]);
        assert!(text.starts_with("svwaitup [-v]"), "{text}");
        assert_eq!(code, 1);
    }
    row(&["svwaitdown", "-v", "a"], "svwaitdown: a: down.", 0);
    row(
        &["svwaitdown", "-vx", "b"],
        "svwaitdown: b: runsv not running.",
        0,
    );
    place.deaf_service("e", "TERM");
    place.until_deaf();
    until("a stubborn service", || {
        let said = place.run(&["sv", "status", "e"]);
        said.out.starts_with("run: ").then_some(())
    });
    let timeout = "svwaitdown: e: timeout.";
    row(&["svwaitdown", "-v", "-t", "1", "e"], timeout, 111);
    row(&["svwaitdown", "-kt1", "e"], "svwaitdown: e: killed.", 111);
    place.until_stat("e", "down");
}
