//! Tests PID 1 of a container: requests, flags, rescue, and runsvdir as
//! process 1.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::util::{
    STAY, TestDir,
    init::{
        POWER_OFF, RESTART, Terminal, boot, can_run_pid_1, root, signal,
        until_printed,
    },
    skip, state, stop, until,
};

#[test]
fn a_container_ends_with_or_without_the_right_to_reboot() {
    if !can_run_pid_1() {
        return;
    }
    let without = ["chpst", "--cap-bound", "kill,setuid,setgid,chown", "runit"];
    for (program, off, restart) in
        [(&["runit"][..], POWER_OFF, RESTART), (&without[..], 0, 129)]
    {
        for (number, code) in [(Signal::TERM, off), (Signal::INT, restart)] {
            let tmp = root();
            tmp.service(
                "a",
                "trap 'echo bye >>../output; exit' TERM
                : >../ready; while :; do sleep 0.1; done",
            );
            let mut one = boot(&tmp, "", program);
            until("a trap", || fs::metadata(tmp.path("services/ready")).ok());
            signal(&one, number);
            assert_eq!(one.wait(), code, "{}", tmp.read("errors"));
            assert_eq!(tmp.read("services/output"), "bye\n");
        }
    }
}

#[test]
fn a_container_without_a_console_prints_to_stderr() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    tmp.service("a", STAY);
    let kmsg = "mount --bind etc/kmsg /dev/kmsg";
    tmp.write("etc/kmsg", "");
    let mut one = boot(&tmp, kmsg, &["runit"]);
    until_printed(&tmp, " services up, ");
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), POWER_OFF);
    assert_eq!(tmp.read("etc/kmsg"), "");
    let output = tmp.read("errors");
    for line in ["booting.", "stopping services...", "power off..."] {
        let count = output.matches(line).count();
        assert_eq!(count, 1, "{line}: {output}");
    }
}

#[test]
fn a_service_in_a_container_cannot_read_the_console() {
    if !can_run_pid_1() {
        return;
    }
    let mut terminal = Terminal::new();
    let tmp = root();
    tmp.service(
        "spy",
        "echo ready >&2
        for n in 0 1 2; do
            line=; eval \"read -r line <&$n\"; echo \"$n $line\" >>../output
        done 2>/dev/null
        readlink /proc/self/fd/0 >>../output; exec sleep 1000",
    );
    // A script that PID 1 itself starts reads it.
    tmp.script(
        "etc/runit/ctrlaltdel",
        "read -r line; echo \"keys: $line\"; poweroff",
    );
    let mut one = boot(&tmp, &terminal.mount, &["runit"]);
    terminal.until_printed("ready\r\n");
    terminal.master.write_all(b"secret\n").unwrap();
    until("a spy", || {
        tmp.read("services/output").contains("null").then_some(())
    });
    assert_eq!(tmp.read("services/output"), "0 \n1 \n2 \n/dev/null\n");
    signal(&one, Signal::INT);
    terminal.until_printed("keys: secret\r\n");
    assert_eq!(one.wait(), POWER_OFF);
}

/// Creates a service that does something once and then stays up.
fn run_once(tmp: &TestDir, what: &str) {
    tmp.service("once", &format!("{what}\n{STAY}"));
}

/// Creates a flag that is set, as an earlier request leaves it.
fn stale_flag(tmp: &TestDir, flag: &str) {
    tmp.write(flag, "");
    let path = tmp.path(flag);
    fs::set_permissions(path, fs::Permissions::from_mode(0o100)).unwrap();
}

