//! sv: controls services and reports their status.
//!
//! # Synopsis
//! `sv [-v] [-w SECONDS] COMMAND SERVICE...`\
//! `sv [-j] [list]`\
//! `sv [-j] status|why SERVICE...`\
//! `sv enable|disable SERVICE...`\
//! `sv log [-f] [-r] SERVICE...`\
//! `NAME [-v] [-w SECONDS] COMMAND`
//!
//! # Description
//! Sends COMMAND to the supervisor of each SERVICE, to all of them first.
//! Then, if the command or `-v` asks for it, waits until the command has taken
//! effect everywhere: for at most 7 seconds, $SVWAIT or `-w`. A SERVICE that
//! begins with `/` or `.` or ends with `/` is a service directory; any other
//! is an entry of the services directory. `NAME/log` is the log service of
//! NAME. A command that starts a service and waits also waits, within the same
//! time, for the supervisor to appear: a service directory that was linked
//! just now has none yet.
//!
//! Under another name, as a link `/etc/init.d/NAME`, it is an init script for
//! the service NAME.
//!
//! In all output, control characters (U+0000 to U+001F, U+007F to U+009F) and
//! bytes that are not UTF-8 are replaced by `?`, except for newline and tab in
//! lines of `log`: a terminal might obey them. Only `log -r` replaces nothing.
//!
//! # Options
//! - `-v`: waits for the effect of any command, and reports it.
//! - `-w SECONDS`: waits for at most this time; implies `-v`.
//! - `-j`: prints one JSON object per line, with `list`, `status` and `why`.
//! - `-f`: after `log`, also shows further lines of the first SERVICE.
//! - `-r`: after `log`, shows lines as the service wrote them.
//! - `-V`: prints the version and the usage.
//! - `--help`: prints a summary of the commands, as `sv help` does. With a
//!   SERVICE `help` is `hup`, as in runit.
//!
//! # Commands
//! Of these words the first letter is enough. They do not wait unless `-v` or
//! `-w` is given:
//!
//! - `status`: prints state, process and time in this state of the service and
//!   of its log service, and flags: `paused`, `want up`, `want down`,
//!   `got TERM`, `normally down` or `normally up` if the file `down` demands
//!   the opposite of the state, and `may still run`, see runsv(8).
//! - `up`: starts the service if it is down, and again whenever it ends.
//! - `down`: sends TERM and CONT, and does not start the service again.
//! - `once`: starts the service if it is down, but does not start it again.
//! - `exit`: as `down`; then the supervisor exits (`x` is the same). It has no
//!   effect on a log service.
//! - `pause`: sends STOP.
//! - `cont`: sends CONT.
//! - `hup`, `alarm`, `interrupt`, `quit`, `1`, `2`, `term`, `kill`: send HUP,
//!   ALRM, INT, QUIT, USR1, USR2, TERM or KILL. A service that ends is started
//!   again if it is wanted up.
//!
//! These are whole words, and wait:
//!
//! - `start`: as `up`, until `./run` runs and `check` succeeds.
//! - `stop`: as `down`, until the service and its `finish` have ended.
//! - `reload`: as `hup`, and prints the status.
//! - `restart`: sends TERM and CONT and wants the service up, until a new
//!   process runs and `check` succeeds.
//! - `try-restart`: sends TERM and CONT, until a new process runs, or the
//!   service is down if it is wanted down.
//! - `shutdown`: as `exit`, until the supervisor of the service has exited.
//! - `check`: sends nothing, until the service is in the wanted state.
//! - `force-stop`, `force-reload`, `force-restart`, `force-shutdown`: as
//!   `stop`, `try-restart`, `restart` and `shutdown`, but what has not ended
//!   when the time is up gets KILL. A word that begins with `D`, `T` or `X`
//!   (or `E`) is `force-stop`, `force-reload` or `force-shutdown`.
//!
//! These runit lacks; in an init script they are unknown:
//!
//! - `list`: shows all services of the services directory, sorted by name:
//!   state, name, process, time in this state (in the largest unit that gives
//!   2 or more), state of the log service (`-` none, `?` not available), and
//!   the other flags that `status` shows, the most important first. `~` marks
//!   the end of a cell that was cut. `sv` alone is the same.
//! - `why`: shows, besides the status, what keeps `./run` from running, how
//!   often it was restarted, what the service waits for and until when, and
//!   its last eight ends, in UTC (`unknown`: how a process ended that another
//!   supervisor had started). For a service without a supervisor it shows the
//!   reason for that. `supervisor-faults` is the number of faults of runsv, or
//!   else of the supervisor of the services directory, since the boot.
//! - `enable`, `disable`: have a service supervised from now on and after each
//!   boot, or no longer; see below.
//! - `log`: shows the lines in the log ring of a service, see svlogger(8).
//!   Lines that were overwritten before they could be shown are left out.
//!
//! # What a service waits for
//! `why` names it:
//!
//! - `pace`: the second after a short run.
//! - `backoff`, `parked`: `runt/backoff` and `max-death-tally`, see runt(7).
//! - `finish`, `control/C`: that script.
//! - `lock`: another supervisor.
//! - `fork`: the kernel refused a process.
//! - `permanent-failure`: a command; `finish` exited with 125.
//! - `process`: a process that may be left from a killed supervisor, see
//!   runsv(8).
//!
//! # Enable and disable
//! Both work in the overlay, the writable directory `services-overlay` of the
//! board file or $RUNT_SERVICES_OVERLAY, whose entries add to and hide those
//! of a read-only services directory; without an overlay, they work in the
//! services directory. SERVICE is the path of a service directory, with a `/`
//! in it, or its name in /etc/sv or in the services directory. A service that
//! is already enabled or disabled is left alone. The supervisor of a service
//! whose link is removed is told to exit 2 seconds later, that of a masked one
//! at once. The other commands look a plain name up in the overlay first.
//!
//! # JSON
//! The keys are `name`, `state` (null when `error` says why it is not known),
//! `pid` (0: none), `seconds`, `flags` as `status` shows them, `log` (null or
//! the same); with `why` also `run`, `restarts`, `waits`, `until`, `deaths`
//! (`when`, `exit` or `signal` and `core`, `lived-ms`), `supervisor-faults`. A
//! byte of a name that is not ASCII becomes the character of that number.
//!
//! # Environment
//! - `SVDIR`: the services directory. Otherwise it is that of the board file
//!   (/etc/service) or, where that is missing, /service or /var/service.
//! - `SVWAIT`: the time in seconds that commands wait, instead of 7.
//! - `RUNT_RUN`: the run directory, see runt(7).
//! - `RUNT_SERVICES_OVERLAY`: the overlay.
//!
//! # Files
//! - `SERVICE/check`: a program that decides whether a running service is up:
//!   it is if this exits with 0. It has no time limit; the other services are
//!   waited for meanwhile.
//! - `SERVICE/supervise/`: where commands are written and the status is read.
//!   runt(7) lists all files of a service directory.
//!
//! # Exit status
//! The number of services that failed, at most 99; 100 usage. `list`: 0, or 1
//! when the services directory cannot be read; `why` counts services without a
//! supervisor. As init script: 1 failure, 2 usage; `status`: 0 running, 3
//! down, 4 unknown.
//!
//! # Differences from runit
//! As in runit 2.3.1, a command is always sent, whatever the record says. A
//! command that waits continues while the supervisor runs but its record is
//! missing or damaged, and reports that when the time is up: runit gives up at
//! once. Names are resolved once; "restarted" compares process and
//! nanoseconds, where runit compares whole seconds; a log service without a
//! record is not taken for a second main service; a record longer than 20
//! bytes is `bad format`. A service that was down is up when it has run for a
//! tenth of a second, and one that ends at once never is: runit checks every
//! 0.42 s. `list`, `why`, `enable`, `disable`, `log`, `help`, `-j` and
//! `--help` are new.

