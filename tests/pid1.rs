//! Tests PID 1 of a container: requests, flags, rescue, and runsvdir as
//! process 1.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/init.rs"]
mod init;
mod util;

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _};

use init::{
    OFF, RESTART, STAY, Terminal, boot, can_be_init, root, signal, until_said,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use util::{Place, skipped, until};

#[test]
fn a_container_ends_with_or_without_the_right_to_reboot() {
    if !can_be_init() {
        return;
    }
    let without = ["chpst", "--cap-bound", "kill,setuid,setgid,chown", "runit"];
    for (program, off, restart) in
        [(&["runit"][..], OFF, RESTART), (&without[..], 0, 129)]
    {
        for (number, code) in [(Signal::TERM, off), (Signal::INT, restart)] {
            let place = root();
            place.service(
                "a",
                "trap 'echo bye >>../said; exit' TERM
                : >../ready; while :; do sleep 0.1; done",
            );
            let mut one = boot(&place, "", program);
            until("a trap", || fs::metadata(place.path("services/ready")).ok());
            signal(&one, number);
            assert_eq!(one.wait(), code, "{}", place.read("errors"));
            assert_eq!(place.read("services/said"), "bye\n");
        }
    }
}

#[test]
fn a_container_without_a_console_says_all_on_descriptor_2() {
    if !can_be_init() {
        return;
    }
    let place = root();
    place.service("a", STAY);
    let kmsg = "mount --bind etc/kmsg /dev/kmsg";
    place.write("etc/kmsg", "");
    let mut one = boot(&place, kmsg, &["runit"]);
    until_said(&place, " services up, ");
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), OFF);
    assert_eq!(place.read("etc/kmsg"), "");
    let said = place.read("errors");
    for line in ["booting.", "stopping services...", "power off..."] {
        let count = said.matches(line).count();
        assert_eq!(count, 1, "{line}: {said}");
    }
}

#[test]
fn a_service_in_a_container_reads_nothing_of_the_console() {
    if !can_be_init() {
        return;
    }
    let mut terminal = Terminal::new();
    let place = root();
    place.service(
        "spy",
        "echo ready >&2
        for n in 0 1 2; do
            line=; eval \"read -r line <&$n\"; echo \"$n $line\" >>../said
        done 2>/dev/null
        readlink /proc/self/fd/0 >>../said; exec sleep 1000",
    );
    // A script that PID 1 itself starts reads it.
    place.script(
        "etc/runit/ctrlaltdel",
        "read -r line; echo \"keys: $line\"; poweroff",
    );
    let mut one = boot(&place, &terminal.mount, &["runit"]);
    terminal.until_said("ready\r\n");
    terminal.master.write_all(b"secret\n").unwrap();
    until("a spy", || {
        place.read("services/said").contains("null").then_some(())
    });
    assert_eq!(place.read("services/said"), "0 \n1 \n2 \n/dev/null\n");
    signal(&one, Signal::INT);
    terminal.until_said("keys: secret\r\n");
    assert_eq!(one.wait(), OFF);
}

/// Creates a service that does something once and then stays up.
fn once(place: &Place, what: &str) {
    place.service("once", &format!("{what}\n{STAY}"));
}

/// Creates a flag that is set, as an earlier request leaves it.
fn stale(place: &Place, flag: &str) {
    place.write(flag, "");
    let path = place.path(flag);
    fs::set_permissions(path, fs::Permissions::from_mode(0o100)).unwrap();
}

#[test]
fn only_the_flags_of_the_request_count() {
    if !can_be_init() {
        return;
    }
    let read_only = "mount -o remount,bind,ro /etc";
    let both = "chmod 100 /run/runit.stopit; chmod 100 /run/runit.reboot
        kill -CONT 1";
    let again = "chmod 0 /etc/runit/reboot; chmod 100 /etc/runit/reboot
        : >/etc/runit/stopit; chmod 100 /etc/runit/stopit; kill -CONT 1";
    let rows = [
        (&[][..], "", "poweroff", OFF),
        (&[], "", "reboot", RESTART),
        (&["etc/runit/reboot"], "", "poweroff", OFF),
        (&["etc/runit/reboot"], read_only, "poweroff", OFF),
        (&["etc/runit/reboot"], read_only, "reboot", RESTART),
        (&["etc/runit/reboot"], read_only, "runit-init 0", OFF),
        (&["varrun/runit.reboot"], "", "poweroff", OFF),
        (&["varrun/runit.reboot"], read_only, "poweroff", OFF),
        (&["varrun/runit.reboot"], read_only, "reboot", RESTART),
        // As the scripts of distributions do it.
        (&["etc/runit/reboot"], read_only, both, RESTART),
        (&["etc/runit/reboot"], "", again, RESTART),
        // No program of ours sends it, so the flag cannot belong to it.
        (&["etc/runit/reboot"], "", "kill -PWR 1", OFF),
    ];
    for (flags, prepare, request, end) in rows {
        let place = root();
        for flag in flags {
            stale(&place, flag);
        }
        place.write("varrun/runit.stopit", "");
        if !flags.contains(&"varrun/runit.reboot") {
            place.write("varrun/runit.reboot", "");
        }
        once(&place, request);
        let mut one = boot(&place, prepare, &["runit"]);
        let ended = one.wait();
        let said = place.read("errors");
        assert_eq!(ended, end, "{flags:?} {prepare} {request}: {said}");
    }
}

