//! Tests that removals from a services directory take effect once they have
//! lasted, and only then.

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{Running, STAY, TestDir, init, stop, until};

/// Time for which a removal must last, as given in runsvdir's manual.
const SETTLE: Duration = Duration::from_secs(2);

/// Starts the services `a`, `b` and `marker`, links into `other`.
fn start(tmp: &TestDir) -> (Running<'_>, [Pid; 2]) {
    for name in ["a", "b", "marker"] {
        tmp.script(&format!("other/{name}/run"), STAY);
        tmp.link(name);
    }
    let all = tmp.runsvdir();
    tmp.until_stat("marker", "run");
    (all, ["a", "b"].map(|name| tmp.until_pid(name, None)))
}

/// Waits until all entries removed so far, and the marker, are released.
fn until_settled(tmp: &TestDir) {
    fs::remove_file(tmp.path("services/marker")).unwrap();
    until_down(tmp, "marker");
    tmp.link("marker");
    tmp.until_stat("marker", "run");
}

fn until_down(tmp: &TestDir, name: &str) {
    tmp.until_stat_of(&format!("other/{name}"), "down");
}

/// Fails when one of the two was restarted.
fn assert_not_restarted(tmp: &TestDir, pids: [Pid; 2], what: &str) {
    until_settled(tmp);
    let now = ["a", "b"].map(|name| tmp.until_pid(name, None));
    assert_eq!(now, pids, "{what}");
    // Printed while the services directory is missing, by the first call that
    // notices it.
    let missing = "services: file does not exist";
    let output = tmp.read("errors");
    let other = output.lines().find(|line| !line.ends_with(missing));
    assert_eq!(other, None, "{what}");
}

#[test]
fn a_recreated_link_restarts_nothing() {
    let tmp = TestDir::new();
    let (_all, pids) = start(&tmp);
    let a = tmp.path("services/a");
    for _ in 0..5 {
        fs::remove_file(&a).unwrap();
        symlink("../other/a", &a).unwrap();
    }
    assert_not_restarted(&tmp, pids, "removed and made");
    symlink("../other/a", tmp.path("new")).unwrap();
    fs::rename(tmp.path("new"), &a).unwrap();
    assert_not_restarted(&tmp, pids, "renamed over");
    // The removal is noticed: a marker that comes later is running.
    fs::remove_file(&a).unwrap();
    tmp.script("other/c/run", STAY);
    tmp.link("c");
    tmp.until_stat("c", "run");
    tmp.link("a");
    assert_not_restarted(&tmp, pids, "seen to be removed");
    fs::rename(&a, tmp.path("services/d")).unwrap();
    tmp.link("a");
    assert_not_restarted(&tmp, pids, "a second name");
    fs::remove_file(tmp.path("services/d")).unwrap();
    assert_not_restarted(&tmp, pids, "one of two names");
}

#[test]
fn a_recreated_services_directory_restarts_nothing() {
    let tmp = TestDir::new();
    let (_all, pids) = start(&tmp);
    let services = tmp.path("services");
    let relink = || {
        fs::create_dir(&services).unwrap();
        ["a", "b", "marker"].iter().for_each(|name| tmp.link(name));
    };
    fs::remove_dir_all(&services).unwrap();
    relink();
    assert_not_restarted(&tmp, pids, "removed and made");
    fs::rename(&services, tmp.path("away")).unwrap();
    relink();
    assert_not_restarted(&tmp, pids, "another instead of it");
    fs::remove_dir_all(&services).unwrap();
    fs::rename(tmp.path("away"), &services).unwrap();
    assert_not_restarted(&tmp, pids, "the old one back");
}

