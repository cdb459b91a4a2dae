//! sv: controls services and tells how they are.
//!
//! # Synopsis
//! `sv [-v] [-w SECONDS] COMMAND SERVICE...`
//!
//! # Description
//! Sends COMMAND to the supervisor of each SERVICE, all at once, and then, if
//! the command or `-v` says so, waits until it has taken effect everywhere,
//! at most 7 seconds, $SVWAIT or `-w`. A SERVICE that begins with `/` or `.`
//! or ends with `/` is a service directory; any other is one in the services
//! directory, $SVDIR. `NAME/log` is the log service of NAME.
//!
//! `status`; `up`, `down`, `once`, `exit`; `pause`, `cont`, `hup`, `alarm`,
//! `interrupt`, `quit`, `1`, `2`, `term`, `kill`: the first letter is enough.
//! `start`, `stop`, `reload`, `restart`, `shutdown`, `try-restart`, `check`
//! wait; `force-stop`, `force-reload`, `force-restart`, `force-shutdown` wait
//! and then kill.
//!
//! Under another name, as a link `/etc/init.d/NAME`, it is
//! `NAME [-w SECONDS] COMMAND` for the service NAME.
//!
//! # Files
//! `SERVICE/check` decides whether a service that runs is up.
//!
//! # Exit codes
//! The number of services with which something went wrong, at most 99; 100
//! usage. As init script: 1 trouble, 2 usage; `status`: 0 running, 3 down, 4
//! unknown.

use core::{ffi::CStr, time::Duration};

use heapless::{Vec, VecView};

use crate::{
    args::{
        getopt::{Getopt, Opt},
        sv::{Command, command, is_path},
    },
    config,
    machine::verdict::{Verdict, verdict},
    sys::{
        self, AsFd, At, CWD, Errno, Fd,
        child::{self, Environ, Program},
        clock, error, file,
        once::Once,
        place,
        start::Start,
        wait,
        watch::{Changes, Watch},
    },
    text::{Line, Path, basename, leading_number},
    wire::{
        clock::Wall,
        status::{self, State, Status, Want},
    },
};

/// Exit code of a usage error.
const USAGE: u8 = 100;
/// The same as init script.
const LSB_USAGE: u8 = 2;
/// Most that is counted into the exit code.
const MOST: u8 = 99;
/// How long to wait when nobody says.
const LIMIT: Duration = Duration::from_secs(7);
/// How long to wait at most for a change to be told: `check` tells none, and
/// some file systems do not tell.
const ROUND: Duration = Duration::from_millis(420);

/// A service of the command line.
struct Task {
    /// As it was given, and as it is printed.
    name: &'static CStr,
    /// Its directory, found once: a link that moves does not change what a
    /// command is about.
    dir: Fd,
    /// How it was before the command.
    before: Status,
}

/// All services of the command line.
static TASKS: Once<Vec<Task, { config::SERVICES }>> = Once::new(Vec::new());

/// Why a service cannot be asked.
#[derive(Clone, Copy)]
enum Silent {
    /// It has no supervisor.
    Unsupervised,
    /// A file of its supervise directory: what, and why.
    Trouble(&'static str, Option<Errno>),
}

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"sv");
    let name = basename(own.to_bytes());
    let lsb = name != b"sv";
    let Some((request, operands)) = options(start, lsb) else {
        if lsb {
            return super::usage(name, " [-w sec] command", LSB_USAGE);
        }
        let arguments = " [-v] [-w sec] command service ...";
        return super::usage(name, arguments, USAGE);
    };
    let mut sv = Sv {
        request,
        environ: start.environ,
        lsb,
        failed: 0,
    };
    let names = start.argv.skip(operands).iter();
    let Some(tasks) = TASKS.take() else {
        return USAGE;
    };
    if lsb {
        // The name of a link has no directory part in it.
        let bytes = own.to_bytes_with_nul();
        let from = bytes.len().saturating_sub(name.len().saturating_add(1));
        let name =
            CStr::from_bytes_with_nul(bytes.get(from..).unwrap_or(b"\0"));
        sv.open(tasks, name.unwrap_or(c""));
    } else {
        for name in names {
            sv.open(tasks, name);
        }
    }
    if sv.request.command.is_status() {
        return sv.status(tasks);
    }
    sv.act(tasks);
    if sv.request.waits {
        sv.wait(tasks);
    }
    sv.code()
}

