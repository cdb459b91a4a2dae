//! Tests that a log service added to a running service is used once that is
//! restarted, and what is reported until then.

use std::fs;

use rustix::process::{Signal, kill_process};

use crate::util::{TestDir, until};

/// Starts `services/a`, adds a log service to it with `add`, and restarts it.
/// `output` is the output of `sv status` in between, and `read` returns the
/// logged text.
fn is_used_after_restart(
    add: impl Fn(&TestDir),
    output: &str,
    read: impl Fn(&TestDir) -> String,
) {
    let tmp = TestDir::new();
    tmp.service("a", "echo line $$; exec sleep 1000");
    tmp.service("b", "exec sleep 1000");
    let _all = tmp.runsvdir();
    let old = tmp.until_pid("a", None);
    let other = tmp.until_pid("b", None);
    add(&tmp);
    let status = tmp.run(&["sv", "status", "a"]);
    assert!(status.stdout.ends_with(output), "{status:?}");
    assert_eq!(tmp.pid("a"), Some(old), "it goes on");
    let restart = tmp.run(&["sv", "-w", "30", "restart", "a"]);
    assert_eq!(restart.code, 0, "{restart:?}");
    let new = tmp.until_pid("a", Some(old));
    let line = format!("line {}\n", new.as_raw_pid());
    until("its line", || read(&tmp).ends_with(&line).then_some(()));
    // The log service may write its first line before its supervise directory
    // is complete.
    let status = until("the status of both", || {
        let status = tmp.run(&["sv", "status", "a"]);
        (status.code == 0).then_some(status)
    });
    if tmp.path("services/a/log").exists() {
        assert!(status.stdout.contains("; run: log: (pid "), "{status:?}");
        let stop = tmp.run(&["sv", "-w", "30", "restart", "a/log"]);
        assert_eq!(stop.code, 0, "{stop:?}");
    }
    // From here on the pipe outlives the service.
    tmp.run(&["sv", "-w", "30", "restart", "a"]);
    let newest = tmp.until_pid("a", Some(new));
    let line = format!("line {}\n", newest.as_raw_pid());
    until("the next line", || {
        read(&tmp).ends_with(&line).then_some(())
    });
    assert_eq!(tmp.pid("b"), Some(other), "the other was left alone");
    assert_eq!(tmp.read("errors"), "");
    // It ends as every service with a log does.
    let exit = tmp.run(&["sv", "-w", "30", "shutdown", "a"]);
    assert_eq!(
        (exit.stdout.as_str(), exit.code),
        ("ok: a: runsv not running\n", 0)
    );
}

/// Shown as long as a log directory has no logger.
const MISSING: &str = "; warning: a/log: no logger yet: log/ was added later, \
                       restart a\n";

#[test]
fn log_directory_with_run() {
    let add = |tmp: &TestDir| {
        let to = tmp.path("logged");
        tmp.script("new/run", &format!("exec cat >> {}", to.display()));
        fs::rename(tmp.path("new"), tmp.path("services/a/log")).unwrap();
    };
    is_used_after_restart(add, MISSING, |tmp| tmp.read("logged"));
}

#[test]
fn log_directory_without_run() {
    let add = |tmp: &TestDir| {
        fs::create_dir(tmp.path("services/a/log")).unwrap();
    };
    let read = |tmp: &TestDir| tmp.read("services/a/log/current");
    is_used_after_restart(add, MISSING, read);
}

#[test]
fn log_ring() {
    let add = |tmp: &TestDir| {
        tmp.write("services/a/runt/log-ring", "4096\n");
    };
    let read = |tmp: &TestDir| tmp.run(&["sv", "log", "a"]).stdout;
    is_used_after_restart(add, "s\n", read);
}

#[test]
fn a_removed_log_directory_keeps_its_logger() {
    let tmp = TestDir::new();
    tmp.service("a", "echo line $$; exec sleep 1000");
    let to = tmp.path("logged");
    let log = format!("exec cat >> {}", to.display());
    tmp.script("services/a/log/run", &log);
    let _all = tmp.runsvdir();
    let old = tmp.until_pid("a", None);
    until("its line", || {
        (!tmp.read("logged").is_empty()).then_some(())
    });
    fs::rename(tmp.path("services/a/log"), tmp.path("gone")).unwrap();
    let status = tmp.run(&["sv", "status", "a"]);
    assert!(
        status.stdout.ends_with("s\n") && status.code == 0,
        "{status:?}"
    );
    tmp.run(&["sv", "-w", "30", "restart", "a"]);
    let new = tmp.until_pid("a", Some(old));
    let line = format!("line {}\n", new.as_raw_pid());
    until("the next line", || {
        tmp.read("logged").ends_with(&line).then_some(())
    });
}

#[test]
fn a_restored_log_directory_gets_its_run_back() {
    let tmp = TestDir::new();
    tmp.service("a", "while sleep 0.05; do echo line; done");
    let to = tmp.path("logged");
    let log = format!("echo logger $$ >> {0}; exec cat >> {0}", to.display());
    tmp.script("services/a/log/run", &log);
    let _all = tmp.runsvdir();
    let service = tmp.until_pid("a", None);
    let logger = tmp.until_pid("a/log", None);
    fs::rename(tmp.path("services/a/log"), tmp.path("gone")).unwrap();
    kill_process(logger, Signal::TERM).unwrap();
    until("a start that fails", || {
        let errors = tmp.read("errors");
        errors.contains("unable to start log/./run").then_some(())
    });
    fs::rename(tmp.path("gone"), tmp.path("services/a/log")).unwrap();
    let new = tmp.until_pid("a/log", Some(logger));
    let lines = format!("logger {}\nline\n", new.as_raw_pid());
    until("a line", || {
        tmp.read("logged").contains(&lines).then_some(())
    });
    let status = tmp.run(&["sv", "status", "a"]);
    assert!(status.stdout.contains("; run: log: (pid "), "{status:?}");
    assert_eq!(tmp.pid("a"), Some(service), "it goes on");
}