pub(super) mod describe;
mod enable;
mod json;
mod list;
mod log;
mod names;
pub(super) use names::services;
mod page;
pub(super) mod service;
mod status;
mod wait;
mod why;

use core::{ffi::CStr, time::Duration};

use heapless::{Vec, VecView};

use self::{page::Page, service::Unavailable, wait::Check};
use crate::{
    args::sv::{Command, Error, Request, Verb, request},
    config,
    sys::{
        self, AsFd, Fd,
        child::Environ,
        inotify::WatchId,
        signal::{Number, Signals},
        start::Start,
        static_cell::StaticCell,
    },
    text::{Line, basename},
    wire::{
        clock::Wall,
        status::{State, Status, Want},
    },
};

/// Exit code of a usage error.
const USAGE: u8 = 100;
/// Exit code of a usage error, as init script.
const LSB_USAGE: u8 = 2;
/// Exit code of `status` for a service that is down, as init script.
const LSB_DOWN: u8 = 3;
/// Exit code of `status` for a service without a readable status, as init
/// script.
const LSB_UNKNOWN: u8 = 4;
/// Maximum number of failed services in the exit code.
const MAX_FAILED: u8 = 99;
/// Interval between checks of what no event reports.
const ROUND: Duration = Duration::from_millis(420);