#[test]
fn only_flags_set_for_this_request_count() {
    if !can_run_pid_1() {
        return;
    }
    let read_only = "mount -o remount,bind,ro /etc";
    let both = "chmod 100 /run/runit.stopit; chmod 100 /run/runit.reboot
        kill -CONT 1";
    let again = "chmod 0 /etc/runit/reboot; chmod 100 /etc/runit/reboot
        : >/etc/runit/stopit; chmod 100 /etc/runit/stopit; kill -CONT 1";
    let rows = [
        (&[][..], "", "poweroff", POWER_OFF),
        (&[], "", "reboot", RESTART),
        (&["etc/runit/reboot"], "", "poweroff", POWER_OFF),
        (&["etc/runit/reboot"], read_only, "poweroff", POWER_OFF),
        (&["etc/runit/reboot"], read_only, "reboot", RESTART),
        (&["etc/runit/reboot"], read_only, "runit-init 0", POWER_OFF),
        (&["varrun/runit.reboot"], "", "poweroff", POWER_OFF),
        (&["varrun/runit.reboot"], read_only, "poweroff", POWER_OFF),
        (&["varrun/runit.reboot"], read_only, "reboot", RESTART),
        // As the scripts of distributions do it.
        (&["etc/runit/reboot"], read_only, both, RESTART),
        (&["etc/runit/reboot"], "", again, RESTART),
        // No program of ours sends it, so the flag cannot belong to it.
        (&["etc/runit/reboot"], "", "kill -PWR 1", POWER_OFF),
    ];
    for (flags, prepare, request, end) in rows {
        let tmp = root();
        for flag in flags {
            stale_flag(&tmp, flag);
        }
        tmp.write("varrun/runit.stopit", "");
        if !flags.contains(&"varrun/runit.reboot") {
            tmp.write("varrun/runit.reboot", "");
        }
        run_once(&tmp, request);
        let mut one = boot(&tmp, prepare, &["runit"]);
        let ended = one.wait();
        let output = tmp.read("errors");
        assert_eq!(ended, end, "{flags:?} {prepare} {request}: {output}");
    }
}

#[test]
fn a_clear_stop_flag_does_not_stop() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    stale_flag(&tmp, "etc/runit/stopit");
    tmp.service("a", STAY);
    let mut one = boot(&tmp, "mount -o remount,bind,ro /etc", &["runit"]);
    until_printed(&tmp, " services up, ");
    signal(&one, Signal::CONT);
    tmp.script("services/b/run", &format!("poweroff; {STAY}"));
    assert_eq!(one.wait(), POWER_OFF);
    let output = tmp.read("errors");
    assert!(tmp.path("services/b/supervise").exists(), "{output}");
}

#[test]
fn stage_2_ending_by_itself_obeys_the_reboot_flag() {
    if !can_run_pid_1() {
        return;
    }
    for (left, script, end) in [
        (false, "", POWER_OFF),
        (true, "", POWER_OFF),
        (
            true,
            "chmod 0 /etc/runit/reboot; chmod 100 /etc/runit/reboot",
            RESTART,
        ),
        (
            false,
            ": >/etc/runit/reboot; chmod 100 /etc/runit/reboot",
            RESTART,
        ),
    ] {
        let tmp = root();
        if left {
            stale_flag(&tmp, "etc/runit/reboot");
        }
        tmp.script("etc/runit/2", &format!("{script}\nexit 0"));
        let mut one = boot(&tmp, "", &["runit"]);
        assert_eq!(one.wait(), end, "{left} {script}");
    }
}

#[test]
fn pwrfail_decides_about_a_power_failure() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    tmp.service("a", STAY);
    tmp.script(
        "etc/runit/pwrfail",
        "test -x /etc/runit/stopit || exit
        echo failed >>/etc/service/output
        test -e /etc/service/battery || exit 0
        chmod 0 /etc/runit/stopit",
    );
    tmp.write("services/battery", "");
    let mut one = boot(&tmp, "", &["runit"]);
    until_printed(&tmp, " services up, ");
    signal(&one, Signal::POWER);
    until_printed(&tmp, "- runit: leave stage: /etc/runit/pwrfail\n");
    assert_eq!(tmp.read("services/output"), "failed\n");
    tmp.until_pid("a", None);
    fs::remove_file(tmp.path("services/battery")).unwrap();
    signal(&one, Signal::POWER);
    assert_eq!(one.wait(), POWER_OFF);
    assert_eq!(tmp.read("services/output"), "failed\nfailed\n");
    let output = tmp.read("errors");
    assert_eq!(output.matches("power failure...").count(), 2, "{output}");
    assert_eq!(
        output.matches("stopping services...").count(),
        1,
        "{output}"
    );
}

#[test]
fn power_failure_without_writable_flags_powers_off() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    tmp.service("a", STAY);
    tmp.script("etc/runit/pwrfail", "exit 1");
    let read_only = "mount -o remount,bind,ro /etc
        mount -o remount,bind,ro /run";
    let mut one = boot(&tmp, read_only, &["runit"]);
    until_printed(&tmp, " services up, ");
    signal(&one, Signal::POWER);
    assert_eq!(one.wait(), POWER_OFF);
    until_printed(&tmp, "- runit: leave stage: /etc/runit/pwrfail\n");
}

