//! Tests that runsvdir's front process can end and be replaced while services
//! continue, and what it shows in its title.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::fs;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use util::{Place, Running, until};

/// A `run` line that keeps the service up.
const STAY: &str = "exec sleep 1000";

/// Returns a process's title.
fn title(running: &Running<'_>) -> String {
    let path = format!("/proc/{}/cmdline", running.pid().as_raw_pid());
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// Waits until a title contains a text.
fn until_shown(running: &Running<'_>, text: &str) {
    until(&format!("`{text}` in the title"), || {
        title(running).contains(text).then_some(())
    });
}

/// Waits until a process has ended.
fn until_gone(pid: Pid) {
    until("the end of a process", || test_kill_process(pid).err());
}

#[test]
fn a_face_that_is_killed_is_replaced() {
    let place = Place::new();
    place.service("a", STAY);
    place.service("b", STAY);
    let mut first = place.runsvdir();
    let pids = ["a", "b"].map(|name| place.until_pid(name, None));
    first.kill(Signal::KILL);
    assert_eq!(first.wait(), -9);
    let said = place.run(&["sv", "-v", "restart", "b"]);
    assert_eq!(said.code, 0, "it works without a face: {said:?}");
    let b = place.until_pid("b", Some(pids[1]));
    assert_eq!(place.run(&["sv", "-v", "exit", "b"]).code, 0);
    until_gone(b);
    // The supervisor notices the new front process and scans.
    let mut second = place.runsvdir();
    let b = place.until_pid("b", Some(b));
    assert_eq!(place.run(&["sv", "-v", "exit", "b"]).code, 0);
    until_gone(b);
    until("the second face's rescan", || {
        second.kill(Signal::ALARM);
        place.pid("b")
    });
    assert_eq!(place.pid("a"), Some(pids[0]));
    second.kill(Signal::HUP);
    assert_eq!(second.wait(), 111);
    for name in ["a", "b"] {
        place.until_stat(name, "down");
    }
    until_gone(pids[0]);
    assert_eq!(place.read("errors"), "");
}

#[test]
fn after_term_the_next_one_serves_again() {
    let place = Place::new();
    place.service("a", STAY);
    let mut first = place.runsvdir();
    let pid = place.until_pid("a", None);
    first.kill(Signal::TERM);
    assert_eq!(first.wait(), 0);
    place.script("other/b/run", STAY);
    let mut second = place.runsvdir();
    place.link("b");
    place.until_stat("b", "run");
    assert_eq!(place.pid("a"), Some(pid));
    second.kill(Signal::HUP);
    assert_eq!(second.wait(), 111);
    until_gone(pid);
    assert_eq!(place.read("errors"), "");
}

#[test]
fn a_signal_does_not_detach_the_supervisor() {
    let place = Place::new();
    place.service("a", STAY);
    let first = place.runsvdir();
    let pid = place.until_pid("a", None);
    for signal in [Signal::USR1, Signal::USR2] {
        kill_process(first.supervisor(), signal).unwrap();
    }
    // It still scans, and is still the same.
    place.service("b", STAY);
    place.until_stat("b", "run");
    assert_eq!(place.pid("a"), Some(pid));
    assert_eq!(place.read("errors"), "");
}

#[test]
fn the_next_one_waits_for_what_hup_stops() {
    let place = Place::new();
    let go = place.path("go");
    place.service(
        "a",
        &format!(
            "trap 'while ! test -e {}; do sleep 0.02; done; exit' TERM\n\
             echo > {}; while :; do sleep 0.02; done",
            go.display(),
            place.path("ready").display()
        ),
    );
    let mut first = place.runsvdir();
    let old = place.until_pid("a", None);
    until("the trap", || fs::metadata(place.path("ready")).ok());
    first.kill(Signal::HUP);
    assert_eq!(first.wait(), 111);
    place.until_stat("a", "run, got TERM, want exit");
    let _second = place.runsvdir();
    assert_eq!(place.pid("a"), Some(old));
    fs::write(go, "").unwrap();
    place.until_pid("a", Some(old));
    assert_eq!(place.read("errors"), "");
}

#[test]
fn there_is_one_face() {
    let place = Place::new();
    place.service("a", STAY);
    let first = place.runsvdir();
    let pid = place.until_pid("a", None);
    for path in ["services", "./services//"] {
        let said = place.run(&["runsvdir", path]);
        let line = format!(
            "runsvdir {path}: fatal: unable to lock: another runsvdir runs: \
             temporary failure\n"
        );
        assert_eq!((said.code, said.err), (111, line));
    }
    assert_eq!(place.pid("a"), Some(pid));
    drop(first);
}

#[test]
fn a_supervisor_that_is_killed_is_replaced() {
    let place = Place::new();
    place.service("a", STAY);
    let face = place.runsvdir();
    let old = place.until_pid("a", None);
    kill_process(face.supervisor(), Signal::KILL).unwrap();
    place.until_pid("a", Some(old));
    kill_process(old, Signal::KILL).unwrap();
    assert_eq!(
        place.read("errors"),
        "runsvdir services: warning: the supervisor has ended, restarting\n"
    );
}

#[test]
fn without_a_run_directory_it_is_as_with_runit() {
    let place = Place::new();
    place.service("a", STAY);
    let mut command = place.command(&["runsvdir", "services"]);
    let mut face = place.start_as(command.env("RUNT_RUN", "/proc/none"));
    let pid = place.until_pid("a", None);
    assert_eq!(
        place.read("errors"),
        "runsvdir services: warning: unable to use the run directory \
         /proc/none: file does not exist\n"
    );
    assert_eq!(place.run(&["sv", "-v", "exit", "a"]).code, 0);
    until_gone(pid);
    face.kill(Signal::ALARM);
    let pid = until("a again", || place.pid("a"));
    face.kill(Signal::HUP);
    assert_eq!(face.wait(), 111);
    until_gone(pid);
}

#[test]
fn a_log_shorter_than_seven_bytes_is_none() {
    let place = Place::new();
    place.service("a", STAY);
    let _all = place.start(&["runsvdir", "services", "log: ."]);
    place.until_stat("a", "run");
    assert_eq!(
        place.read("errors"),
        "runsvdir services: warning: log must have at least seven \
         characters.\nrunsvdir services: warning: log service disabled.\n"
    );
}

#[test]
fn the_title_shows_what_services_say() {
    let place = Place::new();
    let dots = ".".repeat(50);
    let log = format!("log: {dots}");
    place.service("a", &format!("echo first >&2; {STAY}"));
    let mut first = place.start(&["runsvdir", "-P", "services", &log]);
    until_shown(
        &first,
        "\0log: ............................................first\n",
    );
    place.script("other/b/run", "printf 'se\\0cond' >&2; exec sleep 1000");
    place.link("b");
    until_shown(&first, "first\nsecond\0");
    let long = "x".repeat(60);
    place.script("other/c/run", &format!("printf '{long}' >&2; {STAY}"));
    place.link("c");
    until_shown(&first, &format!("\0log: {}\0", "x".repeat(50)));
    // Without a front process no service blocks: this exceeds a pipe's
    // capacity.
    first.kill(Signal::KILL);
    assert_eq!(first.wait(), -9);
    let text = "echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
    place.script(
        "other/d/run",
        &format!(
            "i=0; while test $i -lt 4000; do {text} >&2; i=$((i+1)); done\n\
             echo > {}; {STAY}",
            place.path("done").display()
        ),
    );
    place.link("d");
    until("all is written", || fs::metadata(place.path("done")).ok());
    let mut second = place.start(&["runsvdir", "services", &log]);
    until_shown(&second, "yyyyyyyy");
    place.script("other/e/run", &format!("echo last >&2; {STAY}"));
    place.link("e");
    until_shown(&second, "last\n\0");
    second.kill(Signal::HUP);
    assert_eq!(second.wait(), 111);
    for name in ["a", "b", "c", "d", "e"] {
        place.until_stat(name, "down");
    }
    assert_eq!(place.read("errors"), "");
}

#[test]
fn arguments_are_read_as_runit_reads_them() {
    let place = Place::new();
    for words in [&["runsvdir"][..], &["runsvdir", "-P"]] {
        let said = place.run(words);
        let usage = "usage: runsvdir [-P] dir\n\n";
        let name = place.path("bin/runsvdir");
        let usage = usage.replace("runsvdir", name.to_str().unwrap());
        assert_eq!((said.code, said.err), (1, usage));
    }
    // Any other option is a directory. `--` is not an option, and a second
    // option has no meaning.
    for words in [
        &["runsvdir", "-x"][..],
        &["runsvdir", "--", "-x"],
        &["runsvdir", "-P", "-x"],
    ] {
        let place = Place::new();
        let mut all = place.start(words);
        until("the reason", || {
            let line = "runsvdir -x: warning: unable to stat -x: \
                        file does not exist\n";
            place.read("errors").contains(line).then_some(())
        });
        place.script("-x/a/run", STAY);
        until("a", || {
            let stat = place.read("-x/a/supervise/stat");
            (stat == "run\n").then_some(())
        });
        all.kill(Signal::HUP);
        assert_eq!(all.wait(), 111);
        until("the end of a", || {
            let stat = place.read("-x/a/supervise/stat");
            (stat == "down\n").then_some(())
        });
    }
}

#[test]
fn the_longest_turn_is_told() {
    let place = Place::new();
    place.service("a", STAY);
    let none = place.run(&["runt", "limits", "services"]);
    assert_eq!((none.code, none.err.as_str()), (0, ""));
    assert!(!none.out.contains("\nturn "), "{none:?}");
    let _running = place.runsvdir();
    place.until_pid("a", None);
    let turn = until("a record", || {
        let said = place.run(&["runt", "limits", "services"]);
        let last = said.out.lines().last()?.strip_prefix("turn ")?;
        last.parse::<u64>().ok()
    });
    assert!((1..60_000_000).contains(&turn), "{turn}");
}
