//! Tests faults of supervisors that are not PID 1: they execute themselves
//! again and go on with the same children.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{
    CALL_ITSELF, EXECVEAT, FAULTS, ILLEGAL, Running, STAY, TestDir, init,
    install, logger::all_logs, patch_wait, start_wrapped, until, without_calls,
};

/// Sends a fault to a process and waits until it has reported its fault
/// `count`.
pub fn fault(tmp: &TestDir, pid: Pid, signal: Signal, of: &str, count: u32) {
    kill_process(pid, signal).unwrap();
    until_fault(tmp, of, count);
}

/// Waits until a process has reported its fault `count`.
pub fn until_fault(tmp: &TestDir, of: &str, count: u32) {
    init::until_printed(tmp, &format!("warning: fault {count} of {of}: "));
}

/// Returns the identities and the times of the last change of a service's
/// status files.
fn published(tmp: &TestDir, name: &str) -> [(u64, i64, i64); 3] {
    ["status", "stat", "pid"].map(|file| {
        let path = tmp.path(&format!("services/{name}/supervise/{file}"));
        let info = fs::metadata(path).unwrap();
        (info.ino(), info.mtime(), info.mtime_nsec())
    })
}

/// Creates services with a logger of their own, with a shared logger, without
/// a log, and one that is down.
pub fn services(tmp: &TestDir) {
    let talk = "n=0; while :; do echo line $n; n=$((n + 1)); sleep 0.002; done";
    tmp.service("own", talk);
    fs::create_dir_all(tmp.path("main")).unwrap();
    let main = tmp.path("main");
    let log = format!("exec svlogd {}", main.display());
    tmp.script("services/own/log/run", &log);
    tmp.service("shared", talk);
    tmp.write("services/shared/log/config", "");
    tmp.service("plain", &format!("echo start >>../starts; {STAY}"));
    tmp.script("services/plain/finish", "echo \"$@\" >>../finishes");
    tmp.service("off", STAY);
    tmp.write("services/off/down", "");
}

/// Waits until there are so many lines that one can be missed.
pub fn until_logged(tmp: &TestDir) {
    until("lines of a log", || {
        (tmp.read("main/current").lines().count() > 20).then_some(())
    });
}

/// Checks that a log has all lines in their order.
pub fn has_all_lines(text: &str) {
    let mut count = 0;
    for (n, line) in text.lines().enumerate() {
        assert_eq!(line, format!("line {n}"));
        count += 1;
    }
    assert!(count > 10, "{count} lines");
}

pub const SUPERVISOR: &str = "the supervisor";

/// The services of [`services`] that keep their processes.
const KEPT: [&str; 4] = ["own", "own/log", "shared", "plain"];

/// Waits until these services and the shared logger run; returns their pids.
pub fn until_kept_run(tmp: &TestDir) -> [Pid; 4] {
    let pids = KEPT.map(|name| tmp.until_pid(name, None));
    tmp.until_pid("shared/log", None);
    pids
}

/// Returns the pids that these services have now.
pub fn kept(tmp: &TestDir) -> [Pid; 4] {
    KEPT.map(|name| tmp.pid(name).unwrap())
}

#[test]
fn services_outlive_faults_of_the_supervisor() {
    let tmp = TestDir::new();
    services(&tmp);
    let mut all = tmp.runsvdir();
    let pids = until_kept_run(&tmp);
    // An operator's order, which no file of the service directory shows.
    tmp.until_stat("off", "down");
    tmp.control("off", "u");
    tmp.until_stat("off", "run");
    let output = tmp.run(&["sv", "-w", "60", "down", "off"]);
    assert_eq!(output.code, 0, "{output:?}");
    let supervisor = all.supervisor();
    let status = ["plain", "off"].map(|name| published(&tmp, name));
    for (count, signal) in (1..=20).zip(FAULTS.iter().cycle()) {
        fault(&tmp, supervisor, *signal, SUPERVISOR, count);
        tmp.control("own", "c");
    }
    assert_eq!(all.supervisor(), supervisor);
    assert_eq!(kept(&tmp), pids);
    assert_eq!(["plain", "off"].map(|name| published(&tmp, name)), status);
    let comm = format!("/proc/{}/comm", supervisor.as_raw_pid());
    assert_eq!(fs::read_to_string(comm).unwrap(), "runsvdir\n");
    // It is still the parent: an exit status is known.
    kill_process(pids[3], Signal::USR1).unwrap();
    until("the next start", || {
        (tmp.read("services/starts") == "start\nstart\n").then_some(())
    });
    assert_eq!(tmp.read("services/finishes"), "-1 10\n");
    assert_eq!(tmp.stat("off"), "down");
    until_logged(&tmp);
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    until("the end of the supervisor", || {
        (!Path::new(&format!("/proc/{}", supervisor.as_raw_pid())).exists())
            .then_some(())
    });
    has_all_lines(&tmp.read("main/current"));
    let shared = all_logs(&tmp, "services/shared/log");
    has_all_lines(&String::from_utf8(shared).unwrap());
    let errors = tmp.read("errors");
    assert_eq!(errors.matches(": fault ").count(), 20, "{errors}");
    let limits = tmp.run(&["runt", "limits", "services"]).stdout;
    assert!(limits.ends_with("\nfaults 20\n"), "{limits}");
    let why = tmp.run(&["sv", "why", "off"]).stdout;
    assert!(why.ends_with("  supervisor-faults 20\n"), "{why}");
    let why = tmp.run(&["sv", "-j", "why", "off"]).stdout;
    assert!(why.ends_with(",\"supervisor-faults\":20}\n"), "{why}");
}

