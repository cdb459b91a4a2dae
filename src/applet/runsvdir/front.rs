//! Runs the front process: keeps a supervisor running, passes signals on, and
//! shows the log.

use core::time::Duration;

use crate::{
    applet::FATAL,
    config::family,
    machine::{
        restart_delay::RESTART_PAUSE,
        shutdown::TERMINATE,
        title::{self, Title},
    },
    supervisor::{
        self, Reporter,
        front::{self, ClientEnd, Command, Connection},
        recovery, upgrade,
    },
    sys::{
        self, AsFd, Errno, Fd, child, clock,
        fault::{self, Resumed},
        image, poller,
        signal::{self, Number, Signals},
        start::{Start, Word},
    },
    text,
    wire::record::{Reader, Writer},
};

use super::{Failure, Request, open_run_dir, reporter, serve};

/// Maximum bytes of the services' output that are read at once.
const LOG_BYTES: usize = 512;
/// Maximum children reaped at once: process 1 gets every orphan.
const REAPED: usize = 64;

/// Runs the front process. Returns its exit code.
pub(super) fn run(
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
            return Ok(FATAL);
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
        let took = clock::mono().since(started);
        poller::sleep(RESTART_PAUSE.saturating_sub(took));
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
        self.ends = client.numbers();
        self.save();
        // From now on it is mostly idle.
        sys::trim_memory();
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
                Number::HUP => FATAL,
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
