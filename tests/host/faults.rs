//! Tests faults of PID 1: it executes itself again and goes on.

use std::fs;

use rustix::process::Signal;

use crate::util::{
    CALL_ITSELF, EXECVEAT, FAULTS, ILLEGAL, MEMFD_CREATE, STAY, TestDir,
    init::{POWER_OFF, boot, can_run_pid_1, root, signal, until_printed},
    patch_wait, until, without_calls,
};

/// Waits until PID 1 has reported its fault `count`.
fn until_fault(tmp: &TestDir, count: u32) {
    until_printed(tmp, &format!("- runit: fault {count} of PID 1: "));
}

#[test]
fn services_outlive_faults_of_pid_1() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    let services = tmp.path("services");
    let services = services.display();
    fs::create_dir(tmp.path("main")).unwrap();
    tmp.service(
        "talker",
        "n=0; while :; do echo line $n; n=$((n + 1)); sleep 0.002; done",
    );
    let log = format!("exec svlogd {services}/../main");
    tmp.script("services/talker/log/run", &log);
    tmp.service("plain", &format!("echo start >>../starts; {STAY}"));
    tmp.script("services/plain/finish", "echo \"$@\" >>../finishes");
    tmp.service("off", STAY);
    // It is killed 8 s after TERM.
    tmp.service_ignoring("stubborn", "TERM");
    tmp.write("services/stubborn/timeout-kill", "8000\n");
    tmp.script("services/stubborn/finish", "echo \"$@\" >>../killed");
    let mut one = boot(&tmp, "", &["runit"]);
    let names = ["talker", "talker/log", "plain"];
    let pids = names.map(|name| tmp.until_pid(name, None));
    tmp.until_pid("off", None);
    tmp.control("off", "d");
    tmp.until_stat("off", "down");
    tmp.until_ignoring();
    tmp.control("stubborn", "d");
    tmp.until_stat("stubborn", "run, got TERM, want down");
    for (count, number) in (1..).zip(FAULTS.iter().cycle().take(30)) {
        signal(&one, *number);
        until_fault(&tmp, count);
        // A command is obeyed afterwards.
        tmp.control("plain", "c");
    }
    assert_eq!(names.map(|name| tmp.pid(name).unwrap()), pids);
    assert_eq!(tmp.stat("off"), "down");
    until("the limit of a stop", || {
        (tmp.read("services/killed") == "-1 9\n").then_some(())
    });
    // Its pids are those of its namespace.
    tmp.control("plain", "k");
    until("the next start", || {
        (tmp.read("services/starts") == "start\nstart\n").then_some(())
    });
    assert_eq!(tmp.read("services/finishes"), "-1 9\n");
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), POWER_OFF, "{}", tmp.read("errors"));
    let lines = tmp.read("main/current");
    for (n, line) in lines.lines().enumerate() {
        assert_eq!(line, format!("line {n}"));
    }
    assert!(lines.lines().count() > 10);
    let output = tmp.read("errors");
    assert_eq!(output.matches("booting.").count(), 1, "{output}");
    // One of the boot, and the limit of the stop.
    assert_eq!(output.matches("warning").count(), 2, "{output}");
}

#[test]
fn too_many_faults_leave_the_services_alone() {
    if !can_run_pid_1() || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let tmp = root();
    tmp.service("a", &format!("echo start >>../starts; {STAY}"));
    tmp.service(
        "b",
        "trap 'echo bye >>../ends; exit' TERM
        : >../ready; while :; do sleep 0.1; done",
    );
    let mut one = boot(&tmp, "", &["runit"]);
    let pid = one.supervisor();
    let a = tmp.until_pid("a", None);
    until("a trap", || fs::metadata(tmp.path("services/ready")).ok());
    // Those that a process has sent do not count for this.
    for count in 1..=4 {
        signal(&one, Signal::SEGV);
        until_fault(&tmp, count);
    }
    for count in 5..=7 {
        patch_wait(pid, &ILLEGAL);
        tmp.control("a", "c");
        until_fault(&tmp, count);
    }
    let output = tmp.read("errors");
    let lines = output.matches(": signal ILL at address 0x").count();
    assert_eq!(lines, 3, "{output}");
    until_printed(&tmp, "- runit: warning: too many faults");
    assert_eq!(tmp.pid("a"), Some(a));
    assert_eq!(tmp.read("services/starts"), "start\n");
    assert_eq!(tmp.read("services/ends"), "");
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), POWER_OFF, "{}", tmp.read("errors"));
    assert_eq!(tmp.read("services/ends"), "bye\n");
}

