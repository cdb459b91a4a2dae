//! Tests that a slot reports an exhausted resource once, does not spin over
//! it, and continues when it is available again: locks, processes,
//! descriptors, its own directory.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{fs, process::Command};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getuid, kill_process, prlimit,
};
use util::{Place, spent, until, until_only};

/// Sets a soft limit of a running program and returns the old one.
fn limit(pid: Pid, resource: Resource, soft: Option<u64>) -> Option<u64> {
    let old = rustix::process::getrlimit(resource);
    let new = Rlimit {
        current: soft,
        maximum: old.maximum,
    };
    prlimit(Some(pid), resource, new).unwrap().current
}

#[test]
fn a_log_lock_that_another_holds() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.script("services/a/log/run", "exec cat > /dev/null");
    let mut holder = place.start(&["runsv", "services/a/log"]);
    place.until_stat("a/log", "run");
    let mut one = place.start(&["runsv", "services/a"]);
    let line = "runsv services/a: warning: unable to lock \
                log/supervise/lock: temporary failure\n";
    until_only(&place, line);
    assert_eq!(place.stat("a"), "", "it was started without its logger");
    holder.kill(Signal::TERM);
    assert_eq!(holder.wait(), 0);
    place.until_stat("a", "run");
    place.until_stat("a/log", "run");
    assert!(spent(one.pid()) < 50, "it spins");
    assert_eq!(place.read("errors"), line);
    place.control("a", "x");
    assert_eq!(one.wait(), 0);
}

#[test]
fn a_fork_that_is_refused() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    if !getuid().is_root() {
        println!("not root: cannot be another user, who has two processes");
        return;
    }
    // A user without any other process, even from another run of this test.
    let owner = format!("{0}:{0}", 1_000_000 + std::process::id());
    let chown = Command::new("chown")
        .args(["-R", &owner])
        .arg(place.dir.path())
        .status();
    assert!(chown.unwrap().success());
    let user = ["chpst", "-u", &format!(":{owner}"), "-p", "2"];
    let mut other = place.start(&[&user[..], &["sleep", "1000"]].concat());
    until("the other process", || {
        let comm = format!("/proc/{}/comm", other.pid().as_raw_pid());
        (fs::read_to_string(comm).ok()? == "sleep\n").then_some(())
    });
    let mut one = place.start(&[&user[..], &["runsv", "services/a"]].concat());
    let line = "runsv services/a: warning: unable to fork, retrying: \
                temporary failure\n";
    until_only(&place, line);
    let why = until("the reason", || {
        let why = place.read("services/a/supervise/why");
        why.contains("waits fork until ").then_some(why)
    });
    assert!(!why.contains("died"), "{why}");
    assert_eq!(place.stat("a"), "down");
    other.kill(Signal::KILL);
    assert_eq!(other.wait(), -9);
    place.until_stat("a", "run");
    assert!(spent(one.pid()) < 50, "it spins");
    assert_eq!(place.read("errors"), line);
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}

#[test]
fn no_descriptor_left() {
    let place = Place::new();
    let ended = place.path("ended");
    place.service("a", "exec sleep 1000");
    place.script("services/a/finish", &format!("echo >> {}", ended.display()));
    let one = place.start(&["runsv", "services/a"]);
    place.until_stat("a", "run");
    let pid = place.until_pid("a", None);
    let old = limit(one.pid(), Resource::Nofile, Some(3));
    // It needs no new descriptor to clean up and to start the service again.
    kill_process(pid, Signal::KILL).unwrap();
    until("finish", || ended.exists().then_some(()));
    until("the line", || {
        let said = place.read("errors");
        said.contains("process cannot open more files\n")
            .then_some(())
    });
    limit(one.pid(), Resource::Nofile, old);
    place.until_pid("a", Some(pid));
    place.until_stat("a", "run");
    assert!(spent(one.pid()) < 50, "it spins");
    for what in ["supervise/", "runt/backoff", "max-death-tally"] {
        let said = place.read("errors");
        assert!(said.matches(what).count() <= 2, "{said}");
    }
}

