//! Tests that service directories that cannot be used cost neither time nor
//! lines, delay no other, and are used once they can be.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Resource, Rlimit, Signal, prlimit},
};

use crate::util::{STAY, TestDir, cpu_time, until};

/// Creates service directories `other/NAME` that stay down.
fn create(tmp: &TestDir, names: &[String]) {
    tmp.script("stay", STAY);
    for name in names {
        tmp.write(&format!("other/{name}/down"), "");
        let run = tmp.path(&format!("other/{name}/run"));
        symlink(tmp.path("stay"), run).unwrap();
    }
}

fn names(letter: char, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{letter}{n:03}")).collect()
}

/// Takes the lock of a service directory, as another supervisor would.
fn lock(tmp: &TestDir, name: &str) -> File {
    let path = tmp.path(&format!("other/{name}/supervise/lock"));
    fs::create_dir(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

/// Counts the service directories in use.
fn count_used(tmp: &TestDir, names: &[String]) -> usize {
    let stat = |name: &str| format!("other/{name}/supervise/stat");
    names
        .iter()
        .filter(|name| tmp.path(&stat(name)).exists())
        .count()
}

fn until_used(tmp: &TestDir, names: &[String]) {
    until("all services", || {
        (count_used(tmp, names) == names.len()).then_some(())
    });
}

/// Counts the occurrences of a text among the printed lines.
fn lines(tmp: &TestDir, text: &str) -> usize {
    tmp.read("errors").matches(text).count()
}

fn until_lines(tmp: &TestDir, text: &str, count: usize) {
    until(&format!("{count} lines `{text}`"), || {
        (lines(tmp, text) >= count).then_some(())
    });
    assert_eq!(lines(tmp, text), count);
}

/// Fails when an idle supervisor uses a noticeable share of a processor.
fn assert_idle(supervisor: Pid) {
    let before = cpu_time(supervisor);
    std::thread::sleep(Duration::from_secs(2));
    let used = cpu_time(supervisor) - before;
    assert!(used < 20, "it spins: {used} hundredths in two seconds");
}

/// Returns the number of slots of the release file.
fn slots(tmp: &TestDir) -> usize {
    let output = tmp.run(&["runt", "limits"]).stdout;
    let line = output.lines().find_map(|line| line.strip_prefix("slots "));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn refused_services_do_not_delay_others() {
    let tmp = TestDir::new();
    let (locked, good) = (names('b', 20), names('g', 10));
    create(&tmp, &locked);
    create(&tmp, &good);
    let locks: Vec<_> = locked.iter().map(|name| lock(&tmp, name)).collect();
    locked.iter().for_each(|name| tmp.link(name));
    let all = tmp.runsvdir();
    until_lines(&tmp, "unable to lock supervise/lock", locked.len());
    good.iter().for_each(|name| tmp.link(name));
    until_used(&tmp, &good);
    assert_idle(all.supervisor());
    assert_eq!(count_used(&tmp, &locked), 0);
    let output = tmp.read("errors");
    assert_eq!(output.lines().count(), locked.len(), "{output}");
    drop(locks);
}

#[test]
fn a_refused_service_is_retried() {
    let tmp = TestDir::new();
    let locked = names('b', 1);
    create(&tmp, &locked);
    let held = lock(&tmp, &locked[0]);
    tmp.link(&locked[0]);
    let _all = tmp.runsvdir();
    until_lines(&tmp, "unable to lock supervise/lock", 1);
    // No event reports that the lock is free.
    drop(held);
    until_used(&tmp, &locked);
    assert_eq!(lines(&tmp, "\n"), 1);
}

#[test]
fn a_changed_link_or_alarm_retries_at_once() {
    let tmp = TestDir::new();
    let locked = names('b', 2);
    create(&tmp, &locked);
    let locks: Vec<_> = locked.iter().map(|name| lock(&tmp, name)).collect();
    locked.iter().for_each(|name| tmp.link(name));
    let all = tmp.runsvdir();
    until_lines(&tmp, "unable to lock supervise/lock", 2);
    drop(locks);
    fs::remove_file(tmp.path("services/b000")).unwrap();
    tmp.link("b000");
    until_used(&tmp, &locked[..1]);
    all.kill(Signal::ALARM);
    until_used(&tmp, &locked);
}

#[test]
fn more_services_than_slots_are_reported_once() {
    let tmp = TestDir::new();
    let slots = slots(&tmp);
    let more = 26;
    let all = names('s', slots + more);
    create(&tmp, &all);
    all.iter().for_each(|name| tmp.link(name));
    let running = tmp.runsvdir();
    until_lines(&tmp, "too many services (slots = ", more);
    until("a full table", || {
        (count_used(&tmp, &all) == slots).then_some(())
    });
    // A change that causes a scan; a line shows that the scan is over.
    tmp.write("services/file", "");
    symlink("nothing", tmp.path("services/x")).unwrap();
    until_lines(&tmp, "unable to stat x", 1);
    assert_idle(running.supervisor());
    assert_eq!(lines(&tmp, "\n"), more + 1);
}

#[test]
fn too_few_descriptors() {
    let tmp = TestDir::new();
    let all = names('s', 30);
    create(&tmp, &all);
    let running = tmp.runsvdir();
    tmp.service("first", STAY);
    tmp.until_stat("first", "run");
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
    all.iter().for_each(|name| tmp.link(name));
    until("a refusal", || {
        (lines(&tmp, "cannot open more files") > 0).then_some(())
    });
    assert_idle(supervisor);
    assert!(count_used(&tmp, &all) < all.len());
    set(before.current);
    until_used(&tmp, &all);
    assert!(lines(&tmp, "\n") <= all.len() + 1);
}

#[test]
fn each_cause_is_reported_once() {
    let tmp = TestDir::new();
    let slots = slots(&tmp);
    let dangling = names('x', slots + 40);
    fs::create_dir(tmp.path("services")).unwrap();
    let dangle = |name: &str| {
        let target = format!("../there/{name}/nothing");
        symlink(target, tmp.path(&format!("services/{name}"))).unwrap();
    };
    for name in &dangling {
        dangle(name);
        // More of these directories than watches.
        fs::create_dir_all(tmp.path(&format!("there/{name}"))).unwrap();
    }
    // One scan takes many loop iterations; meanwhile a running service must
    // not count as missing.
    tmp.service("stays", STAY);
    let all = tmp.runsvdir();
    let pid = tmp.until_pid("stays", None);
    let more = |count| format!("unable to use {count} more entries (slots = ");
    until_lines(&tmp, &more(40), 1);
    let blind = "unable to watch the services directory: more than watches";
    assert_eq!(lines(&tmp, blind), 1);
    assert_eq!(lines(&tmp, "unable to stat x"), slots);
    for _ in 0..3 {
        all.kill(Signal::ALARM);
    }
    // One more than before: only that one is reported.
    dangle("y");
    until_lines(&tmp, &more(41), 1);
    assert_eq!(lines(&tmp, "\n"), slots + 3);
    assert_eq!(tmp.pid("stays"), Some(pid));
    // One of the reported entries becomes usable; another has its table entry.
    create(&tmp, &names('g', 1));
    let first = tmp.read("errors");
    let (_, first) = first.split_once("unable to stat ").unwrap();
    let (first, _) = first.split_once(':').unwrap();
    let link = tmp.path(&format!("services/{first}"));
    symlink("../other/g000", tmp.path("new")).unwrap();
    fs::rename(tmp.path("new"), link).unwrap();
    until_used(&tmp, &names('g', 1));
}