#[test]
fn a_stop_flag_that_nobody_has_set_does_not_stop() {
    if !can_be_init() {
        return;
    }
    let place = root();
    stale(&place, "etc/runit/stopit");
    place.service("a", STAY);
    let mut one = boot(&place, "mount -o remount,bind,ro /etc", &["runit"]);
    until_said(&place, " services up, ");
    signal(&one, Signal::CONT);
    place.script("services/b/run", &format!("poweroff; {STAY}"));
    assert_eq!(one.wait(), OFF);
    let said = place.read("errors");
    assert!(place.path("services/b/supervise").exists(), "{said}");
}

#[test]
fn a_stage_2_that_ends_by_itself_obeys_the_reboot_flag() {
    if !can_be_init() {
        return;
    }
    for (left, script, end) in [
        (false, "", OFF),
        (true, "", OFF),
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
        let place = root();
        if left {
            stale(&place, "etc/runit/reboot");
        }
        place.script("etc/runit/2", &format!("{script}\nexit 0"));
        let mut one = boot(&place, "", &["runit"]);
        assert_eq!(one.wait(), end, "{left} {script}");
    }
}

#[test]
fn a_power_failure_is_decided_by_its_program() {
    if !can_be_init() {
        return;
    }
    let place = root();
    place.service("a", STAY);
    place.script(
        "etc/runit/pwrfail",
        "test -x /etc/runit/stopit || exit
        echo failed >>/etc/service/said
        test -e /etc/service/battery || exit 0
        chmod 0 /etc/runit/stopit",
    );
    place.write("services/battery", "");
    let mut one = boot(&place, "", &["runit"]);
    until_said(&place, " services up, ");
    signal(&one, Signal::POWER);
    until_said(&place, "- runit: leave stage: /etc/runit/pwrfail\n");
    assert_eq!(place.read("services/said"), "failed\n");
    place.until_pid("a", None);
    fs::remove_file(place.path("services/battery")).unwrap();
    signal(&one, Signal::POWER);
    assert_eq!(one.wait(), OFF);
    assert_eq!(place.read("services/said"), "failed\nfailed\n");
    let said = place.read("errors");
    assert_eq!(said.matches("power failure...").count(), 2, "{said}");
    assert_eq!(said.matches("stopping services...").count(), 1, "{said}");
}

#[test]
fn a_power_failure_where_no_flag_can_be_set_ends_it_after_its_program() {
    if !can_be_init() {
        return;
    }
    let place = root();
    place.service("a", STAY);
    place.script("etc/runit/pwrfail", "exit 1");
    let read_only = "mount -o remount,bind,ro /etc
        mount -o remount,bind,ro /run";
    let mut one = boot(&place, read_only, &["runit"]);
    until_said(&place, " services up, ");
    signal(&one, Signal::POWER);
    assert_eq!(one.wait(), OFF);
    until_said(&place, "- runit: leave stage: /etc/runit/pwrfail\n");
}

#[test]
fn rescue_asks_for_a_password_or_is_refused() {
    if !can_be_init() {
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
        let place = root();
        place.write("etc/passwd", passwd);
        place.write("etc/shadow", shadow);
        place.script("etc/runit/1", "exit 1");
        place.script("sbin/sulogin", "echo asks for it >>/etc/service/said");
        place.service("a", STAY);
        let mut one = boot(&place, "mount --bind sbin /sbin", &["runit"]);
        until_said(&place, " services up, ");
        let said = place.read("errors");
        let asked = !place.read("services/said").is_empty();
        assert_eq!(asked, asks, "{passwd:?} {shadow:?}: {said}");
        assert_eq!(said.contains("no rescue: "), !asks, "{said}");
        signal(&one, Signal::TERM);
        assert_eq!(one.wait(), OFF);
    }
}

#[test]
fn runsvdir_as_process_1_ends_with_its_services() {
    if !can_be_init() {
        return;
    }
    for (number, code) in [(Signal::TERM, 0), (Signal::HUP, 111)] {
        let place = root();
        let services = place.path("services");
        let services = services.display();
        place.service(
            "db",
            "trap 'sleep 0.3; echo saved >>../said; exit' TERM
            : >../ready; while :; do sleep 0.1; done",
        );
        place.service(
            "web",
            "trap 'echo last words; exit' TERM
            : >../ready2; while :; do sleep 0.1; done",
        );
        let log = format!("exec svlogd {services}/../main");
        fs::create_dir(place.path("main")).unwrap();
        place.script("services/web/log/run", &log);
        // Leaves two orphans: one still has work to do at its end.
        place.service(
            "forks",
            "(trap 'echo orphan >>../said; exit' TERM; : >../ready3
            while :; do sleep 0.1; done) &
            (exit 3) &
            exit 0",
        );
        let mut one = boot(&place, "", &["runsvdir", "-P", "/etc/service"]);
        for ready in ["ready", "ready2", "ready3"] {
            let path = services.to_string() + "/" + ready;
            until(ready, || fs::metadata(&path).ok());
        }
        signal(&one, number);
        assert_eq!(one.wait(), code, "{}", place.read("errors"));
        assert!(place.read("main/current").ends_with("last words\n"));
        let said = place.read("services/said");
        assert!(said.contains("saved\n"), "{said}");
        assert!(said.contains("orphan\n"), "{said}");
    }
}