/// What the command line and the environment ask for.
struct Request {
    command: Command,
    waits: bool,
    limit: Duration,
}

/// Reads options and the command; answers how many arguments are before the
/// first service. `None` is a usage error.
fn options(start: Start, lsb: bool) -> Option<(Request, usize)> {
    let words = start.argv.skip(1).iter();
    let mut options = Getopt::new(words, b"vw:V");
    let seconds =
        |text: &CStr| Duration::from_secs(leading_number(text.to_bytes()).0);
    let mut limit = start.environ.get(b"SVWAIT").map_or(LIMIT, seconds);
    let mut waits = false;
    let name = start.argv.first().map_or(&b""[..], CStr::to_bytes);
    for option in &mut options {
        match option {
            Opt::Flag(b'v') => waits = true,
            Opt::Value(_, text) => {
                limit = seconds(text);
                waits = true;
            }
            Opt::Flag(_) => {
                sys::complain(super::version().finish());
                return None;
            }
            Opt::Illegal(_) | Opt::Missing(_) => {
                super::complain_of(basename(name), option);
                return None;
            }
        }
    }
    let used = options.used();
    let mut words = start.argv.skip(used.saturating_add(1)).iter();
    let command = command(words.next()?.to_bytes(), lsb)?;
    if !lsb && words.next().is_none() {
        return None;
    }
    let waits = !command.is_status() && (waits || command.waits);
    Some((
        Request {
            command,
            waits,
            limit,
        },
        used.saturating_add(2),
    ))
}

/// One run of the program.
struct Sv {
    request: Request,
    environ: Environ,
    lsb: bool,
    /// Services with which something went wrong.
    failed: u8,
}

impl Sv {
    /// The exit code.
    fn code(&self) -> u8 {
        if self.lsb {
            self.failed.min(1)
        } else {
            self.failed.min(MOST)
        }
    }

    /// Says `LEVEL: NAME: WHAT[: CAUSE]` and counts it.
    fn fail(
        &mut self,
        level: &str,
        name: &[u8],
        what: &str,
        cause: Option<Errno>,
    ) {
        let mut line = Line::new();
        line.text(level).bytes(name).text(what);
        if let Some(errno) = cause {
            line.text(": ").text(error::text(errno));
        }
        sys::answer(line.finish());
        self.failed = self.failed.saturating_add(1);
    }

    /// Says why a service is silent. Told to exit, that is what was wanted.
    fn silent(&mut self, name: &[u8], silent: Silent) {
        match silent {
            Silent::Unsupervised if self.request.command.tests == b"x" => {
                let mut line = Line::new();
                line.text("ok: ").bytes(name).text(": runsv not running");
                sys::answer(line.finish());
            }
            Silent::Unsupervised => {
                self.fail("fail: ", name, ": runsv not running", None);
            }
            Silent::Trouble(what, cause) => {
                let mut label = Line::new();
                label.bytes(name).text(": unable to ");
                self.fail("warning: ", label.as_bytes(), what, cause);
            }
        }
    }

    /// Finds a service's directory.
    fn open(&mut self, tasks: &mut VecView<Task>, name: &'static CStr) {
        match self.directory(name) {
            Ok(dir) => {
                let before = unknown();
                if tasks.push(Task { name, dir, before }).is_err() {
                    let mut line = Line::new();
                    line.text(": too many services (the bound is ");
                    let bound = config::SERVICES;
                    line.number(u64::try_from(bound).unwrap_or(u64::MAX));
                    line.text(")");
                    let text = core::str::from_utf8(line.as_bytes());
                    let text = text.unwrap_or(": too many services");
                    self.fail("fail: ", name.to_bytes(), text, None);
                }
            }
            Err(errno) => {
                let what = ": unable to change to service directory";
                self.fail("fail: ", name.to_bytes(), what, Some(errno));
            }
        }
    }

