//! Tests that a supervisor survives the failure of any one of its system
//! calls. strace makes the nth call of a kind fail, once, with an error that
//! this kind can have: exhausted memory or descriptors, a full, read-only or
//! broken disk, an interruption. The supervisor's children share its memory
//! until they run their programs, so strace does not follow them.
//!
//! Afterwards it is the same process and has no more descriptors than without
//! the failure; it has said at most a line, did not spin, and everything that
//! was to start or stop did so, once.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::Pid;

use crate::util::{
    cpu_time,
    life::{
        Descriptors, Life, descriptors, in_parallel, tell, until_descriptors,
    },
    peers, start_by,
};

/// Points in the test command.
const FEW: usize = 60;

/// Errors that calls can have, by the start of the call's name.
const ERRORS: [(&[&str], &[&str]); 14] = [
    (&["read", "recvfrom"], &["EINTR", "EAGAIN", "EIO"]),
    (&["recvmsg"], &["EINTR", "EAGAIN", "ENOMEM", "EMFILE"]),
    (&["write", "pwrite"], &["EINTR", "ENOSPC", "EIO", "EROFS"]),
    (&["sendmsg", "sendto"], &["EINTR", "EAGAIN", "ENOMEM"]),
    (
        &["open"],
        &[
            "EINTR", "ENOMEM", "EMFILE", "ENFILE", "EIO", "ENOSPC", "EROFS",
        ],
    ),
    (&["clone", "fork"], &["EAGAIN", "ENOMEM"]),
    (&["epoll_pwait", "epoll_wait", "poll", "ppoll"], &["EINTR"]),
    (&["epoll_ctl", "inotify_add"], &["ENOMEM", "ENOSPC"]),
    (
        &[
            "mk", "rename", "unlink", "link", "symlink", "fchmod", "utimens",
        ],
        &["ENOMEM", "ENOSPC", "EIO", "EROFS"],
    ),
    (
        &["fstat", "stat", "newfstat", "faccess", "access", "readlink"],
        &["ENOMEM", "EIO"],
    ),
    (&["getdents"], &["ENOMEM", "EIO"]),
    (&["flock"], &["EINTR", "ENOMEM"]),
    (&["ftruncate", "fallocate"], &["EINTR", "ENOSPC", "EIO"]),
    (
        &[
            "pipe",
            "socketpair",
            "epoll_create",
            "signalfd",
            "inotify_init",
            "timerfd_create",
            "memfd",
            "pidfd_open",
            "dup",
            "mmap",
        ],
        &["ENOMEM", "EMFILE", "ENFILE"],
    ),
];

/// The process that is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    /// The supervisor of `runsvdir`, before it has services.
    Supervisor,
    /// `runsv` of one service, from its first call on.
    One,
}

/// A failure: the nth call of a kind.
#[derive(Clone, Copy, Debug)]
struct Point<'a> {
    subject: Subject,
    call: &'a str,
    number: usize,
    error: &'static str,
}

/// Records of a life.
struct Report {
    /// The lines of strace.
    calls: String,
    /// The lines on descriptor 2.
    errors: Vec<String>,
    /// The descriptors at the end.
    descriptors: Descriptors,
}

/// Returns the command of strace with these options, which writes to `log`.
/// `None` if there is no strace.
fn strace(log: &Path, point: Option<&Point<'_>>) -> Option<Command> {
    let mut command = Command::new(peers::programs("strace")?.join("strace"));
    // Not for the traced program.
    command.args(["-E", "LD_LIBRARY_PATH"]);
    command.env("LD_LIBRARY_PATH", peers::libraries("strace")?);
    command.arg("-o").arg(log);
    if let Some(Point {
        call,
        number,
        error,
        ..
    }) = point
    {
        let inject = format!("inject={call}:error={error}:when={number}");
        command.args(["-e", &inject]);
    }
    Some(command)
}

