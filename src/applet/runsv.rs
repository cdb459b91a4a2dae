//! runsv: supervises one service directory.
//!
//! # Synopsis
//! `runsv DIR`
//!
//! # Description
//! Starts `DIR/run` and restarts it when it ends, at most once a second; runs
//! `DIR/finish` after each end. With a directory `DIR/log` it does the same
//! for `DIR/log/run`, whose input is the output of `DIR/run`, through a pipe
//! that outlives both. A `DIR/log` that is added later is used from the next
//! start of `DIR/run`, so after `sv restart` at the latest. One that is
//! removed keeps its logger; when that ends while `DIR/log` is missing, a
//! shared logger takes over the pipe and makes `DIR/log` again, as svlogger(8)
//! does for a log directory that was removed. `DIR/supervise` holds the state
//! and takes commands, see sv(8). Where it cannot be created, because the file
//! system is read-only or DIR belongs to another user, it is kept in the run
//! directory, /run/runt or $RUNT_RUN, in a directory DEVICE-INODE with the
//! numbers of DIR (of DIR/log). `supervise` may be a link; the files in it may
//! not, nor have a second name. A file `DIR/down` (`DIR/log/down`) keeps the
//! service from being started.
//!
//! On a full file system the files of `DIR/supervise` are overwritten in
//! place: `status` is then still read whole, while `stat`, `pid` and `why` may
//! be cut or stale until there is room again. Where `status` cannot be written
//! at all (the file system was full before it was created, or has become
//! read-only), `ok` and the files move to the run directory as above;
//! `control` stays. What still fails is reported once and tried again every 5
//! seconds.
//!
//! When files of `DIR/supervise` are removed or replaced, the next change of
//! state detects it (under runsvdir ALRM does too). One line reports it, and 5
//! seconds later, or at the next change after that, the files are created
//! again. Any other file that has the name of a FIFO then is removed.
//!
//! A file `DIR/control/C` that its owner may execute is run before the signal
//! of control byte C is sent. Its argument is the service's process id, or
//! empty when there is no process. If it exits with 0 the signal is not sent.
//!
//! `DIR/finish` gets two arguments: the exit code of `run`, or -1 if a signal
//! ended it, and the number of that signal (128 more if it left a core), or 0.
//!
//! A `DIR/finish` that exits with 125 reports a permanent failure: the service
//! is wanted down from then on, as by `sv down`, and `sv why` prints
//! `waits permanent-failure`, until a command starts it.
//!
//! With a file `DIR/runt/group-kill` the service leads a process group. If the
//! file is empty, the signals that stop the service (TERM or `down-signal`,
//! CONT, KILL) are sent to the group; if it contains `mixed`, only KILL is,
//! and the others go to the service alone. In both cases the rest of the group
//! is killed when the service has ended.
//!
//! Every child starts with the limits of open files that runsv was given, with
//! default signal dispositions, and with blocking descriptors 0, 1 and 2
//! (O_NONBLOCK cleared, except for scripts of `control`), whatever the last
//! run did to them. A service of any user can open the pipe to the log service
//! for writing as /dev/stdout.
//!
//! A supervisor that may set its priority (CAP_SYS_NICE) runs at nice level
//! -10 (the board's `priority`), so that busy services cannot delay it; its
//! children begin at level 0. A supervisor that was started with another level
//! than 0, or with a scheduling policy, keeps that, and so do its children.
//!
//! With a directory `DIR/cgroup` each `DIR/run` is started in the version 2
//! control group `runit/NAME`, where NAME is the service's name. The group is
//! created if it is missing, and before the start the files of `DIR/cgroup`
//! are written to the group's files of the same names, at most 64 files of at
//! most 1023 bytes (`pids.max`, `memory.high` ...). A file that is too long or
//! cannot be written, and the first file too many, are reported once for as
//! long as that lasts, and the others are written. With `DIR/runt/group-kill`
//! the processes left in the group when `run` ends are killed. Where the
//! kernel lacks control groups `DIR/cgroup` has no effect.
//!
//! Messages begin with `runsv DIR: `, where DIR is shortened to its end when
//! it is longer than a name (the board's `name-bytes`). A descriptor 2 that
//! takes no output (a terminal stopped with Ctrl-S, a full pipe) blocks
//! nothing: messages wait in a buffer (`console-bytes`), and the number of
//! those that did not fit is printed when there is a reader again. runsvdir
//! and svlogger do the same.
//!
//! When another supervisor holds the lock of `DIR/log`, runsv waits for it,
//! starts nothing, and reports this once. When DIR is replaced by another
//! directory (a package is reinstalled), the old service is told to exit and
//! the new one is started.
//!
//! # A killed supervisor
//! The processes of a supervisor that was killed go on. The next one takes
//! them over: `sv` shows the same processes and uptimes, commands reach them,
//! and what an operator wanted up or down stays so. An exit that was not
//! completed does not count. The ends of these processes are noticed, before
//! Linux 5.3 within a second. Their exit status is not known: `finish` gets -1
//! and 0, `sv why` shows `unknown`, and such a run does not count as short.
//! Control bytes that were not read yet are lost; one that was just read is
//! not, with the `ledger`. What a service has written to its log pipe is lost
//! if neither its logger nor the service itself lives until the next supervisor
//! has opened that pipe.
//!
//! This state is kept in a file `ledger` in the run directory, which runsv
//! does not need otherwise: in DEVICE-INODE, as above. (runsvdir keeps one for
//! all of its services.) The run directory must be on tmpfs, or on ext4 or
//! xfs. Otherwise only the process that `DIR/supervise/status` names (and
//! `DIR/log/supervise/status`) is taken over, a kill at the very moment of a
//! start may leave it unknown, and running scripts are forgotten. Such a
//! process is taken over if it was started before the status was written and
//! either works in DIR (in `DIR/log`) or was started when the status says. One
//! that was started later has only got the number again. In the remaining case
//! (a daemon that has left DIR, and a clock that was set meanwhile) nothing is
//! started before that process has ended: one line reports it, `sv status`
//! shows the service as down with that process and `may still run`, and
//! `sv why` shows `waits process`. To end the wait, kill the process; if it is
//! not the service's, remove `status` and start the supervisor again.
//!
//! # Faults
//! When runsv or the supervisor of runsvdir faults (SEGV, BUS, ILL, FPE, ABRT
//! or SYS, also when its stack overflows) it executes its file again, by the
//! open descriptor of that or by its path, and goes on as the same process.
//! One line reports each fault: its number, the signal, and the address or
//! that a process has sent it. `sv why` and `runt limits` count them.
//!
//! These survive, with the `ledger`: all processes, which are children still,
//! so that exit statuses are known; states, uptimes and what an operator
//! wanted; delays before a restart and time limits; control scripts that run;
//! an end of the supervision that has begun; log pipes and what is in them;
//! bytes for `control` that were not read yet. Files of `supervise` are
//! written again only where something has changed. Without the `ledger` delays
//! and time limits begin anew, and control scripts are forgotten. In any case
//! these do not survive: without the `ledger` the byte that was just read, an
//! exit status that was just collected (`finish` gets -1 and 0), the time for which a critical
//! service has been down, and the warnings that were printed once. A shared
//! logger is replaced; the old one finishes its lines.
//!
//! runt-upgrade(8) moves runsv, or the supervisor of runsvdir, to another file
//! in the same way.
//!
//! After the board's `faults` (3) in `fault-seconds` (60) the process exits
//! with 111, and the next supervisor takes over as from a killed one. Faults
//! that a process has sent (`kill -SEGV`) do not count for this.
//!
//! A build without the family `recovery` (runt-board(5)) does neither of the
//! two: the successor of a killed supervisor starts each service again, as in
//! runit.
//!
//! # Options
//! - `--help`: as the only argument, prints a summary.
//!
//! # Files
//! runt(7) lists all files of a service directory, with those that set delays
//! and time limits.
//!
//! # Environment
//! - `RUNT_RUN`: the run directory.
//!
//! # Signals
//! TERM: as `sv exit DIR`.
//!
//! # Exit status
//! 0 told to exit; 1 usage; 111 the directory cannot be supervised, or too
//! many faults.
//!
//! # Differences from runit
//! Several files and their effects are new: `timeout-kill`, `timeout-finish`,
//! `down-signal`, `max-death-tally`, `log/timeout-kill`, and those in `runt/`.
//! So are the ledger, what happens after a fault, the run directory, a log
//! that is added later and shared loggers; `cgroup/` is Debian's. No process
//! waits for another: a script of `control`, `finish` and the second after a
//! short run delay no command to another process, and `sv up` ends that
//! second. `k` changes no state before the process has ended, and reaches
//! `finish`. `finish` runs before the log's pipe is closed. A script of
//! `control` that was ended by a signal has not handled its byte. In runit a
//! lock of `DIR/log` that another process holds stops the start of runsv.

