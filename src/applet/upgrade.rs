//! runt upgrade: moves a running supervisor to another file.
//!
//! # Synopsis
//! `runt upgrade [-d DIR] [FILE]`
//!
//! # Description
//! Makes PID 1, or with `-d` another supervisor, execute FILE in the place of
//! the file that it runs now, and waits for the outcome, about 10 seconds.
//! Without FILE this is the file of the `runt` that was called: after the
//! installation of a new one, `runt upgrade` moves PID 1 to it. FILE need not
//! stay: the supervisor runs a copy of it in memory.
//!
//! The process stays the same, and so do its children, pipes, time limits and
//! delays, as after a fault: see runsv(8). No service is restarted, and no line
//! of a log is lost; a shared logger is replaced, and the old one finishes its
//! lines.
//!
//! First a child runs the copy, and checks that it can go on from a copy of the
//! ledger and of the rest of the state. Capacities may be larger than before,
//! or smaller if what is in use fits. The upgrade is refused, and nothing
//! changes, if
//!
//! - FILE is for another architecture, is no file of runt, or lacks the program
//!   of the supervisor (runit, runsvdir, runsv) or `upgrade`;
//! - it has too few `slots` for the services, or the format of the ledger or of
//!   the state is another one; `name-bytes` is less than the longest name of a
//!   service has; `path-bytes` is less than now; there are more variables in
//!   the environment than `environ`;
//! - the check crashes, or takes more than 10 seconds;
//! - FILE, or the directory that holds it, belongs to another user than root
//!   and that of the supervisor, or other users may write to it; or FILE has
//!   more than 4 MiB;
//! - another upgrade is under way.
//!
//! Then the supervisor executes the copy. For 10 seconds the new program is on
//! trial: if it faults, the supervisor executes the former one again, as the
//! same process. It does so too if the new one cannot be executed. After that
//! the former program is forgotten, and the front process of runsvdir(8)
//! executes the new one.
//!
//! A program that neither faults nor works is not noticed. After a trial the
//! new program handles its faults by executing itself again. The next boot
//! starts the file that is installed.
//!
//! # Options
//! - `-d DIR`: the runsvdir(8) of the services directory DIR, or the runsv(8)
//!   of the service directory DIR, instead of PID 1.
//! - `--help`: as the only argument, prints the usage of runt.
//!
//! # Environment
//! - `RUNT_RUN`: the run directory, which must be that of the supervisor.
//!
//! # Files
//! In the state directory (see runt(7)) of DIR, or for PID 1 of `/`, which PID
//! 1 uses from stage 2 on: the FIFOs `upgrade` for requests, `upgrade.answer`
//! for the answer, and for the front process `upgrade.front`. Only the user of
//! the supervisor and root can use them. A supervisor without a run directory
//! takes no requests.
//!
//! # Diagnostics
//! One line with the outcome. The supervisor reports the upgrade too, and the
//! reason of a refusal.
//!
//! # Exit status
//! 0: the supervisor runs FILE. 1: the upgrade was refused, or the former
//! program runs again, or there was no answer within 30 seconds. 100: usage;
//! FILE cannot be read; there is no such supervisor, or this user may not ask
//! it.
//!
//! # Differences from runit
//! runit has no such program.

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    supervisor::{
        rundir,
        upgrade::{ANSWERS, CHECKED, REQUESTS, check_ledger},
    },
    sys::{
        self, AsFd as _, CWD, Errno, Fd, clock, error, fault,
        fd::STDIN,
        file, poller,
        program::SELF_EXE,
        secure::{self, FifoEnds},
        start::Start,
    },
    text::{Line, basename},
};

/// Exit code if the supervisor does not run the file.
const REFUSED: u8 = 1;
/// Exit code if no supervisor was asked.
const NOT_ASKED: u8 = 100;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Programs that can be moved to another file.
const SUPERVISORS: [&[u8]; 5] =
    [b"runit", b"runit-init", b"init", b"runsvdir", b"runsv"];

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.skip(1).iter();
    let mut word = words.next();
    if word == Some(c"--check") {
        return check([words.next(), words.next()]);
    }
    let mut dir = c"/";
    if word == Some(c"-d") {
        let Some(value) = words.next() else {
            return usage();
        };
        dir = value;
        word = words.next();
    }
    let is_option = |word: &CStr| word.to_bytes().starts_with(b"-");
    if word.is_some_and(is_option) || words.next().is_some() {
        return usage();
    }
    let path = word.unwrap_or(SELF_EXE);
    let mut outcome = Line::new();
    let code = ask(dir, path, &mut outcome).unwrap_or_else(|(what, errno)| {
        outcome.text(what).text(": ").text(error::text(errno));
        NOT_ASKED
    });
    let mut line = Line::new();
    line.text("runt upgrade: ");
    if dir == c"/" {
        line.text("PID 1");
    } else {
        line.bytes(dir.to_bytes());
    }
    line.text(if code == 0 { ": " } else { ": failed: " });
    let line = line.bytes(outcome.as_bytes()).finish();
    if code == 0 {
        return if sys::print(line) { 0 } else { super::FATAL };
    }
    sys::print_error(line);
    code
}