/// Lets strace trace a process. It ends with it.
fn attach(mut command: Command, pid: Pid) -> Child {
    command.args(["-p", &pid.as_raw_pid().to_string()]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    lines.read_line(&mut said).unwrap();
    assert!(said.contains(" attached"), "{said}");
    child
}

/// Plays a life in which a call fails.
fn play(point: Option<&Point<'_>>, usual: Option<&Descriptors>) -> Report {
    let life = Life::new();
    let log = life.tmp.path("calls");
    let mut all = life.tmp.runsvdir();
    let supervisor = all.supervisor();
    let command = strace(&log, point).unwrap();
    let mut tracer = attach(command, supervisor);
    life.play(false);
    let now = match usual {
        Some(usual) => {
            let full = |p: &Point<'_>| ["ENOSPC", "EROFS"].contains(&p.error);
            until_descriptors(supervisor, usual, point.is_some_and(full));
            usual.clone()
        }
        None => descriptors(supervisor),
    };
    assert_eq!(all.supervisor(), supervisor, "the supervisor was restarted");
    assert!(cpu_time(supervisor) < 300, "it spins");
    life.end(&mut all);
    let _ended = tracer.wait().unwrap();
    Report {
        calls: fs::read_to_string(log).unwrap(),
        errors: life.errors(),
        descriptors: now,
    }
}

/// Plays the life of one service in which a call fails, from the start of
/// `runsv` on, which may fail with a line.
fn play_one(point: Option<&Point<'_>>) -> Report {
    let life = Life::new();
    let log = life.tmp.path("calls");
    let command = strace(&log, point).unwrap();
    let mut one = start_by(&life.tmp, command, &["runsv", "other/a"]);
    let failed = life.play_one(&mut one);
    let errors = life.errors();
    let starts_ok = failed.is_none_or(|code| code == 111 && !errors.is_empty());
    assert!(starts_ok, "exit code {failed:?}: {errors:?}");
    Report {
        calls: fs::read_to_string(log).unwrap(),
        errors,
        descriptors: Descriptors::new(),
    }
}

/// Returns all points of a subject: for each call of a usual life each error
/// that it can have.
fn points(subject: Subject, calls: &str) -> Vec<Point<'_>> {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut points = Vec::new();
    for line in calls.lines() {
        let Some((call, rest)) = line.split_once('(') else {
            continue;
        };
        let number = counts.entry(call).or_default();
        *number += 1;
        // A change of an entry takes no memory.
        let fails = call != "epoll_ctl" || rest.contains("EPOLL_CTL_ADD");
        let has = |starts: &&[&str]| starts.iter().any(|s| call.starts_with(s));
        let known = ERRORS.iter().find(|(starts, _)| fails && has(starts));
        let errors = known.map_or(&[][..], |(_, errors)| *errors);
        points.extend(errors.iter().map(|error| Point {
            subject,
            call,
            number: *number,
            error,
        }));
    }
    points
}

/// Plays a life for each of some points, and prints what failed.
fn play_all(points: &[Point<'_>], usual: &BTreeMap<&str, Report>, long: bool) {
    let played = in_parallel(points, |point| {
        let usual = &usual[point.subject.name()];
        let report = match point.subject {
            Subject::One => play_one(Some(point)),
            Subject::Supervisor => play(Some(point), Some(&usual.descriptors)),
        };
        check(&report, usual);
        if long {
            tell(&format!("{point:?}: {:?}", report.errors));
        }
        report
    });
    let (mut reached, mut silent, mut failed) = (0, 0, Vec::new());
    for (point, result) in points.iter().zip(played) {
        match result {
            Ok(report) => {
                reached += usize::from(report.calls.contains("(INJECTED)"));
                silent += usize::from(report.errors.is_empty());
            }
            Err(text) => failed.push(format!("{point:?}: {text}")),
        }
    }
    tell(&format!(
        "{} points, {reached} of them reached, {silent} without a line",
        points.len(),
    ));
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    assert!(reached * 4 >= points.len() * 3, "too few calls have failed");
}

/// Checks what holds after every failure.
fn check(report: &Report, usual: &Report) {
    let Report { calls, errors, .. } = report;
    assert!(errors.len() <= 1, "{errors:#?}");
    for line in errors {
        assert!(line.starts_with("runsv"), "{line}");
        assert!(line.contains(": "), "{line}");
    }
    let (count, most) = (calls.lines().count(), usual.calls.lines().count());
    assert!(count < 2 * most + 500, "{count} calls instead of {most}");
}

impl Subject {
    /// Returns its name.
    fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::One => "one",
        }
    }
}

/// Plays lives at `most` points, or at all.
fn fail_calls(most: Option<usize>) {
    if peers::programs("strace").is_none() {
        return;
    }
    let usual = BTreeMap::from([
        ("supervisor", play(None, None)),
        ("one", play_one(None)),
    ]);
    for report in usual.values() {
        assert_eq!(report.errors, [""; 0]);
    }
    let mut all = points(Subject::Supervisor, &usual["supervisor"].calls);
    all.extend(points(Subject::One, &usual["one"].calls));
    let step = most.map_or(1, |most| all.len().div_ceil(most));
    let chosen: Vec<_> = all.into_iter().step_by(step).collect();
    play_all(&chosen, &usual, most.is_none());
}

#[test]
fn sixty_calls_fail() {
    fail_calls(Some(FEW));
}

#[test]
#[ignore = "takes an hour"]
fn every_call_fails() {
    fail_calls(None);
}
