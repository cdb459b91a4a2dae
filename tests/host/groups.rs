//! Tests that processes that a service leaves behind end with it, as
//! `runt/group-kill` requires: its process group, and a control group of its
//! own.

use std::fs;

use rustix::process::Pid;

use crate::util::{self, Running, TestDir, state, until};

/// Checks that a process exists. An orphan stays a zombie until init reaps it,
/// and counts as ended.
fn is_alive(pid: Pid) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// Waits until a process has written its number to a file.
fn until_written(tmp: &TestDir, name: &str) -> Pid {
    let pid = until(name, || tmp.read(name).trim().parse().ok());
    Pid::from_raw(pid).unwrap()
}

/// Creates a service with a worker that ignores TERM and would outlive it.
/// Each is started through another program.
fn with_worker(tmp: &TestDir, name: &str, worker_by: &str, by: &str) {
    let worker = tmp.path(&format!("worker-{name}"));
    tmp.service(
        name,
        &format!(
            "{worker_by} sh -c 'trap \"\" TERM; echo $$ > {}; \
             while :; do sleep 1; done' &\n\
             exec {by} sleep 1000",
            worker.display()
        ),
    );
    tmp.write(&format!("services/{name}/runt/group-kill"), "");
}

/// Starts the service `a`, stops it, and waits for the end of its worker.
/// Returns the supervisor.
fn check_stop_ends_the_worker(tmp: &TestDir) -> Running<'_> {
    let all = tmp.runsvdir();
    let pid = until_written(tmp, "worker-a");
    tmp.until_stat("a", "run");
    tmp.control("a", "d");
    tmp.until_stat("a", "down");
    until("the end of the worker", || (!is_alive(pid)).then_some(()));
    all
}

#[test]
fn group_kill_ends_the_process_group() {
    let tmp = TestDir::new();
    with_worker(&tmp, "a", "", "");
    let _all = check_stop_ends_the_worker(&tmp);
}

#[test]
fn group_kill_ends_the_cgroup() {
    let tmp = TestDir::new();
    let trees = ["", "/unified"].map(|at| format!("/sys/fs/cgroup{at}"));
    let name = format!("runt-test-groups-{}", std::process::id());
    let made = trees.iter().find_map(|tree| {
        let group = std::path::Path::new(tree).join(&name);
        fs::create_dir(&group).ok()?;
        let kills = group.join("cgroup.kill").exists();
        fs::remove_dir(&group).unwrap();
        kills.then_some(group)
    });
    let Some(group) = made else {
        return util::skip("needs root, cgroup-v2 and Linux 5.14");
    };
    let by = |sub: &str| format!("chpst --cgroup {name}/{sub}");
    for (service, sub) in [("alone", "x"), ("shared", "y")] {
        // The worker has left the process group.
        let worker_by = format!("{} setsid", by(sub));
        with_worker(&tmp, service, &worker_by, &by(sub));
    }
    tmp.service("guest", &format!("exec {} sleep 1000", by("y")));
    {
        let _all = tmp.runsvdir();
        let members = |sub: &str| {
            let list = group.join(sub).join("cgroup.procs");
            fs::read_to_string(list).unwrap_or_default().lines().count()
        };
        let alone = until_written(&tmp, "worker-alone");
        let shared = until_written(&tmp, "worker-shared");
        // Service and worker, and the process that the worker waits for.
        until("all in their groups", || {
            (members("x") >= 3 && members("y") >= 4).then_some(())
        });
        let guest = tmp.until_pid("guest", None);
        tmp.control("shared", "d");
        tmp.control("alone", "d");
        tmp.until_stat("alone", "down");
        tmp.until_stat("shared", "down");
        until("the end of the worker", || (!is_alive(alone)).then_some(()));
        // Another service is in that group: none of its processes is killed.
        assert!(is_alive(shared) && is_alive(guest));
        fs::write(group.join("y/cgroup.kill"), "1").unwrap();
    }
    for dir in [group.join("x"), group.join("y"), group] {
        until("an empty group", || fs::remove_dir(&dir).ok());
    }
}

/// Waits until the record of a service's deaths differs from `old`.
fn until_died(tmp: &TestDir, old: &str) -> String {
    until("a death", || {
        let why = tmp.read("services/a/supervise/why");
        (why != old && why.contains("died")).then_some(why)
    })
}

#[test]
fn a_stop_right_after_start_is_not_lost() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.write("services/a/down", "");
    let words: [&[&str]; 2] =
        [&["runsvdir", "services"], &["runsvdir", "-P", "services"]];
    for words in words {
        for kind in ["", "mixed\n"] {
            tmp.write("services/a/runt/group-kill", kind);
            let _all = tmp.start(words);
            tmp.until_supervised("a");
            let mut why = tmp.read("services/a/supervise/why");
            for bytes in ["ud", "ok", "ud", "ok", "ud", "ok", "ud", "ok"] {
                tmp.control("a", bytes);
                why = until_died(&tmp, &why);
                let how = why.trim_end().lines().last().unwrap();
                assert!(how.contains(" signal "), "{bytes}: {how}");
            }
        }
    }
}

#[test]
fn mixed_group_kill_sends_only_kill() {
    for (kind, heard) in [("", "main worker"), ("mixed\n", "main")] {
        let tmp = TestDir::new();
        let output = tmp.path("output").display().to_string();
        let says = |who| format!("trap \"echo {who} >> {output}\" TERM");
        tmp.service(
            "a",
            &format!(
                "sh -c '{}; echo $$ > worker; while :; do sleep 0.1; done' &\n\
                 {}\nuntil test -s worker; do sleep 0.1; done\n\
                 echo > ready\nuntil test -e go; do sleep 0.1; done",
                says("worker"),
                says("main"),
            ),
        );
        tmp.write("services/a/runt/group-kill", kind);
        let _all = tmp.runsvdir();
        let ready = tmp.path("services/a/ready");
        until("the service", || ready.exists().then_some(()));
        let worker = until_written(&tmp, "services/a/worker");
        tmp.until_stat("a", "run");
        tmp.control("a", "d");
        let words = || {
            let output = tmp.read("output");
            let mut words: Vec<_> = output.lines().map(String::from).collect();
            words.sort_unstable();
            words.join(" ")
        };
        until(heard, || (words() == heard).then_some(()));
        // The main process ends, and its group is ended with it.
        tmp.write("services/a/go", "");
        tmp.until_stat("a", "down");
        until("the end of the worker", || {
            (!is_alive(worker)).then_some(())
        });
        assert_eq!(words(), heard, "{kind}");
    }
}

#[test]
fn an_invalid_group_kill_is_reported() {
    let tmp = TestDir::new();
    with_worker(&tmp, "a", "", "");
    tmp.write("services/a/runt/group-kill", "some\n");
    let _all = check_stop_ends_the_worker(&tmp);
    let line = "runsv a: warning: unable to use runt/group-kill: \
                invalid argument\n";
    assert_eq!(tmp.read("errors"), line);
}
