//! runsvctrl, runsvstat, svwaitup, svwaitdown, svc, svstat, svok: what runit
//! 1.x and daemontools had in place of `sv` (contract §11, §12).
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
//! `svc` every letter of its options, in their order; neither waits.
//! `runsvstat` and `svstat` tell how services are, `runsvstat -l` their log
//! services too. `svwaitup` waits until each service has run for 2 seconds or
//! `-s`, 1 to 600. `svwaitdown` takes all down, with `-x` their supervisors
//! too, and waits for each, at most 600 seconds or `-t`, 1 to 6000; what is
//! not down then is killed with `-k`. `-v` says how it goes. `svok` asks
//! whether DIR is supervised.
//!
//! # Exit codes
//! runsvctrl, runsvstat, svwaitup, svwaitdown: the number of services with
//! which something went wrong, at most 100; 1 usage; `svwaitdown` 111 when
//! the time was up. svc and svstat: 0, svc 100 usage. svok: 0 supervised, 100
//! not, 111 DIR cannot be looked at.

use core::{ffi::CStr, time::Duration};

use heapless::Vec;

use super::sv::{
    service::{Silent, is_normally_up, probe, send},
    status::{GOT_TERM, flags, seconds, word},
};
use crate::{
    args::getopt::{Getopt, Opt},
    sys::{
        self, AsFd, At, CWD, Errno, Fd, clock, error, file, poller,
        secure::{self, Ends},
        start::{List, Start},
    },
    text::{Line, basename, whole_number},
    wire::status::{State, Status},
};

/// Exit code of a usage error of runit's.
const USAGE: u8 = 1;
/// The same of daemontools'.
const OTHER_USAGE: u8 = 100;
/// Most that is counted into an exit code.
const MOST: u8 = 100;
/// Most letters of one `svc`.
const LETTERS: usize = 64;
/// Pause between two looks.
const STEP: Duration = Duration::from_millis(200);

/// What is done with each service.
type Act<'a> =
    &'a mut dyn FnMut(&mut Face, &'static CStr, At<'_>) -> Result<(), Silent>;

/// One run of a program.
struct Face {
    /// Its name, as it is printed.
    name: &'static [u8],
    /// What follows it in the usage message, and the exit code then; with
    /// that of daemontools it is the whole message.
    usage: (&'static str, u8),
    /// Option letters in their order; of those with a value it is one.
    given: Vec<u8, LETTERS>,
    /// The value of an option.
    value: Option<u64>,
    /// The operands.
    operands: List,
    /// Services with which something went wrong.
    failed: u8,
}

impl Face {
    /// Takes a command line apart. `Err` is the exit code of a usage error,
    /// which is said.
    fn new(
        start: Start,
        known: &'static [u8],
        usage: (&'static str, u8),
    ) -> Result<Self, u8> {
        let name = start.argv.first().unwrap_or(c"").to_bytes();
        let mut face = Self {
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
                    // What is no number is out of every range.
                    let number = whole_number(text.to_bytes());
                    face.value = Some(number.unwrap_or(0));
                    letter
                }
                Opt::Illegal(_) | Opt::Missing(_) => {
                    super::complain_of(basename(name), option);
                    return Err(face.refuse());
                }
            };
            if face.given.push(letter).is_err() {
                let mut line = Line::new();
                let bound = u64::try_from(LETTERS).unwrap_or(0);
                line.bytes(name).text(": too many options (the bound is ");
                sys::print_error(line.number(bound).text(")").finish());
                return Err(face.refuse());
            }
        }
        let used = options.used().saturating_add(1);
        face.operands = start.argv.skip(used).iter();
        Ok(face)
    }

    /// Says how the program is used; answers the exit code for that.
    fn refuse(&self) -> u8 {
        let (usage, code) = self.usage;
        if code == OTHER_USAGE {
            sys::print_error(usage.as_bytes());
            return code;
        }
        super::usage(self.name, usage, code)
    }

    /// Whether an option was given.
    fn has(&self, letter: u8) -> bool {
        self.given.contains(&letter)
    }

    /// Says `PROG: LEVELNAME: WHAT` on descriptor 2.
    fn say(&self, level: &str, name: &CStr, what: &[u8]) {
        let mut line = Line::new();
        line.bytes(self.name).text(": ").text(level);
        line.bytes(name.to_bytes()).text(": ").bytes(what);
        sys::print_error(line.finish());
    }

