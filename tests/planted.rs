//! Tests that a file planted by another user is neither written to nor given
//! away: in the run directory, in supervise and in log directories.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
};

use rustix::process::Signal;
use util::{Place, skipped, until};

/// The number of another user.
const NOBODY: u32 = 65534;

/// A `run` script that writes now and then.
const WRITES: &str = "while :; do echo line; sleep 0.02; done";

fn is_root() -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        skipped("not root: there is nobody else");
    }
    root
}

/// Creates a file of root's that must not change.
fn secret(place: &Place) {
    place.write("secret", "secret\n");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(place.path("secret"), mode).unwrap();
}

fn assert_secret(place: &Place) {
    assert_eq!(place.read("secret"), "secret\n");
    let data = fs::metadata(place.path("secret")).unwrap();
    assert_eq!((data.uid(), data.mode() & 0o7777), (0, 0o600));
    assert!(!place.path("made").exists());
}

/// Creates a directory that belongs to the other user.
fn theirs(path: &Path) {
    fs::create_dir(path).unwrap();
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// Returns the name of a service directory's entry in the run directory.
fn name_of(place: &Place, dir: &str) -> String {
    let data = fs::metadata(place.path(dir)).unwrap();
    format!("{}-{}", data.dev(), data.ino())
}

/// Plants a ring and a record in the run directory `run`.
fn plant(place: &Place, run: &str) {
    let name = name_of(place, "services/a");
    let dir = place.path(run).join(name);
    theirs(&dir);
    symlink(place.path("secret"), dir.join("ring")).unwrap();
    let name = format!("{}-services", name_of(place, ""));
    let dir = place.path(run).join(name);
    theirs(&dir);
    symlink(place.path("secret"), dir.join("front")).unwrap();
    symlink(place.path("made"), dir.join("turn.new")).unwrap();
}

/// Starts `runsvdir`, which must refuse the run directory and still supervise.
fn is_refused(place: &Place) {
    let mut all = place.runsvdir();
    place.until_stat("a", "run");
    let run = place.path("run");
    let line = format!(
        "runsvdir services: warning: run directory {} is not used: it is a \
         link, or another user owns it or may write to it\n",
        run.display()
    );
    until("the refusal", || {
        let errors = place.read("errors");
        let told = "svlogger a: warning: unable to open log ring: ";
        errors.contains(told).then_some(())
    });
    let errors = place.read("errors");
    assert_eq!(errors.matches(&line).count(), 1, "{errors}");
    assert_secret(place);
    let said = place.run(&["sv", "restart", "a"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(place.run(&["sv", "log", "a"]).code, 1);
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    assert_secret(place);
}

fn ring_service(place: &Place) {
    place.service("a", WRITES);
    place.write("services/a/runt/log-ring", "4096\n");
    secret(place);
}

#[test]
fn a_run_directory_of_somebody_else_is_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    ring_service(&place);
    theirs(&place.path("run"));
    plant(&place, "run");
    is_refused(&place);
}

#[test]
fn a_run_directory_that_others_may_write_to_is_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    ring_service(&place);
    fs::create_dir(place.path("run")).unwrap();
    let mode = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(place.path("run"), mode).unwrap();
    plant(&place, "run");
    is_refused(&place);
}

#[test]
fn a_run_directory_that_is_a_link_is_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    ring_service(&place);
    fs::create_dir(place.path("elsewhere")).unwrap();
    symlink("elsewhere", place.path("run")).unwrap();
    plant(&place, "elsewhere");
    is_refused(&place);
}

#[test]
fn a_place_of_somebody_else_in_the_run_directory_is_refused() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    ring_service(&place);
    // As if the run directory had been open to others before.
    fs::create_dir(place.path("run")).unwrap();
    plant(&place, "run");
    is_refused(&place);
}

