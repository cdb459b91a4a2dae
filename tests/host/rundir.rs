//! Tests that services on a read-only file system, and those of another user,
//! are supervised through the run directory, and that `sv` finds them there.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
};

use rustix::process::{Signal, kill_process};

use crate::util::{
    self, Running, STAY, TestDir, cpu_time, skip, start_wrapped, succeeds,
    until,
};

/// Starts one of our programs with `services` mounted read-only.
fn read_only<'a>(tmp: &'a TestDir, words: &[&str]) -> Option<Running<'a>> {
    let mount = "mount --bind services services && \
                 mount -o remount,bind,ro services && exec \"$@\"";
    let by = ["unshare", "-m", "sh", "-c", mount, "sh"];
    if !succeeds(&["unshare", "-m", "true"]) {
        skip("no mount namespace to be had");
        return None;
    }
    Some(start_wrapped(tmp, &[&by[..], words]))
}

/// Returns the names of a directory's entries.
fn names(tmp: &TestDir, dir: &str) -> Vec<String> {
    let list = fs::read_dir(tmp.path(dir)).unwrap();
    let mut names: Vec<String> = list
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until the output of `sv status` begins with a text. Returns all of
/// it.
fn until_status(tmp: &TestDir, name: &str, begin: &str) -> String {
    until(&format!("{name} is {begin}"), || {
        let output = tmp.run(&["sv", "status", name]);
        output.stdout.starts_with(begin).then_some(output.stdout)
    })
}

#[test]
fn services_on_a_read_only_file_system() {
    let tmp = TestDir::new();
    tmp.service("a", &format!("echo hello; {STAY}"));
    let log = format!("exec cat >{}", tmp.path("output").display());
    tmp.script("services/a/log/run", &log);
    // An image may already contain the directory, empty.
    tmp.service("b", STAY);
    fs::create_dir(tmp.path("services/b/supervise")).unwrap();
    let Some(mut all) = read_only(&tmp, &["runsvdir", "services"]) else {
        return;
    };
    until("service and log", || {
        let line = tmp.run(&["sv", "status", "a"]).stdout;
        let both =
            line.starts_with("run: a: ") && line.contains("; run: log: (pid ");
        both.then_some(())
    });
    until("the log", || {
        (tmp.read("output") == "hello\n").then_some(())
    });
    until_status(&tmp, "b", "run: b: ");
    for command in ["restart", "stop", "start", "restart"] {
        let output = tmp.run(&["sv", "-w", "20", command, "a", "b"]);
        assert_eq!(output.code, 0, "{command}: {output:?}");
    }
    let output = tmp.run(&["sv", "-v", "restart", "a/log"]);
    assert_eq!(output.code, 0, "{output:?}");
    let output = tmp.run(&["sv", "-w", "20", "shutdown", "a"]);
    assert_eq!(output.stdout, "ok: a: runsv not running\n");
    let output = tmp.run(&["sv", "status", "a"]);
    assert_eq!(output.stdout, "fail: a: runsv not running\n");
    assert_eq!(names(&tmp, "services/a"), ["log", "run"]);
    assert_eq!(names(&tmp, "services/b/supervise"), [""; 0]);
    assert_eq!(tmp.read("errors"), "");
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    // The image's own directory has no `ok`.
    until_status(&tmp, "b", "fail: b: runsv not running");
}

#[test]
fn one_supervisor_per_service_on_a_read_only_file_system() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let Some(mut one) = read_only(&tmp, &["runsv", "services/a"]) else {
        return;
    };
    until_status(&tmp, "a", "run: a: ");
    let mut two = read_only(&tmp, &["runsv", "services/a"]).unwrap();
    assert_eq!(two.wait(), 111);
    assert_eq!(
        tmp.read("errors"),
        "runsv services/a: fatal: unable to lock supervise/lock: temporary \
         failure\n"
    );
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}

#[test]
fn a_supervise_link_takes_precedence_over_the_run_directory() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    symlink("../../state", tmp.path("services/a/supervise")).unwrap();
    let Some(_all) = read_only(&tmp, &["runsvdir", "services"]) else {
        return;
    };
    tmp.until_stat("a", "run");
    assert_eq!(tmp.read("state/stat"), "run\n");
    assert_eq!(tmp.run(&["sv", "-v", "restart", "a"]).code, 0);
}

#[test]
fn services_of_another_user() {
    let tmp = TestDir::new();
    if !rustix::process::getuid().is_root() {
        return skip("needs root");
    }
    tmp.service("a", STAY);
    let all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(tmp.path(""), all).unwrap();
    let mut command = tmp.command(&["runsvdir", "services"]);
    let _all = tmp.start_as(command.uid(65534).gid(65534));
    let sv = |words: &[&str]| {
        util::output_of(tmp.command(words).uid(65534).gid(65534))
    };
    until("a", || {
        let output = sv(&["sv", "status", "a"]);
        output.stdout.starts_with("run: a: ").then_some(())
    });
    assert_eq!(sv(&["sv", "-v", "restart", "a"]).code, 0);
    assert_eq!(names(&tmp, "services/a"), ["run"]);
    assert_eq!(tmp.read("errors"), "");
    // Root does not trust that user's files.
    let output = tmp.run(&["sv", "status", "a"]);
    assert_eq!(output.code, 1, "{output:?}");
}

#[test]
fn a_missing_run_directory_is_reported_and_retried() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let mount = "export RUNT_RUN=$PWD/later/run; mount --bind services \
                 services && mount -o remount,bind,ro services && exec \"$@\"";
    if !succeeds(&["unshare", "-m", "true"]) {
        return skip("no mount namespace to be had");
    }
    let by = ["unshare", "-m", "sh", "-c", mount, "sh"];
    let mut all = start_wrapped(&tmp, &[&by[..], &["runsvdir", "services"]]);
    let later = tmp.path("later/run");
    let line = format!(
        "runsvdir services: warning: unable to start runsv a: unable to \
         create {}: file does not exist\n",
        later.display()
    );
    until("the reason", || {
        tmp.read("errors").contains(&line).then_some(())
    });
    fs::create_dir(tmp.path("later")).unwrap();
    until("a", || {
        let mut sv = tmp.command(&["sv", "status", "a"]);
        let output = util::output_of(sv.env("RUNT_RUN", &later));
        output.stdout.starts_with("run: a: ").then_some(())
    });
    // The other line is about the front process's own directory.
    assert_eq!(tmp.read("errors").lines().count(), 2);
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
}

#[test]
fn without_a_run_directory_the_supervisor_outlives_its_front() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let mut command = tmp.command(&["runsvdir", "services"]);
    command.env("RUNT_RUN", tmp.path("missing/run"));
    let mut all = tmp.start_as(&mut command);
    let mut pid = tmp.until_pid("a", None);
    let supervisor = all.supervisor();
    all.kill(Signal::TERM);
    assert_eq!(all.wait(), 0);
    // Each restart but the first takes a second.
    for _ in 0..3 {
        kill_process(pid, Signal::KILL).unwrap();
        pid = tmp.until_pid("a", Some(pid));
    }
    assert!(cpu_time(supervisor) < 50, "it spins");
    assert_eq!(tmp.run(&["sv", "-w", "20", "shutdown", "a"]).code, 0);
}
