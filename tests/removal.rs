//! Tests that removals from a services directory take effect once they have
//! lasted, and only then.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use util::{Place, Running, until};

/// A `run` line that keeps the service up.
const STAY: &str = "exec sleep 1000";

/// Time for which a removal must last, as given in runsvdir's manual.
const SETTLE: Duration = Duration::from_secs(2);

/// Starts the services `a`, `b` and `marker`, links into `other`.
fn start(place: &Place) -> (Running<'_>, [Pid; 2]) {
    for name in ["a", "b", "marker"] {
        place.script(&format!("other/{name}/run"), STAY);
        place.link(name);
    }
    let all = place.runsvdir();
    place.until_stat("marker", "run");
    (all, ["a", "b"].map(|name| place.until_pid(name, None)))
}

/// Waits until all entries removed so far, and the marker, are released.
fn until_settled(place: &Place) {
    fs::remove_file(place.path("services/marker")).unwrap();
    until_down(place, "marker");
    place.link("marker");
    place.until_stat("marker", "run");
}

fn until_down(place: &Place, name: &str) {
    place.until_stat_of(&format!("other/{name}"), "down");
}

/// Fails when one of the two was restarted.
fn assert_kept(place: &Place, pids: [Pid; 2], what: &str) {
    until_settled(place);
    let now = ["a", "b"].map(|name| place.until_pid(name, None));
    assert_eq!(now, pids, "{what}");
    // Printed while the services directory is missing.
    let missing = "unable to stat services: file does not exist";
    let said = place.read("errors");
    let other = said.lines().find(|line| !line.ends_with(missing));
    assert_eq!(other, None, "{what}");
}

#[test]
fn a_link_that_is_made_again_restarts_nothing() {
    let place = Place::new();
    let (_all, pids) = start(&place);
    let a = place.path("services/a");
    for _ in 0..5 {
        fs::remove_file(&a).unwrap();
        symlink("../other/a", &a).unwrap();
    }
    assert_kept(&place, pids, "removed and made");
    symlink("../other/a", place.path("new")).unwrap();
    fs::rename(place.path("new"), &a).unwrap();
    assert_kept(&place, pids, "renamed over");
    // The removal is noticed: a marker that comes later is running.
    fs::remove_file(&a).unwrap();
    place.script("other/c/run", STAY);
    place.link("c");
    place.until_stat("c", "run");
    place.link("a");
    assert_kept(&place, pids, "seen to be removed");
    fs::rename(&a, place.path("services/d")).unwrap();
    place.link("a");
    assert_kept(&place, pids, "a second name");
    fs::remove_file(place.path("services/d")).unwrap();
    assert_kept(&place, pids, "one of two names");
}

#[test]
fn a_services_directory_that_is_written_anew_restarts_nothing() {
    let place = Place::new();
    let (_all, pids) = start(&place);
    let services = place.path("services");
    let relink = || {
        fs::create_dir(&services).unwrap();
        ["a", "b", "marker"]
            .iter()
            .for_each(|name| place.link(name));
    };
    fs::remove_dir_all(&services).unwrap();
    relink();
    assert_kept(&place, pids, "removed and made");
    fs::rename(&services, place.path("away")).unwrap();
    relink();
    assert_kept(&place, pids, "another in its place");
    fs::remove_dir_all(&services).unwrap();
    fs::rename(place.path("away"), &services).unwrap();
    assert_kept(&place, pids, "the old one back");
}

#[test]
fn while_the_services_directory_is_missing_all_goes_on() {
    let place = Place::new();
    let (_all, pids) = start(&place);
    let services = place.path("services");
    fs::remove_dir_all(&services).unwrap();
    let missing = "unable to stat services: file does not exist\n";
    until("the reason", || {
        place.read("errors").ends_with(missing).then_some(())
    });
    std::thread::sleep(SETTLE * 2);
    place.link("a");
    place.link("marker");
    until_settled(&place);
    // A service that the new directory lacks is released.
    until_down(&place, "b");
    assert_eq!(place.pid("a"), Some(pids[0]));
}

#[test]
fn a_removal_takes_effect_when_it_has_settled() {
    let place = Place::new();
    let (_all, pids) = start(&place);
    let began = Instant::now();
    fs::remove_file(place.path("services/a")).unwrap();
    until_down(&place, "a");
    assert!(began.elapsed() >= SETTLE);
    assert_eq!(place.pid("b"), Some(pids[1]));
}

/// Checks that `a` is released before a removal has settled. A busy machine
/// may be late once, but not each time.
fn goes_at_once(place: &Place, mut act: impl FnMut(&Running<'_>)) -> bool {
    let (all, _) = start(place);
    (0..10).any(|_| {
        let began = Instant::now();
        act(&all);
        until_down(place, "a");
        let took = began.elapsed();
        let _there = fs::remove_file(place.path("services/a")).is_ok();
        place.script("other/a/run", STAY);
        place.link("a");
        place.until_pid("a", None);
        took < SETTLE
    })
}

#[test]
fn on_alarm_it_takes_effect_at_once() {
    let place = Place::new();
    assert!(goes_at_once(&place, |all| {
        fs::remove_file(place.path("services/a")).unwrap();
        all.kill(Signal::ALARM);
    }));
}

#[test]
fn a_name_that_leads_elsewhere_takes_effect_at_once() {
    for target in ["../other/other", "/dev/null"] {
        let place = Place::new();
        place.script("other/other/run", STAY);
        assert!(goes_at_once(&place, |_| {
            symlink(target, place.path("new")).unwrap();
            let a = place.path("services/a");
            fs::rename(place.path("new"), a).unwrap();
        }));
    }
}

#[test]
fn a_link_that_is_made_again_starts_what_was_told_to_exit() {
    let place = Place::new();
    let (_all, [old, _]) = start(&place);
    assert_eq!(place.run(&["sv", "-w", "20", "shutdown", "a"]).code, 0);
    let a = place.path("services/a");
    fs::remove_file(&a).unwrap();
    symlink("../other/a", &a).unwrap();
    place.until_pid("a", Some(old));
}
