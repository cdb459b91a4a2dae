//! Tests that services on a read-only file system, and those of another user,
//! are supervised through the run directory, and that `sv` finds them there.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
};

use rustix::process::{Signal, kill_process};
use util::{Place, Running, skipped, spent, start_by, until, works};

/// A `run` line that keeps the service up.
const STAY: &str = "exec sleep 1000";

/// Starts one of our programs with `services` mounted read-only.
fn read_only<'a>(place: &'a Place, words: &[&str]) -> Option<Running<'a>> {
    let mount = "mount --bind services services && \
                 mount -o remount,bind,ro services && exec \"$@\"";
    let by = ["unshare", "-m", "sh", "-c", mount, "sh"];
    if !works(&["unshare", "-m", "true"]) {
        skipped("no mount namespace to be had");
        return None;
    }
    Some(start_by(place, &[&by[..], words]))
}

/// Returns the names of a directory's entries.
fn names(place: &Place, dir: &str) -> Vec<String> {
    let list = fs::read_dir(place.path(dir)).unwrap();
    let mut names: Vec<String> = list
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Waits until the output of `sv status` begins with a text. Returns all of
/// it.
fn until_status(place: &Place, name: &str, begin: &str) -> String {
    until(&format!("{name} is {begin}"), || {
        let said = place.run(&["sv", "status", name]);
        said.out.starts_with(begin).then_some(said.out)
    })
}

#[test]
fn services_on_a_read_only_file_system() {
    let place = Place::new();
    place.service("a", &format!("echo hello; {STAY}"));
    let log = format!("exec cat >{}", place.path("said").display());
    place.script("services/a/log/run", &log);
    // An image may already contain the directory, empty.
    place.service("b", STAY);
    fs::create_dir(place.path("services/b/supervise")).unwrap();
    let Some(mut all) = read_only(&place, &["runsvdir", "services"]) else {
        return;
    };
    until("service and log", || {
        let line = place.run(&["sv", "status", "a"]).out;
        let both =
            line.starts_with("run: a: ") && line.contains("; run: log: (pid ");
        both.then_some(())
    });
    until("the log", || {
        (place.read("said") == "hello\n").then_some(())
    });
    until_status(&place, "b", "run: b: ");
    for command in ["restart", "stop", "start", "restart"] {
        let said = place.run(&["sv", "-w", "20", command, "a", "b"]);
        assert_eq!(said.code, 0, "{command}: {said:?}");
    }
    let said = place.run(&["sv", "-v", "restart", "a/log"]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = place.run(&["sv", "-w", "20", "shutdown", "a"]);
    assert_eq!(said.out, "ok: a: runsv not running\n");
    let said = place.run(&["sv", "status", "a"]);
    assert_eq!(said.out, "fail: a: runsv not running\n");
    assert_eq!(names(&place, "services/a"), ["log", "run"]);
    assert_eq!(names(&place, "services/b/supervise"), [""; 0]);
    assert_eq!(place.read("errors"), "");
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    // The image's own directory has no `ok`.
    until_status(&place, "b", "fail: b: runsv not running");
}

#[test]
fn one_supervisor_even_there() {
    let place = Place::new();
    place.service("a", STAY);
    let Some(mut one) = read_only(&place, &["runsv", "services/a"]) else {
        return;
    };
    until_status(&place, "a", "run: a: ");
    let mut two = read_only(&place, &["runsv", "services/a"]).unwrap();
    assert_eq!(two.wait(), 111);
    assert_eq!(
        place.read("errors"),
        "runsv services/a: fatal: unable to lock supervise/lock: temporary \
         failure\n"
    );
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}

#[test]
fn a_link_goes_before_the_run_directory() {
    let place = Place::new();
    place.service("a", STAY);
    symlink("../../state", place.path("services/a/supervise")).unwrap();
    let Some(_all) = read_only(&place, &["runsvdir", "services"]) else {
        return;
    };
    place.until_stat("a", "run");
    assert_eq!(place.read("state/stat"), "run\n");
    assert_eq!(place.run(&["sv", "-v", "restart", "a"]).code, 0);
}

#[test]
fn services_that_belong_to_somebody_else() {
    let place = Place::new();
    if !rustix::process::getuid().is_root() {
        return skipped("not root: there is nobody else");
    }
    place.service("a", STAY);
    let all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(place.path(""), all).unwrap();
    let mut command = place.command(&["runsvdir", "services"]);
    let _all = place.start_as(command.uid(65534).gid(65534));
    let sv =
        |words: &[&str]| util::said(place.command(words).uid(65534).gid(65534));
    until("a", || {
        let said = sv(&["sv", "status", "a"]);
        said.out.starts_with("run: a: ").then_some(())
    });
    assert_eq!(sv(&["sv", "-v", "restart", "a"]).code, 0);
    assert_eq!(names(&place, "services/a"), ["run"]);
    assert_eq!(place.read("errors"), "");
    // Root does not trust that user's files.
    let said = place.run(&["sv", "status", "a"]);
    assert_eq!(said.code, 1, "{said:?}");
}

#[test]
fn without_a_run_directory_it_says_so_and_tries_again() {
    let place = Place::new();
    place.service("a", STAY);
    let mount = "export RUNT_RUN=$PWD/later/run; mount --bind services \
                 services && mount -o remount,bind,ro services && exec \"$@\"";
    if !works(&["unshare", "-m", "true"]) {
        return skipped("no mount namespace to be had");
    }
    let by = ["unshare", "-m", "sh", "-c", mount, "sh"];
    let mut all = start_by(&place, &[&by[..], &["runsvdir", "services"]]);
    let later = place.path("later/run");
    let line = format!(
        "runsvdir services: warning: unable to start runsv a: unable to \
         create {}: file does not exist\n",
        later.display()
    );
    until("the reason", || {
        place.read("errors").contains(&line).then_some(())
    });
    fs::create_dir(place.path("later")).unwrap();
    until("a", || {
        let mut sv = place.command(&["sv", "status", "a"]);
        let said = util::said(sv.env("RUNT_RUN", &later));
        said.out.starts_with("run: a: ").then_some(())
    });
    // The other line is about the front process's own directory.
    assert_eq!(place.read("errors").lines().count(), 2);
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
}

#[test]
fn without_a_run_directory_a_supervisor_outlives_its_front_asleep() {
    let place = Place::new();
    place.service("a", STAY);
    let mut command = place.command(&["runsvdir", "services"]);
    command.env("RUNT_RUN", place.path("missing/run"));
    let mut all = place.start_as(&mut command);
    let mut pid = place.until_pid("a", None);
    let supervisor = all.supervisor();
    all.kill(Signal::TERM);
    assert_eq!(all.wait(), 0);
    // Each restart but the first takes a second.
    for _ in 0..3 {
        kill_process(pid, Signal::KILL).unwrap();
        pid = place.until_pid("a", Some(pid));
    }
    assert!(spent(supervisor) < 50, "it spins");
    assert_eq!(place.run(&["sv", "-w", "20", "shutdown", "a"]).code, 0);
}
