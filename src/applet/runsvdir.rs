//! runsvdir: supervises all service directories in a directory.
//!
//! # Synopsis
//! `runsvdir [-P] DIR [LOG]`
//!
//! # Description
//! Supervises every directory, and every link to one, in DIR whose name does
//! not begin with a dot, as soon as it appears. A directory that is created in
//! DIR, rather than moved there, is supervised when nothing was added to it
//! for a second.
//!
//! A service whose directory can no longer be reached from DIR is told to exit
//! if that still holds after 2 seconds: a link that is removed and made again,
//! or a DIR that is rewritten, restarts nothing. It is told at once when its
//! name leads to something else, when its directory itself was removed, and on
//! ALRM. While DIR is missing, all services continue.
//!
//! The same holds when the supervisor faults or is killed meanwhile; the 2
//! seconds then begin again. An entry that is made again after its service was
//! told to exit starts the service once the old process has ended. A service
//! that `sv exit` has ended stays down after a fault until its entry is made
//! again; after a kill it is started. An entry that is removed and made again
//! before the next supervisor reads DIR counts as unchanged.
//!
//! An entry that cannot be supervised is reported once for as long as the
//! cause lasts. It is tried again after 1, 2, 4 and up to 30 seconds, and at
//! once when its entry in DIR changes, when a service has exited and been
//! removed, and on ALRM. Where changes cannot be watched, DIR is read every 5
//! seconds.
//!
//! Two processes share the work: a front process, which handles the signals
//! below, and its child, the supervisor, which runs the services. The end of
//! the front process does not affect a service; a supervisor that dies is
//! started again and takes the running services over. After a fault either
//! process goes on as the same process. See runsv(8).
//! `runsvdir DIR` becomes the front process of a supervisor that runs already,
//! however the last front process ended, and has it supervise again what was
//! told to exit. `-P`, and whether there is a LOG, stay as they were.
//!
//! With LOG, which must have at least seven bytes, the front process shows
//! what services write to descriptor 2 in its title, as printed by `ps`: the
//! last bytes of the output replace those of LOG after its first five. A dot
//! is added every quarter of an hour.
//!
//! With LOG, descriptor 2 of all services is the FIFO `supervise/errors` in
//! the state directory of DIR, which the supervisor reads. It has its readers
//! and writers even without a supervisor, so a service that writes there is
//! not killed when the supervisor is; when the FIFO is full it waits for the
//! next supervisor, which reads what was left. Without a run directory
//! descriptor 2 is an unnamed pipe, and a service that writes there after the
//! supervisor was killed gets SIGPIPE.
//!
//! # Options
//! - `-P`: puts each service into a session of its own.
//! - `--help`: as the only argument, prints a summary. Any other word that
//!   begins with `-` is DIR, as in runit.
//!
//! # Signals
//! TERM: the front process exits with 0; the services continue and can still
//! be controlled, and the supervisor exits with the last of them. HUP: every
//! service is told to exit; the front process exits with 111. ALRM: scan now,
//! and supervise again what was told to exit. The front process exits when the
//! supervisor has read its command, or has not done so for 5 seconds.
//!
//! As process 1 of a container, whose end ends all other processes, it exits
//! on TERM and HUP when the services have ended. Each is told to exit and has
//! the time of its `timeout-kill`, or as long as the container's engine waits.
//! Loggers write what is left. All other processes then get TERM and at most 5
//! seconds.
//!
//! # Environment
//! - `RUNT_RUN`: the run directory.
//! - `RUNT_SERVICES_OVERLAY`: the overlay directory.
//!
//! # Files
//! /run/runt, or $RUNT_RUN: the run directory, by which a running supervisor
//! is found. It is used only if it is not a link, its owner is this user or
//! root, and no other user may write to it. The same holds for the directories
//! in it. A directory that is refused is reported, and runsvdir works without
//! it.
//!
//! A `supervise` directory that a mount hides, or the run directory that
//! replaces one, is created again at once, or on ALRM where there is no
//! /proc/self/mountinfo. The lock of the hidden directory stays held.
//!
//! The state directory of DIR is `DEVICE-INODE-NAME` in the run directory,
//! with the numbers of the directory that contains DIR, and DIR's name there.
//! It holds `front`, locked by the front process; `ledger`, see runsv(8);
//! `latency`, see runt-limits(8); and in `supervise` the files by which front and
//! supervisor talk: `lock`, `control`, `ok`, `log` and `errors`.
//!
//! With an overlay directory (the board's, for the board's services directory,
//! or $RUNT_SERVICES_OVERLAY), each of its entries hides the entry of that
//! name in DIR: a link to a service directory adds or replaces a service, a
//! link to /dev/null removes it.
//!
//! # Capacity
//! `slots` services; one more is reported and waits for a free slot. Of the
//! entries that cannot be used, as many are reported by name, then the number
//! of the rest.
//!
//! # Exit status
//! 0 on TERM; 1 usage; 111 on HUP, when nothing can be started, or when DIR
//! has a front process already. The same as process 1.
//!
//! # Differences from runit
//! There is one supervisor for all services, and no `runsv`. Changes in DIR
//! are noticed at once, where runit looks every 5 seconds; the service of a
//! removed link is told to exit after 2 seconds. ALRM is Debian's. What
//! services write to descriptor 2 survives the supervisor.