#[test]
fn services_survive_a_missing_services_directory() {
    let tmp = TestDir::new();
    let (_all, pids) = start(&tmp);
    let services = tmp.path("services");
    fs::remove_dir_all(&services).unwrap();
    let missing = "unable to stat services: file does not exist\n";
    until("the reason", || {
        tmp.read("errors").ends_with(missing).then_some(())
    });
    // Nothing is released in that time.
    std::thread::sleep(SETTLE * 2);
    tmp.link("a");
    tmp.link("marker");
    until_settled(&tmp);
    // A service that the new directory lacks is released.
    until_down(&tmp, "b");
    assert_eq!(tmp.pid("a"), Some(pids[0]));
}

#[test]
fn a_removal_takes_effect_after_the_settling_time() {
    let tmp = TestDir::new();
    let (_all, pids) = start(&tmp);
    let began = Instant::now();
    fs::remove_file(tmp.path("services/a")).unwrap();
    until_down(&tmp, "a");
    assert!(began.elapsed() >= SETTLE);
    assert_eq!(tmp.pid("b"), Some(pids[1]));
}

/// Checks that `a` is released before a removal has settled. A busy machine
/// may be late once, but not each time.
fn is_released_at_once(
    tmp: &TestDir,
    mut act: impl FnMut(&Running<'_>),
) -> bool {
    let (all, _) = start(tmp);
    (0..10).any(|_| {
        let began = Instant::now();
        act(&all);
        until_down(tmp, "a");
        let took = began.elapsed();
        let _there = fs::remove_file(tmp.path("services/a")).is_ok();
        tmp.script("other/a/run", STAY);
        tmp.link("a");
        tmp.until_pid("a", None);
        took < SETTLE
    })
}

#[test]
fn alarm_makes_removals_take_effect_at_once() {
    let tmp = TestDir::new();
    assert!(is_released_at_once(&tmp, |all| {
        fs::remove_file(tmp.path("services/a")).unwrap();
        all.kill(Signal::ALARM);
    }));
}

#[test]
fn a_retargeted_link_takes_effect_at_once() {
    for target in ["../other/other", "/dev/null"] {
        let tmp = TestDir::new();
        tmp.script("other/other/run", STAY);
        assert!(is_released_at_once(&tmp, |_| {
            symlink(target, tmp.path("new")).unwrap();
            let a = tmp.path("services/a");
            fs::rename(tmp.path("new"), a).unwrap();
        }));
    }
}

#[test]
fn a_recreated_link_starts_an_exited_service() {
    let tmp = TestDir::new();
    let (_all, [old, _]) = start(&tmp);
    assert_eq!(tmp.run(&["sv", "-w", "20", "shutdown", "a"]).code, 0);
    let a = tmp.path("services/a");
    fs::remove_file(&a).unwrap();
    symlink("../other/a", &a).unwrap();
    tmp.until_pid("a", Some(old));
}

/// Makes a supervisor fault, or kills it, and changes links before it can
/// notice that. Returns when the next one, or the same again, has begun.
fn interrupt(
    tmp: &TestDir,
    all: &Running<'_>,
    signal: Signal,
    change: impl FnOnce(),
) {
    let old = all.supervisor();
    let faults = tmp.read("errors").matches(": fault ").count();
    stop(old);
    change();
    kill_process(old, signal).unwrap();
    if signal == Signal::KILL {
        // It ends though it is stopped.
        until("the next supervisor", || {
            (all.supervisor() != old).then_some(())
        });
    } else {
        kill_process(old, Signal::CONT).unwrap();
        let line = format!("fault {} of the supervisor", faults + 1);
        init::until_printed(tmp, &line);
    }
}

/// Waits until the changes so far were noticed: a link that is made now is.
fn until_noticed(tmp: &TestDir) {
    let name = format!("noticed{}", tmp.read("noticed").len());
    tmp.write("noticed", &format!("{name}{}", tmp.read("noticed")));
    tmp.script(&format!("other/{name}/run"), STAY);
    tmp.link(&name);
    tmp.until_stat(&name, "run");
}

/// Tests each order of a removal, its effect, an end of the supervisor and
/// the same link again.
fn is_made_again_around(signal: Signal) {
    let tmp = TestDir::new();
    let (all, [a, b]) = start(&tmp);
    let link = tmp.path("services/a");
    let remove = || fs::remove_file(&link).unwrap();
    let make = || tmp.link("a");
    // Before the removal has settled.
    interrupt(&tmp, &all, signal, || {
        remove();
        make();
    });
    remove();
    interrupt(&tmp, &all, signal, make);
    remove();
    until_noticed(&tmp);
    interrupt(&tmp, &all, signal, make);
    interrupt(&tmp, &all, signal, remove);
    make();
    assert_not_reported(&tmp);
    until_settled(&tmp);
    assert_eq!(tmp.until_pid("a", None), a);
    // After its end.
    remove();
    until_down(&tmp, "a");
    interrupt(&tmp, &all, signal, make);
    let a = tmp.until_pid("a", Some(a));
    remove();
    until_down(&tmp, "a");
    interrupt(&tmp, &all, signal, || {});
    make();
    let a = tmp.until_pid("a", Some(a));
    // Before its end, for which it was told to exit.
    tmp.service_ignoring("a", "TERM");
    assert_eq!(tmp.run(&["sv", "-w", "20", "kill", "a"]).code, 0);
    let mut a = tmp.until_pid("a", Some(a));
    for before in [true, false] {
        tmp.until_ignoring();
        remove();
        tmp.until_stat_of("other/a", "run, got TERM, want exit");
        if before {
            interrupt(&tmp, &all, signal, make);
        } else {
            make();
            interrupt(&tmp, &all, signal, || {});
        }
        until_noticed(&tmp);
        kill_process(a, Signal::KILL).unwrap();
        a = tmp.until_pid("a", Some(a));
    }
    assert_eq!(tmp.until_pid("b", None), b);
}

/// Fails if anything but an end or a fault was reported.
fn assert_not_reported(tmp: &TestDir) {
    let text = tmp.read("errors");
    let other = text.lines().find(|line| {
        !line.ends_with("the supervisor has ended, restarting")
            && !line.contains(": fault ")
    });
    assert_eq!(other, None);
}

#[test]
fn a_link_is_made_again_around_a_fault() {
    is_made_again_around(Signal::SEGV);
}

#[test]
fn a_link_is_made_again_around_a_kill() {
    is_made_again_around(Signal::KILL);
}

#[test]
fn an_exited_service_stays_down_until_its_link_is_made_again() {
    let tmp = TestDir::new();
    let (all, [a, _]) = start(&tmp);
    let link = tmp.path("services/a");
    let remove = || fs::remove_file(&link).unwrap();
    let make = || tmp.link("a");
    let fault = |change: &dyn Fn()| {
        interrupt(&tmp, &all, Signal::SEGV, change);
    };
    let exit = |old| {
        let a = tmp.until_pid("a", Some(old));
        assert_eq!(tmp.run(&["sv", "-w", "20", "shutdown", "a"]).code, 0);
        a
    };
    assert_eq!(tmp.run(&["sv", "-w", "20", "shutdown", "a"]).code, 0);
    for _ in 0..2 {
        fault(&|| {});
        until_noticed(&tmp);
        assert_eq!(tmp.stat("a"), "down");
        assert_eq!(tmp.pid("a"), None);
    }
    remove();
    make();
    let a = exit(a);
    // Removed before the fault, while the supervisor does not look, and after.
    remove();
    until_noticed(&tmp);
    fault(&make);
    let a = exit(a);
    fault(&remove);
    until_noticed(&tmp);
    make();
    let a = exit(a);
    fault(&|| {});
    remove();
    until_noticed(&tmp);
    make();
    let a = exit(a);
    // A kill forgets it.
    interrupt(&tmp, &all, Signal::KILL, || {});
    tmp.until_pid("a", Some(a));
}