#[test]
fn rescue_requires_a_password() {
    if !can_run_pid_1() {
        return;
    }
    let root_x = "root:x:0:0:root:/:/bin/sh\n";
    for (passwd, shadow, asks) in [
        (
            "root:*:0:0:root:/:/bin/sh\n",
            "root::19000:0:99999:7:::\n",
            false,
        ),
        (
            "root:*:0:0:root:/:/bin/sh\n",
            "root:$1$a$b:19000::::::\n",
            true,
        ),
        ("a::0:0:a:/:/bin/sh\nroot:!:0:0:root:/:/bin/sh\n", "", false),
        (root_x, "root::1::::::\n", false),
        (root_x, "root:$1$a$b:1::::::\n", true),
        (root_x, "", false),
    ] {
        let tmp = root();
        tmp.write("etc/passwd", passwd);
        tmp.write("etc/shadow", shadow);
        tmp.script("etc/runit/1", "exit 1");
        tmp.script("sbin/sulogin", "echo asks for it >>/etc/service/output");
        tmp.service("a", STAY);
        let mut one = boot(&tmp, "mount --bind sbin /sbin", &["runit"]);
        until_printed(&tmp, " services up, ");
        let output = tmp.read("errors");
        let asked = !tmp.read("services/output").is_empty();
        assert_eq!(asked, asks, "{passwd:?} {shadow:?}: {output}");
        assert_eq!(output.contains("no rescue: "), !asks, "{output}");
        signal(&one, Signal::TERM);
        assert_eq!(one.wait(), POWER_OFF);
    }
}

#[test]
fn runsvdir_as_pid_1_stops_its_services_and_exits() {
    if !can_run_pid_1() {
        return;
    }
    for (number, code) in [(Signal::TERM, 0), (Signal::HUP, 111)] {
        let tmp = root();
        let services = tmp.path("services");
        let services = services.display();
        tmp.service(
            "db",
            "trap 'sleep 0.3; echo saved >>../output; exit' TERM
            : >../ready; while :; do sleep 0.1; done",
        );
        tmp.service(
            "web",
            "trap 'echo last words; exit' TERM
            : >../ready2; while :; do sleep 0.1; done",
        );
        let log = format!("exec svlogd {services}/../main");
        fs::create_dir(tmp.path("main")).unwrap();
        tmp.script("services/web/log/run", &log);
        // Leaves two orphans: one still has work to do at its end.
        tmp.service(
            "forks",
            "(trap 'echo orphan >>../output; exit' TERM; : >../ready3
            while :; do sleep 0.1; done) &
            (exit 3) &
            exit 0",
        );
        let mut one = boot(&tmp, "", &["runsvdir", "-P", "/etc/service"]);
        for ready in ["ready", "ready2", "ready3"] {
            let path = services.to_string() + "/" + ready;
            until(ready, || fs::metadata(&path).ok());
        }
        signal(&one, number);
        assert_eq!(one.wait(), code, "{}", tmp.read("errors"));
        assert!(tmp.read("main/current").ends_with("last words\n"));
        let output = tmp.read("services/output");
        assert!(output.contains("saved\n"), "{output}");
        assert!(output.contains("orphan\n"), "{output}");
    }
}

#[test]
fn runsvdir_as_pid_1_reaps_orphans() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    tmp.service(
        "a",
        "n=0; while [ $n -lt 200 ]; do (sleep 0 & exit 0); n=$((n + 1)); done
        : >../done; exec sleep 1000",
    );
    let mut one = boot(&tmp, "", &["runsvdir", "/etc/service"]);
    until("many orphans", || {
        fs::metadata(tmp.path("services/done")).ok()
    });
    let first = one.supervisor().as_raw_pid();
    let children = format!("/proc/{first}/task/{first}/children");
    until("no zombie", || {
        let all = fs::read_to_string(&children).unwrap();
        (all.split_ascii_whitespace().count() == 1).then_some(())
    });
    let pid = Pid::from_raw(first).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(one.wait(), 0);
    assert!(test_kill_process(pid).is_err());
}

/// Returns the processor time of a process in nanoseconds. Returns `None`
/// where the kernel does not count it.
fn run_time(pid: Pid) -> Option<u64> {
    let path = format!("/proc/{}/schedstat", pid.as_raw_pid());
    let text = fs::read_to_string(path).ok()?;
    text.split(' ').next()?.parse().ok()
}

