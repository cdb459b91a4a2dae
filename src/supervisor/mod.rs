//! Runs the event loop: events from `sys` go to `machine`, whose actions are
//! performed through `sys`.
//!
//! `runsv` is a table of one slot. `runsvdir` is a table and a scan. PID 1 is
//! both, plus its stages. All three use the same code; the owner of the table
//! decides how many slots there are.
//!
//! Nothing here blocks except [`Supervisor::iterate`], which waits for all
//! event sources at once. An iteration does a bounded amount of work for each
//! slot: one read of each control FIFO, one step for each child that ended.
//! The iteration ends after the current slot when [`SLOTS_PER_ITERATION`]
//! slots were served, or when the owner's deadline has come (for example, a
//! watchdog ping). The next iteration continues there.

mod actions;
pub mod cgroup;
mod chown_log;
mod critical;
mod entry;
pub mod front;
mod group;
mod latency;
pub mod log_ring;
mod logger;
pub mod overlay;
mod path_watch;
mod relay;
mod reporter;
pub mod rundir;
mod scan;
mod service;
mod services;
mod spawn;
mod supervise;
mod table;
mod wall_clock;

use core::time::Duration;

use crate::{
    config,
    machine::{
        presence::Presence,
        restart_delay,
        slot::{self, Role},
    },
    sys::{
        self, AsFd, At, Errno, Fd,
        child::{self, Environ, ExitStatus},
        clock,
        file::{self, Identity},
        limits,
        poller::{Interest, Poller},
        signal::{Number, Signals},
    },
    text::{self, Name},
    wire::{
        clock::{Instant, earliest},
        options::GroupKill,
        status::State,
        why::{Death, Waits},
    },
};
use heapless::Vec;

pub use logger::logger_user;
use path_watch::PathWatch;
use reporter::service_prefix;
pub use reporter::{Refusal, Reporter, append_failure, dropped_lines};
use scan::Scanned;
use service::{DirOptions, Service};
use services::Services;
pub use supervise::Failure;

/// Entry of the table: a service directory, or `None` if free.
pub type Entry = Option<Slot>;

/// Maximum number of bytes taken from a control FIFO per iteration. They are
/// read one at a time: bytes behind one whose script runs must stay in the
/// FIFO. The rest is read in the next iteration.
const CONTROL_BYTES: usize = 16;

/// Maximum number of slots served per iteration. Reacting to a child's exit,
/// starting what is due and adding a service directory all count, since each
/// may start a process.
const SLOTS_PER_ITERATION: usize = 16;

/// Time after which an iteration serves no further slot or child, although
/// fewer than [`SLOTS_PER_ITERATION`] were: when the process is preempted or a
/// system call is slow, what waits is asked for again first.
const ITERATION_TIME: Duration = Duration::from_millis(5);

/// Maximum number of slots whose files are written per iteration; those that
/// have been stale longest come first. The others wait for the next iteration,
/// which first handles children that have ended and starts that are due.
const PUBLICATIONS_PER_ITERATION: usize = 8;

/// Maximum staleness of `supervise/*` while the loop is busy. A service that
/// is told to end mostly does so at once: that intermediate state need not be
/// written, and the next start does not wait for it. A changed *want* is
/// published in the same iteration.
const MAX_STALENESS: Duration = Duration::from_millis(5);

/// Idle time after which unused memory is returned to the kernel and pending
/// orders are sent again to a logger whose socket was full. This costs one
/// more wake-up, and none after it if nothing is left to do.
const IDLE_DELAY: Duration = Duration::from_secs(1);

/// Maximum number of signals, and of a front's commands, passed to the owner
/// per iteration; more wait in the kernel.
const SIGNALS: usize = 4;

/// Maximum number of its own children that an owner may await: a stage, its
/// work in a forked process, and the programs for ctrl-alt-del, a power
/// failure, a good boot and a test rig.
pub const AWAITED: usize = 6;