#[test]
fn scripts_of_stages_outlive_faults_of_pid_1() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    let wait = "trap 'echo TERM $0 >>$log; exit' TERM
        while ! test -e /etc/runit/go; do sleep 0.05; done
        rm /etc/runit/go";
    for stage in ["1", "2", "3"] {
        let text = format!(
            "log=/etc/service/log; echo start $0 >>$log\n{wait}
            echo end $0 >>$log"
        );
        tmp.script(&format!("etc/runit/{stage}"), &text);
    }
    tmp.script("etc/runit/pwrfail", "echo pwrfail >>/etc/service/log");
    let mut one = boot(&tmp, "", &["runit"]);
    let mut count = 0;
    let mut fault_twice = |last: &str| {
        until(last, || {
            tmp.read("services/log").ends_with(last).then_some(())
        });
        for _ in 0..2 {
            count += 1;
            signal(&one, Signal::SEGV);
            until_fault(&tmp, count);
        }
    };
    fault_twice("start /etc/runit/1\n");
    tmp.write("etc/runit/go", "");
    fault_twice("start /etc/runit/2\n");
    signal(&one, Signal::POWER);
    fault_twice("TERM /etc/runit/2\nstart /etc/runit/3\n");
    tmp.write("etc/runit/go", "");
    assert_eq!(one.wait(), POWER_OFF, "{}", tmp.read("errors"));
    assert_eq!(
        tmp.read("services/log"),
        "start /etc/runit/1\nend /etc/runit/1\nstart /etc/runit/2\npwrfail\n\
         TERM /etc/runit/2\nstart /etc/runit/3\nend /etc/runit/3\n"
    );
}

#[test]
fn pid_1_executes_what_there_is() {
    if !can_run_pid_1() || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    // A copy cannot be made; it cannot be executed, nor can an open file.
    for (without, image) in [
        (MEMFD_CREATE, "the file that is running"),
        (EXECVEAT, "a copy of itself in memory"),
    ] {
        let tmp = root();
        tmp.service("a", STAY);
        let mut one = without_calls(&[without], || boot(&tmp, "", &["runit"]));
        let pid = tmp.until_pid("a", None);
        until_printed(&tmp, &format!("after a fault executes {image}\n"));
        for count in 1..=4 {
            signal(&one, Signal::SEGV);
            until_fault(&tmp, count);
            tmp.control("a", "c");
        }
        // Its stack overflows.
        patch_wait(one.supervisor(), &CALL_ITSELF);
        tmp.control("a", "c");
        until_printed(&tmp, "fault 5 of PID 1: signal SEGV at address 0x7");
        tmp.control("a", "p");
        tmp.until_stat("a", "run, paused");
        assert_eq!(tmp.pid("a"), Some(pid));
        signal(&one, Signal::TERM);
        assert_eq!(one.wait(), POWER_OFF, "{}", tmp.read("errors"));
    }
}

#[test]
fn nothing_else_uses_the_ledger_of_pid_1() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    let run =
        format!("runsvdir /etc/service 2>../said; echo $?>>../said; {STAY}");
    tmp.service("second", &run);
    let mut one = boot(&tmp, "", &["runit"]);
    let line = "runsvdir /etc/service: fatal: unable to lock: another \
                runsvdir runs: temporary failure\n111\n";
    until(line, || (tmp.read("services/said") == line).then_some(()));
    signal(&one, Signal::SEGV);
    until_fault(&tmp, 1);
    let pid = tmp.until_pid("second", None);
    tmp.control("second", "t");
    tmp.until_pid("second", Some(pid));
    until(line, || (tmp.read("services/said") == line).then_some(()));
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), POWER_OFF, "{}", tmp.read("errors"));
}
