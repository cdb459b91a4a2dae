//! runsvctrl, runsvstat, svwaitup, svwaitdown, svc, svstat, svok: the
//! predecessors of sv in runit 1.x and daemontools.
//!
//! # Synopsis
//! `runsvctrl COMMAND DIR...`\
//! `runsvstat [-l] DIR...`\
//! `svwaitup [-v] [-s SECONDS] DIR...`\
//! `svwaitdown [-v] [-x] [-k] [-t SECONDS] DIR...`\
//! `svc [-udopchaitkx] DIR...`\
//! `svstat DIR...`\
//! `svok DIR`
//!
//! # Description
//! DIR is a service directory. `runsvctrl` sends the first letter of COMMAND,
//! one of `udopchaiq12tkx`, or `e`, which is `x`. `svc` sends every letter of
//! its options, in their order. Neither waits. The letters are those of the
//! commands of sv(8).
//!
//! `runsvstat` and `svstat` print the status of services. `svwaitup` waits
//! until each service has run for some time. `svwaitdown` takes all services
//! down and waits for each. `svok` tests whether DIR is supervised.
//!
//! # Options
//! - `-l`: of `runsvstat`, also prints the status of the log services.
//! - `-v`: reports progress.
//! - `-s SECONDS`: of `svwaitup`, the time that a service must have run, 1 to
//!   600, by default 2.
//! - `-x`: of `svwaitdown`, ends the supervisors too.
//! - `-k`: of `svwaitdown`, kills the services that are not down when the time
//!   is up.
//! - `-t SECONDS`: of `svwaitdown`, the time to wait, 1 to 6000, by default
//!   600.
//! - `-u`, `-d`, `-o`, `-x`: of `svc`, up, down, once, exit.
//! - `-p`, `-c`: of `svc`, pause, continue.
//! - `-h`, `-a`, `-i`, `-t`, `-k`: of `svc`, the signals HUP, ALRM, INT, TERM,
//!   KILL.
//! - `--help`: prints a summary.
//!
//! # Exit status
//! runsvctrl, runsvstat, svwaitup, svwaitdown: the number of services that
//! failed, at most 100; 1 usage; `svwaitdown` 111 when the time was up. svc
//! and svstat: 0, svc 100 usage. svok: 0 supervised, 100 not supervised or
//! usage, 111 DIR cannot be examined.

use core::{ffi::CStr, time::Duration};

use heapless::Vec;

use super::sv::{
    describe::{GOT_TERM, flags, seconds, word},
    service::{Unavailable, is_normally_up, probe, send},
};
use crate::{
    args::getopt::{Getopt, Opt},
    sys::{
        self, AsFd, At, CWD, Errno, Fd, clock, error, file, poller,
        secure::{self, FifoEnds},
        start::{List, Start},
    },
    text::{Line, basename, whole_number},
    wire::status::{State, Status},
};

/// Exit code of a usage error of runit's programs.
const USAGE: u8 = 1;
/// Exit code of a usage error of daemontools' programs.
const DAEMONTOOLS_USAGE: u8 = 100;
/// Maximum number of failed services in an exit code.
const MAX_FAILED: u8 = 100;
/// Maximum number of option letters of one command line.
const LETTERS: usize = 64;
/// Interval between two checks of a status.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Letters of the options of runsvstat.
pub(super) const RUNSVSTAT: &[u8] = b"l";
/// Letters of the options of svwaitup.
pub(super) const SVWAITUP: &[u8] = b"vs:";
/// Letters of the options of svwaitdown.
pub(super) const SVWAITDOWN: &[u8] = b"vxkt:";
/// Letters of the options of svc.
pub(super) const SVC: &[u8] = b"udopchaitkx";

/// Action to run on each service.
type Action<'a> = &'a mut dyn FnMut(
    &mut Tool,
    &'static CStr,
    At<'_>,
) -> Result<(), Unavailable>;