/// Token of the signal descriptor.
const TOKEN_SIGNALS: u64 = 0;
/// Token of the inotify descriptor that watches the services directory.
const TOKEN_SERVICES: u64 = 1;
/// Token of the mount table, readable when something is mounted or unmounted.
const TOKEN_MOUNTS: u64 = 2;
/// Token of the front's commands.
const TOKEN_FRONT: u64 = 3;
/// Token of the pipe behind descriptor 2, in PID 1 also behind 1.
const TOKEN_LOG: u64 = 4;
/// Token of the timer that reports a changed wall clock.
const TOKEN_CLOCK: u64 = 5;
/// Token of the console, or of descriptor 2, while output is queued for it.
const TOKEN_CONSOLE: u64 = 6;
/// Token of the shared loggers' answers.
const TOKEN_LOGGER: u64 = 7;
/// First token of the slots' control FIFOs: two for each.
const TOKEN_SLOTS: u64 = 8;

/// A service directory being supervised.
#[derive(Debug)]
pub struct Slot {
    name: Name,
    identity: Identity,
    machine: slot::SlotState,
    /// Open descriptors; `None` once the service was told to exit and has
    /// ended, but is still listed in the services directory.
    service: Option<Service>,
    /// Limit on downtime; `None` if the service is not critical.
    critical: Option<critical::Critical>,

    /// Presence of its directory in the services directory.
    presence: Presence,
    /// Set if the last `./run` could not be executed, which was reported.
    exec_failure_reported: bool,
    /// Set if the last fork failed, which was reported.
    fork_failure_reported: bool,
    /// Orders not yet sent because the logger's socket is full, as a bit set.
    pending_orders: u32,
    /// Time at which the files are to be written: when they became stale, or
    /// later if the last attempt failed.
    publish_due: Option<Instant>,
    /// Set if the last publication failed, which was reported.
    publish_failure_reported: bool,
    /// Hash of the path of the option file last reported as invalid.
    bad_option: u32,
    /// Signals that reach the process group which the service's process leads;
    /// `None` if it leads none.
    group: Option<GroupKill>,
    /// Set while the control FIFO is not read because a script runs.
    control_paused: bool,
    /// Time at which an overdue child was killed; cleared when one ends.
    killed_at: Option<Instant>,
    /// End of `./run`, and whether it was unexpected; kept until
    /// `supervise/why` contains it.
    death: Option<(Death, bool)>,
    /// Wait recorded in `supervise/why`, and whether it has an end.
    waits: (Waits, bool),
}

/// Events of one iteration that concern the owner.
#[derive(Debug, Default)]
pub struct Events {
    /// Signals for the owner.
    pub signals: Vec<Number, SIGNALS>,
    /// Commands of the front.
    pub commands: Vec<front::Command, SIGNALS>,
    /// Awaited children that have ended, and how.
    pub ended: Vec<(u32, ExitStatus), AWAITED>,
}

/// State of the event loop.
pub struct Supervisor {
    table: table::Table,
    poller: Poller,
    signals: Signals,
    reporter: Reporter,
    environ: Environ,
    /// Set if each child leads a session of its own.
    sessions: bool,
    /// During shutdown: milliseconds that each child has to end, where its
    /// service directory sets no limit.
    stop_limit: Option<u32>,
    services: Option<Services>,
    scanned: &'static mut Scanned,
    /// Watches of the path to the services directory. Kept after scanning
    /// stops, since closing it would delay the shutdown.
    path_watch: Option<PathWatch>,
    front: Option<front::ServerEnd>,
    /// Pipe that takes the services' output; used in PID 1 only.
    relay: Option<relay::Relay>,
    /// Loggers shared by services whose `log/` has no `run`.
    loggers: [logger::Logger; config::LOGGERS],
    wall_clock: wall_clock::WallClock,
    latency: latency::Latency,
    /// Owner's deadline for the current iteration.
    until: Option<Instant>,
    /// Set if ended children or due slots are left for the next iteration.
    backlog: bool,
    /// Number of slots served and children reaped in this iteration.
    served: usize,
    /// Index of the slot at which the next iteration starts to look for due
    /// work.
    ticked: usize,
    /// Time at which unused memory is returned, unless an event comes before.
    idle_at: Option<Instant>,
    /// Children whose exits are passed to the owner.
    pub awaited: Vec<u32, AWAITED>,
}