mod serve;

use core::{ffi::CStr, time::Duration};

use crate::{
    config::family,
    machine::{
        shutdown::TERMINATE,
        title::{self, Title},
    },
    supervisor::{
        self, Reporter,
        front::{self, ClientEnd, Command, Connection},
        recovery, rundir, upgrade,
    },
    sys::{
        self, AsFd, Errno, Fd, child, clock,
        console::Console,
        fault::{self, Resumed},
        image, poller,
        signal::{self, Number, Signals},
        start::{Start, Word},
    },
    text::{self, Line},
    wire::record::{Reader, Writer},
};

/// Exit code of a usage error.
const USAGE: u8 = 1;

/// Maximum bytes of the services' output that are read at once.
const LOG_BYTES: usize = 512;
/// Maximum children reaped at once: process 1 gets every orphan.
const REAPED: usize = 64;

/// Message about a run directory that is refused.
const UNTRUSTED: &str =
    " is not used: it is a link, or another user owns it or may write to it";

/// Arguments of the command line.
struct Request {
    dir: &'static CStr,
    sessions: bool,
    logs: bool,
}

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let mut words = start.argv.iter();
    let name = words.next().unwrap_or(c"runsvdir");
    let mut sessions = false;
    let mut dir = words.next();
    let mut used = 2_usize;
    // As in runit: only one option, and the next word is a directory.
    if let Some(option @ (b"-P" | b"--")) = dir.map(CStr::to_bytes) {
        sessions = option == b"-P";
        dir = words.next();
        used = 3;
    }
    let Some(dir) = dir else {
        return super::usage(name.to_bytes(), " [-P] dir", USAGE);
    };
    let mut word = start.argv.claim(used);
    if word
        .as_mut()
        .is_some_and(|w| w.bytes().len() < title::LEAST)
    {
        for what in [
            "log must have at least seven characters.",
            "log service disabled.",
        ] {
            sys::print_error(prefix(dir, "warning").text(what).finish());
        }
        word = None;
    }
    let request = Request {
        dir,
        sessions,
        logs: word.is_some(),
    };
    let resumed = fault::resumed();
    let done = if resumed.as_ref().is_some_and(serve::is_supervisor) {
        serve::resume(&request, resumed.as_ref(), start)
    } else {
        run_front(&request, word, resumed.as_ref(), start)
    };
    done.unwrap_or_else(|(what, errno)| {
        super::fatal(prefix(dir, "fatal").as_bytes(), what, b"", errno)
    })
}

/// Returns the reporter of both processes.
fn reporter(request: &Request) -> Reporter {
    Reporter {
        prefix: prefix(request.dir, "warning"),
        console: Console::stderr(|count, to_stderr| {
            supervisor::dropped_lines("runsvdir", count, to_stderr)
        }),
    }
}

/// Opens the state directory of DIR. A failure is reported.
fn open_run_dir(request: &Request, reporter: &Reporter) -> Option<Fd> {
    let opened = rundir::open_for(request.dir);
    if let Err(errno) = opened {
        let run = rundir::run_dir().to_bytes();
        if rundir::is_refusal(errno) {
            let mut line = reporter.prefix.clone();
            line.text("run directory ").bytes(run).text(UNTRUSTED);
            reporter.print(&mut line);
        } else {
            let what = "unable to use the run directory ";
            reporter.warn(what, run, errno);
        }
    }
    opened.ok()
}

/// Returns `runsvdir DIR: LEVEL: `.
fn prefix(dir: &CStr, level: &str) -> Line {
    let mut line = Line::new();
    line.text("runsvdir ").bytes(dir.to_bytes());
    line.text(": ").text(level).text(": ");
    line
}

