//! Tests that a supervisor may be killed, or may fault, at any instruction: the
//! next one, or the same process, goes on with what runs, starts nothing a
//! second time, loses no event, and everything stops at the end.

#[cfg(target_arch = "x86_64")]
use std::fs;

use nix::sys::signal::Signal;
#[cfg(target_arch = "x86_64")]
use nix::{
    sys::{
        ptrace::{self, Options},
        signal::kill,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};
#[cfg(target_arch = "x86_64")]
use syscalls::Sysno;

use crate::util::{
    STAY, TestDir,
    life::{Life, in_parallel, tell},
    tracer::{Point, Trace, Tracer},
    until,
};

/// Signals in a life: one after the other.
const SIGNALS: usize = 4;

/// Most instructions after a system call: more than there are between two.
const STEPS: usize = 4000;

/// Plays a life in which supervisors get a signal at these points.
fn play(points: &[Point], signal: Signal) -> Trace {
    let kills = signal == Signal::SIGKILL;
    let life = Life::new();
    let mut all = life.tmp.runsvdir();
    let supervisor = all.supervisor();
    let tracer = Tracer::start(
        all.pid().as_raw_pid(),
        supervisor.as_raw_pid(),
        points.to_vec(),
        signal,
    );
    // Before it handles faults again, one ends it.
    life.play(if kills {
        !points.is_empty()
    } else {
        points.len() > 1
    });
    // A front that ends before it has noticed the end of its supervisor would
    // be followed by none.
    let sent = tracer.spare();
    if kills {
        until("the end of the last supervisor", || {
            (life.errors().len() == sent).then_some(())
        });
    }
    life.end(&mut all);
    let trace = tracer.end();
    let mut ends = 0;
    let mut faults = 0;
    for line in life.errors() {
        let ended = "runsvdir services: warning: the supervisor has ended, \
                     restarting";
        let fault = "runsvdir services: warning: fault ";
        if line == ended {
            ends += 1;
        } else {
            let count = line.strip_prefix(fault).filter(|_| !kills);
            let (count, _) = count.unwrap().split_once(' ').unwrap();
            faults = count.parse().unwrap();
        }
    }
    if kills || ends > 0 {
        assert!(!kills || ends == trace.signals, "{ends} ends");
    } else {
        // One that follows at once is reported with the next one.
        assert_eq!(faults, trace.signals, "faults");
    }
    trace
}

/// Returns numbers that look random, and are the same each time.
fn numbers() -> impl Iterator<Item = usize> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap()
    })
}

/// Returns lives with `points` points in all. The first supervisor of a life is
/// killed anywhere in it, the next ones mostly while they begin.
fn lives(points: usize, usual: usize, each: usize) -> Vec<Vec<Point>> {
    /// Stops of a supervisor that takes over.
    const BEGIN: usize = 800;
    let mut random = numbers();
    let mut below = |bound: usize| random.next().unwrap() % bound;
    // Some points lie behind the end of a life.
    let lives = points.div_ceil(each.saturating_sub(1).max(1));
    let point =
        |life: usize, kill: usize, below: &mut dyn FnMut(usize) -> usize| {
            let stop = match kill {
                0 => life * usual / lives + below(usual.div_ceil(lives)),
                1 => below(usual),
                _ => below(BEGIN),
            };
            // Half of them before or after a system call.
            let steps = below(2) * below(STEPS);
            Point {
                stop: stop + 1,
                steps,
            }
        };
    (0..lives)
        .map(|life| (0..each).map(|k| point(life, k, &mut below)).collect())
        .collect()
}

/// Sends supervisors a signal at `points` points, in lives with `each` of them.
fn signal_anywhere(points: usize, signal: Signal, each: usize) {
    let usual = play(&[], signal).stops[0];
    let lives = lives(points, usual, each);
    let played = in_parallel(&lives, |points| play(points, signal).signals);
    let mut failed = Vec::new();
    let mut reached = 0;
    for (points, result) in lives.iter().zip(played) {
        match result {
            Ok(count) => reached += count,
            Err(text) => failed.push(format!("{points:?}: {text}")),
        }
    }
    tell(&format!(
        "{reached} times {signal} in {} lives of {usual} stops",
        lives.len()
    ));
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    assert!(
        reached * 2 >= points,
        "too few points were reached: {reached}"
    );
}

#[test]
fn killed_at_three_hundred_points() {
    signal_anywhere(300, Signal::SIGKILL, SIGNALS);
}

#[test]
#[ignore = "takes an hour"]
fn killed_at_ten_thousand_points() {
    signal_anywhere(10_000, Signal::SIGKILL, SIGNALS);
}

#[test]
#[ignore = "takes an hour"]
fn faults_at_ten_thousand_points() {
    signal_anywhere(8000, Signal::SIGSEGV, SIGNALS);
    signal_anywhere(2000, Signal::SIGSEGV, 1);
}

/// Sends a supervisor a signal when it has read a byte from a control FIFO, as
/// its next event.
#[cfg(target_arch = "x86_64")]
fn signal_after_read(supervisor: Pid, signal: Signal, control: impl FnOnce()) {
    ptrace::seize(supervisor, Options::PTRACE_O_TRACESYSGOOD).unwrap();
    ptrace::interrupt(supervisor).unwrap();
    waitpid(supervisor, None).unwrap();
    control();
    // Entries and returns alternate.
    let mut returns = true;
    loop {
        ptrace::syscall(supervisor, None).unwrap();
        let stop = waitpid(supervisor, None).unwrap();
        if !matches!(stop, WaitStatus::PtraceSyscall(_)) {
            continue;
        }
        returns = !returns;
        let regs = ptrace::getregs(supervisor).unwrap();
        let file = format!("/proc/{supervisor}/fd/{}", regs.rdi);
        if returns
            && regs.orig_rax == Sysno::read as u64
            && regs.rax == 1
            && fs::read_link(file).is_ok_and(|f| f.ends_with("control"))
        {
            break;
        }
    }
    kill(supervisor, signal).unwrap();
    if ptrace::detach(supervisor, None).is_err() {
        // Its parent learns of its end after this process.
        waitpid(supervisor, None).unwrap();
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_control_byte_that_was_just_read_is_obeyed() {
    for signal in [Signal::SIGKILL, Signal::SIGSEGV] {
        let tmp = TestDir::new();
        tmp.service("a", STAY);
        tmp.script("services/a/log/run", "exec cat > /dev/null");
        let all = tmp.runsvdir();
        let pid = tmp.until_pid("a", None);
        let log = tmp.until_pid("a/log", None);
        let after_read = |byte: &str, service: &str| {
            let supervisor = Pid::from_raw(all.supervisor().as_raw_pid());
            signal_after_read(supervisor, signal, || {
                tmp.control(service, byte);
            });
        };
        after_read("t", "a");
        let pid = tmp.until_pid("a", Some(pid));
        after_read("t", "a/log");
        tmp.until_pid("a/log", Some(log));
        after_read("p", "a");
        tmp.until_stat("a", "run, paused");
        assert_eq!(tmp.pid("a"), Some(pid));
        after_read("c", "a");
        tmp.until_stat("a", "run");
        after_read("d", "a");
        tmp.until_stat("a", "down");
    }
}
