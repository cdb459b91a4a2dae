//! Tests that runsvdir's front process can end and be replaced while services
//! continue, and what it shows in its title.

use std::fs;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::util::{Running, STAY, TestDir, until};

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
fn a_killed_front_is_replaced() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    tmp.service("b", STAY);
    let mut first = tmp.runsvdir();
    let pids = ["a", "b"].map(|name| tmp.until_pid(name, None));
    first.kill(Signal::KILL);
    assert_eq!(first.wait(), -9);
    let output = tmp.run(&["sv", "-v", "restart", "b"]);
    assert_eq!(output.code, 0, "it works without a face: {output:?}");
    let b = tmp.until_pid("b", Some(pids[1]));
    assert_eq!(tmp.run(&["sv", "-v", "exit", "b"]).code, 0);
    until_gone(b);
    // The supervisor notices the new front process and scans.
    let mut second = tmp.runsvdir();
    let b = tmp.until_pid("b", Some(b));
    assert_eq!(tmp.run(&["sv", "-v", "exit", "b"]).code, 0);
    until_gone(b);
    until("the second face's rescan", || {
        second.kill(Signal::ALARM);
        tmp.pid("b")
    });
    assert_eq!(tmp.pid("a"), Some(pids[0]));
    second.kill(Signal::HUP);
    assert_eq!(second.wait(), 111);
    for name in ["a", "b"] {
        tmp.until_stat(name, "down");
    }
    until_gone(pids[0]);
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_new_runsvdir_takes_over_after_term() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let mut first = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    first.kill(Signal::TERM);
    assert_eq!(first.wait(), 0);
    tmp.script("other/b/run", STAY);
    let mut second = tmp.runsvdir();
    tmp.link("b");
    tmp.until_stat("b", "run");
    assert_eq!(tmp.pid("a"), Some(pid));
    second.kill(Signal::HUP);
    assert_eq!(second.wait(), 111);
    until_gone(pid);
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_signal_does_not_detach_the_supervisor() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let first = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    // USR2 as well would attach it again.
    kill_process(first.supervisor(), Signal::USR1).unwrap();
    // It still scans, and is still the same.
    tmp.service("b", STAY);
    tmp.until_stat("b", "run");
    assert_eq!(tmp.pid("a"), Some(pid));
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_new_runsvdir_waits_for_services_stopped_by_hup() {
    let tmp = TestDir::new();
    let go = tmp.path("go");
    tmp.service(
        "a",
        &format!(
            "trap 'while ! test -e {}; do sleep 0.02; done; exit' TERM\n\
             echo > {}; while :; do sleep 0.02; done",
            go.display(),
            tmp.path("ready").display()
        ),
    );
    let mut first = tmp.runsvdir();
    let old = tmp.until_pid("a", None);
    until("the trap", || fs::metadata(tmp.path("ready")).ok());
    first.kill(Signal::HUP);
    assert_eq!(first.wait(), 111);
    tmp.until_stat("a", "run, got TERM, want exit");
    let _second = tmp.runsvdir();
    assert_eq!(tmp.pid("a"), Some(old));
    fs::write(go, "").unwrap();
    tmp.until_pid("a", Some(old));
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn only_one_front_runs() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let first = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    for path in ["services", "./services//"] {
        let output = tmp.run(&["runsvdir", path]);
        let line = format!(
            "runsvdir {path}: fatal: unable to lock: another runsvdir runs: \
             temporary failure\n"
        );
        assert_eq!((output.code, output.stderr), (111, line));
    }
    assert_eq!(tmp.pid("a"), Some(pid));
    drop(first);
}

#[test]
fn works_without_a_run_directory() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let mut command = tmp.command(&["runsvdir", "services"]);
    let mut face = tmp.start_as(command.env("RUNT_RUN", "/proc/none"));
    let pid = tmp.until_pid("a", None);
    assert_eq!(
        tmp.read("errors"),
        "runsvdir services: warning: unable to use the run directory \
         /proc/none: file does not exist\n"
    );
    assert_eq!(tmp.run(&["sv", "-v", "exit", "a"]).code, 0);
    until_gone(pid);
    face.kill(Signal::ALARM);
    let pid = until("a again", || tmp.pid("a"));
    face.kill(Signal::HUP);
    assert_eq!(face.wait(), 111);
    until_gone(pid);
}

#[test]
fn a_log_argument_shorter_than_seven_bytes_is_ignored() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let _all = tmp.start(&["runsvdir", "services", "log: ."]);
    tmp.until_stat("a", "run");
    assert_eq!(
        tmp.read("errors"),
        "runsvdir services: warning: log must have at least seven \
         characters.\nrunsvdir services: warning: log service disabled.\n"
    );
}