/// A failed operation and its cause.
type Failure = (&'static str, Errno);

/// Runs the front process: keeps a supervisor running and passes signals on.
fn run_front(
    request: &Request,
    word: Option<Word>,
    resumed: Option<&Resumed>,
    start: Start,
) -> Result<u8, Failure> {
    let caught = [
        Number::CHILD,
        Number::TERM,
        Number::HUP,
        Number::ALARM,
        Number::PIPE,
    ];
    let signals = Signals::take(&caught)
        .map_err(|errno| ("unable to collect signals", errno))?;
    let reporter = reporter(request);
    let mut front = Front {
        signals,
        word,
        title: Title::new(clock::mono()),
        is_init: child::own_pid() == 1,
        code: None,
        zombies: resumed.is_some(),
        ends: [None; 3],
        upgrades: None,
    };
    front.save();
    recovery::handle_faults(false, &reporter);
    let run_dir = open_run_dir(request, &reporter);
    if let Some(resumed) = resumed {
        let (what, head) = ("the front process", &reporter.prefix);
        let dir = run_dir.as_ref();
        if !recovery::may_continue(resumed, what, head, dir, &reporter) {
            return Ok(super::FATAL);
        }
    }
    front.accept_upgrades(run_dir.as_ref(), &reporter);
    let front_lock = run_dir
        .as_ref()
        .map(|dir| front::lock(dir.as_fd()))
        .transpose()?;
    if let Some(client) = resumed.and_then(|resumed| front.restore(resumed))
        && let Some(code) = front.follow(&client, &reporter)?
    {
        return front.end(code);
    }
    loop {
        let started = clock::mono();
        match Connection::open(run_dir.as_ref().map(AsFd::as_fd)) {
            Ok(Connection::New(client, server)) => {
                let (is_child, _) =
                    child::fork().map_err(|errno| ("unable to fork", errno))?;
                if is_child {
                    drop((client, front, front_lock));
                    return serve::begin(
                        request, server, run_dir, reporter, start,
                    );
                }
                drop(server);
                if let Some(code) = front.follow(&client, &reporter)? {
                    return front.end(code);
                }
            }
            Ok(Connection::Found(client)) => {
                client.send(Command::Attach);
                if let Some(code) = front.watch(&client, &reporter)? {
                    return front.end(code);
                }
            }
            // The supervisor has just ended, or is still starting.
            Err(failure) if failure.errno == Errno::ENXIO => {}
            Err(failure) => {
                let mut line = reporter.prefix.clone();
                reporter.print(supervisor::append_failure(&mut line, failure));
                front.take_signals(None);
                if let Some(code) = front.code {
                    return front.end(code);
                }
            }
        }
        let pause = crate::machine::restart_delay::RESTART_PAUSE;
        poller::sleep(pause.saturating_sub(clock::mono().since(started)));
        // The next supervisor gets the command: this one's services run.
        if let Some(code) = front.code.filter(|_| front.is_init) {
            return front.end(code);
        }
    }
}

/// State of the front process besides its channel to the supervisor.
struct Front {
    signals: Signals,
    /// LOG, which is overwritten.
    word: Option<Word>,
    title: Title,
    /// True as process 1, whose exit ends all other processes.
    is_init: bool,
    /// Exit code that a signal has asked for. As process 1 the services end
    /// before, else the supervisor is told before.
    code: Option<u8>,
    /// True when children may have ended and need reaping.
    zombies: bool,
    /// Descriptors of the connection.
    ends: [Option<u32>; 3],
    /// FIFO in which a supervisor that has moved to another file writes its
    /// pid.
    upgrades: Option<Fd>,
}

impl Front {
    /// Records the state that a fault passes on.
    fn save(&self) {
        let mut writer = Writer::default();
        writer.put(serve::FRONT);
        writer.put_option(self.code.map(u64::from));
        for end in self.ends {
            writer.put_option(end.map(u64::from));
        }
        fault::record(&writer.0);
    }

    /// Restores that state; returns the connection, if there was one.
    fn restore(&mut self, resumed: &Resumed) -> Option<ClientEnd> {
        let mut reader = Reader(resumed.state.as_ref()?);
        reader.take();
        let code = reader.take_option();
        self.code = code.and_then(|code| u8::try_from(code).ok());
        ClientEnd::resume([0; 3].map(|_| reader.take_pid()))
    }

    /// Moves to the file of the supervisor from now on when that has moved.
    fn accept_upgrades(&mut self, run_dir: Option<&Fd>, reporter: &Reporter) {
        let Some(dir) = run_dir.filter(|_| family::UPGRADE) else {
            return;
        };
        match upgrade::open_front(dir.as_fd()) {
            Ok(fifo) => self.upgrades = Some(fifo),
            Err(failure) => {
                let mut line = reporter.prefix.clone();
                reporter.print(supervisor::append_failure(&mut line, failure));
            }
        }
    }

    /// Moves to the file of the supervisor, if that has moved.
    fn upgrade(&self, reporter: &Reporter) {
        let mut bytes = [0; 16];
        let Some(fifo) = &self.upgrades else { return };
        let count = sys::read(fifo.as_fd(), &mut bytes).unwrap_or(0);
        let bytes = bytes.get(..count).unwrap_or(&[]);
        let (pid, _) = text::leading_number(bytes);
        match image::open_running(u32::try_from(pid).unwrap_or(0)) {
            Ok(image) => {
                fault::upgrade(&image);
                let what = "unable to execute the file of the supervisor";
                reporter.print(reporter.prefix.clone().text(what));
            }
            Err(errno) => {
                let what = "unable to open the file of the supervisor";
                reporter.warn(what, b"", errno);
            }
        }
    }

    /// Follows a supervisor that this process has started, as
    /// [`Front::watch`] does, and reports its end.
    fn follow(
        &mut self,
        client: &ClientEnd,
        reporter: &Reporter,
    ) -> Result<Option<u8>, Failure> {
        let code = self.watch(client, reporter)?;
        if code.is_none() {
            let text = "the supervisor has ended, restarting";
            reporter.print(reporter.prefix.clone().text(text));
        }
        Ok(code)
    }

    /// Passes signals on and shows the log until there is an exit code, whose
    /// command the supervisor has taken, or the supervisor has ended (`None`
    /// then, unless this is process 1 and a code is set).
    fn watch(
        &mut self,
        client: &ClientEnd,
        reporter: &Reporter,
    ) -> Result<Option<u8>, Failure> {
        // From now on it is mostly idle.
        sys::trim_memory();
        self.ends = client.numbers();
        self.save();
        let mut is_told = false;
        loop {
            if let (Some(code), false) = (self.code, is_told) {
                is_told = client.send(self.command(code));
                if !self.is_init {
                    let is_taken = is_told && client.await_taken();
                    return Ok(is_taken.then_some(code));
                }
            }
            let now = clock::mono();
            let limit = self.word.as_mut().map(|word| {
                self.title.tick(word.bytes(), now);
                self.title.due().since(now)
            });
            let trial = fault::trial_end().map(|end| end.since(now));
            if family::UPGRADE && trial == Some(Duration::ZERO) {
                fault::end_trial();
            }
            let limit = if self.zombies {
                Some(Duration::ZERO)
            } else {
                limit.into_iter().chain(trial).min()
            };
            let fds = [
                self.signals.as_fd(),
                client.ok.as_fd(),
                self.upgrades
                    .as_ref()
                    .map_or(client.ok.as_fd(), AsFd::as_fd),
                // Without a title the output is not read.
                self.word
                    .as_ref()
                    .map_or(client.ok.as_fd(), |_| client.log.as_fd()),
            ];
            let [_, ended, upgrades, has_output] = poller::readable(fds, limit)
                .map_err(|errno| ("unable to wait for signals", errno))?;
            if let (true, Some(word)) = (has_output, &mut self.word) {
                let mut bytes = [0; LOG_BYTES];
                if let Ok(count) = sys::read(client.log.as_fd(), &mut bytes) {
                    let bytes = bytes.get(..count).unwrap_or(&[]);
                    title::push(word.bytes(), bytes);
                }
            }
            if ended {
                return Ok(self.code);
            }
            if family::UPGRADE && upgrades {
                self.upgrade(reporter);
            }
            self.take_signals(Some(client));
        }
    }

    /// Returns the command that precedes an exit with this code.
    fn command(&self, code: u8) -> Command {
        if code == 0 && !self.is_init {
            Command::Detach
        } else {
            Command::ExitAll
        }
    }

    /// Returns the exit code. As process 1 it first ends the remaining
    /// processes.
    fn end(&mut self, code: u8) -> Result<u8, Failure> {
        if !self.is_init {
            return Ok(code);
        }
        // ESRCH: there is no other process. A stopped one ignores TERM.
        let _none = signal::kill_all(Number::TERM)
            .and_then(|()| signal::kill_all(Number::CONT))
            .is_err();
        let until = clock::mono().after(TERMINATE);
        loop {
            self.take_signals(None);
            let left = until.since(clock::mono());
            if left.is_zero() || !child::has_children() {
                return Ok(code);
            }
            let limit = if self.zombies { Duration::ZERO } else { left };
            let fds = [self.signals.as_fd(); 4];
            poller::readable(fds, Some(limit))
                .map_err(|errno| ("unable to wait for signals", errno))?;
        }
    }

    /// Handles pending signals.
    fn take_signals(&mut self, client: Option<&ClientEnd>) {
        while let Some(signal) = self.signals.next() {
            let code = match signal {
                Number::TERM => 0,
                Number::HUP => super::FATAL,
                Number::ALARM => {
                    if let Some(client) = client {
                        client.send(Command::Scan);
                    }
                    continue;
                }
                _ => {
                    // The channel tells when the supervisor has ended.
                    self.zombies = true;
                    continue;
                }
            };
            self.code = self.code.or(Some(code));
            self.save();
        }
        for _ in 0..REAPED {
            self.zombies = self.zombies && child::reap().is_some();
        }
    }
}
