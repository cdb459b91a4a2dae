//! Tests that service directories that cannot be used cost neither time nor
//! lines, delay no other, and are used once they can be.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Resource, Rlimit, Signal, prlimit},
};
use util::{Place, spent, until};

/// A `run` line that keeps the service up.
const STAY: &str = "exec sleep 1000";

/// Creates service directories `other/NAME` that stay down.
fn make(place: &Place, names: &[String]) {
    place.script("stay", STAY);
    for name in names {
        place.write(&format!("other/{name}/down"), "");
        let run = place.path(&format!("other/{name}/run"));
        symlink(place.path("stay"), run).unwrap();
    }
}

fn names(letter: char, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{letter}{n:03}")).collect()
}

/// Takes the lock of a service directory, as another supervisor would.
fn lock(place: &Place, name: &str) -> File {
    let path = place.path(&format!("other/{name}/supervise/lock"));
    fs::create_dir(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

/// Counts the service directories in use.
fn taken(place: &Place, names: &[String]) -> usize {
    let stat = |name: &str| format!("other/{name}/supervise/stat");
    names
        .iter()
        .filter(|name| place.path(&stat(name)).exists())
        .count()
}

fn until_taken(place: &Place, names: &[String]) {
    until("all services", || {
        (taken(place, names) == names.len()).then_some(())
    });
}

/// Counts the occurrences of a text among the printed lines.
fn lines(place: &Place, text: &str) -> usize {
    place.read("errors").matches(text).count()
}

fn until_lines(place: &Place, text: &str, count: usize) {
    until(&format!("{count} lines `{text}`"), || {
        (lines(place, text) >= count).then_some(())
    });
    assert_eq!(lines(place, text), count);
}

/// Fails when an idle supervisor uses a noticeable share of a processor.
fn assert_rests(supervisor: Pid) {
    let before = spent(supervisor);
    std::thread::sleep(Duration::from_secs(2));
    let used = spent(supervisor) - before;
    assert!(used < 20, "it spins: {used} hundredths in two seconds");
}

/// Returns the number of slots of the release file.
fn slots(place: &Place) -> usize {
    let said = place.run(&["runt", "limits"]).out;
    let line = said.lines().find_map(|line| line.strip_prefix("slots "));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn those_refused_do_not_keep_good_ones_from_starting() {
    let place = Place::new();
    let (locked, good) = (names('b', 20), names('g', 10));
    make(&place, &locked);
    make(&place, &good);
    let locks: Vec<_> = locked.iter().map(|name| lock(&place, name)).collect();
    locked.iter().for_each(|name| place.link(name));
    let all = place.runsvdir();
    until_lines(&place, "unable to lock supervise/lock", locked.len());
    good.iter().for_each(|name| place.link(name));
    until_taken(&place, &good);
    assert_rests(all.supervisor());
    assert_eq!(taken(&place, &locked), 0);
    let said = place.read("errors");
    assert_eq!(said.lines().count(), locked.len(), "{said}");
    drop(locks);
}

#[test]
fn a_refused_one_is_tried_again() {
    let place = Place::new();
    let locked = names('b', 1);
    make(&place, &locked);
    let held = lock(&place, &locked[0]);
    place.link(&locked[0]);
    let _all = place.runsvdir();
    until_lines(&place, "unable to lock supervise/lock", 1);
    // No event reports that the lock is free.
    drop(held);
    until_taken(&place, &locked);
    assert_eq!(lines(&place, "\n"), 1);
}

#[test]
fn a_refused_one_is_tried_at_once_when_its_link_changes_or_on_alarm() {
    let place = Place::new();
    let locked = names('b', 2);
    make(&place, &locked);
    let locks: Vec<_> = locked.iter().map(|name| lock(&place, name)).collect();
    locked.iter().for_each(|name| place.link(name));
    let all = place.runsvdir();
    until_lines(&place, "unable to lock supervise/lock", 2);
    drop(locks);
    fs::remove_file(place.path("services/b000")).unwrap();
    place.link("b000");
    until_taken(&place, &locked[..1]);
    all.kill(Signal::ALARM);
    until_taken(&place, &locked);
}

#[test]
fn more_services_than_slots_are_reported_once_and_cost_nothing() {
    let place = Place::new();
    let slots = slots(&place);
    let more = 26;
    let all = names('s', slots + more);
    make(&place, &all);
    all.iter().for_each(|name| place.link(name));
    let running = place.runsvdir();
    until_lines(&place, "too many services (slots = ", more);
    until("a full table", || {
        (taken(&place, &all) == slots).then_some(())
    });
    // A change that causes a scan; a line shows that the scan is over.
    place.write("services/file", "");
    symlink("nothing", place.path("services/x")).unwrap();
    until_lines(&place, "unable to stat x", 1);
    assert_rests(running.supervisor());
    assert_eq!(lines(&place, "\n"), more + 1);
}

#[test]
fn too_few_descriptors() {
    let place = Place::new();
    let all = names('s', 30);
    make(&place, &all);
    let running = place.runsvdir();
    place.service("first", STAY);
    place.until_stat("first", "run");
    let supervisor = running.supervisor();
    let open = format!("/proc/{}/fd", supervisor.as_raw_pid());
    let open = fs::read_dir(open).unwrap().count() as u64;
    let old = rustix::process::getrlimit(Resource::Nofile);
    let set = |current| {
        let maximum = old.maximum;
        let new = Rlimit { current, maximum };
        prlimit(Some(supervisor), Resource::Nofile, new).unwrap()
    };
    let before = set(Some(open + 12));
    all.iter().for_each(|name| place.link(name));
    until("a refusal", || {
        (lines(&place, "cannot open more files") > 0).then_some(())
    });
    assert_rests(supervisor);
    assert!(taken(&place, &all) < all.len());
    set(before.current);
    until_taken(&place, &all);
    assert!(lines(&place, "\n") <= all.len() + 1);
}

#[test]
fn each_cause_is_told_once_whatever_the_count() {
    let place = Place::new();
    let slots = slots(&place);
    let dangling = names('x', slots + 40);
    fs::create_dir(place.path("services")).unwrap();
    let dangle = |name: &str| {
        let target = format!("../there/{name}/nothing");
        symlink(target, place.path(&format!("services/{name}"))).unwrap();
    };
    for name in &dangling {
        dangle(name);
        // More of these directories than watches.
        fs::create_dir_all(place.path(&format!("there/{name}"))).unwrap();
    }
    // One scan takes many loop iterations; meanwhile a running service must
    // not count as missing.
    place.service("stays", STAY);
    let all = place.runsvdir();
    let pid = place.until_pid("stays", None);
    let more = |count| format!("unable to use {count} more entries (slots = ");
    until_lines(&place, &more(40), 1);
    let blind = "unable to watch the services directory: more than watches";
    assert_eq!(lines(&place, blind), 1);
    assert_eq!(lines(&place, "unable to stat x"), slots);
    for _ in 0..3 {
        all.kill(Signal::ALARM);
    }
    // One more than before: only that one is reported.
    dangle("y");
    until_lines(&place, &more(41), 1);
    assert_eq!(lines(&place, "\n"), slots + 3);
    assert_eq!(place.pid("stays"), Some(pid));
    // One of the reported entries becomes usable; another has its table entry.
    make(&place, &names('g', 1));
    let first = place.read("errors");
    let (_, first) = first.split_once("unable to stat ").unwrap();
    let (first, _) = first.split_once(':').unwrap();
    let link = place.path(&format!("services/{first}"));
    symlink("../other/g000", place.path("new")).unwrap();
    fs::rename(place.path("new"), link).unwrap();
    until_taken(&place, &names('g', 1));
}
