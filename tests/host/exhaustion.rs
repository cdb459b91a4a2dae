//! Tests that a slot reports an exhausted resource once, does not spin over
//! it, and continues when it is available again: locks, processes,
//! descriptors, its own directory.

use std::{fs, process::Command};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, getuid, kill_process, prlimit,
};

use crate::util::{self, TestDir, cpu_time, until, until_only_error};

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
fn log_lock_held_by_another() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.script("services/a/log/run", "exec cat > /dev/null");
    let mut holder = tmp.start(&["runsv", "services/a/log"]);
    tmp.until_stat("a/log", "run");
    let mut one = tmp.start(&["runsv", "services/a"]);
    let line = "runsv services/a: warning: unable to lock \
                log/supervise/lock: temporary failure\n";
    until_only_error(&tmp, line);
    assert_eq!(tmp.stat("a"), "", "it was started without its logger");
    holder.kill(Signal::TERM);
    assert_eq!(holder.wait(), 0);
    tmp.until_stat("a", "run");
    tmp.until_stat("a/log", "run");
    assert!(cpu_time(one.pid()) < 50, "it spins");
    assert_eq!(tmp.read("errors"), line);
    tmp.control("a", "x");
    assert_eq!(one.wait(), 0);
}

#[test]
fn fork_refused() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    if !getuid().is_root() {
        println!("not root: cannot be another user, who has two processes");
        return;
    }
    // A user without any other process, even from another run of this test.
    let owner = format!("{0}:{0}", 1_000_000 + std::process::id());
    let chown = Command::new("chown")
        .args(["-R", &owner])
        .arg(tmp.dir.path())
        .status();
    assert!(chown.unwrap().success());
    let user = ["chpst", "-u", &format!(":{owner}"), "-p", "2"];
    let mut other = tmp.start(&[&user[..], &["sleep", "1000"]].concat());
    until("the other process", || {
        let comm = format!("/proc/{}/comm", other.pid().as_raw_pid());
        (fs::read_to_string(comm).ok()? == "sleep\n").then_some(())
    });
    let mut one = tmp.start(&[&user[..], &["runsv", "services/a"]].concat());
    let line = "runsv services/a: warning: unable to fork, retrying: \
                temporary failure\n";
    until_only_error(&tmp, line);
    let why = until("the reason", || {
        let why = tmp.read("services/a/supervise/why");
        why.contains("waits fork until ").then_some(why)
    });
    assert!(!why.contains("died"), "{why}");
    assert_eq!(tmp.stat("a"), "down");
    other.kill(Signal::KILL);
    assert_eq!(other.wait(), -9);
    tmp.until_stat("a", "run");
    assert!(cpu_time(one.pid()) < 50, "it spins");
    assert_eq!(tmp.read("errors"), line);
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}

#[test]
fn no_descriptors_left() {
    let tmp = TestDir::new();
    let ended = tmp.path("ended");
    tmp.service("a", "exec sleep 1000");
    tmp.script("services/a/finish", &format!("echo >> {}", ended.display()));
    let one = tmp.start(&["runsv", "services/a"]);
    tmp.until_stat("a", "run");
    let pid = tmp.until_pid("a", None);
    let old = limit(one.pid(), Resource::Nofile, Some(3));
    // It needs no new descriptor to clean up and to start the service again.
    kill_process(pid, Signal::KILL).unwrap();
    until("finish", || ended.exists().then_some(()));
    until("the line", || {
        let output = tmp.read("errors");
        output
            .contains("process cannot open more files\n")
            .then_some(())
    });
    limit(one.pid(), Resource::Nofile, old);
    tmp.until_pid("a", Some(pid));
    tmp.until_stat("a", "run");
    assert!(cpu_time(one.pid()) < 50, "it spins");
    for what in ["supervise/", "runt/backoff", "max-death-tally"] {
        let output = tmp.read("errors");
        assert!(output.matches(what).count() <= 2, "{output}");
    }
}

#[test]
fn no_descriptor_for_the_services_directory() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.script("other/b/run", "exec sleep 1000");
    let all = tmp.runsvdir();
    tmp.until_stat("a", "run");
    let child = all.supervisor();
    let old = limit(child, Resource::Nofile, Some(3));
    tmp.link("b");
    until("the line", || {
        let output = tmp.read("errors");
        output
            .contains("process cannot open more files\n")
            .then_some(())
    });
    // From here on no event occurs that would lead to a scan.
    limit(child, Resource::Nofile, old);
    tmp.until_stat("b", "run");
    assert!(cpu_time(child) < 50, "it spins");
}

#[test]
fn service_directory_replaced_under_runsv() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let mut one = tmp.start(&["runsv", "services/a"]);
    let old = tmp.until_pid("a", None);
    tmp.script("new/run", "exec sleep 1001");
    fs::rename(tmp.path("services/a"), tmp.path("gone")).unwrap();
    fs::rename(tmp.path("new"), tmp.path("services/a")).unwrap();
    let new = tmp.until_pid("a", None);
    assert_ne!(new, old);
    assert_eq!(tmp.read("gone/supervise/stat"), "down\n");
    tmp.until_stat("a", "run");
    assert_eq!(tmp.run(&["sv", "status", "a"]).code, 0);
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(
        (tmp.stat("a").as_str(), tmp.read("errors").as_str()),
        ("down", "")
    );
}

/// Returns a capacity of the program, as `runt limits` prints it.
fn capacity(tmp: &TestDir, name: &str) -> usize {
    let output = tmp.run(&["runt", "limits"]).stdout;
    let line = output.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.parse().unwrap())
    });
    line.unwrap()
}

/// Fills the table with services that have logs, on a root that may be
/// read-only. The hard limit of open files is the value that `runt limits`
/// prints.
fn fill(read_only: bool) {
    let tmp = TestDir::new();
    let slots = capacity(&tmp, "slots");
    let descriptors = capacity(&tmp, "descriptors");
    // None is started: only the supervisor's own descriptors count.
    for slot in 0..slots {
        for dir in ["", "log/"] {
            let name = format!("services/s{slot}/{dir}");
            tmp.write(&format!("{name}down"), "");
            tmp.write(&format!("{name}run"), "");
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
    if read_only && !util::succeeds(&["unshare", "-m", "true"]) {
        return util::skip("needs a mount namespace");
    }
    let namespace = if read_only { namespace } else { &[] };
    let bin = tmp.path("bin/runsvdir");
    let words = [bin.to_str().unwrap(), "services", "log: ................"];
    let all = util::start_wrapped(
        &tmp,
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
            (tmp.run(&["sv", "status", &name]).code == 0).then_some(())
        });
    }
    assert_eq!(tmp.read("errors"), "");
    let open = open();
    assert!(open.iter().all(|number| *number < descriptors), "{open:?}");
    // The rest is for its other processes and for short-lived descriptors.
    let others = open.len() - slots * of_slot;
    println!("{} open, {others} of no slot", open.len());
    assert!(others + slots * 14 <= descriptors, "{others}");
}

#[test]
fn a_full_table_has_enough_descriptors() {
    fill(false);
}

#[test]
fn a_full_table_on_a_read_only_root_has_enough_descriptors() {
    fill(true);
}