/// One invocation of a program.
struct Tool {
    /// Name, as it is printed.
    name: &'static [u8],
    /// Text that follows the name in the usage message, and the exit code of
    /// a usage error. With that of daemontools it is the whole message.
    usage: (&'static str, u8),
    /// Option letters in their order.
    given: Vec<u8, LETTERS>,
    /// Value of the option that takes one.
    value: Option<u64>,
    /// Operands.
    operands: List,
    /// Number of services that failed.
    failed: u8,
}

impl Tool {
    /// Parses a command line. After a usage error prints it and returns its
    /// exit code as `Err`.
    fn new(
        start: Start,
        known: &'static [u8],
        usage: (&'static str, u8),
    ) -> Result<Self, u8> {
        let name = start.argv.first().unwrap_or(c"").to_bytes();
        let mut tool = Self {
            name,
            usage,
            given: Vec::new(),
            value: None,
            operands: start.argv.iter(),
            failed: 0,
        };
        let mut options = Getopt::new(start.argv.skip(1).iter(), known);
        for option in &mut options {
            let letter = match option {
                Opt::Flag(letter) => letter,
                Opt::Value(letter, text) => {
                    // 0 is out of every range: the caller refuses it.
                    let number = whole_number(text.to_bytes());
                    tool.value = Some(number.unwrap_or(0));
                    letter
                }
                Opt::Illegal(_) | Opt::Missing(_) => {
                    super::report_option(basename(name), option);
                    return Err(tool.usage_error());
                }
            };
            if tool.given.push(letter).is_err() {
                let mut line = Line::new();
                let bound = u64::try_from(LETTERS).unwrap_or(0);
                line.bytes(name).text(": too many options (the bound is ");
                sys::print_error(line.number(bound).text(")").finish());
                return Err(tool.usage_error());
            }
        }
        let used = options.used().saturating_add(1);
        tool.operands = start.argv.skip(used).iter();
        Ok(tool)
    }

    /// Prints the usage message. Returns the exit code of a usage error.
    fn usage_error(&self) -> u8 {
        let (usage, code) = self.usage;
        if code == DAEMONTOOLS_USAGE {
            sys::print_error(usage.as_bytes());
            return code;
        }
        super::usage(self.name, usage, code)
    }

    /// Returns true when an option was given.
    fn has(&self, letter: u8) -> bool {
        self.given.contains(&letter)
    }

    /// Prints `PROG: LEVELNAME: WHAT` on descriptor 2.
    fn report(&self, level: &str, name: &CStr, what: &[u8]) {
        let mut line = Line::new();
        line.bytes(self.name).text(": ").text(level);
        line.bytes(name.to_bytes()).text(": ").bytes(what);
        sys::print_error(line.finish());
    }

    /// Warns that a service does not answer, and counts it as failed.
    fn count_failure(&mut self, name: &CStr, reason: Unavailable) {
        let mut line = Line::new();
        reason.text(&mut line);
        if reason == Unavailable::Unsupervised {
            line.text(".");
        }
        self.report("warning: ", name, line.as_bytes());
        self.failed = self.failed.saturating_add(1).min(MAX_FAILED);
    }

    /// Runs an action on each service. Returns the exit code, or that of a
    /// usage error when no service is named.
    fn each(&mut self, action: Action<'_>) -> u8 {
        let mut none = true;
        for name in self.operands {
            none = false;
            let done =
                open(name).and_then(|dir| action(self, name, dir.as_fd()));
            if let Err(reason) = done {
                self.count_failure(name, reason);
            }
        }
        if none {
            self.usage_error()
        } else {
            self.failed
        }
    }
}

/// Opens a service directory.
fn open(name: &CStr) -> Result<Fd, Unavailable> {
    let failed = |errno| Unavailable::Failed("change directory", Some(errno));
    file::open_dir(CWD, name).map_err(failed)
}

/// Runs `runsvctrl`.
pub(super) fn runsvctrl(start: Start) -> u8 {
    let usage = (" u|d|o|p|c|h|a|i|q|1|2|t|k|x|e service ...", USAGE);
    let mut tool = match Tool::new(start, b"", usage) {
        Ok(tool) => tool,
        Err(code) => return code,
    };
    let word = tool.operands.next().unwrap_or(c"");
    let letter = match word.to_bytes().first() {
        Some(b'e') => b'x',
        Some(letter) if b"udopchaiq12tkx".contains(letter) => *letter,
        _ => return tool.usage_error(),
    };
    tool.each(&mut |_, _, dir| send(dir, &[letter]))
}

/// Runs `runsvstat`.
pub(super) fn runsvstat(start: Start) -> u8 {
    let mut tool =
        match Tool::new(start, RUNSVSTAT, (" [ -l ] service ...", USAGE)) {
            Ok(tool) => tool,
            Err(code) => return code,
        };
    tool.each(&mut |tool, name, dir| {
        let mut line = Line::new();
        line.bytes(name.to_bytes()).text(": ");
        append_status(&mut line, dir, &probe(dir)?);
        if tool.has(b'l')
            && let Ok(log) = file::open_dir(dir, c"log")
        {
            match probe(log.as_fd()) {
                Ok(status) => {
                    line.text("\n  log: ");
                    append_status(&mut line, log.as_fd(), &status);
                }
                Err(reason) => tool.count_failure(name, reason),
            }
        }
        sys::print(line.finish());
        Ok(())
    })
}

/// Appends a status as `runsvstat` prints it.
fn append_status(line: &mut Line, dir: At<'_>, status: &Status) {
    line.text(word(status.state));
    if status.state != State::Down {
        line.text(" (pid ").number(status.pid.into()).text(")");
    }
    append_details(line, dir, status, "");
}

/// Appends the seconds in this state, and the flags except `left_out`.
fn append_details(
    line: &mut Line,
    dir: At<'_>,
    status: &Status,
    left_out: &str,
) {
    line.text(" ").number(seconds(status)).text(" seconds");
    let normally_up = is_normally_up(dir).unwrap_or(true);
    for flag in flags(status, normally_up).filter(|flag| *flag != left_out) {
        line.text(", ").text(flag);
    }
}

/// Runs `svwaitup`.
pub(super) fn svwaitup(start: Start) -> u8 {
    let usage = (" [-v] [-s 1..600] service ...", USAGE);
    let mut tool = match Tool::new(start, SVWAITUP, usage) {
        Ok(tool) => tool,
        Err(code) => return code,
    };
    let least = tool.value.unwrap_or(2);
    if !(1..=600).contains(&least) {
        return tool.usage_error();
    }
    tool.each(&mut |tool, name, dir| {
        loop {
            let status = probe(dir)?;
            let uptime = seconds(&status);
            if status.pid == 0 {
                tool.report("warning: ", name, b"is down.");
                tool.failed = tool.failed.saturating_add(1).min(MAX_FAILED);
                return Ok(());
            }
            if uptime >= least {
                if tool.has(b'v') {
                    let mut line = Line::new();
                    line.text("is up (").number(uptime).text(" seconds)");
                    tool.report("", name, line.as_bytes());
                }
                return Ok(());
            }
            poller::sleep(POLL_INTERVAL);
        }
    })
}

/// Runs `svwaitdown`.
pub(super) fn svwaitdown(start: Start) -> u8 {
    let usage = (" [-v] [-xk] [-t 1..6000] service ...", USAGE);
    let mut tool = match Tool::new(start, SVWAITDOWN, usage) {
        Ok(tool) => tool,
        Err(code) => return code,
    };
    let most = tool.value.unwrap_or(600);
    if !(1..=6000).contains(&most) {
        return tool.usage_error();
    }
    let until = clock::mono().after(Duration::from_secs(most));
    let exits = tool.has(b'x');
    let bytes: &[u8] = if exits { b"dx" } else { b"d" };
    let names = tool.operands;
    for name in names {
        // A failure shows in the status below.
        let _sent = open(name).and_then(|dir| send(dir.as_fd(), bytes)).is_ok();
    }
    let mut late = false;
    let code = tool.each(&mut |tool, name, dir| {
        loop {
            let outcome: &[u8] = match probe(dir) {
                Err(Unavailable::Unsupervised) => b"runsv not running.",
                Err(reason) => return Err(reason),
                Ok(status) if status.pid == 0 && !exits => b"down.",
                Ok(_) if clock::mono() > until => {
                    late = true;
                    if tool.has(b'k') {
                        send(dir, b"k")?;
                        tool.report("", name, b"killed.");
                        return Ok(());
                    }
                    b"timeout."
                }
                Ok(_) => {
                    poller::sleep(POLL_INTERVAL);
                    continue;
                }
            };
            if tool.has(b'v') {
                tool.report("", name, outcome);
            }
            return Ok(());
        }
    });
    if late { super::FATAL } else { code }
}

/// Runs `svc`.
pub(super) fn svc(start: Start) -> u8 {
    let tool = match Tool::new(start, SVC, (SVC_OPTIONS, DAEMONTOOLS_USAGE)) {
        Ok(tool) => tool,
        Err(code) => return code,
    };
    for name in tool.operands {
        let mut line = Line::new();
        line.text("svc: warning: unable to ");
        match file::open_dir(CWD, name) {
            Err(errno) => {
                line.text("chdir to ").bytes(name.to_bytes());
                line.text(": ").text(error::text(errno));
            }
            Ok(dir) => {
                let Err(reason) = send(dir.as_fd(), &tool.given) else {
                    continue;
                };
                line.text("control ").bytes(name.to_bytes()).text(": ");
                daemontools_text(&mut line, reason);
            }
        }
        sys::print_error(line.finish());
    }
    0
}

/// Text that `svc` prints instead of a usage message.
const SVC_OPTIONS: &str = "svc options: u up, d down, o once, x exit, p pause, \
    c continue, h hup, a alarm, i interrupt, t term, k kill\n";

/// Appends the reason why a service does not answer, in daemontools' words.
fn daemontools_text(line: &mut Line, reason: Unavailable) {
    match reason {
        Unavailable::Unsupervised => line.text("supervise not running"),
        Unavailable::Failed("open supervise/control", Some(errno)) => {
            line.text(error::text(errno))
        }
        Unavailable::Failed(..) => reason.text(line),
    };
}

/// Runs `svstat`.
pub(super) fn svstat(start: Start) -> u8 {
    for name in start.argv.skip(1).iter() {
        let mut line = Line::new();
        line.bytes(name.to_bytes()).text(": ");
        match file::open_dir(CWD, name) {
            Err(errno) => {
                let reason = Unavailable::Failed("chdir", Some(errno));
                reason.text(&mut line);
            }
            Ok(dir) => match probe(dir.as_fd()) {
                Err(reason) => daemontools_text(&mut line, reason),
                Ok(status) => {
                    match status.pid {
                        0 => line.text("down"),
                        pid => {
                            line.text("up (pid ").number(pid.into()).text(")")
                        }
                    };
                    append_details(&mut line, dir.as_fd(), &status, GOT_TERM);
                }
            },
        }
        sys::print(line.finish());
    }
    0
}

/// Runs `svok`.
pub(super) fn svok(start: Start) -> u8 {
    /// Exit code for a directory that is not supervised.
    const UNSUPERVISED: u8 = 100;
    let Some(name) = start.argv.skip(1).first() else {
        sys::print_error(b"svok: usage: svok dir\n");
        return DAEMONTOOLS_USAGE;
    };
    let (what, errno) = match file::open_dir(CWD, name) {
        Err(errno) => ("svok: fatal: unable to chdir to ", errno),
        Ok(dir) => {
            match secure::fifo(dir.as_fd(), c"supervise/ok", FifoEnds::Writer) {
                Ok(_) => return 0,
                Err(Errno::ENXIO | Errno::ENOENT) => return UNSUPERVISED,
                Err(errno) => ("svok: fatal: unable to open ok of ", errno),
            }
        }
    };
    super::fatal(b"", what, name.to_bytes(), errno)
}