use core::ffi::CStr;

use crate::{
    config,
    machine::restart_delay,
    supervisor::{
        Refusal, Reporter, Supervisor, dropped_lines, recovery, rundir,
        service_prefix,
    },
    sys::{
        self, AsFd, CWD, Errno, Fd, clock,
        console::Console,
        fault, file,
        inotify::{Inotify, WatchKind},
        signal::Number,
        start::Start,
    },
    text::{Line, Path},
    wire::record::Numbers,
};

/// Exit code of a usage error.
const USAGE: u8 = 1;

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.iter();
    let name = words.next().unwrap_or(c"runsv");
    match (words.next(), words.next()) {
        (Some(dir), None) => match supervise(dir, start) {
            Ok(code) => code,
            Err(failed) => {
                sys::print_error(failed.line(dir.to_bytes()).finish());
                super::FATAL
            }
        },
        _ => super::usage(name.to_bytes(), " dir", USAGE),
    }
}

/// Reason why nothing can be supervised.
enum Failed {
    /// A failed operation and its cause.
    Call(&'static str, Errno),
    /// The service directory cannot be supervised.
    Refused(Refusal),
}

impl Failed {
    /// Returns the message about it.
    fn line(&self, name: &[u8]) -> Line {
        match self {
            Self::Refused(refusal) => refusal.line(name, "fatal"),
            Self::Call(what, errno) => {
                let mut line = Line::new();
                line.text("runsv ").bytes(name).text(": fatal: ");
                line.text(what).text(": ").text(sys::error::text(*errno));
                line
            }
        }
    }
}

/// Supervises `dir` until told to exit; returns the exit code.
fn supervise(dir: &CStr, start: Start) -> Result<u8, Failed> {
    let resumed = fault::resumed();
    let opened = open(dir)?;
    let reporter = Reporter {
        prefix: service_prefix(display_name(dir.to_bytes()), "warning"),
        console: Console::stderr(|count, to_stderr| {
            dropped_lines("runsv", count, to_stderr)
        }),
    };
    let wanted = [Number::CHILD, Number::TERM, Number::PIPE];
    let mut made = Supervisor::new(1, &wanted, reporter, start.environ, false);
    // By reference: a copy would take a page of stack for good.
    let supervisor = made
        .as_mut()
        .map_err(|errno| Failed::Call("unable to start", *errno))?;
    // There is no state but that of the service.
    fault::record(&Numbers::new());
    let reporter = supervisor.reporter();
    recovery::handle_faults(false, reporter);
    // Most users cannot have a run directory, and need none.
    let state = rundir::create(opened.as_fd(), b"").ok();
    if let Some(resumed) = &resumed {
        let (head, state) = (&reporter.prefix, state.as_ref());
        if !recovery::may_continue(resumed, "runsv", head, state, reporter) {
            return Ok(super::FATAL);
        }
        supervisor.resume(None);
    }
    let again = state
        .as_ref()
        .map(|state| file::open_dir(state.as_fd(), c"."));
    if let Some(state) = state {
        supervisor.keep_state(state, true);
    }
    supervise_path(dir, opened, again.and_then(Result::ok), supervisor)?;
    Ok(0)
}

/// Opens the service directory.
fn open(dir: &CStr) -> Result<Fd, Failed> {
    let what = "unable to change to directory";
    file::open_dir(CWD, dir).map_err(|errno| Failed::Call(what, errno))
}

/// Returns the service's name in messages: `dir`, or its end where it is
/// longer than a name may be.
fn display_name(dir: &[u8]) -> &[u8] {
    let cut = dir.len().saturating_sub(config::NAME_BYTES);
    dir.get(cut..).unwrap_or(dir)
}

/// Supervises the directory at `dir`, now `opened`, and each that replaces it.
/// `state` is its state directory, if any.
fn supervise_path(
    dir: &CStr,
    mut opened: Fd,
    mut state: Option<Fd>,
    supervisor: &mut Supervisor,
) -> Result<(), Failed> {
    let name = display_name(dir.to_bytes());
    let parent = ParentWatch::new(dir, supervisor);
    let mut warned = false;
    let mut exits = false;
    loop {
        let identity = file::info_of(opened.as_fd()).map(|info| info.identity);
        let refused = supervisor.add(name, opened).err();
        if let Some(refusal) = refused {
            if !refusal.is_temporary() {
                return Err(Failed::Refused(refusal));
            }
            if !core::mem::replace(&mut warned, true) {
                let mut line = refusal.line(name, "warning");
                supervisor.reporter().print(&mut line);
            }
        } else {
            // The lock is held.
            if let Some(state) = state.take() {
                supervisor.accept_upgrades(state);
            }
            // This closes the FIFO for requests that was inherited, which must
            // not be without a reader meanwhile.
            supervisor.end_resumption();
        }
        let again = refused.map(|_| clock::mono().after(restart_delay::RETRY));
        let mut replaced = false;
        while !exits && (again.is_some() || supervisor.live() > 0) {
            let events = supervisor.iterate(again);
            exits |= events.signals.contains(&Number::TERM);
            if exits {
                supervisor.exit_all();
            } else if parent.has_changed() && !replaced {
                let now = file::info(CWD, dir).map(|info| info.identity);
                replaced = now.is_ok() && now != identity;
                if replaced {
                    supervisor.exit_all();
                }
            }
            if again.is_some_and(|again| again <= clock::mono()) {
                break;
            }
        }
        while supervisor.live() > 0 {
            supervisor.iterate(None);
            // Events that are not read would wake the loop again and again.
            let _changed = parent.has_changed();
        }
        if exits || again.is_none() && !replaced {
            return Ok(());
        }
        supervisor.free_ended();
        opened = open(dir)?;
    }
}

/// A watch on the parent of the service directory, to notice that the
/// directory was replaced. `None`: the parent cannot be watched.
struct ParentWatch(Option<Inotify>);

impl ParentWatch {
    /// Watches the directory that contains `dir`. Where that cannot be
    /// watched, each iteration of the loop looks.
    fn new(dir: &CStr, supervisor: &Supervisor) -> Self {
        let path = Path::join(&[dir.to_bytes(), b"/.."]).ok();
        let watch = path.and_then(|path| {
            let watch = Inotify::lasting().ok()?;
            watch.add(path.as_c_str(), WatchKind::Entries).ok()?;
            supervisor.wake_with(watch.as_fd()).ok()?;
            Some(watch)
        });
        Self(watch)
    }

    /// Returns true when anything has changed since the last call, or may
    /// have.
    fn has_changed(&self) -> bool {
        let Some(watch) = &self.0 else { return true };
        let mut changed = false;
        let drained = watch.drain(|_| changed = true);
        changed || drained.is_err()
    }
}