/// Prints the usage; returns the exit code.
fn usage() -> u8 {
    super::usage(b"runt upgrade", " [-d DIR] [FILE]", NOT_ASKED)
}

/// Asks the supervisor of a directory to move to the file at `path`. Appends
/// its answer to a line; returns the exit code.
fn ask(
    dir: &CStr,
    path: &CStr,
    answer: &mut Line,
) -> Result<u8, (&'static str, Errno)> {
    let mut buffer = [0; config::PATH_BYTES];
    let path = file::open_read(CWD, path)
        .and_then(|file| file::path_of_open(&file, &mut buffer))
        .map_err(|errno| ("unable to open the file", errno))?;
    let (state, requests) = open_state(dir)
        .map_err(|errno| ("no supervisor takes requests there", errno))?;
    file::lock_now(state.as_fd())
        .map_err(|errno| ("another upgrade is under way", errno))?;
    let answers = secure::fifo(state.as_fd(), ANSWERS, FifoEnds::Both)
        .map_err(|errno| ("unable to open upgrade.answer", errno))?;
    let mut request = Line::new();
    sys::write_once(requests.as_fd(), request.bytes(path).finish())
        .map_err(|errno| ("unable to ask", errno))?;
    let until = clock::mono().after(PATIENCE);
    loop {
        let left = until.since(clock::mono());
        if left.is_zero() {
            answer.text("no answer within 30 seconds");
            return Ok(REFUSED);
        }
        poller::readable([answers.as_fd()], Some(left))
            .map_err(|errno| ("unable to wait for an answer", errno))?;
        let mut bytes = [0; config::MESSAGE_BYTES];
        let count = sys::read(answers.as_fd(), &mut bytes).unwrap_or(0);
        let bytes = bytes.get(..count).unwrap_or(&[]);
        let first = bytes.split(|byte| *byte == b'\n').next();
        if let Some((digit, text)) = first.and_then(<[u8]>::split_first) {
            answer.bytes(text);
            return Ok(if *digit == b'0' { 0 } else { REFUSED });
        }
    }
}

/// Opens the state directory of a directory, and the FIFO for requests in it.
/// ENXIO if no supervisor reads that.
fn open_state(dir: &CStr) -> Result<(Fd, Fd), Errno> {
    let own = file::open_dir(CWD, dir)
        .and_then(|dir| with_requests(rundir::find(dir.as_fd(), b"")?));
    // The root has no name in another directory.
    if own.is_ok() || dir == c"/" {
        return own;
    }
    match rundir::find_for(dir).and_then(with_requests) {
        Err(Errno::ENOENT) => own,
        result => result,
    }
}

/// Opens the FIFO for requests in a state directory. ENXIO if no supervisor
/// reads it.
fn with_requests(state: Fd) -> Result<(Fd, Fd), Errno> {
    let fifo = secure::fifo(state.as_fd(), REQUESTS, FifoEnds::Writer)?;
    Ok((state, fifo))
}

/// Checks whether this file can go on as a supervisor that was executed by a
/// path and with a name, `given`, from the copy of its ledger in descriptor 0
/// and from what was passed on. Prints a line; returns the exit code.
fn check(given: [Option<&CStr>; 2]) -> u8 {
    let names = given.map(|name| basename(name.map_or(b"", CStr::to_bytes)));
    let known = names.into_iter().find(|name| super::find(name).is_some());
    let mut line = Line::new();
    let mut code = REFUSED;
    if !known.is_some_and(|name| SUPERVISORS.contains(&name)) {
        line.text("it has no program ").bytes(names[0]);
    } else if let Some(reason) = fault::unreadable() {
        line.text(reason);
    } else if check_ledger(STDIN, &mut line) {
        line.text(CHECKED).text(config::VERSION);
        code = 0;
    }
    if sys::print(line.finish()) {
        code
    } else {
        REFUSED
    }
}