impl Supervisor {
    /// Creates a supervisor without slots that receives the `wanted` signals.
    ///
    /// `slots` is the maximum number of slots, at most `config::SLOTS`.
    /// Returns `Err` if the kernel refuses a descriptor that the loop needs,
    /// or if this process already has a supervisor.
    pub fn new(
        slots: usize,
        wanted: &[Number],
        reporter: Reporter,
        environ: Environ,
        sessions: bool,
    ) -> Result<Self, Errno> {
        let table = table::Table::take(slots).ok_or(Errno::EBUSY)?;
        let scanned = scan::SCANNED.take().ok_or(Errno::EBUSY)?;
        child::set_cloexec_inherited();
        let signals = Signals::take(wanted)?;
        let poller = Poller::new()?;
        poller.add(signals.as_fd(), Interest::Readable, TOKEN_SIGNALS)?;
        let wall_clock = wall_clock::WallClock::watch(&poller, &reporter);
        let descriptors = config::descriptors(slots);
        // If refused, the table holds fewer slots; that is reported when it
        // is full.
        limits::raise_files(descriptors);
        limits::reserve_files(signals.as_fd(), descriptors);
        Ok(Self {
            table,
            poller,
            signals,
            reporter,
            environ,
            sessions,
            stop_limit: None,
            services: None,
            scanned,
            path_watch: None,
            front: None,
            relay: None,
            loggers: logger::none(),
            wall_clock,
            latency: latency::Latency::new(),
            until: None,
            backlog: false,
            served: 0,
            ticked: 0,
            idle_at: Some(clock::mono().after(IDLE_DELAY)),
            awaited: Vec::new(),
        })
    }

    /// Returns the reporter of this supervisor.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Returns the number of slots that have not ended.
    pub fn live(&self) -> usize {
        let live = self.table.iter().flatten();
        live.filter(|slot| slot.service.is_some()).count()
    }

    /// Returns whether a slot may still end. One whose child does not end
    /// within `patience` of its KILL does not count: that child hangs in the
    /// kernel.
    pub fn is_ending(&self, patience: Duration, now: Instant) -> bool {
        self.table.iter().flatten().any(|slot| {
            let hangs =
                slot.killed_at.is_some_and(|at| now.since(at) >= patience);
            slot.service.is_some() && !hangs
        })
    }

    /// Calls `each` with the name of every service that has not ended and was
    /// not killed, and with the time at which its child is killed, if known.
    pub fn each_running(&self, each: &mut dyn FnMut(&[u8], Option<Instant>)) {
        for slot in self.table.iter().flatten() {
            if slot.service.is_some() && slot.killed_at.is_none() {
                each(&slot.name, slot.machine.due());
            }
        }
    }

    /// Supervises the service directory `dir` under `name`.
    pub fn add(&mut self, name: &[u8], dir: Fd) -> Result<(), Refusal> {
        let identity = file::info_of(dir.as_fd())
            .map_err(|errno| Refusal::of("stat", c".", errno))?
            .identity;
        self.insert(name, identity, dir)
    }

    /// Ends an iteration when `fd` becomes readable; the caller reads it then.
    pub fn wake_with(&self, fd: At<'_>) -> Result<(), Errno> {
        self.poller.add(fd, Interest::Readable, TOKEN_SERVICES)
    }

    /// Frees the table entries of slots that have ended.
    pub fn free_ended(&mut self) {
        for entry in self.table.iter_mut() {
            if entry.as_ref().is_some_and(|slot| slot.service.is_none()) {
                *entry = None;
            }
        }
    }

    /// Tells every slot to exit.
    pub fn exit_all(&mut self) {
        for index in 0..self.table.len() {
            self.exit(index);
        }
    }

