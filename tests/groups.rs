//! Tests that processes that a service leaves behind end with it, as
//! `runt/group-kill` requires: its process group, and a control group of its
//! own.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::fs;

use rustix::process::Pid;
use util::{Place, until};

/// Checks that a process exists. An orphan stays a zombie until init reaps it,
/// and counts as ended.
fn lives(pid: Pid) -> bool {
    let stat = format!("/proc/{}/stat", pid.as_raw_pid());
    fs::read_to_string(stat).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until a process has written its number to a file.
fn until_written(place: &Place, name: &str) -> Pid {
    let pid = until(name, || place.read(name).trim().parse().ok());
    Pid::from_raw(pid).unwrap()
}

/// Creates a service with a worker that ignores TERM and would outlive it.
/// Each is started through another program.
fn with_worker(place: &Place, name: &str, worker_by: &str, by: &str) {
    let worker = place.path(&format!("worker-{name}"));
    place.service(
        name,
        &format!(
            "{worker_by} sh -c 'trap \"\" TERM; echo $$ > {}; \
             while :; do sleep 1; done' &\n\
             exec {by} sleep 1000",
            worker.display()
        ),
    );
    place.write(&format!("services/{name}/runt/group-kill"), "");
}

#[test]
fn a_group_goes_with_its_service() {
    let place = Place::new();
    with_worker(&place, "a", "", "");
    let _all = place.runsvdir();
    let pid = until_written(&place, "worker-a");
    place.until_stat("a", "run");
    place.control("a", "d");
    place.until_stat("a", "down");
    until("the end of the worker", || (!lives(pid)).then_some(()));
}

#[test]
fn a_control_group_goes_with_its_service() {
    let place = Place::new();
    let trees = ["", "/unified"].map(|at| format!("/sys/fs/cgroup{at}"));
    let name = format!("runt-test-{}", std::process::id());
    let made = trees.iter().find_map(|tree| {
        let group = std::path::Path::new(tree).join(&name);
        fs::create_dir(&group).ok()?;
        let kills = group.join("cgroup.kill").exists();
        fs::remove_dir(&group).unwrap();
        kills.then_some(group)
    });
    let Some(group) = made else {
        return util::skipped("needs root, cgroup-v2 and Linux 5.14");
    };
    let by = |sub: &str| format!("chpst --cgroup {name}/{sub}");
    for (service, sub) in [("alone", "x"), ("shared", "y")] {
        // The worker has left the process group.
        let worker_by = format!("{} setsid", by(sub));
        with_worker(&place, service, &worker_by, &by(sub));
    }
    place.service("guest", &format!("exec {} sleep 1000", by("y")));
    {
        let _all = place.runsvdir();
        let members = |sub: &str| {
            let list = group.join(sub).join("cgroup.procs");
            fs::read_to_string(list).unwrap_or_default().lines().count()
        };
        let alone = until_written(&place, "worker-alone");
        let shared = until_written(&place, "worker-shared");
        // Service and worker, and the process that the worker waits for.
        until("all in their groups", || {
            (members("x") >= 3 && members("y") >= 4).then_some(())
        });
        let guest = place.until_pid("guest", None);
        place.control("shared", "d");
        place.control("alone", "d");
        place.until_stat("alone", "down");
        place.until_stat("shared", "down");
        until("the end of the worker", || (!lives(alone)).then_some(()));
        // Another service is in that group: none of its processes is killed.
        assert!(lives(shared) && lives(guest));
        fs::write(group.join("y/cgroup.kill"), "1").unwrap();
    }
    for dir in [group.join("x"), group.join("y"), group] {
        until("an empty group", || fs::remove_dir(&dir).ok());
    }
}

/// Waits until the record of a service's deaths differs from `old`.
fn until_died(place: &Place, old: &str) -> String {
    until("a death", || {
        let why = place.read("services/a/supervise/why");
        (why != old && why.contains("died")).then_some(why)
    })
}

#[test]
fn a_stop_right_after_a_start_is_not_lost() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.write("services/a/down", "");
    let words: [&[&str]; 2] =
        [&["runsvdir", "services"], &["runsvdir", "-P", "services"]];
    for words in words {
        for kind in ["", "mixed\n"] {
            place.write("services/a/runt/group-kill", kind);
            let _all = place.start(words);
            place.until_supervised("a");
            let mut why = place.read("services/a/supervise/why");
            for bytes in ["ud", "ok", "ud", "ok", "ud", "ok", "ud", "ok"] {
                place.control("a", bytes);
                why = until_died(&place, &why);
                let how = why.trim_end().lines().last().unwrap();
                assert!(how.contains(" signal "), "{bytes}: {how}");
            }
        }
    }
}

#[test]
fn a_mixed_group_gets_kill_only() {
    for (kind, heard) in [("", "main worker"), ("mixed\n", "main")] {
        let place = Place::new();
        let said = place.path("said").display().to_string();
        let says = |who| format!("trap \"echo {who} >> {said}\" TERM");
        place.service(
            "a",
            &format!(
                "sh -c '{}; echo $$ > worker; while :; do sleep 0.1; done' &\n\
                 {}\nuntil test -s worker; do sleep 0.1; done\n\
                 echo > ready\nuntil test -e go; do sleep 0.1; done",
                says("worker"),
                says("main"),
            ),
        );
        place.write("services/a/runt/group-kill", kind);
        let _all = place.runsvdir();
        let ready = place.path("services/a/ready");
        until("the service", || ready.exists().then_some(()));
        let worker = until_written(&place, "services/a/worker");
        place.until_stat("a", "run");
        place.control("a", "d");
        let words = || {
            let said = place.read("said");
            let mut words: Vec<_> = said.lines().map(String::from).collect();
            words.sort_unstable();
            words.join(" ")
        };
        until(heard, || (words() == heard).then_some(()));
        // The main process ends, and its group is ended with it.
        place.write("services/a/go", "");
        place.until_stat("a", "down");
        until("the end of the worker", || (!lives(worker)).then_some(()));
        assert_eq!(words(), heard, "{kind}");
    }
}

#[test]
fn a_group_kill_of_another_word_is_reported() {
    let place = Place::new();
    with_worker(&place, "a", "", "");
    place.write("services/a/runt/group-kill", "some\n");
    let _all = place.runsvdir();
    let pid = until_written(&place, "worker-a");
    place.until_stat("a", "run");
    place.control("a", "d");
    place.until_stat("a", "down");
    until("the end of the worker", || (!lives(pid)).then_some(()));
    let line = "runsv a: warning: unable to use runt/group-kill: \
                invalid argument\n";
    assert_eq!(place.read("errors"), line);
}