#[test]
fn deadlines_and_ends_outlive_a_fault() {
    let tmp = TestDir::new();
    // It is killed 8 s after TERM.
    tmp.service_ignoring("stubborn", "TERM");
    tmp.write("services/stubborn/timeout-kill", "8000\n");
    tmp.script("services/stubborn/finish", "echo \"$@\" >>../finishes");
    tmp.service("exited", STAY);
    let mut all = tmp.runsvdir();
    let supervisor = all.supervisor();
    let old = tmp.until_pid("stubborn", None);
    tmp.until_pid("exited", None);
    tmp.until_ignoring();
    tmp.control("exited", "x");
    tmp.until_stat("exited", "down");
    tmp.control("stubborn", "d");
    tmp.until_stat("stubborn", "run, got TERM, want down");
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 1);
    assert_eq!(tmp.pid("stubborn"), Some(old));
    until("the deadline", || {
        (tmp.read("services/finishes") == "-1 9\n").then_some(())
    });
    // What was told to exit is not started again.
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 2);
    tmp.service("next", STAY);
    tmp.until_pid("next", None);
    assert_eq!(tmp.stat("exited"), "down");
    // Services that nothing lists any more are told to exit, and their limits
    // hold; then the supervisor ends.
    tmp.control("stubborn", "u");
    tmp.until_ignoring();
    tmp.until_stat("stubborn", "run");
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    tmp.until_stat("stubborn", "run, got TERM, want exit");
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 3);
    until("the end of the supervisor", || {
        (!Path::new(&format!("/proc/{}", supervisor.as_raw_pid())).exists())
            .then_some(())
    });
    assert_eq!(tmp.read("services/finishes"), "-1 9\n-1 9\n");
}

#[test]
fn a_supervisor_without_a_front_outlives_a_fault() {
    let tmp = TestDir::new();
    services(&tmp);
    tmp.link("linked");
    tmp.script("other/linked/run", STAY);
    let mut all = tmp.runsvdir();
    let supervisor = all.supervisor();
    let pid = tmp.until_pid("plain", None);
    let linked = tmp.until_pid("linked", None);
    tmp.until_pid("own/log", None);
    all.kill(Signal::TERM);
    assert_eq!(all.wait(), 0);
    // Not listed any more, but still supervised.
    fs::remove_file(tmp.path("services/linked")).unwrap();
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 1);
    let dir = tmp.path("other/linked");
    let status = tmp.run(&["sv", "status", dir.to_str().unwrap()]).stdout;
    let start = format!("(pid {}) ", linked.as_raw_pid());
    assert!(status.contains(&start), "{status}");
    assert_eq!(tmp.pid("plain"), Some(pid));
    for name in ["own", "shared", "plain", dir.to_str().unwrap()] {
        let output = tmp.run(&["sv", "-w", "30", "shutdown", name]);
        assert_eq!(output.code, 0, "{output:?}");
    }
    let output = tmp.run(&["sv", "-w", "30", "exit", "off"]);
    assert_eq!(output.code, 0, "{output:?}");
    until("the end of the supervisor", || {
        (!Path::new(&format!("/proc/{}", supervisor.as_raw_pid())).exists())
            .then_some(())
    });
}

#[test]
fn the_front_process_outlives_a_fault() {
    let tmp = TestDir::new();
    tmp.service("a", "echo said >&2; exec sleep 1000");
    let title = "log: ................................";
    let mut all = tmp.start(&["runsvdir", "services", title]);
    let pid = tmp.until_pid("a", None);
    let supervisor = all.supervisor();
    let shows = |text: &str| {
        let path = format!("/proc/{}/cmdline", all.pid().as_raw_pid());
        let shown = fs::read_to_string(path).unwrap();
        shown.contains(text).then_some(())
    };
    until("a title with the line", || {
        shows("log: .").and(shows("said"))
    });
    for count in 1..=3 {
        fault(&tmp, all.pid(), Signal::SEGV, "the front process", count);
        until("the same title", || shows("log: .").and(shows("said")));
    }
    assert_eq!(all.supervisor(), supervisor);
    // The supervisor's own line goes to the title.
    kill_process(supervisor, Signal::SEGV).unwrap();
    until("the supervisor's line", || shows("SEGV, sent by a process"));
    assert_eq!(tmp.pid("a"), Some(pid));
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    tmp.until_stat("a", "down");
}