#[test]
fn the_title_shows_service_output() {
    let tmp = TestDir::new();
    let dots = ".".repeat(50);
    let log = format!("log: {dots}");
    tmp.service("a", &format!("echo first >&2; {STAY}"));
    let mut first = tmp.start(&["runsvdir", "-P", "services", &log]);
    until_shown(
        &first,
        "\0log: ............................................first\n",
    );
    tmp.script("other/b/run", "printf 'se\\0cond' >&2; exec sleep 1000");
    tmp.link("b");
    until_shown(&first, "first\nsecond\0");
    let long = "x".repeat(60);
    tmp.script("other/c/run", &format!("printf '{long}' >&2; {STAY}"));
    tmp.link("c");
    until_shown(&first, &format!("\0log: {}\0", "x".repeat(50)));
    // Without a front process no service blocks: this exceeds a pipe's
    // capacity.
    first.kill(Signal::KILL);
    assert_eq!(first.wait(), -9);
    let text = "echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy";
    tmp.script(
        "other/d/run",
        &format!(
            "i=0; while test $i -lt 4000; do {text} >&2; i=$((i+1)); done\n\
             echo > {}; {STAY}",
            tmp.path("done").display()
        ),
    );
    tmp.link("d");
    until("all is written", || fs::metadata(tmp.path("done")).ok());
    let mut second = tmp.start(&["runsvdir", "services", &log]);
    until_shown(&second, "yyyyyyyy");
    tmp.script("other/e/run", &format!("echo last >&2; {STAY}"));
    tmp.link("e");
    until_shown(&second, "last\n\0");
    second.kill(Signal::HUP);
    assert_eq!(second.wait(), 111);
    for name in ["a", "b", "c", "d", "e"] {
        tmp.until_stat(name, "down");
    }
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn arguments_are_parsed_as_by_runit() {
    let tmp = TestDir::new();
    for words in [&["runsvdir"][..], &["runsvdir", "-P"]] {
        let output = tmp.run(words);
        let usage = "usage: runsvdir [-P] dir\n\n";
        let name = tmp.path("bin/runsvdir");
        let usage = usage.replace("runsvdir", name.to_str().unwrap());
        assert_eq!((output.code, output.stderr), (1, usage));
    }
    // Any other option is a directory. `--` is not an option, and a second
    // option has no meaning.
    for words in [
        &["runsvdir", "-x"][..],
        &["runsvdir", "--", "-x"],
        &["runsvdir", "-P", "-x"],
    ] {
        let tmp = TestDir::new();
        let mut all = tmp.start(words);
        until("the reason", || {
            let line = "runsvdir -x: warning: unable to stat -x: \
                        file does not exist\n";
            tmp.read("errors").contains(line).then_some(())
        });
        tmp.script("-x/a/run", STAY);
        until("a", || {
            let stat = tmp.read("-x/a/supervise/stat");
            (stat == "run\n").then_some(())
        });
        all.kill(Signal::HUP);
        assert_eq!(all.wait(), 111);
        until("the end of a", || {
            let stat = tmp.read("-x/a/supervise/stat");
            (stat == "down\n").then_some(())
        });
    }
}

#[test]
fn the_longest_iteration_is_recorded() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let none = tmp.run(&["runt", "limits", "services"]);
    assert_eq!((none.code, none.stderr.as_str()), (0, ""));
    assert!(!none.stdout.contains("\nlatency "), "{none:?}");
    let _running = tmp.runsvdir();
    tmp.until_pid("a", None);
    let latency = until("a record", || {
        let output = tmp.run(&["runt", "limits", "services"]);
        let last = output.stdout.lines().last()?.strip_prefix("latency ")?;
        last.parse::<u64>().ok()
    });
    assert!((1..60_000_000).contains(&latency), "{latency}");
}

/// Returns how much of its file a process has mapped, in kB.
fn mapped_file(pid: Pid) -> u64 {
    let proc = format!("/proc/{}", pid.as_raw_pid());
    let file = fs::read_link(format!("{proc}/exe")).unwrap();
    let file = file.to_str().unwrap();
    let smaps = fs::read_to_string(format!("{proc}/smaps")).unwrap();
    let mut is_file = false;
    let mut all = 0;
    for line in smaps.lines() {
        if let Some(size) = line.strip_prefix("Rss:") {
            let size = size.trim().trim_end_matches(" kB");
            all += if is_file { size.parse().unwrap() } else { 0 };
        } else if line.contains('-') {
            is_file = line.ends_with(file);
        }
    }
    all
}

#[test]
fn idle_processes_keep_one_window_of_code() {
    /// Kilobytes that the kernel maps around a page that is used
    /// (fault_around_bytes), and the pages of the header and of variables.
    const WINDOW: u64 = 64 + 4 + 4;
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let all = tmp.runsvdir();
    tmp.until_pid("a", None);
    for pid in [all.pid(), all.supervisor()] {
        until("less code in memory", || {
            (mapped_file(pid) <= WINDOW).then_some(())
        });
    }
}