#[test]
fn no_descriptor_for_the_services_directory() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.script("other/b/run", "exec sleep 1000");
    let all = place.runsvdir();
    place.until_stat("a", "run");
    let child = all.supervisor();
    let old = limit(child, Resource::Nofile, Some(3));
    place.link("b");
    until("the line", || {
        let said = place.read("errors");
        said.contains("process cannot open more files\n")
            .then_some(())
    });
    // From here on no event occurs that would lead to a scan.
    limit(child, Resource::Nofile, old);
    place.until_stat("b", "run");
    assert!(spent(child) < 50, "it spins");
}

#[test]
fn a_directory_that_is_replaced_under_runsv() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let mut one = place.start(&["runsv", "services/a"]);
    let old = place.until_pid("a", None);
    place.script("new/run", "exec sleep 1001");
    fs::rename(place.path("services/a"), place.path("gone")).unwrap();
    fs::rename(place.path("new"), place.path("services/a")).unwrap();
    let new = place.until_pid("a", None);
    assert_ne!(new, old);
    assert_eq!(place.read("gone/supervise/stat"), "down\n");
    place.until_stat("a", "run");
    assert_eq!(place.run(&["sv", "status", "a"]).code, 0);
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(
        (place.stat("a").as_str(), place.read("errors").as_str()),
        ("down", "")
    );
}

/// Returns a capacity of the program, as `runt limits` prints it.
fn capacity(place: &Place, name: &str) -> usize {
    let said = place.run(&["runt", "limits"]).out;
    let line = said.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.parse().unwrap())
    });
    line.unwrap()
}

/// Fills the table with services that have logs, on a root that may be
/// read-only. The hard limit of open files is the value that `runt limits`
/// prints.
fn fill(read_only: bool) {
    let place = Place::new();
    let slots = capacity(&place, "slots");
    let descriptors = capacity(&place, "descriptors");
    // None is started: only the supervisor's own descriptors count.
    for slot in 0..slots {
        for dir in ["", "log/"] {
            let name = format!("services/s{slot}/{dir}");
            place.write(&format!("{name}down"), "");
            place.write(&format!("{name}run"), "");
        }
    }
    let script = format!(
        "{} ulimit -n {descriptors} && exec \"$@\"",
        if read_only {
            "mount --bind services services &&
             mount -o remount,bind,ro services &&"
        } else {
            ""
        }
    );
    let namespace: &[&str] = &["unshare", "-m"];
    if read_only && !util::works(&["unshare", "-m", "true"]) {
        return util::skipped("needs a mount namespace");
    }
    let namespace = if read_only { namespace } else { &[] };
    let bin = place.path("bin/runsvdir");
    let words = [bin.to_str().unwrap(), "services", "log: ................"];
    let all = util::start_by(
        &place,
        &[namespace, &["sh", "-c", &script, "sh"], &words],
    );
    // The program that starts runsvdir has children too.
    let comm = format!("/proc/{}/comm", all.pid().as_raw_pid());
    until("runsvdir", || {
        (fs::read_to_string(&comm).ok()? == "runsvdir\n").then_some(())
    });
    let supervisor = all.supervisor();
    let proc = format!("/proc/{}/fd", supervisor.as_raw_pid());
    let open = || -> Vec<usize> {
        let files = fs::read_dir(&proc).unwrap();
        let name = |file: fs::DirEntry| file.file_name().into_string();
        let numbers = files.map(|f| name(f.unwrap()).unwrap().parse().unwrap());
        numbers.collect()
    };
    let of_slot = if read_only { 11 } else { 9 };
    until("all that are there", || {
        (open().len() >= slots * of_slot).then_some(())
    });
    // All answer, even the last one: none was refused a descriptor.
    for slot in 0..slots {
        let name = format!("s{slot}");
        until(&name, || {
            (place.run(&["sv", "status", &name]).code == 0).then_some(())
        });
    }
    assert_eq!(place.read("errors"), "");
    let open = open();
    assert!(open.iter().all(|number| *number < descriptors), "{open:?}");
    // The rest is for its other processes and for short-lived descriptors.
    let others = open.len() - slots * of_slot;
    println!("{} open, {others} of no slot", open.len());
    assert!(others + slots * 14 <= descriptors, "{others}");
}

#[test]
fn a_full_table_has_the_descriptors_that_it_needs() {
    fill(false);
}

#[test]
fn a_full_table_on_a_read_only_root_has_them_too() {
    fill(true);
}
