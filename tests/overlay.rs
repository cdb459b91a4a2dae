//! Tests that a writable directory adds to and masks a read-only services
//! directory.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{fs, os::unix::fs::symlink};

use util::{Place, Running, until};

/// A `run` line that keeps the service up.
const STAY: &str = "exec sleep 1000";

/// Starts runsvdir with the overlay `state/over`.
fn start(place: &Place) -> Running<'_> {
    let mut command = place.command(&["runsvdir", "services"]);
    let over = place.path("state/over");
    place.start_as(command.env("RUNT_SERVICES_OVERLAY", over))
}

/// Creates a link in the overlay.
fn enable(place: &Place, name: &str, target: &str) {
    symlink(target, place.path(&format!("state/over/{name}"))).unwrap();
}

#[test]
fn entries_of_the_overlay_hide_others() {
    let place = Place::new();
    for name in ["a", "b"] {
        place.service(name, STAY);
    }
    for name in ["b", "c"] {
        place.script(&format!("other/{name}/run"), STAY);
    }
    let _all = start(&place);
    let a = place.until_pid("a", None);
    place.until_stat("b", "run");
    // The overlay appears late, with all its parent directories.
    fs::create_dir_all(place.path("state/over")).unwrap();
    enable(&place, "c", "../../other/c");
    place.until_stat_of("other/c", "run");
    assert_eq!(place.pid("a"), Some(a));
    enable(&place, "a", "/dev/null");
    place.until_stat("a", "down");
    enable(&place, "b", "../../other/b");
    place.until_stat_of("other/b", "run");
    place.until_stat("b", "down");
    let status = |name: &str| {
        let mut sv = place.command(&["sv", "status", name]);
        let over = place.path("state/over");
        util::said(sv.env("RUNT_SERVICES_OVERLAY", over)).out
    };
    assert!(status("c").starts_with("run: c: "), "{}", status("c"));
    assert!(status("b").starts_with("run: b: "), "{}", status("b"));
    assert_eq!(status("a"), "fail: a: runsv not running\n");
    fs::remove_file(place.path("state/over/a")).unwrap();
    place.until_pid("a", Some(a));
    fs::remove_dir_all(place.path("state")).unwrap();
    place.until_stat_of("other/c", "down");
    place.until_stat_of("other/b", "down");
    place.until_stat("b", "run");
    assert_eq!(place.read("errors"), "");
}

#[test]
fn a_mask_is_there_from_the_start() {
    let place = Place::new();
    place.service("a", STAY);
    place.service("b", STAY);
    fs::create_dir_all(place.path("state/over")).unwrap();
    enable(&place, "a", "/dev/null");
    let _all = start(&place);
    place.until_stat("b", "run");
    assert_eq!(place.stat("a"), "", "it was never taken up");
}

#[test]
fn an_overlay_that_cannot_be_read_changes_nothing() {
    let place = Place::new();
    place.service("a", STAY);
    place.write("state/over", "a file");
    let _all = start(&place);
    until("the reason", || {
        let line = "unable to change directory to ";
        place.read("errors").contains(line).then_some(())
    });
    fs::remove_file(place.path("state/over")).unwrap();
    place.until_stat("a", "run");
}
