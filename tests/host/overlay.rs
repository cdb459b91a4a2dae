//! Tests that a writable directory adds to and masks a read-only services
//! directory.

use std::{fs, os::unix::fs::symlink};

use crate::util::{self, Running, STAY, TestDir, until};

/// Starts runsvdir with the overlay `state/over`.
fn start(tmp: &TestDir) -> Running<'_> {
    let mut command = tmp.command(&["runsvdir", "services"]);
    let over = tmp.path("state/over");
    tmp.start_as(command.env("RUNT_SERVICES_OVERLAY", over))
}

/// Creates a link in the overlay.
fn enable(tmp: &TestDir, name: &str, target: &str) {
    symlink(target, tmp.path(&format!("state/over/{name}"))).unwrap();
}

#[test]
fn overlay_entries_hide_lower_ones() {
    let tmp = TestDir::new();
    for name in ["a", "b"] {
        tmp.service(name, STAY);
    }
    for name in ["b", "c"] {
        tmp.script(&format!("other/{name}/run"), STAY);
    }
    let _all = start(&tmp);
    let a = tmp.until_pid("a", None);
    tmp.until_stat("b", "run");
    // The overlay appears late, with all its parent directories.
    fs::create_dir_all(tmp.path("state/over")).unwrap();
    enable(&tmp, "c", "../../other/c");
    tmp.until_stat_of("other/c", "run");
    assert_eq!(tmp.pid("a"), Some(a));
    enable(&tmp, "a", "/dev/null");
    tmp.until_stat("a", "down");
    enable(&tmp, "b", "../../other/b");
    tmp.until_stat_of("other/b", "run");
    tmp.until_stat("b", "down");
    let status = |name: &str| {
        let mut sv = tmp.command(&["sv", "status", name]);
        let over = tmp.path("state/over");
        util::output_of(sv.env("RUNT_SERVICES_OVERLAY", over)).stdout
    };
    assert!(status("c").starts_with("run: c: "), "{}", status("c"));
    assert!(status("b").starts_with("run: b: "), "{}", status("b"));
    assert_eq!(status("a"), "fail: a: runsv not running\n");
    fs::remove_file(tmp.path("state/over/a")).unwrap();
    tmp.until_pid("a", Some(a));
    fs::remove_dir_all(tmp.path("state")).unwrap();
    tmp.until_stat_of("other/c", "down");
    tmp.until_stat_of("other/b", "down");
    tmp.until_stat("b", "run");
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_mask_applies_from_the_start() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    tmp.service("b", STAY);
    fs::create_dir_all(tmp.path("state/over")).unwrap();
    enable(&tmp, "a", "/dev/null");
    let _all = start(&tmp);
    tmp.until_stat("b", "run");
    assert_eq!(tmp.stat("a"), "", "it was never taken up");
}

#[test]
fn an_unreadable_overlay_changes_nothing() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    tmp.write("state/over", "a file");
    let _all = start(&tmp);
    until("the reason", || {
        let line = "unable to change directory to ";
        tmp.read("errors").contains(line).then_some(())
    });
    fs::remove_file(tmp.path("state/over")).unwrap();
    tmp.until_stat("a", "run");
}