#[test]
fn runsvdir_as_process_1_reaps_orphans() {
    if !can_be_init() {
        return;
    }
    let place = root();
    place.service(
        "a",
        "n=0; while [ $n -lt 200 ]; do (sleep 0 & exit 0); n=$((n + 1)); done
        : >../done; exec sleep 1000",
    );
    let mut one = boot(&place, "", &["runsvdir", "/etc/service"]);
    until("many orphans", || {
        fs::metadata(place.path("services/done")).ok()
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
fn longest_turn(place: &Place) -> u64 {
    let places = fs::read_dir(place.path("run")).unwrap();
    let turns = places.filter_map(|place| {
        let turn = place.unwrap().path().join("turn");
        fs::read_to_string(turn).ok()?.trim().parse::<u64>().ok()
    });
    turns.max().unwrap_or(0) * 1000
}

/// Stops a process while it waits for events. A stop within an iteration of
/// its loop would count as part of that iteration.
fn stop_between_iterations(pid: Pid) {
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_pid()))
            .unwrap()
    };
    let state = || {
        let stat = read("stat");
        stat.rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next())
    };
    let call = || read("syscall").split(' ').next().map(str::to_owned);
    // The call in which it sleeps is the one that waits for events.
    let waits = until("sleep", || {
        let call = call();
        (state() == Some('S')).then_some(call)
    });
    until("a stop between two iterations", || {
        kill_process(pid, Signal::STOP).unwrap();
        until("the stop", || (state() == Some('T')).then_some(()));
        if call() == waits {
            return Some(());
        }
        kill_process(pid, Signal::CONT).unwrap();
        None
    });
}

#[test]
fn thousands_of_orphans_are_reaped_in_many_turns() {
    if !can_be_init() {
        return;
    }
    let place = root();
    place.service(
        "storm",
        "echo > ready
        until test -e go; do sleep 0.1; done
        i=0; while test $i -lt 10000; do i=$((i+1)); (: &); done
        echo > made; exec sleep 1000",
    );
    place.service("other", STAY);
    let mut one = boot(&place, "", &["runit"]);
    let storm = place.path("services/storm");
    until("the service", || fs::metadata(storm.join("ready")).ok());
    place.until_stat("other", "run");
    let init = one.supervisor();
    let Some(before) = run_time(init) else {
        return skipped("needs /proc/PID/schedstat");
    };
    stop_between_iterations(init);
    place.write("services/storm/go", "");
    until("the orphans", || fs::metadata(storm.join("made")).ok());
    let resumed = std::time::Instant::now();
    kill_process(init, Signal::CONT).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", init.as_raw_pid());
    until("no more than the services", || {
        let list = fs::read_to_string(&children).unwrap();
        (list.split_whitespace().count() < 4).then_some(())
    });
    let spent = run_time(init).unwrap() - before;
    // On a busy machine an iteration is interrupted, which counts in its
    // length.
    let elapsed = u64::try_from(resumed.elapsed().as_nanos()).unwrap();
    let spent = spent.max(elapsed);
    // The record of the longest iteration is at most a second old.
    let old = place.pid("other");
    place.control("other", "t");
    place.until_pid("other", old);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let old = place.pid("other");
    place.control("other", "t");
    place.until_pid("other", old);
    // A single iteration would have lasted for all of that time.
    let turn = longest_turn(&place);
    assert!(turn > 0 && turn < spent / 2, "{turn} of {spent} ns");
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), OFF);
}

#[test]
fn programs_of_process_1_have_the_limit_that_was_given() {
    if !can_be_init() {
        return;
    }
    let place = root();
    for path in ["runit/once/once", "runit/ctrlaltdel"] {
        let name = path.rsplit('/').next().unwrap();
        let text = format!("echo {name} $(ulimit -Sn) >> /etc/seen");
        place.script(&format!("etc/{path}"), &text);
    }
    place.service("a", &format!("ulimit -Sn > limit\n{STAY}"));
    let mut one = boot(&place, "ulimit -Sn 99", &["runit"]);
    place.until_stat("a", "run");
    until("the service", || {
        (place.read("services/a/limit") == "99\n").then_some(())
    });
    signal(&one, Signal::INT);
    until("both", || {
        (place.read("etc/seen") == "once 99\nctrlaltdel 99\n").then_some(())
    });
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), OFF);
}
