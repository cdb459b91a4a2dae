//! Whether svlogd keeps what it has when the medium answers EIO: a system
//! call filter stands for it, in the way of what matters only.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/logger.rs"]
mod logger;
mod util;

use std::fs;

use logger::{Logger, all, feed, olds};
use rustix::process::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use util::{Place, until};

/// `write` and `fsync` of x86-64, the host's machine.
const WRITE: i64 = 1;
const FSYNC: i64 = 74;

/// Longer writes than any message.
const LONG: u64 = 2000;

/// svlogd on `log` for whom a call fails with EIO, under some rules or always.
fn broken<'a>(
    place: &'a Place,
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
    // The filter is a thread's and its children's.
    std::thread::scope(|scope| {
        let start = || {
            seccompiler::apply_filter(&filter).unwrap();
            Logger::start(place, &["log"])
        };
        scope.spawn(start).join().unwrap()
    })
}

/// So many numbered lines.
fn lines(from: usize, count: usize) -> String {
    (from..from + count)
        .map(|n| format!("line {n:06}\n"))
        .collect()
}

#[test]
fn a_log_that_cannot_be_written() {
    let place = Place::new();
    place.write("log/config", "s5000\nn3\n");
    let before = lines(0, 700);
    assert_eq!(feed(&place, &["log"], before.as_bytes()).1, 0);
    let kept = all(&place, "log");
    let names = olds(&place, "log");
    let long = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Qword,
        SeccompCmpOp::Ge,
        LONG,
    );
    let rule = SeccompRule::new(vec![long.unwrap()]).unwrap();
    let mut logger = broken(&place, WRITE, vec![rule]);
    // One that works, so that it is seen to be at work.
    logger.write(b"short\n");
    until("a line", || {
        all(&place, "log").ends_with(b"short\n").then_some(())
    });
    logger.write(lines(700, 300).as_bytes());
    let line = "svlogd: pausing: unable to write to current: log: \
                input/output error\n";
    until("a word", || logger.errors().contains(line).then_some(()));
    // It waits and tries again; what it has kept stays as it is.
    logger.kill(Signal::KILL);
    logger.wait();
    assert_eq!(all(&place, "log"), [&kept[..], b"short\n"].concat());
    assert_eq!(olds(&place, "log"), names);
    // The next one goes on behind it.
    let (errors, code) = feed(&place, &["log"], b"after\n");
    assert_eq!(code, 0);
    assert!(
        errors.ends_with("not closed in order: kept as .u\n"),
        "{errors}"
    );
    assert!(all(&place, "log").ends_with(b"short\nafter\n"));
}

#[test]
fn a_log_that_cannot_be_made_durable() {
    let place = Place::new();
    place.write("log/config", "s5000\nn3\n");
    let mut logger = broken(&place, FSYNC, Vec::new());
    let text = lines(0, 700);
    logger.write(text.as_bytes());
    let line = "svlogd: pausing: unable to fsync current logfile: log: \
                input/output error\n";
    until("a word", || logger.errors().contains(line).then_some(()));
    logger.kill(Signal::KILL);
    logger.wait();
    // What fits a file is there, whole lines of it, in order.
    let found = fs::read(place.path("log/current")).unwrap();
    assert!(found.len() > 3900 && text.as_bytes().starts_with(&found));
    assert!(found.ends_with(b"\n"));
    // The next one keeps it as a file that was not closed in order.
    assert_eq!(feed(&place, &["log"], b"after\n").1, 0);
    assert_eq!(olds(&place, "log").len(), 1);
    assert_eq!(all(&place, "log"), [&found[..], b"after\n"].concat());
}
