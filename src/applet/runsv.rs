//! runsv: supervises one service directory.
//!
//! # Synopsis
//! `runsv DIR`
//!
//! # Description
//! Starts `DIR/run` and restarts it when it ends, at most once a second;
//! `DIR/finish` runs after each end. With a directory `DIR/log` it does the
//! same for `DIR/log/run`, whose input is the output of `DIR/run`, through a
//! pipe that outlives both. A `DIR/log` that is added later is taken up with
//! the next start of `DIR/run`, after `sv restart` at the latest; one that is
//! removed keeps its logger as long as DIR is supervised. `DIR/supervise` holds the state and takes
//! commands, see `sv`; where it cannot be made, because the file system is
//! read-only or DIR is somebody else's, it is kept in the run directory,
//! /run/runt or $RUNT_RUN, in a directory DEVICE-INODE with the numbers of DIR
//! (of DIR/log). `supervise` may be a link; what is in it may not, nor have a
//! second name. A file `DIR/down` (`DIR/log/down`) says not to start.
//!
//! On a full file system the files of `DIR/supervise` are overwritten in place:
//! `status` is then still read whole, `stat`, `pid` and `why` may be cut or
//! stale until there is room again. Where `status` cannot be written at all (it
//! was full before there was one, or has become read-only), `ok` and the files
//! move to the run directory as above; `control` stays. What still fails is
//! reported once and tried again every 5 seconds.
//!
//! When files of `DIR/supervise` are removed or replaced meanwhile, that shows
//! at the next change of state (on ALRM too under runsvdir): one line says so,
//! and 5 seconds later, or at the change after that, they are made anew. A
//! file that has the name of a FIFO then is removed.
//!
//! A file `DIR/control/C` that its owner may run is run before the signal of
//! control byte C is sent, with the service's process id as its argument,
//! which is empty when there is no process; when it exits with 0 the signal is
//! not sent.
//!
//! A `DIR/finish` that exits with 125 says that the failure is permanent: the
//! service is wanted down from then on, as by `sv down`, and `sv why` says
//! `waits permanent-failure`, until a command starts it.
//!
//! With a file `DIR/runt/group-kill` the service leads a process group. If the
//! file is empty, the signals that stop the service (TERM or `down-signal`,
//! CONT, KILL) are sent to the group; if it says `mixed`, only KILL is, and
//! the others to the service alone. In both cases what is left of the group
//! is killed when the service has ended.
//!
//! Every child starts with the limits of open files that runsv was given, with
//! default signal dispositions, and with descriptors 0, 1 and 2 that wait
//! (O_NONBLOCK cleared, but for scripts of `control`), whatever the last run
//! has made of them. The pipe to the log service can be opened for writing as
//! /dev/stdout by a service of any user.
//!
//! With a directory `DIR/cgroup` each `DIR/run` is started in the control group
//! `runit/NAME` of the kernel's second version, NAME being the service's: it is
//! made if it is missing, and the files of `DIR/cgroup` are written to its files
//! of those names first, at most 64 of at most 1023 bytes (`pids.max`,
//! `memory.high` ...). A file that cannot be written costs a line, once for as
//! long as that lasts. With `DIR/runt/group-kill` what is left in the group when
//! `run` ends is killed. Where the kernel lacks control groups `DIR/cgroup` has
//! no effect.
//!
//! Messages begin with `runsv DIR: `, where DIR stands for the end of it when
//! it is longer than a name (the board's `name-bytes`). A descriptor 2 that takes
//! no output (a terminal stopped with Ctrl-S, a full pipe) blocks nothing: messages
//! wait in a buffer (`console-bytes`), and of those that it has no room for the
//! number is written when there is a reader again. runsvdir and svlogger do the
//! same.
//!
//! When another supervisor holds the lock of `DIR/log`, it waits for that and
//! starts nothing; it says so once. When DIR is replaced by another directory
//! (a package is installed anew), the service of the old one is told to exit
//! and that of the new one is started.
//!
//! # Signals
//! TERM: as `sv exit DIR`.
//!
//! # Exit codes
//! 0 told to exit; 1 usage; 111 the directory cannot be supervised.