#[test]
fn a_connection_without_names_outlives_faults() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    fs::create_dir_all(tmp.path("services")).unwrap();
    tmp.write("run", "no directory");
    let mut all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    let supervisor = all.supervisor();
    fault(&tmp, all.pid(), Signal::SEGV, "the front process", 1);
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 1);
    fault(&tmp, all.pid(), Signal::SEGV, "the front process", 2);
    assert_eq!(all.supervisor(), supervisor);
    assert_eq!(tmp.pid("a"), Some(pid));
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    tmp.until_stat("a", "down");
}

#[test]
fn runsv_outlives_faults() {
    let tmp = TestDir::new();
    services(&tmp);
    let mut one = tmp.start(&["runsv", "services/own"]);
    let pid = tmp.until_pid("own", None);
    let log = tmp.until_pid("own/log", None);
    for count in 1..=5 {
        fault(&tmp, one.pid(), Signal::SEGV, "runsv", count);
    }
    tmp.script("services/own/finish", "echo \"$@\" >../finishes");
    assert_eq!(tmp.pid("own"), Some(pid));
    assert_eq!(tmp.pid("own/log"), Some(log));
    tmp.control("own", "t");
    until("its finish", || {
        (tmp.read("services/finishes") == "-1 15\n").then_some(())
    });
    tmp.until_pid("own", Some(pid));
    let why = tmp.run(&["sv", "why", "own"]).stdout;
    assert!(why.ends_with("  supervisor-faults 5\n"), "{why}");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(tmp.stat("own"), "down");
    // It begins again with each start.
    for line in tmp.read("main/current").lines() {
        let number = line.strip_prefix("line ").map(str::parse::<u32>);
        assert!(matches!(number, Some(Ok(_))), "{line}");
    }
}

#[test]
fn too_many_faults_lead_to_another_supervisor() {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let tmp = TestDir::new();
    tmp.service("a", &format!("echo start >>../starts; {STAY}"));
    let all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    let supervisor = all.supervisor();
    // Those that a process has sent do not count for this.
    for count in 1..=4 {
        fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, count);
    }
    for count in 5..=7 {
        patch_wait(supervisor, &ILLEGAL);
        tmp.control("a", "c");
        until_fault(&tmp, SUPERVISOR, count);
    }
    until("another supervisor", || {
        (all.supervisor() != supervisor).then_some(())
    });
    until("the end of the first", || {
        let text = tmp.read("errors");
        text.contains("too many faults: the supervisor exits")
            .then_some(())
    });
    // It takes the service over.
    let shown = format!("run: a: (pid {}) ", pid.as_raw_pid());
    until("the same process", || {
        let status = tmp.run(&["sv", "status", "a"]).stdout;
        status.starts_with(&shown).then_some(())
    });
    assert_eq!(tmp.read("services/starts"), "start\n");
}

#[test]
fn an_overflow_of_the_stack_is_survived() {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    patch_wait(all.supervisor(), &CALL_ITSELF);
    tmp.control("a", "c");
    until_fault(&tmp, SUPERVISOR, 1);
    let errors = tmp.read("errors");
    assert!(errors.contains(": signal SEGV at address 0x7"), "{errors}");
    tmp.control("a", "p");
    tmp.until_stat("a", "run, paused");
    assert_eq!(tmp.pid("a"), Some(pid));
}

/// Starts runsvdir from a file of its own, under another name.
fn start_copy(tmp: &TestDir) -> Running<'_> {
    let file = fs::read(tmp.path("bin/runsvdir")).unwrap();
    install(&tmp.path("runsvdir"), &file);
    let script = "exec chpst -b odd ./runsvdir services";
    start_wrapped(tmp, &[&["sh", "-c", script]])
}

#[test]
fn the_file_need_not_have_a_name() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let all = start_copy(&tmp);
    let pid = tmp.until_pid("a", None);
    let supervisor = all.supervisor();
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 1);
    fs::remove_file(tmp.path("runsvdir")).unwrap();
    for count in 2..=4 {
        fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, count);
    }
    fault(&tmp, all.pid(), Signal::SEGV, "the front process", 1);
    assert_eq!(tmp.pid("a"), Some(pid));
    tmp.control("a", "p");
    tmp.until_stat("a", "run, paused");
}

#[test]
fn the_path_of_the_file_serves_where_descriptors_cannot_be_executed() {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let all = without_calls(&[EXECVEAT], || start_copy(&tmp));
    let pid = tmp.until_pid("a", None);
    let supervisor = all.supervisor();
    for count in 1..=3 {
        fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, count);
    }
    // Then /proc/self/exe.
    fs::remove_file(tmp.path("runsvdir")).unwrap();
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 4);
    assert_eq!(all.supervisor(), supervisor);
    tmp.control("a", "p");
    tmp.until_stat("a", "run, paused");
    assert_eq!(tmp.pid("a"), Some(pid));
}
