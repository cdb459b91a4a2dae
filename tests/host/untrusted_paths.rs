//! Tests that a file planted by another user is neither written to nor given
//! away: in the run directory, in supervise and in log directories.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
};

use rustix::process::Signal;

use crate::util::{TestDir, skip, until};

/// The number of another user.
const NOBODY: u32 = 65534;

/// A `run` script that writes now and then.
const WRITES: &str = "while :; do echo line; sleep 0.02; done";

fn is_root() -> bool {
    let root = rustix::process::getuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// Creates a file of root's that must not change.
fn root_file(tmp: &TestDir) {
    tmp.write("secret", "secret\n");
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(tmp.path("secret"), mode).unwrap();
}

fn assert_unchanged(tmp: &TestDir) {
    assert_eq!(tmp.read("secret"), "secret\n");
    let data = fs::metadata(tmp.path("secret")).unwrap();
    assert_eq!((data.uid(), data.mode() & 0o7777), (0, 0o600));
    assert!(!tmp.path("made").exists());
}

/// Creates a directory that belongs to the other user.
fn dir_of_other_user(path: &Path) {
    fs::create_dir(path).unwrap();
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// Returns the name of a service directory's entry in the run directory.
fn name_of(tmp: &TestDir, dir: &str) -> String {
    let data = fs::metadata(tmp.path(dir)).unwrap();
    format!("{}-{}", data.dev(), data.ino())
}

/// Plants a ring and a record in the run directory `run`.
fn plant(tmp: &TestDir, run: &str) {
    let name = name_of(tmp, "services/a");
    let dir = tmp.path(run).join(name);
    dir_of_other_user(&dir);
    symlink(tmp.path("secret"), dir.join("ring")).unwrap();
    let name = format!("{}-services", name_of(tmp, ""));
    let dir = tmp.path(run).join(name);
    dir_of_other_user(&dir);
    symlink(tmp.path("secret"), dir.join("front")).unwrap();
    symlink(tmp.path("made"), dir.join("latency.new")).unwrap();
}

/// Starts `runsvdir`, which must refuse the run directory and still supervise.
fn is_refused(tmp: &TestDir) {
    let mut all = tmp.runsvdir();
    tmp.until_stat("a", "run");
    let run = tmp.path("run");
    let line = format!(
        "runsvdir services: warning: run directory {} is not used: it is a \
         link, or another user owns it or may write to it\n",
        run.display()
    );
    until("the refusal", || {
        let errors = tmp.read("errors");
        let told = "svlogger a: warning: unable to open log ring: ";
        errors.contains(told).then_some(())
    });
    let errors = tmp.read("errors");
    assert_eq!(errors.matches(&line).count(), 1, "{errors}");
    assert_unchanged(tmp);
    let output = tmp.run(&["sv", "restart", "a"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(tmp.run(&["sv", "log", "a"]).code, 1);
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    assert_unchanged(tmp);
}

fn ring_service(tmp: &TestDir) {
    tmp.service("a", WRITES);
    tmp.write("services/a/runt/log-ring", "4096\n");
    root_file(tmp);
}

#[test]
fn a_run_directory_of_another_user_is_refused() {
    if !is_root() {
        return;
    }
    let tmp = TestDir::new();
    ring_service(&tmp);
    dir_of_other_user(&tmp.path("run"));
    plant(&tmp, "run");
    is_refused(&tmp);
}

#[test]
fn a_run_directory_writable_by_others_is_refused() {
    if !is_root() {
        return;
    }
    let tmp = TestDir::new();
    ring_service(&tmp);
    fs::create_dir(tmp.path("run")).unwrap();
    let mode = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(tmp.path("run"), mode).unwrap();
    plant(&tmp, "run");
    is_refused(&tmp);
}

#[test]
fn a_symlinked_run_directory_is_refused() {
    if !is_root() {
        return;
    }
    let tmp = TestDir::new();
    ring_service(&tmp);
    fs::create_dir(tmp.path("elsewhere")).unwrap();
    symlink("elsewhere", tmp.path("run")).unwrap();
    plant(&tmp, "elsewhere");
    is_refused(&tmp);
}

#[test]
fn an_entry_of_another_user_in_the_run_directory_is_refused() {
    if !is_root() {
        return;
    }
    let tmp = TestDir::new();
    ring_service(&tmp);
    // As if the run directory had been open to others before.
    fs::create_dir(tmp.path("run")).unwrap();
    plant(&tmp, "run");
    is_refused(&tmp);
}

#[test]
fn planted_files_in_supervise_are_not_written() {
    if !is_root() {
        return;
    }
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    root_file(&tmp);
    let supervise = tmp.path("services/a/supervise");
    dir_of_other_user(&supervise);
    for name in ["status.new", "stat.new", "why.new", "status"] {
        symlink(tmp.path("secret"), supervise.join(name)).unwrap();
    }
    for name in ["pid.new", "pid"] {
        fs::hard_link(tmp.path("secret"), supervise.join(name)).unwrap();
    }
    let _all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    assert_eq!(tmp.run(&["sv", "restart", "a"]).code, 0);
    tmp.until_pid("a", Some(pid));
    assert_unchanged(&tmp);
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn files_with_a_second_name_in_a_backup_are_used() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let supervise = tmp.path("services/a/supervise");
    let mut one = tmp.start(&["runsv", "services/a"]);
    tmp.until_pid("a", None);
    assert_eq!(tmp.run(&["sv", "exit", "a"]).code, 0);
    assert_eq!(one.wait(), 0);
    fs::create_dir(tmp.path("backup")).unwrap();
    for name in ["lock", "status", "stat", "pid"] {
        let backup = tmp.path("backup").join(name);
        fs::hard_link(supervise.join(name), backup).unwrap();
    }
    let _all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    assert_eq!(tmp.run(&["sv", "restart", "a"]).code, 0);
    tmp.until_pid("a", Some(pid));
    assert_eq!(tmp.read("errors"), "");
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
        let tmp = TestDir::new();
        tmp.service("a", "exec sleep 1000");
        root_file(&tmp);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            tmp.path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let supervise = tmp.path("services/a/supervise");
        dir_of_other_user(&supervise);
        plant(&tmp.path("secret"), &supervise.join(name));
        let mut one = tmp.start(&["runsv", "services/a"]);
        assert_eq!(one.wait(), 111, "{name}");
        let errors = tmp.read("errors");
        let begin = "runsv services/a: fatal: ";
        assert!(
            errors.starts_with(begin) && errors.contains(cause),
            "{errors}"
        );
        // `sv` reads no state from it and writes nothing to it.
        let output = tmp.run(&["sv", "up", "services/a/"]);
        assert_eq!(output.code, 1, "{output:?}");
        assert_unchanged(&tmp);
        fs::remove_dir_all(supervise).unwrap();
    }
}

#[test]
fn planted_files_in_a_log_directory_are_not_written() {
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
        let tmp = TestDir::new();
        root_file(&tmp);
        dir_of_other_user(&tmp.path("log"));
        tmp.write("log/config", "s10\n!cat >&5; cat <&4; echo done\n");
        let at = tmp.path("log").join(name);
        if hard {
            fs::hard_link(tmp.path("secret"), at).unwrap();
        } else {
            symlink(tmp.path("secret"), at).unwrap();
        }
        let input = fs::File::create_new(tmp.path("input")).unwrap();
        tmp.write("input", "one line\nand another\nand one more\n");
        drop(input);
        let mut command = tmp.command(&["svlogd", "log"]);
        let mut child = command
            .stdin(fs::File::open(tmp.path("input")).unwrap())
            .stderr(fs::File::create(tmp.path("errors")).unwrap())
            .spawn()
            .unwrap();
        let cause = if hard {
            "too many links"
        } else {
            "symbolic link loop"
        };
        until(&format!("the reason: {name}"), || {
            tmp.read("errors").contains(cause).then_some(())
        });
        assert_unchanged(&tmp);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
