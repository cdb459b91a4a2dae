//! Tests that the programs of runit 1.x and of daemontools work on our
//! directories as they did on theirs.

use std::{fs, path::Path, process::Command};

use crate::util::{self, Output, TestDir, output_of, peers, until};

/// Creates a running service, one that is down, one whose supervisor has
/// ended, and a directory that is no service.
fn service_states(tmp: &TestDir) -> util::Running<'_> {
    tmp.service("a", "exec sleep 1000");
    tmp.service("a/log", "exec cat >/dev/null");
    tmp.service("b", "exec sleep 1000");
    tmp.write("services/b/down", "");
    fs::create_dir_all(tmp.path("services/.c/supervise")).unwrap();
    let made = Command::new("mkfifo")
        .arg(tmp.path("services/.c/supervise/ok"))
        .arg(tmp.path("services/.c/supervise/control"))
        .status();
    assert!(made.unwrap().success());
    fs::create_dir_all(tmp.path("services/.d")).unwrap();
    let all = tmp.runsvdir();
    tmp.until_pid("a", None);
    tmp.until_pid("a/log", None);
    tmp.until_supervised("b");
    all
}

/// Replaces every number by `N`.
fn masked(output: Output) -> Output {
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
    Output {
        stdout: mask(output.stdout),
        stderr: mask(output.stderr),
        code: output.code,
    }
}

/// Runs a program of `bin` in the services directory; returns its masked
/// output.
fn masked_output(tmp: &TestDir, bin: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(bin.join(words[0]));
    command.args(&words[1..]).current_dir(tmp.path("services"));
    masked(output_of(&mut command))
}

#[test]
fn daemontools_programs() {
    let Some(theirs) = peers::programs("daemontools") else {
        return;
    };
    let tmp = TestDir::new();
    let _all = service_states(&tmp);
    let ours = tmp.path("bin");
    let same = |words: &[&str]| {
        let expected = masked_output(&tmp, &theirs, words);
        let shown = masked_output(&tmp, &ours, words);
        assert_eq!(shown, expected, "{words:?}");
        shown
    };
    let output = same(&["svstat", "a", "b", "a/log", ".c", ".d", "none", "/"]);
    assert_eq!(output.stdout.lines().count(), 7);
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
            let output = masked_output(&tmp, bin, words);
            let nothing = Output {
                stdout: String::new(),
                stderr: String::new(),
                code: 0,
            };
            assert_eq!(output, nothing, "{words:?}");
            tmp.until_stat("b", stat);
            until("the record", || {
                let theirs = masked_output(&tmp, &theirs, &["svstat", "b"]);
                let ours = masked_output(&tmp, &ours, &["svstat", "b"]);
                (theirs == ours).then_some(())
            });
        };
        row(&["svc", "-u", "b"], "run");
        row(&["svc", "-p", "b"], "run, paused");
        row(&["svc", "-c", "b"], "run");
        let old = tmp.pid("b");
        row(&["svc", "-t", "b"], "run");
        tmp.until_pid("b", old);
        row(&["svc", "-pd", "b"], "down, paused");
        row(&["svc", "-co", "b"], "run, want down");
        row(&["svc", "-k", "b"], "down");
    }
}

#[test]
fn runsvctrl_sends_and_does_not_wait() {
    let tmp = TestDir::new();
    let _all = service_states(&tmp);
    let bin = tmp.path("bin");
    let text = "u|d|o|p|c|h|a|i|q|N|N|t|k|x|e service ...";
    for words in [
        &["runsvctrl"][..],
        &["runsvctrl", "z", "a"],
        &["runsvctrl", "u"],
    ] {
        let output = masked_output(&tmp, &bin, words);
        // The path of the test directory may hold digits.
        let last = output.stderr.split_once("runsvctrl ").unwrap().1;
        assert_eq!((last, output.code), (&*format!("{text}\n\n"), 1));
    }
    let output = masked_output(&tmp, &bin, &["runsvctrl", "up", "b"]);
    assert_eq!((output.stderr.as_str(), output.code), ("", 0));
    tmp.until_stat("b", "run");
    let output =
        masked_output(&tmp, &bin, &["runsvctrl", "d", "b", ".c", ".d", "no"]);
    tmp.until_stat("b", "down");
    let lines: Vec<&str> = output
        .stderr
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
    assert_eq!(output.code, 3);
}

#[test]
fn runsvstat_shows_the_log() {
    let tmp = TestDir::new();
    let _all = service_states(&tmp);
    let bin = tmp.path("bin");
    let output = masked_output(&tmp, &bin, &["runsvstat", "a", "b"]);
    let out = "a: run (pid N) N seconds\nb: down N seconds\n";
    assert_eq!((output.stdout.as_str(), output.code), (out, 0));
    let output = masked_output(&tmp, &bin, &["runsvstat", "-l", "a", "b"]);
    let out = "a: run (pid N) N seconds\n  log: run (pid N) N seconds\n\
               b: down N seconds\n";
    assert_eq!((output.stdout.as_str(), output.code), (out, 0));
    let output = masked_output(&tmp, &bin, &["runsvstat", ".c", "b"]);
    assert!(
        output
            .stderr
            .ends_with(": warning: .c: runsv not running.\n")
    );
    assert_eq!(
        (output.stdout.as_str(), output.code),
        ("b: down N seconds\n", 1)
    );
}

#[test]
fn svwaitup_and_svwaitdown_wait() {
    let tmp = TestDir::new();
    let _all = service_states(&tmp);
    let bin = tmp.path("bin");
    let err = |words: &[&str]| {
        let output = masked_output(&tmp, &bin, words);
        let text: Vec<String> = output
            .stderr
            .lines()
            .map(|line| line.rsplit_once("bin/").map_or(line, |(_, l)| l))
            .map(String::from)
            .collect();
        (text.join("\n"), output.code)
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
    tmp.service_ignoring("e", "TERM");
    tmp.until_ignoring();
    until("a stubborn service", || {
        let output = tmp.run(&["sv", "status", "e"]);
        output.stdout.starts_with("run: ").then_some(())
    });
    let timeout = "svwaitdown: e: timeout.";
    row(&["svwaitdown", "-v", "-t", "1", "e"], timeout, 111);
    row(&["svwaitdown", "-kt1", "e"], "svwaitdown: e: killed.", 111);
    tmp.until_stat("e", "down");
}