    /// Warns that a service is silent, and counts it.
    fn silent(&mut self, name: &CStr, silent: Silent) {
        let mut line = Line::new();
        silent.text(&mut line);
        if silent == Silent::Unsupervised {
            line.text(".");
        }
        self.say("warning: ", name, line.as_bytes());
        self.failed = self.failed.saturating_add(1).min(MOST);
    }

    /// Does something with each service; answers the exit code, or that of a
    /// usage error when none is named.
    fn each(&mut self, act: Act<'_>) -> u8 {
        let mut none = true;
        for name in self.operands {
            none = false;
            let done = open(name).and_then(|dir| act(self, name, dir.as_fd()));
            if let Err(silent) = done {
                self.silent(name, silent);
            }
        }
        if none { self.refuse() } else { self.failed }
    }
}

/// Opens a service directory.
fn open(name: &CStr) -> Result<Fd, Silent> {
    let trouble = |errno| Silent::Trouble("change directory", Some(errno));
    file::open_dir(CWD, name).map_err(trouble)
}

/// `runsvctrl`.
pub(super) fn runsvctrl(start: Start) -> u8 {
    let usage = (" u|d|o|p|c|h|a|i|q|1|2|t|k|x|e service ...", USAGE);
    let mut face = match Face::new(start, b"", usage) {
        Ok(face) => face,
        Err(code) => return code,
    };
    let word = face.operands.next().unwrap_or(c"");
    let letter = match word.to_bytes().first() {
        Some(b'e') => b'x',
        Some(letter) if b"udopchaiq12tkx".contains(letter) => *letter,
        _ => return face.refuse(),
    };
    face.each(&mut |_, _, dir| send(dir, &[letter]))
}

/// `runsvstat`.
pub(super) fn runsvstat(start: Start) -> u8 {
    let mut face = match Face::new(start, b"l", (" [ -l ] service ...", USAGE))
    {
        Ok(face) => face,
        Err(code) => return code,
    };
    face.each(&mut |face, name, dir| {
        let mut line = Line::new();
        line.bytes(name.to_bytes()).text(": ");
        line_of(&mut line, dir, &probe(dir)?);
        if face.has(b'l')
            && let Ok(log) = file::open_dir(dir, c"log")
        {
            match probe(log.as_fd()) {
                Ok(status) => {
                    line.text("\n  log: ");
                    line_of(&mut line, log.as_fd(), &status);
                }
                Err(silent) => face.silent(name, silent),
            }
        }
        sys::print(line.finish());
        Ok(())
    })
}

/// Appends a status as `runsvstat` has it.
fn line_of(line: &mut Line, dir: At<'_>, status: &Status) {
    line.text(word(status.state));
    if status.state != State::Down {
        line.text(" (pid ").number(status.pid.into()).text(")");
    }
    rest_of(line, dir, status, "");
}

/// Appends for how long, and the flags but for `left_out`.
fn rest_of(line: &mut Line, dir: At<'_>, status: &Status, left_out: &str) {
    line.text(" ").number(seconds(status)).text(" seconds");
    let normally_up = is_normally_up(dir).unwrap_or(true);
    for flag in flags(status, normally_up).filter(|flag| *flag != left_out) {
        line.text(", ").text(flag);
    }
}

/// `svwaitup`.
pub(super) fn svwaitup(start: Start) -> u8 {
    let usage = (" [-v] [-s 1..600] service ...", USAGE);
    let mut face = match Face::new(start, b"vs:", usage) {
        Ok(face) => face,
        Err(code) => return code,
    };
    let least = face.value.unwrap_or(2);
    if !(1..=600).contains(&least) {
        return face.refuse();
    }
    face.each(&mut |face, name, dir| {
        loop {
            let status = probe(dir)?;
            let lived = seconds(&status);
            if status.pid == 0 {
                face.say("warning: ", name, b"is down.");
                face.failed = face.failed.saturating_add(1).min(MOST);
                return Ok(());
            }
            if lived >= least {
                if face.has(b'v') {
                    let mut line = Line::new();
                    line.text("is up (").number(lived).text(" seconds)");
                    face.say("", name, line.as_bytes());
                }
                return Ok(());
            }
            poller::sleep(STEP);
        }
    })
}