    /// Tells every slot to exit for the shutdown. Each of its present and
    /// later children has `millis` milliseconds to end, where its service
    /// directory sets no limit.
    pub fn stop_all(&mut self, millis: u32) {
        self.stop_limit = Some(millis);
        self.exit_all();
        // The services stopped just now have their limit; these scripts
        // already run.
        for index in 0..self.table.len() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            let status = slot.machine.status(Role::Service);
            let finish = status.is_some_and(|s| s.state == State::Finish);
            self.set_deadline(index, Role::Script, spawn::SCRIPT_AFTER, 0);
            if finish {
                self.set_deadline(index, Role::Service, spawn::FINISH_AFTER, 0);
            }
        }
    }

    /// Kills every slot's service, and the script that runs for it.
    pub fn kill_all(&mut self) {
        for index in 0..self.table.len() {
            if let Some(slot) = self.slot(index) {
                let actions = slot.machine.kill();
                self.perform(index, actions);
            }
        }
    }

    /// Tells a slot to exit.
    fn exit(&mut self, index: usize) {
        if let Some(slot) = self.slot(index)
            && slot.service.is_some()
        {
            let actions = slot.machine.leave(clock::now());
            self.perform(index, actions);
        }
    }

    /// Runs one iteration: sleeps until an event or `until`, then handles
    /// everything that is pending or due.
    pub fn iterate(&mut self, until: Option<Instant>) -> Events {
        let mut events = Events::default();
        self.until = until;
        if let Some(console) = self.reporter.console {
            console.update_poller(&self.poller, TOKEN_CONSOLE);
        }
        self.poll_output();
        let wake = if self.backlog {
            Some(Instant::at(0))
        } else {
            self.deadline(until)
        };
        self.latency.end();
        let tokens = match self.poller.wait(wake) {
            Ok(tokens) => tokens,
            Err(errno) => {
                // No known cause makes this fail; the pause keeps it from
                // spinning.
                self.reporter.warn("unable to wait", b"", errno);
                sys::poller::sleep(restart_delay::RESTART_PAUSE);
                Vec::new()
            }
        };
        let quiet = tokens.is_empty();
        let idle = self.is_idle(quiet);
        self.served = 0;
        if self.backlog {
            self.reap(&mut events);
        }
        for token in tokens {
            match token {
                TOKEN_SIGNALS => self.take_signals(&mut events),
                TOKEN_SERVICES => self.read_changes(),
                TOKEN_MOUNTS => {
                    self.recheck_all();
                    self.scan_soon();
                }
                TOKEN_FRONT => self.read_front_commands(&mut events),
                TOKEN_LOG => {
                    self.forward_stderr();
                    self.forward_output();
                }
                TOKEN_CLOCK => self.handle_clock_change(),
                TOKEN_LOGGER => self.read_answers(),
                TOKEN_CONSOLE => {
                    self.reporter
                        .console
                        .iter()
                        .for_each(|c| c.write_backlog());
                }
                token => self.take_control(token),
            }
        }
        self.tick();
        self.scan_if_due();
        let free = quiet && !self.backlog;
        self.publish_due(if free { Duration::ZERO } else { MAX_STALENESS });
        self.publish_latency();
        if idle {
            sys::trim_memory();
        }
        events
    }

    /// Returns true once after [`IDLE_DELAY`] without events, when unused
    /// memory is to be returned.
    fn is_idle(&mut self, quiet: bool) -> bool {
        let now = clock::mono();
        self.latency.begin(now);
        if !quiet {
            self.idle_at = Some(now.after(IDLE_DELAY));
            return false;
        }
        self.idle_at.take_if(|due| *due <= now).is_some()
    }

    /// Returns the latest time at which the next iteration has to begin.
    fn deadline(&self, until: Option<Instant>) -> Option<Instant> {
        let slots = self.table.iter().flatten();
        let slots = slots.filter(|slot| slot.service.is_some());
        let due = slots
            .flat_map(|slot| [slot.machine.due(), slot.publish_due])
            .flatten()
            .min();
        let scan = self.services.as_ref().and_then(Services::due);
        earliest(&[until, due, scan, self.idle_at])
    }

    /// Reads pending signals; on CHLD, reaps the children that have ended.
    fn take_signals(&mut self, events: &mut Events) {
        let mut reaps = false;
        // A bound of its own is needed: while children end all the time, there
        // is always one more CHLD.
        for _ in 0..SIGNALS {
            if events.signals.is_full() {
                break;
            }
            match self.signals.next() {
                Some(Number::CHILD) => reaps = true,
                Some(signal) => {
                    // There is room, as checked above.
                    let _room = events.signals.push(signal).is_ok();
                }
                None => break,
            }
        }
        if reaps {
            self.reap(events);
        }
    }

    /// Stops awaiting the exit of a child.
    pub fn stop_awaiting(&mut self, pid: u32) {
        text::keep(&mut self.awaited, |awaited| *awaited != pid);
    }

    /// Counts a slot served or a child reaped; returns whether the iteration
    /// has to end.
    fn budget_spent(&mut self) -> bool {
        self.served = self.served.saturating_add(1);
        let now = clock::mono();
        self.served >= SLOTS_PER_ITERATION
            || self.until.is_some_and(|until| until <= now)
            || self.latency.elapsed(now) >= ITERATION_TIME
    }

    /// Reaps the children that have ended, orphans included, until the budget
    /// is spent: each counts, whichever process started it.
    fn reap(&mut self, events: &mut Events) {
        self.backlog = false;
        while let Some(pid) = child::next_zombie() {
            let found = self.table.iter().enumerate().find_map(|(i, entry)| {
                let slot = entry.as_ref()?;
                Some((i, slot.machine.role_of(pid)?, slot.group))
            });
            if let Some((_, Role::Service, Some(_))) = found {
                self.end_group(pid);
            }
            let Some(end) = child::try_wait(pid) else {
                return;
            };
            if self.awaited.contains(&pid) {
                self.stop_awaiting(pid);
                // There is room for as many as are awaited.
                let _room = events.ended.push((pid, end)).is_ok();
            } else if self.logger_ended(pid, end) {
                // All slots that use this logger have been informed.
            } else if let Some((index, role, _)) = found {
                self.child_exited(index, role, end);
            }
            if self.budget_spent() {
                self.backlog = true;
                return;
            }
        }
    }

    /// Reads a control FIFO and executes its commands.
    fn take_control(&mut self, token: u64) {
        let token = token.saturating_sub(TOKEN_SLOTS);
        let role = if token & 1 == 0 {
            Role::Service
        } else {
            Role::Log
        };
        let Ok(index) = usize::try_from(token >> 1) else {
            return;
        };
        for _ in 0..CONTROL_BYTES {
            let Some(slot) = self.slot(index) else { return };
            if role == Role::Service && slot.machine.busy() {
                return self.pause_control(index);
            }
            let Some(fifo) = slot
                .service
                .as_ref()
                .and_then(|service| service.control(role))
            else {
                return;
            };
            let mut byte = [0];
            // EAGAIN: the FIFO is empty, or the slot is a new one and its
            // predecessor's byte is gone.
            match sys::read(fifo, &mut byte) {
                Ok(1) => self.control(index, role, byte),
                _ => return,
            }
        }
    }

    /// Executes a control byte.
    fn control(&mut self, index: usize, role: Role, [byte]: [u8; 1]) {
        let now = clock::now();
        let Some(slot) = self.slot(index) else { return };
        if matches!(byte, b'u' | b'o') {
            slot.exec_failure_reported = false;
        }
        let want = |slot: &Slot| slot.machine.status(role).map(|s| s.want);
        let before = want(slot);
        let actions = slot.machine.control(role, byte, now);
        self.perform(index, actions);
        // `sv` reads the files to see whether a service was told already
        // (contract §4.4): a changed want is published first.
        if let Some(slot) = self.slot(index)
            && want(slot) != before
        {
            slot.publish_due = Some(Instant::at(0));
        }
    }

    /// Performs what is due in every slot, until the budget is spent.
    fn tick(&mut self) {
        let now = clock::now();
        let all = self.table.len();
        // Continues where the last iteration stopped, so that slots that are
        // due again and again do not starve those behind them.
        let from = core::mem::take(&mut self.ticked).min(all);
        for index in (from..all).chain(0..from) {
            self.send_pending_orders(index);
            let Some(slot) = self.slot(index) else {
                continue;
            };
            let due = slot.machine.due();
            if slot.service.is_some() && due.is_some_and(|due| due <= now.mono)
            {
                let actions = slot.machine.tick(now);
                self.perform(index, actions);
                if self.budget_spent() {
                    self.ticked = index.saturating_add(1);
                    self.backlog = true;
                    return;
                }
            }
        }
    }

    /// Closes everything of a slot that has ended.
    fn release(&mut self, index: usize) {
        let Some(slot) = self.slot(index) else { return };
        if let Some(service) = slot.service.take() {
            service.unlock();
        }
        // Told to exit by an operator and still listed: the entry stays, so
        // that the next scan does not add it again (§16.20). Otherwise a scan
        // checks whether the directory has come back meanwhile, under this
        // name or another.
        if !slot.presence.stays_known() {
            if let Some(entry) = self.table.get_mut(index) {
                *entry = None;
            }
            self.slot_freed();
        }
    }

    /// Returns `name` as a slot stores it, and the index of a free entry.
    fn room_for(&self, name: &[u8]) -> Result<(Name, usize), Refusal> {
        let name = text::name(name)
            .map_err(|_| Refusal::Full("name-bytes", config::NAME_BYTES))?;
        let full = Refusal::Full("slots", self.table.len());
        let free = self.table.iter().position(Option::is_none);
        Ok((name, free.ok_or(full)?))
    }

    /// Puts a service directory into the table and starts it.
    fn insert(
        &mut self,
        name: &[u8],
        identity: Identity,
        dir: Fd,
    ) -> Result<(), Refusal> {
        let (name, index) = self.room_for(name)?;
        let critical = critical::Critical::of(dir.as_fd());
        let opened = Service::open(dir, &|what, cause| {
            let mut line = service_prefix(&name, "warning");
            self.reporter.print(line.text(what).text(cause));
        });
        let (service, DirOptions { down, log_down }) =
            opened.map_err(Refusal::Failed)?;
        let is_new = service.is_new();
        let now = clock::now();
        let machine = slot::SlotState::new(down, log_down, now);
        listen(&self.poller, index, &service).map_err(Refusal::Failed)?;
        let slot = Slot {
            name,
            identity,
            machine,
            service: Some(service),
            critical,
            presence: Presence::UNLISTED,
            exec_failure_reported: false,
            fork_failure_reported: false,
            pending_orders: 0,
            publish_due: None,
            publish_failure_reported: false,
            bad_option: 0,
            group: None,
            control_paused: false,
            killed_at: None,
            death: None,
            waits: (Waits::Nothing, false),
        };
        if let Some(entry) = self.table.get_mut(index) {
            *entry = Some(slot);
        }
        self.table.grow();
        if is_new {
            // A reader finds the files as soon as the service starts.
            self.publish(index);
        }
        if let Some(slot) = self.slot(index) {
            let actions = slot.machine.tick(now);
            self.perform(index, actions);
        }
        if let Some(slot) = self.slot(index)
            && let Some(service) = &mut slot.service
        {
            service.log_checked = false;
        }
        Ok(())
    }

    /// Returns a slot of the table.
    fn slot(&mut self, index: usize) -> Option<&mut Slot> {
        self.table.get_mut(index)?.as_mut()
    }

    /// Reports a failed operation in a service directory.
    fn warn_failure(&self, index: usize, failure: Failure) {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let name = slot.map_or(&b""[..], |slot| &slot.name);
        let mut line = service_prefix(name, "warning");
        self.reporter.print(append_failure(&mut line, failure));
    }
}

/// Adds those of a slot's control FIFOs to the poller that are not in it.
fn listen(
    poller: &Poller,
    index: usize,
    service: &Service,
) -> Result<(), Failure> {
    let index = u64::try_from(index).unwrap_or(u64::MAX >> 2);
    for (bit, role) in [(0, Role::Service), (1, Role::Log)] {
        if let Some(fifo) = service.control(role) {
            let token = TOKEN_SLOTS.saturating_add(index << 1 | bit);
            match poller.add(fifo, Interest::Readable, token) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => {
                    let (verb, path) = ("wait for", c"supervise");
                    return Err(Failure { verb, path, errno });
                }
            }
        }
    }
    Ok(())
}