use core::ffi::CStr;

use crate::{
    config,
    machine::restart_delay,
    supervisor::{Refusal, Reporter, Supervisor},
    sys::{
        self, AsFd, CWD, Errno, Fd, clock,
        console::Console,
        file,
        inotify::{Inotify, WatchKind},
        signal::Number,
        start::Start,
    },
    text::{Line, Path},
};

/// Exit codes, as `runsv` documents them.
const USAGE: u8 = 1;

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.iter();
    let name = words.next().unwrap_or(c"runsv");
    match (words.next(), words.next()) {
        (Some(dir), None) => match supervise(dir, start) {
            Ok(()) => 0,
            Err(failed) => {
                sys::print_error(failed.line(dir.to_bytes()).finish());
                super::FATAL
            }
        },
        _ => super::usage(name.to_bytes(), " dir", USAGE),
    }
}

/// Why nothing can be supervised.
enum Failed {
    /// What could not be done, and why.
    Call(&'static str, Errno),
    /// The service directory cannot be had.
    Refused(Refusal),
}

impl Failed {
    /// The line that says it.
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

/// Supervises `dir` until told to exit.
fn supervise(dir: &CStr, start: Start) -> Result<(), Failed> {
    let opened = open(dir)?;
    let reporter = Reporter {
        prefix: Line::new(),
        console: Console::stderr("runsv"),
    };
    let wanted = [Number::CHILD, Number::TERM, Number::PIPE];
    let mut supervisor =
        Supervisor::new(1, &wanted, reporter, start.environ, false)
            .map_err(|errno| Failed::Call("unable to start", errno))?;
    supervise_path(dir, opened, &mut supervisor)
}

/// Opens the service directory.
fn open(dir: &CStr) -> Result<Fd, Failed> {
    let what = "unable to change to directory";
    file::open_dir(CWD, dir).map_err(|errno| Failed::Call(what, errno))
}

/// How messages call the service: by `dir`, or the end of it where that is
/// longer than a name may be.
fn display_name(dir: &[u8]) -> &[u8] {
    let cut = dir.len().saturating_sub(config::NAME_BYTES);
    dir.get(cut..).unwrap_or(dir)
}

/// Supervises what is at `dir`, now `opened`, and what takes its place.
fn supervise_path(
    dir: &CStr,
    mut opened: Fd,
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
            if !refusal.passes() {
                return Err(Failed::Refused(refusal));
            }
            if !core::mem::replace(&mut warned, true) {
                let mut line = refusal.line(name, "warning");
                supervisor.reporter().print(&mut line);
            }
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
        }
        if exits || again.is_none() && !replaced {
            return Ok(());
        }
        supervisor.free_ended();
        opened = open(dir)?;
    }
}

/// What tells that something has changed where the service directory is, so
/// that one that was replaced is noticed.
struct ParentWatch(Option<Inotify>);

impl ParentWatch {
    /// Watches the directory that `dir` is in. Where that cannot be watched,
    /// each turn looks.
    fn new(dir: &CStr, supervisor: &Supervisor) -> Self {
        let path = Path::join(&[dir.to_bytes(), b"/.."]).ok();
        let watch = path.and_then(|path| {
            let watch = Inotify::new().ok()?;
            watch.add(path.as_c_str(), WatchKind::Entries).ok()?;
            supervisor.wake_with(watch.as_fd()).ok()?;
            Some(watch)
        });
        Self(watch)
    }

    /// Whether anything has changed since it was asked last.
    fn has_changed(&self) -> bool {
        let Some(watch) = &self.0 else { return true };
        let mut changed = false;
        let drained = watch.drain(|_| changed = true);
        changed || drained.is_err()
    }
}