    /// Opens a service's directory.
    fn directory(&self, name: &CStr) -> Result<Fd, Errno> {
        if is_path(name.to_bytes()) {
            let here = name.is_empty();
            return file::open_dir(CWD, if here { c"." } else { name });
        }
        let services = self.services();
        let open = |path| {
            let base = file::open_dir(CWD, path)?;
            file::open_dir(base.as_fd(), name)
        };
        // What is no directory in the overlay hides one that can still be
        // asked.
        let over = place::overlay(services).map(open).and_then(Result::ok);
        over.map_or_else(|| open(services), Ok)
    }

    /// The services directory. When the built-in one is missing, those of
    /// other distributions are looked for.
    fn services(&self) -> &'static CStr {
        if let Some(dir) = self.environ.get(b"SVDIR") {
            return dir;
        }
        let all = [config::SERVICES_DIR, c"/service", c"/var/service"];
        let found = all.into_iter().find(|dir| file::info(CWD, dir).is_ok());
        found.unwrap_or(config::SERVICES_DIR)
    }

    /// `status`.
    fn status(&mut self, tasks: &[Task]) -> u8 {
        let mut lsb = 4;
        for task in tasks {
            let name = task.name.to_bytes();
            let dir = task.dir.as_fd();
            let mut line = Line::new();
            match probe(dir) {
                Ok(status) => {
                    lsb = if status.pid == 0 { 3 } else { 0 };
                    if !describe(&mut line, dir, name, name, &status) {
                        continue;
                    }
                    self.log(&mut line, dir, name);
                    sys::answer(line.finish());
                }
                Err(silent) => self.silent(name, silent),
            }
        }
        if self.lsb { lsb } else { self.code() }
    }

    /// Appends what there is to say of a log service.
    fn log(&mut self, line: &mut Line, dir: At<'_>, name: &[u8]) {
        let (level, what, cause) = match file::open_dir(dir, c"log") {
            Ok(log) => match probe(log.as_fd()) {
                Ok(status) => {
                    line.text("; ");
                    let mut label = Line::new();
                    label.bytes(name).text("/log");
                    let name = label.as_bytes();
                    describe(line, log.as_fd(), b"log", name, &status);
                    return;
                }
                Err(Silent::Unsupervised) => {
                    ("fail: ", "runsv not running", None)
                }
                Err(Silent::Trouble(what, cause)) => ("warning: ", what, cause),
            },
            Err(Errno::ENOENT) => return,
            Err(errno) => ("warning: ", "change directory", Some(errno)),
        };
        line.text("; ").text(level).bytes(name).text("/log: ");
        if level == "warning: " {
            line.text("unable to ");
        }
        line.text(what);
        if let Some(errno) = cause {
            line.text(": ").text(error::text(errno));
        }
        self.failed = self.failed.saturating_add(1);
    }

    /// Sends the command to every service; those that it cannot be sent to
    /// are dropped.
    fn act(&mut self, tasks: &mut VecView<Task>) {
        let act = self.request.command.act;
        tasks.retain_mut(|task| {
            let sent = probe(task.dir.as_fd()).and_then(|before| {
                task.before = before;
                send(task.dir.as_fd(), act, &before)
            });
            if let Err(silent) = sent {
                self.silent(task.name.to_bytes(), silent);
                return false;
            }
            true
        });
    }

    /// Waits until the command has taken effect everywhere.
    fn wait(&mut self, tasks: &mut VecView<Task>) {
        let until = clock::mono().after(self.request.limit);
        let watch = self.watch(tasks);
        loop {
            let late = clock::mono() > until;
            tasks.retain(|task| !self.is_done(task));
            if tasks.is_empty() {
                return;
            }
            if late {
                break;
            }
            let rest = until.since(clock::mono());
            let pause =
                rest.saturating_add(Duration::from_millis(1)).min(ROUND);
            match &watch {
                Ok(watch) => {
                    // Which of them has changed, the next look tells.
                    let fds = [watch.as_fd()];
                    let _woken = wait::readable(fds, Some(pause)).is_ok();
                    let _all = watch.drain(|_| {}).is_ok();
                }
                Err(_) => wait::sleep(pause),
            }
        }
        for task in tasks {
            self.give_up(task);
        }
    }

    /// Watches the supervise directories. Where that does not work, the
    /// rounds do.
    fn watch(&self, tasks: &[Task]) -> Result<Watch, Errno> {
        let watch = Watch::new()?;
        for task in tasks {
            let name = task.name.to_bytes();
            let dir = self.services().to_bytes();
            let supervise: &[u8] = b"/supervise";
            let path = match name {
                b"" => Path::join(&[b".", supervise]),
                name if is_path(name) => Path::join(&[name, supervise]),
                name => Path::join(&[dir, b"/", name, supervise]),
            };
            let path = path.map_err(|_| Errno::ENAMETOOLONG)?;
            let here = watch.add(path.as_c_str(), Changes::EntriesAndEnds);
            // The other one tells nothing when it is not the one in use.
            let there = place::path(task.dir.as_fd(), b"").and_then(|place| {
                let path = Path::join(&[place.as_bytes(), supervise]);
                let path = path.map_err(|_| Errno::ENAMETOOLONG)?;
                watch.add(path.as_c_str(), Changes::EntriesAndEnds)
            });
            there.or(here)?;
        }
        Ok(watch)
    }

    /// Whether a service is done with; says so when it is.
    fn is_done(&mut self, task: &Task) -> bool {
        let dir = task.dir.as_fd();
        let name = task.name.to_bytes();
        let now = match probe(dir) {
            Ok(now) => now,
            Err(silent) => {
                self.silent(name, silent);
                return true;
            }
        };
        match verdict(self.request.command.tests, &task.before, &now) {
            Verdict::NotYet => return false,
            Verdict::IfChecked if !self.check(dir, name) => return false,
            Verdict::IfChecked | Verdict::Holds => {}
        }
        let mut line = Line::new();
        line.text("ok: ");
        if describe(&mut line, dir, name, name, &now) {
            sys::answer(line.finish());
        }
        true
    }

    /// Runs a service's `check`. None, or one that cannot be run, succeeds
    /// (contract §4.7).
    fn check(&self, dir: At<'_>, name: &[u8]) -> bool {
        match file::info(dir, c"check") {
            Ok(_) => {}
            Err(Errno::ENOENT) => return true,
            Err(errno) => {
                warn_of(name, "unable to stat ", "/check", errno);
                return false;
            }
        }
        match child::fork() {
            Ok((true, _)) => {
                let errno =
                    file::change_dir_to(dir).err().unwrap_or_else(|| {
                        // Closed already: the caller has none itself.
                        let _closed = child::close_standard(1).is_err();
                        let environ = self.environ;
                        child::become_other(&Program {
                            path: c"./check",
                            arguments: &[],
                            environ,
                        })
                    });
                warn_of(name, "unable to run ", "/check", errno);
                child::exit(0)
            }
            Ok((false, pid)) => match child::wait(pid) {
                Some(child::End::Exited(code)) => code == 0,
                Some(child::End::Killed(..)) => true,
                None => false,
            },
            Err(errno) => {
                warn_of(name, "unable to fork for ", "/check", errno);
                false
            }
        }
    }

    /// The time is up for a service.
    fn give_up(&mut self, task: &Task) {
        let dir = task.dir.as_fd();
        let name = task.name.to_bytes();
        let status = match probe(dir) {
            Ok(status) => status,
            Err(silent) => return self.silent(name, silent),
        };
        let kills = self.request.command.kills;
        let mut line = Line::new();
        line.text(if kills { "kill: " } else { "timeout: " });
        if describe(&mut line, dir, name, name, &status) {
            sys::answer(line.finish());
        }
        self.failed = self.failed.saturating_add(1);
        if kills && let Err(silent) = send(dir, b"k", &status) {
            self.silent(name, silent);
        }
    }
}