#[test]
fn what_is_planted_in_a_supervise_directory_is_not_written_to() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    secret(&place);
    let supervise = place.path("services/a/supervise");
    theirs(&supervise);
    for name in ["status.new", "stat.new", "why.new", "status"] {
        symlink(place.path("secret"), supervise.join(name)).unwrap();
    }
    for name in ["pid.new", "pid"] {
        fs::hard_link(place.path("secret"), supervise.join(name)).unwrap();
    }
    let _all = place.runsvdir();
    let pid = place.until_pid("a", None);
    assert_eq!(place.run(&["sv", "restart", "a"]).code, 0);
    place.until_pid("a", Some(pid));
    assert_secret(&place);
    assert_eq!(place.read("errors"), "");
}

#[test]
fn files_with_a_second_name_in_a_backup_are_used() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let supervise = place.path("services/a/supervise");
    let mut one = place.start(&["runsv", "services/a"]);
    place.until_pid("a", None);
    assert_eq!(place.run(&["sv", "exit", "a"]).code, 0);
    assert_eq!(one.wait(), 0);
    fs::create_dir(place.path("backup")).unwrap();
    for name in ["lock", "status", "stat", "pid"] {
        let backup = place.path("backup").join(name);
        fs::hard_link(supervise.join(name), backup).unwrap();
    }
    let _all = place.runsvdir();
    let pid = place.until_pid("a", None);
    assert_eq!(place.run(&["sv", "restart", "a"]).code, 0);
    place.until_pid("a", Some(pid));
    assert_eq!(place.read("errors"), "");
}

#[test]
fn a_planted_lock_or_fifo_is_refused() {
    if !is_root() {
        return;
    }
    let plants: [(&str, fn(&Path, &Path), &str); 5] = [
        (
            "lock",
            |of, at| symlink(of, at).unwrap(),
            "symbolic link loop",
        ),
        (
            "lock",
            |of, at| fs::hard_link(of, at).unwrap(),
            "too many links",
        ),
        (
            "control",
            |of, at| symlink(of, at).unwrap(),
            "is not a fifo",
        ),
        // A FIFO of another user: bytes written there do not reach us.
        (
            "control",
            |of, at| symlink(of.with_file_name("fifo"), at).unwrap(),
            "is not a fifo",
        ),
        ("ok", |of, at| symlink(of, at).unwrap(), "is not a fifo"),
    ];
    for (name, plant, cause) in plants {
        let place = Place::new();
        place.service("a", "exec sleep 1000");
        secret(&place);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            place.path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let supervise = place.path("services/a/supervise");
        theirs(&supervise);
        plant(&place.path("secret"), &supervise.join(name));
        let mut one = place.start(&["runsv", "services/a"]);
        assert_eq!(one.wait(), 111, "{name}");
        let errors = place.read("errors");
        let begin = "runsv services/a: fatal: ";
        assert!(
            errors.starts_with(begin) && errors.contains(cause),
            "{errors}"
        );
        // `sv` reads no state from it and writes nothing to it.
        let said = place.run(&["sv", "up", "services/a/"]);
        assert_eq!(said.code, 1, "{said:?}");
        assert_secret(&place);
        fs::remove_dir_all(supervise).unwrap();
    }
}

#[test]
fn what_is_planted_in_a_log_directory_is_not_written_to() {
    if !is_root() {
        return;
    }
    for (name, hard) in [
        ("current", false),
        ("current", true),
        ("lock", false),
        ("lock", true),
        ("newstate", true),
        ("state", false),
    ] {
        let place = Place::new();
        secret(&place);
        theirs(&place.path("log"));
        place.write("log/config", "s10\n!cat >&5; cat <&4; echo done\n");
        let at = place.path("log").join(name);
        if hard {
            fs::hard_link(place.path("secret"), at).unwrap();
        } else {
            symlink(place.path("secret"), at).unwrap();
        }
        let input = fs::File::create_new(place.path("input")).unwrap();
        place.write("input", "one line\nand another\nand one more\n");
        drop(input);
        let mut command = place.command(&["svlogd", "log"]);
        let mut child = command
            .stdin(fs::File::open(place.path("input")).unwrap())
            .stderr(fs::File::create(place.path("errors")).unwrap())
            .spawn()
            .unwrap();
        let cause = if hard {
            "too many links"
        } else {
            "symbolic link loop"
        };
        until(&format!("the reason: {name}"), || {
            place.read("errors").contains(cause).then_some(())
        });
        assert_secret(&place);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