/// Returns the longest loop iteration of a process 1, in nanoseconds.
fn longest_iteration(tmp: &TestDir) -> u64 {
    let places = fs::read_dir(tmp.path("run")).unwrap();
    let turns = places.filter_map(|tmp| {
        let latency = tmp.unwrap().path().join("turn");
        fs::read_to_string(latency).ok()?.trim().parse::<u64>().ok()
    });
    turns.max().unwrap_or(0) * 1000
}

/// Stops a process while it waits for events. A stop within an iteration of
/// its loop would count as part of that iteration.
fn stop_between_iterations(pid: Pid) {
    let call = || {
        let path = format!("/proc/{}/syscall", pid.as_raw_pid());
        let text = fs::read_to_string(path).unwrap();
        text.split(' ').next().map(str::to_owned)
    };
    // The call in which it sleeps is the one that waits for events.
    let waits = until("sleep", || {
        let call = call();
        (state(pid) == Some('S')).then_some(call)
    });
    until("a stop between two iterations", || {
        stop(pid);
        if call() == waits {
            return Some(());
        }
        kill_process(pid, Signal::CONT).unwrap();
        None
    });
}

/// Lets a process 1 inherit and reap thousands of orphans. Returns the longest
/// iteration of its loop and its processor time, in nanoseconds. Returns
/// `None` where the kernel does not count the latter.
fn reap_orphans() -> Option<(u64, u64)> {
    let tmp = root();
    tmp.service(
        "storm",
        "echo > ready
        until test -e go; do sleep 0.1; done
        i=0; while test $i -lt 10000; do i=$((i+1)); (: &); done
        echo > made; exec sleep 1000",
    );
    tmp.service("other", STAY);
    let mut one = boot(&tmp, "", &["runit"]);
    let storm = tmp.path("services/storm");
    until("the service", || fs::metadata(storm.join("ready")).ok());
    tmp.until_stat("other", "run");
    let init = one.supervisor();
    let before = run_time(init)?;
    stop_between_iterations(init);
    tmp.write("services/storm/go", "");
    until("the orphans", || fs::metadata(storm.join("made")).ok());
    kill_process(init, Signal::CONT).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", init.as_raw_pid());
    until("no more than the services", || {
        let list = fs::read_to_string(&children).unwrap();
        (list.split_whitespace().count() < 4).then_some(())
    });
    let spent = run_time(init).unwrap() - before;
    // The record of the longest iteration is at most a second old.
    let old = tmp.pid("other");
    tmp.control("other", "t");
    tmp.until_pid("other", old);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let old = tmp.pid("other");
    tmp.control("other", "t");
    tmp.until_pid("other", old);
    let longest = longest_iteration(&tmp);
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), POWER_OFF);
    Some((longest, spent))
}

#[test]
fn thousands_of_orphans_are_reaped_in_many_iterations() {
    if !can_run_pid_1() {
        return;
    }
    let mut seen = Vec::new();
    // A single iteration would always last for all of the processor time. One
    // of many lasts that long only when it is preempted.
    for _ in 0..5 {
        let Some((longest, spent)) = reap_orphans() else {
            return skip("needs /proc/PID/schedstat");
        };
        if longest > 0 && longest < spent / 2 {
            return;
        }
        seen.push((longest, spent));
    }
    panic!("longest iteration and processor time in ns: {seen:?}");
}

#[test]
fn programs_of_pid_1_get_the_original_descriptor_limit() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    for path in ["runit/once/once", "runit/ctrlaltdel"] {
        let name = path.rsplit('/').next().unwrap();
        let text = format!("echo {name} $(ulimit -Sn) >> /etc/seen");
        tmp.script(&format!("etc/{path}"), &text);
    }
    tmp.service("a", &format!("ulimit -Sn > limit\n{STAY}"));
    let mut one = boot(&tmp, "ulimit -Sn 99", &["runit"]);
    tmp.until_stat("a", "run");
    until("the service", || {
        (tmp.read("services/a/limit") == "99\n").then_some(())
    });
    signal(&one, Signal::INT);
    until("both", || {
        (tmp.read("etc/seen") == "once 99\nctrlaltdel 99\n").then_some(())
    });
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), POWER_OFF);
}