/// Service of the command line that is waited for.
struct Task {
    /// Name as given, and as it is printed.
    name: &'static CStr,
    /// Service directory.
    dir: Fd,
    /// Status before the command was sent.
    before: Status,
    /// The command was sent. Otherwise a supervisor is waited for.
    sent: bool,
    /// Its status has to be read again.
    stale: bool,
    /// Watches on its supervise directories: the one in the service
    /// directory, and the one in the run directory.
    watch: [Option<WatchId>; 2],
    /// Progress of its `check`.
    check: Check,
}

/// Services that are waited for.
static TASKS: StaticCell<Vec<Task, { config::SERVICES }>> =
    StaticCell::new(Vec::new());

/// Output of more than a line. It is in static memory because a stack frame
/// of its size costs code.
static PAGE: StaticCell<Page> = StaticCell::new(Page::new());

/// One invocation of the program.
struct Sv {
    verb: Verb,
    command: Command,
    json: bool,
    /// Options of `log`: it follows the ring; it shows lines as they are.
    log: (bool, bool),
    waits: bool,
    limit: Duration,
    environ: Environ,
    /// The program was called as an init script.
    lsb: bool,
    /// Number of services that failed.
    failed: u8,
}

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"sv");
    let name = basename(own.to_bytes());
    let lsb = name != b"sv";
    // Otherwise a usage error: runit's `hup` needs a service.
    if !lsb
        && super::is_only(start.argv, c"help")
        && let Some(code) = super::find(name).and_then(super::help)
    {
        return code;
    }
    let words = start.argv.skip(1);
    let wait = start.environ.get(b"SVWAIT");
    let request = match request(words.iter(), wait, lsb) {
        Ok(request) => request,
        Err(error) => return refuse(name, error, lsb),
    };
    let Request {
        verb,
        command,
        json,
        follows,
        raw,
        waits,
        limit,
        used,
    } = request;
    let mut sv = Sv {
        verb,
        command,
        json,
        log: (follows, raw),
        waits,
        limit,
        environ: start.environ,
        lsb,
        failed: 0,
    };
    if lsb {
        // The service is the last component of the link's path.
        let bytes = own.to_bytes_with_nul();
        let from = bytes.len().saturating_sub(name.len().saturating_add(1));
        let name =
            CStr::from_bytes_with_nul(bytes.get(from..).unwrap_or(b"\0"));
        return sv.run([name.unwrap_or(c"")].into_iter());
    }
    sv.run(words.skip(used).iter())
}