/// `svwaitdown`.
pub(super) fn svwaitdown(start: Start) -> u8 {
    let usage = (" [-v] [-xk] [-t 1..6000] service ...", USAGE);
    let mut face = match Face::new(start, b"vxkt:", usage) {
        Ok(face) => face,
        Err(code) => return code,
    };
    let most = face.value.unwrap_or(600);
    if !(1..=6000).contains(&most) {
        return face.refuse();
    }
    let until = clock::mono().after(Duration::from_secs(most));
    let exits = face.has(b'x');
    let bytes: &[u8] = if exits { b"dx" } else { b"d" };
    let names = face.operands;
    for name in names {
        // Who cannot be told is found silent below.
        let _told = open(name).and_then(|dir| send(dir.as_fd(), bytes)).is_ok();
    }
    let mut late = false;
    let code = face.each(&mut |face, name, dir| {
        loop {
            let seen: &[u8] = match probe(dir) {
                Err(Silent::Unsupervised) => b"runsv not running.",
                Err(silent) => return Err(silent),
                Ok(status) if status.pid == 0 && !exits => b"down.",
                Ok(_) if clock::mono() > until => {
                    late = true;
                    if face.has(b'k') {
                        send(dir, b"k")?;
                        face.say("", name, b"killed.");
                        return Ok(());
                    }
                    b"timeout."
                }
                Ok(_) => {
                    poller::sleep(STEP);
                    continue;
                }
            };
            if face.has(b'v') {
                face.say("", name, seen);
            }
            return Ok(());
        }
    });
    if late { super::FATAL } else { code }
}

/// `svc`.
pub(super) fn svc(start: Start) -> u8 {
    let known = b"udopchaitkx";
    let face = match Face::new(start, known, (SVC_OPTIONS, OTHER_USAGE)) {
        Ok(face) => face,
        Err(code) => return code,
    };
    for name in face.operands {
        let mut line = Line::new();
        line.text("svc: warning: unable to ");
        match file::open_dir(CWD, name) {
            Err(errno) => {
                line.text("chdir to ").bytes(name.to_bytes());
                line.text(": ").text(error::text(errno));
            }
            Ok(dir) => {
                let Err(silent) = send(dir.as_fd(), &face.given) else {
                    continue;
                };
                line.text("control ").bytes(name.to_bytes()).text(": ");
                other_text(&mut line, silent);
            }
        }
        sys::print_error(line.finish());
    }
    0
}

/// What `svc` says in place of a usage message.
const SVC_OPTIONS: &str = "svc options: u up, d down, o once, x exit, p pause, \
    c continue, h hup, a alarm, i interrupt, t term, k kill\n";

/// Appends why a service is silent in daemontools' words.
fn other_text(line: &mut Line, silent: Silent) {
    match silent {
        Silent::Unsupervised => line.text("supervise not running"),
        Silent::Trouble("open supervise/control", Some(errno)) => {
            line.text(error::text(errno))
        }
        Silent::Trouble(..) => silent.text(line),
    };
}

/// `svstat`.
pub(super) fn svstat(start: Start) -> u8 {
    for name in start.argv.skip(1).iter() {
        let mut line = Line::new();
        line.bytes(name.to_bytes()).text(": ");
        match file::open_dir(CWD, name) {
            Err(errno) => {
                let silent = Silent::Trouble("chdir", Some(errno));
                silent.text(&mut line);
            }
            Ok(dir) => match probe(dir.as_fd()) {
                Err(silent) => other_text(&mut line, silent),
                Ok(status) => {
                    match status.pid {
                        0 => line.text("down"),
                        pid => {
                            line.text("up (pid ").number(pid.into()).text(")")
                        }
                    };
                    rest_of(&mut line, dir.as_fd(), &status, GOT_TERM);
                }
            },
        }
        sys::print(line.finish());
    }
    0
}

/// `svok`.
pub(super) fn svok(start: Start) -> u8 {
    /// Exit code for a directory that is not supervised.
    const NOT: u8 = 100;
    let Some(name) = start.argv.skip(1).first() else {
        sys::print_error(b"svok: usage: svok dir\n");
        return OTHER_USAGE;
    };
    let (what, errno) = match file::open_dir(CWD, name) {
        Err(errno) => ("svok: fatal: unable to chdir to ", errno),
        Ok(dir) => {
            match secure::fifo(dir.as_fd(), c"supervise/ok", Ends::Writer) {
                Ok(_) => return 0,
                Err(Errno::ENXIO | Errno::ENOENT) => return NOT,
                Err(errno) => ("svok: fatal: unable to open ok of ", errno),
            }
        }
    };
    super::fatal(b"", what, name.to_bytes(), errno)
}