/// A status before anything was read.
const fn unknown() -> Status {
    Status {
        since: Wall { secs: 0, nanos: 0 },
        pid: 0,
        paused: false,
        term: false,
        want: Want::Down,
        state: State::Down,
    }
}

/// Says `warning: WHAT NAME PATH: CAUSE` on descriptor 2.
fn warn_of(name: &[u8], what: &str, path: &str, errno: Errno) {
    let mut line = Line::new();
    line.text("warning: ").text(what).bytes(name).text(path);
    line.text(": ").text(error::text(errno));
    sys::complain(line.finish());
}

/// Asks for a service's status (contract §4.4).
fn probe(dir: At<'_>) -> Result<Status, Silent> {
    let trouble = |what| move |errno| Silent::Trouble(what, Some(errno));
    let place = match place::open_write(dir, c"supervise/ok") {
        Ok((_, place)) => place,
        Err(Errno::ENXIO) => return Err(Silent::Unsupervised),
        Err(errno) => {
            return Err(Silent::Trouble("open supervise/ok", Some(errno)));
        }
    };
    let dir = place.as_ref().map_or(dir, AsFd::as_fd);
    let record = file::open_read(dir, c"supervise/status")
        .map_err(trouble("open supervise/status"))?;
    // One more than it has: so that a longer file is seen to be one.
    let mut bytes = [0; status::BYTES + 1];
    let count = sys::read(record.as_fd(), &mut bytes)
        .map_err(trouble("read supervise/status"))?;
    bytes
        .get(..count)
        .and_then(status::unpack)
        .ok_or(Silent::Trouble("read supervise/status: bad format", None))
}