/// Reports what is wrong with a command line. Returns the exit code.
fn refuse(name: &[u8], error: Error<'_>, lsb: bool) -> u8 {
    match error {
        Error::Version => sys::print_error(super::version().finish()),
        Error::Option(option) => super::report_option(name, option),
        Error::Usage => {}
    }
    if lsb {
        return super::usage(name, " [-w sec] command", LSB_USAGE);
    }
    super::usage(name, " [-v] [-w sec] command service ...", USAGE)
}

impl Sv {
    /// Runs the command on each service in turn. Returns the exit code.
    fn run(&mut self, names: impl Iterator<Item = &'static CStr>) -> u8 {
        let Some(page) = PAGE.take() else {
            return USAGE;
        };
        if self.verb == Verb::List {
            return self.list(page);
        }
        // PIPE too: a reader that goes away must not end a command half-way.
        let signals = Signals::collect(&[Number::CHILD, Number::PIPE]);
        let (Ok(signals), Some(tasks)) = (signals, TASKS.take()) else {
            return USAGE;
        };
        let mut lsb = LSB_UNKNOWN;
        for name in names {
            let bytes = name.to_bytes();
            if matches!(self.verb, Verb::Enable | Verb::Disable) {
                self.set_enabled(name);
                continue;
            }
            let found = names::directory(self.environ, name);
            match (self.verb, found) {
                (_, Err(errno)) if self.json => {
                    json::missing(page, bytes, errno);
                    page.text("}\n");
                    self.failed = self.failed.saturating_add(1);
                }
                (_, Err(errno)) => {
                    page.flush();
                    let reason =
                        Unavailable::Failed(service::ENTER, Some(errno));
                    self.report(bytes, reason);
                }
                (Verb::Log, Ok(dir)) => {
                    let (follows, raw) = self.log;
                    if let Err(reason) = log::show(dir.as_fd(), follows, raw) {
                        self.report(bytes, reason);
                    }
                }
                (Verb::Why, Ok(dir)) => self.why(page, bytes, dir.as_fd()),
                (_, Ok(dir)) if self.command.is_status() => {
                    lsb = self.status(page, bytes, dir.as_fd());
                }
                (_, Ok(dir)) => self.act(tasks, name, dir),
            }
        }
        page.flush();
        if !tasks.is_empty() {
            self.wait(tasks, &signals);
        }
        match (self.lsb, self.command.is_status()) {
            (true, true) => lsb,
            (true, false) => self.failed.min(1),
            (false, _) => self.failed.min(MAX_FAILED),
        }
    }

    /// Sends the command to a service, and adds it to those to wait for.
    fn act(&mut self, tasks: &mut VecView<Task>, name: &'static CStr, dir: Fd) {
        let mut task = Task {
            name,
            dir,
            before: NO_STATUS,
            sent: false,
            stale: true,
            watch: [None; 2],
            check: Check::Due,
        };
        match self.send_command(&mut task) {
            Ok(()) => {}
            // The service may have been linked just now: its supervisor is
            // waited for.
            Err(reason)
                if self.waits
                    && self.command.starts()
                    && reason.is_transient() => {}
            Err(reason) => return self.report(name.to_bytes(), reason),
        }
        if self.waits && tasks.push(task).is_err() {
            let mut line = Line::new();
            line.text("fail: ").bytes(name.to_bytes());
            line.text(": too many services to wait for (the bound is ");
            let bound = config::SERVICES;
            line.number(u64::try_from(bound).unwrap_or(u64::MAX));
            sys::print(line.text(")").finish());
            self.failed = self.failed.saturating_add(1);
        }
    }
}

/// Stands for the status of a service whose record was not or cannot be read.
const NO_STATUS: Status = Status {
    since: Wall { secs: 0, nanos: 0 },
    pid: 0,
    paused: false,
    term: false,
    want: Want::Down,
    state: State::Down,
};
