//! Tests that svlogd keeps its logs when the medium returns EIO, simulated by
//! a system call filter that affects only the calls under test.

use std::fs;

use rustix::process::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use crate::util::{
    TestDir,
    logger::{Logger, all_logs, feed, rotated},
    until,
};

/// `write` and `fsync` of x86-64, the host's machine.
const WRITE: i64 = 1;
const FSYNC: i64 = 74;

/// Minimum size of the writes that fail: longer than any message.
const LONG: u64 = 2000;

/// Starts svlogd on `log` with a call that fails with EIO, under some rules or
/// always.
fn broken<'a>(
    tmp: &'a TestDir,
    call: i64,
    rules: Vec<SeccompRule>,
) -> Logger<'a> {
    let filter = SeccompFilter::new(
        [(call, rules)].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(5),
        TargetArch::x86_64,
    );
    let filter = BpfProgram::try_from(filter.unwrap()).unwrap();
    // The filter applies to a thread and its children only.
    std::thread::scope(|scope| {
        let start = || {
            seccompiler::apply_filter(&filter).unwrap();
            Logger::start(tmp, &["log"])
        };
        scope.spawn(start).join().unwrap()
    })
}

/// Returns `count` numbered lines.
fn lines(from: usize, count: usize) -> String {
    (from..from + count)
        .map(|n| format!("line {n:06}\n"))
        .collect()
}

#[test]
fn write_errors() {
    let tmp = TestDir::new();
    tmp.write("log/config", "s5000\nn3\n");
    let before = lines(0, 700);
    assert_eq!(feed(&tmp, &["log"], before.as_bytes()).1, 0);
    let kept = all_logs(&tmp, "log");
    let names = rotated(&tmp, "log");
    let long = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::Ge,
        LONG,
    );
    let rule = SeccompRule::new(vec![long.unwrap()]).unwrap();
    let mut logger = broken(&tmp, WRITE, vec![rule]);
    // A write that succeeds shows that svlogd is running.
    logger.write(b"short\n");
    until("a line", || {
        all_logs(&tmp, "log").ends_with(b"short\n").then_some(())
    });
    logger.write(lines(700, 300).as_bytes());
    let line = "svlogd: pausing: unable to write to current: log: \
                input/output error\n";
    until("a word", || logger.errors().contains(line).then_some(()));
    // It waits and retries; the logs already kept do not change.
    logger.kill(Signal::KILL);
    logger.wait();
    assert_eq!(all_logs(&tmp, "log"), [&kept[..], b"short\n"].concat());
    assert_eq!(rotated(&tmp, "log"), names);
    // The next svlogd continues after it.
    let (errors, code) = feed(&tmp, &["log"], b"after\n");
    assert_eq!(code, 0);
    assert!(
        errors.ends_with("not closed in order: kept as .u\n"),
        "{errors}"
    );
    assert!(all_logs(&tmp, "log").ends_with(b"short\nafter\n"));
}

#[test]
fn fsync_errors() {
    let tmp = TestDir::new();
    tmp.write("log/config", "s5000\nn3\n");
    let mut logger = broken(&tmp, FSYNC, Vec::new());
    let text = lines(0, 700);
    logger.write(text.as_bytes());
    let line = "svlogd: pausing: unable to fsync current logfile: log: \
                input/output error\n";
    until("a word", || logger.errors().contains(line).then_some(()));
    logger.kill(Signal::KILL);
    logger.wait();
    // As many whole lines as fit a file are there, in order.
    let found = fs::read(tmp.path("log/current")).unwrap();
    assert!(found.len() > 3900 && text.as_bytes().starts_with(&found));
    assert!(found.ends_with(b"\n"));
    // The next svlogd keeps it as a file that was not closed in order.
    assert_eq!(feed(&tmp, &["log"], b"after\n").1, 0);
    assert_eq!(rotated(&tmp, "log").len(), 1);
    assert_eq!(all_logs(&tmp, "log"), [&found[..], b"after\n"].concat());
}
