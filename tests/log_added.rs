//! Tests that a log service added to a running service is used once that is
//! restarted, and what is reported until then.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::fs;

use util::{Place, until};

/// Starts `services/a`, adds a log service to it with `add`, and restarts it.
/// `said` is the output of `sv status` in between, and `read` returns the
/// logged text.
fn is_taken_up(
    add: impl Fn(&Place),
    said: &str,
    read: impl Fn(&Place) -> String,
) {
    let place = Place::new();
    place.service("a", "echo line $$; exec sleep 1000");
    place.service("b", "exec sleep 1000");
    let _all = place.runsvdir();
    let old = place.until_pid("a", None);
    let other = place.until_pid("b", None);
    add(&place);
    let status = place.run(&["sv", "status", "a"]);
    assert!(status.out.ends_with(said), "{status:?}");
    assert_eq!(place.pid("a"), Some(old), "it goes on");
    let restart = place.run(&["sv", "-w", "30", "restart", "a"]);
    assert_eq!(restart.code, 0, "{restart:?}");
    let new = place.until_pid("a", Some(old));
    let line = format!("line {}\n", new.as_raw_pid());
    until("its line", || read(&place).ends_with(&line).then_some(()));
    // The log service may write its first line before its supervise directory
    // is complete.
    let status = until("the status of both", || {
        let status = place.run(&["sv", "status", "a"]);
        (status.code == 0).then_some(status)
    });
    if place.path("services/a/log").exists() {
        assert!(status.out.contains("; run: log: (pid "), "{status:?}");
        let stop = place.run(&["sv", "-w", "30", "restart", "a/log"]);
        assert_eq!(stop.code, 0, "{stop:?}");
    }
    // From here on the pipe outlives the service.
    place.run(&["sv", "-w", "30", "restart", "a"]);
    let newest = place.until_pid("a", Some(new));
    let line = format!("line {}\n", newest.as_raw_pid());
    until("the next line", || {
        read(&place).ends_with(&line).then_some(())
    });
    assert_eq!(place.pid("b"), Some(other), "the other was left alone");
    assert_eq!(place.read("errors"), "");
    // It ends as every service with a log does.
    let exit = place.run(&["sv", "-w", "30", "shutdown", "a"]);
    assert_eq!(
        (exit.out.as_str(), exit.code),
        ("ok: a: runsv not running\n", 0)
    );
}

/// Shown as long as a log directory has no logger.
const MISSING: &str = "; warning: a/log: no logger yet: log/ was added later, \
                       restart a\n";

#[test]
fn a_log_directory_with_a_run() {
    let add = |place: &Place| {
        let to = place.path("logged");
        place.script("new/run", &format!("exec cat >> {}", to.display()));
        fs::rename(place.path("new"), place.path("services/a/log")).unwrap();
    };
    is_taken_up(add, MISSING, |place| place.read("logged"));
}

#[test]
fn a_log_directory_for_the_shared_logger() {
    let add = |place: &Place| {
        fs::create_dir(place.path("services/a/log")).unwrap();
    };
    let read = |place: &Place| place.read("services/a/log/current");
    is_taken_up(add, MISSING, read);
}

#[test]
fn a_log_ring() {
    let add = |place: &Place| {
        place.write("services/a/runt/log-ring", "4096\n");
    };
    let read = |place: &Place| place.run(&["sv", "log", "a"]).out;
    is_taken_up(add, "s\n", read);
}

#[test]
fn a_log_directory_that_is_removed_keeps_its_logger() {
    let place = Place::new();
    place.service("a", "echo line $$; exec sleep 1000");
    let to = place.path("logged");
    let log = format!("exec cat >> {}", to.display());
    place.script("services/a/log/run", &log);
    let _all = place.runsvdir();
    let old = place.until_pid("a", None);
    until("its line", || {
        (!place.read("logged").is_empty()).then_some(())
    });
    fs::rename(place.path("services/a/log"), place.path("gone")).unwrap();
    let status = place.run(&["sv", "status", "a"]);
    assert!(
        status.out.ends_with("s\n") && status.code == 0,
        "{status:?}"
    );
    place.run(&["sv", "-w", "30", "restart", "a"]);
    let new = place.until_pid("a", Some(old));
    let line = format!("line {}\n", new.as_raw_pid());
    until("the next line", || {
        place.read("logged").ends_with(&line).then_some(())
    });
}