/// Sends control bytes, unless the service is told so already.
fn send(dir: At<'_>, act: &[u8], now: &Status) -> Result<(), Silent> {
    let told = match act {
        [] => true,
        [b'u', ..] => now.want == Want::Up,
        [b'd', ..] => now.want != Want::Up && now.term,
        _ => false,
    };
    if told {
        return Ok(());
    }
    let (fifo, _) =
        place::open_write(dir, c"supervise/control").map_err(|errno| {
            match errno {
                Errno::ENXIO => Silent::Unsupervised,
                errno => Silent::Trouble("open supervise/control", Some(errno)),
            }
        })?;
    match sys::write_once(fifo.as_fd(), act) {
        Ok(count) if count == act.len() => Ok(()),
        Ok(_) | Err(_) => {
            Err(Silent::Trouble("write to supervise/control", None))
        }
    }
}

/// Appends the status line of a service (contract §4.5); false when its
/// `down` cannot be looked at, which is said.
fn describe(
    line: &mut Line,
    dir: At<'_>,
    label: &[u8],
    name: &[u8],
    status: &Status,
) -> bool {
    let normally_up = match file::info(dir, c"down") {
        Ok(_) => false,
        Err(Errno::ENOENT) => true,
        Err(errno) => {
            warn_of(name, "unable to stat ", "/down", errno);
            return false;
        }
    };
    line.text(match status.state {
        State::Down => "down: ",
        State::Run => "run: ",
        State::Finish => "finish: ",
    });
    line.bytes(label).text(": ");
    if status.state != State::Down {
        line.text("(pid ").number(status.pid.into()).text(") ");
    }
    let secs = clock::wall().secs.saturating_sub(status.since.secs);
    line.number(secs).text("s");
    let lives = status.pid != 0;
    let up = status.want == Want::Up;
    let flags = [
        (lives && !normally_up, ", normally down"),
        (!lives && normally_up, ", normally up"),
        (lives && status.paused, ", paused"),
        (!lives && up, ", want up"),
        (lives && !up, ", want down"),
        (lives && status.term, ", got TERM"),
    ];
    for (_, text) in flags.iter().filter(|(holds, _)| *holds) {
        line.text(text);
    }
    true
}
