//! LOOP: events from `sys` -> machine -> actions performed through `sys`.
//!
//! `runsv` is a table of one slot; `runsvdir` is the table and a scan; PID 1
//! is that and its stages. The code is one; how many slots there are, the
//! owner of the table decides.
//!
//! Nothing here waits but [`Supervisor::turn`], and that for everything at
//! once. A turn does a bounded amount of work for each slot: one read of each
//! control FIFO, one step for each child that ended. When [`SERVED`] slots had
//! one, or the owner's moment comes (a watchdog is hungry), the turn ends after
//! the slot at hand, and the next goes on.

mod actions;
pub mod cgroup;
mod chown_log;
mod critical;
mod entry;
pub mod front;
mod group;
mod latency;
mod logger;
mod path_watch;
mod relay;
mod reporter;
mod scan;
mod service;
mod services;
mod spawn;
mod supervise;
mod table;
mod wall_clock;

use core::{ffi::CStr, time::Duration};

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
        clock::Instant,
        options::GroupKill,
        status::State,
        why::{Death, Waits},
    },
};
use heapless::Vec;

use path_watch::PathWatch;
use reporter::service_prefix;
pub use reporter::{Refusal, Reporter, append_failure};
use scan::Scanned;
use service::{DirOptions, Service};
use services::Services;
pub use supervise::Failure;

/// One place of the table: a service directory, or free.
pub type Entry = Option<Slot>;

/// Bytes taken from a control FIFO in one turn, one at a time: a byte whose
/// script runs must leave those behind it where they are. What is left shows
/// in the next turn.
const CONTROL_BYTES: usize = 16;

/// Slots in which a turn reacts to a child's end, starts what is due or takes
/// up a new service directory, all counted: each may start a process.
const SLOTS_PER_ITERATION: usize = 16;

/// Slots whose files are written in one turn, the longest unwritten first.
/// More wait for the next one, which sees before that who else has ended or is
/// to be started.
const PUBLICATIONS_PER_ITERATION: usize = 8;

/// How long files may be untrue while something else is to be done all the
/// time. A service that is told to end mostly does so at once: that it was
/// told need not be written then, and its successor does not wait for it. That
/// something else is wanted of it is written in the same turn.
const MAX_STALENESS: Duration = Duration::from_millis(5);

/// How long it is quiet before the memory of what happened is given back, and
/// a logger that took nothing is asked again: one more wake-up, and if that was
/// all none after it.
const IDLE_DELAY: Duration = Duration::from_secs(1);

/// Signals that one turn hands to its owner; more wait in the kernel.
const SIGNALS: usize = 4;

/// Children of its own that an owner may wait for: a stage, what it does in
/// a process of its own, and the programs of ctrl-alt-del, of a power failure,
/// of a good boot and of a test rig.
pub const AWAITED: usize = 6;

/// Token of the signal descriptor.
const TOKEN_SIGNALS: u64 = 0;
/// Token of what tells changes of the services directory.
const TOKEN_SERVICES: u64 = 1;
/// Token of what tells that something was mounted or unmounted.
const TOKEN_MOUNTS: u64 = 2;
/// Token of what a face asks for.
const TOKEN_FRONT: u64 = 3;
/// Token of what comes on descriptor 2, in PID 1 on 1 too.
const TOKEN_LOG: u64 = 4;
/// Token of what tells that the wall clock was set.
const TOKEN_CLOCK: u64 = 5;
/// Token of the console, or of descriptor 2, while lines wait for it.
const TOKEN_CONSOLE: u64 = 6;
/// Token of what the shared loggers answer.
const TOKEN_LOGGER: u64 = 7;
/// First token of the slots' control FIFOs: two for each.
const TOKEN_SLOTS: u64 = 8;

/// A service directory being supervised.
#[derive(Debug)]
pub struct Slot {
    name: Name,
    identity: Identity,
    machine: slot::SlotState,
    /// What is open; nothing once it was told to exit and has ended, but
    /// still is in the services directory.
    service: Option<Service>,
    /// It may not be down for long.
    critical: Option<critical::Critical>,

    /// Presence of its directory in the services directory.
    presence: Presence,
    /// `./run` could not be run last time, and that was told.
    exec_failure_reported: bool,
    /// The kernel refused a child last time, and that was told.
    fork_failure_reported: bool,
    /// Orders that its logger has no room for now, as bits.
    pending_orders: u32,
    /// When its files are to be written: when they ceased to be true, or
    /// later if that could not be done last time.
    publish_due: Option<Instant>,
    /// They could not be written last time, and that was told.
    publish_failure_reported: bool,
    /// The option file that was last told to say nothing known.
    bad_option: Option<&'static CStr>,
    /// The signals that reach the group which the service's process leads;
    /// `None` when it leads none.
    group: Option<GroupKill>,
    /// The control FIFO is left alone until a script has ended.
    control_paused: bool,
    /// When a child that had its time was killed, until one ends.
    killed_at: Option<Instant>,
    /// How `./run` ended and whether nobody asked for it, as long as
    /// `supervise/why` does not say so.
    death: Option<(Death, bool)>,
    /// What `supervise/why` says is waited for, and whether until when.
    waits: (Waits, bool),
}

/// What a turn has for its owner.
#[derive(Debug, Default)]
pub struct Events {
    /// Signals that are the owner's affair.
    pub signals: Vec<Number, SIGNALS>,
    /// Which children that the owner waits for have ended, and how.
    pub ended: Vec<(u32, ExitStatus), AWAITED>,
}

/// The loop's state: everything that a running supervisor is.
pub struct Supervisor {
    table: table::Table,
    poller: Poller,
    signals: Signals,
    reporter: Reporter,
    environ: Environ,
    /// Each child leads a session of its own.
    sessions: bool,
    /// On the way down: milliseconds that each child may take to end, where
    /// its service directory does not say.
    stop_limit: Option<u32>,
    services: Option<Services>,
    scanned: &'static mut Scanned,
    /// What watches it. It outlives it: to close this would hold up a stop.
    path_watch: Option<PathWatch>,
    front: Option<front::ServerEnd>,
    /// What services write, in PID 1.
    relay: Option<relay::Relay>,
    /// What services share whose `log/` has no `run`.
    loggers: [logger::Logger; config::LOGGERS],
    wall_clock: wall_clock::WallClock,
    latency: latency::Latency,
    /// When the owner has something to do.
    until: Option<Instant>,
    /// Children that have ended, or slots that are due, are left for the next
    /// turn.
    backlog: bool,
    /// Slots served and children reaped in this turn.
    served: usize,
    /// Slot from which on what is due is done next.
    ticked: usize,
    /// When memory is to be given back, unless something happens before.
    idle_at: Option<Instant>,
    /// The children whose end the owner wants to hear of.
    pub awaited: Vec<u32, AWAITED>,
}

impl Supervisor {
    /// A supervisor without slots, to which the `wanted` signals come.
    ///
    /// `slots` is how many it may hold, at most `config::SLOTS`. `Err` when
    /// the kernel refuses what the loop sleeps on, or when the table of this
    /// process is taken.
    pub fn new(
        slots: usize,
        wanted: &[Number],
        voice: Reporter,
        environ: Environ,
        sessions: bool,
    ) -> Result<Self, Errno> {
        let table = table::Table::take(slots).ok_or(Errno::EBUSY)?;
        let scanned = scan::SCANNED.take().ok_or(Errno::EBUSY)?;
        child::set_cloexec_inherited();
        let signals = Signals::take(wanted)?;
        let waiter = Poller::new()?;
        waiter.add(signals.as_fd(), Interest::Readable, TOKEN_SIGNALS)?;
        let time = wall_clock::WallClock::watch(&waiter, &voice);
        limits::raise_files(slots);
        limits::reserve_files(signals.as_fd(), slots);
        Ok(Self {
            table,
            poller: waiter,
            signals,
            reporter: voice,
            environ,
            sessions,
            stop_limit: None,
            services: None,
            scanned,
            path_watch: None,
            front: None,
            relay: None,
            loggers: logger::none(),
            wall_clock: time,
            latency: latency::Latency::new(),
            until: None,
            backlog: false,
            served: 0,
            ticked: 0,
            idle_at: Some(clock::mono().after(IDLE_DELAY)),
            awaited: Vec::new(),
        })
    }

    /// Who speaks for this supervisor.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// How many slots have not ended.
    pub fn live(&self) -> usize {
        let live = self.table.iter().flatten();
        live.filter(|slot| slot.service.is_some()).count()
    }

    /// Whether a slot may still end. One whose child does not end within
    /// `patience` of its KILL does not: that hangs in the kernel.
    pub fn is_ending(&self, patience: Duration, now: Instant) -> bool {
        self.table.iter().flatten().any(|slot| {
            let hangs =
                slot.killed_at.is_some_and(|at| now.since(at) >= patience);
            slot.service.is_some() && !hangs
        })
    }

    /// Calls `each` with the name of every service that has not ended and was
    /// not killed, and with when its child is killed if that is known.
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

    /// Ends a turn when `fd` becomes readable; the caller reads it then.
    pub fn wake_with(&self, fd: At<'_>) -> Result<(), Errno> {
        self.poller.add(fd, Interest::Readable, TOKEN_SERVICES)
    }

    /// Frees the places of slots that have ended.
    pub fn free_ended(&mut self) {
        for place in self.table.iter_mut() {
            if place.as_ref().is_some_and(|slot| slot.service.is_none()) {
                *place = None;
            }
        }
    }

    /// Tells every slot to exit.
    pub fn exit_all(&mut self) {
        for index in 0..self.table.len() {
            self.exit(index);
        }
    }

    /// Tells every slot to exit on the way down: each of its children, and
    /// each that follows, has `millis` where its directory does not say.
    pub fn stop_all(&mut self, millis: u32) {
        self.stop_limit = Some(millis);
        self.exit_all();
        // Who was told to stop now has its limit; these run already.
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

    /// Sleeps until something happens or `until` has come, and does what
    /// there is to do.
    pub fn iterate(&mut self, until: Option<Instant>) -> Events {
        let mut heard = Events::default();
        self.until = until;
        if let Some(console) = self.reporter.console {
            console.attend(&self.poller, TOKEN_CONSOLE);
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
                // Nothing known makes this fail; it must not spin.
                self.reporter.warn("unable to wait", b"", errno);
                sys::poller::sleep(restart_delay::RESTART_PAUSE);
                Vec::new()
            }
        };
        let quiet = tokens.is_empty();
        let rests = self.is_idle(quiet);
        self.served = 0;
        if self.backlog {
            self.reap(&mut heard);
        }
        for token in tokens {
            match token {
                TOKEN_SIGNALS => self.take_signals(&mut heard),
                TOKEN_SERVICES => self.read_changes(),
                TOKEN_MOUNTS => {
                    self.doubt_all();
                    self.scan_soon();
                }
                TOKEN_FRONT => self.read_front_commands(&mut heard),
                TOKEN_LOG => {
                    self.forward_stderr();
                    self.forward_output();
                }
                TOKEN_CLOCK => self.clock_was_set(),
                TOKEN_LOGGER => self.read_answers(),
                TOKEN_CONSOLE => {
                    self.reporter.console.iter().for_each(|c| c.write_on());
                }
                token => self.take_control(token),
            }
        }
        self.tick();
        self.scan_if_due();
        let free = quiet && !self.backlog;
        self.publish_due(if free { Duration::ZERO } else { MAX_STALENESS });
        self.publish_latency();
        if rests {
            sys::trim_memory();
        }
        heard
    }

    /// Whether nothing has happened for a while: once, then the memory of what
    /// happened is given back.
    fn is_idle(&mut self, quiet: bool) -> bool {
        let now = clock::mono();
        self.latency.begin(now);
        if !quiet {
            self.idle_at = Some(now.after(IDLE_DELAY));
            return false;
        }
        self.idle_at.take_if(|due| *due <= now).is_some()
    }

    /// When the next turn has to come at the latest.
    fn deadline(&self, until: Option<Instant>) -> Option<Instant> {
        let slots = self.table.iter().flatten();
        let slots = slots.filter(|slot| slot.service.is_some());
        let due = slots
            .flat_map(|slot| [slot.machine.due(), slot.publish_due])
            .flatten()
            .min();
        let scan = self.services.as_ref().and_then(Services::due);
        [until, due, scan, self.idle_at].into_iter().flatten().min()
    }

    /// Takes the signals that came; children that ended are dealt with here.
    fn take_signals(&mut self, heard: &mut Events) {
        let mut reaps = false;
        // A bound of its own: while children end all the time there is always
        // one more CHLD.
        for _ in 0..SIGNALS {
            if heard.signals.is_full() {
                break;
            }
            match self.signals.next() {
                Some(Number::CHILD) => reaps = true,
                Some(signal) => {
                    // There is room, as was asked.
                    let _room = heard.signals.push(signal).is_ok();
                }
                None => break,
            }
        }
        if reaps {
            self.reap(heard);
        }
    }

    /// What becomes of a child is not awaited any more.
    pub fn stop_awaiting(&mut self, pid: u32) {
        text::keep(&mut self.awaited, |awaited| *awaited != pid);
    }

    /// Counts a slot that is served or a child that is reaped; whether the turn has to end with it.
    fn budget_spent(&mut self) -> bool {
        self.served = self.served.saturating_add(1);
        let late = |until| until <= clock::mono();
        self.served >= SLOTS_PER_ITERATION || self.until.is_some_and(late)
    }

    /// Takes the children that have ended, orphans too, until the turn is
    /// spent: each counts, whoever made it.
    fn reap(&mut self, heard: &mut Events) {
        self.backlog = false;
        while let Some(pid) = child::zombie() {
            let found = self.table.iter().enumerate().find_map(|(i, place)| {
                let slot = place.as_ref()?;
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
                let _room = heard.ended.push((pid, end)).is_ok();
            } else if self.logger_ended(pid, end) {
                // All whose log service it was have heard of it.
            } else if let Some((index, role, _)) = found {
                self.ended(index, role, end);
            }
            if self.budget_spent() {
                self.backlog = true;
                return;
            }
        }
    }

    /// Reads a control FIFO and obeys.
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
            // EAGAIN: that was all, or the slot is a new one and its
            // predecessor's byte is gone.
            match sys::read(fifo, &mut byte) {
                Ok(1) => self.control(index, role, byte),
                _ => return,
            }
        }
    }

    /// Obeys a control byte.
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
        // `sv` asks the files whether a service was told already (contract
        // §4.4): those that say what is not wanted any more come first.
        if let Some(slot) = self.slot(index)
            && want(slot) != before
        {
            slot.publish_due = Some(Instant::at(0));
        }
    }

    /// Does what has become due in every slot, until the turn is spent.
    fn tick(&mut self) {
        let now = clock::now();
        let all = self.table.len();
        // Where the last turn stopped: slots that are due again and again do
        // not keep the turns from those behind them.
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
        // Told to exit by an operator and still listed: it stays known, so
        // that the next scan does not take it up again (§16.20). Else a scan
        // sees whether it has come back meanwhile, under this name or another.
        if !slot.presence.stays_known() {
            if let Some(place) = self.table.get_mut(index) {
                *place = None;
            }
            self.slot_freed();
        }
    }

    /// Returns the name as a slot has it, and the slot that is free for it.
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
        let taken = Service::open(dir, &|odd, cause| {
            let mut line = service_prefix(&name, "warning");
            self.reporter.print(line.text(odd).text(cause));
        });
        let (service, DirOptions { down, log_down }) =
            taken.map_err(Refusal::Trouble)?;
        let fresh = service.is_new();
        let now = clock::now();
        let machine = slot::SlotState::new(down, log_down, now);
        listen(&self.poller, index, &service).map_err(Refusal::Trouble)?;
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
            bad_option: None,
            group: None,
            control_paused: false,
            killed_at: None,
            death: None,
            waits: (Waits::Nothing, false),
        };
        if let Some(place) = self.table.get_mut(index) {
            *place = Some(slot);
        }
        self.table.grow();
        if fresh {
            // Who reads the files right at its start finds them.
            self.publish(index);
        }
        if let Some(slot) = self.slot(index) {
            let actions = slot.machine.tick(now);
            self.perform(index, actions);
        }
        Ok(())
    }

    /// A slot of the table.
    fn slot(&mut self, index: usize) -> Option<&mut Slot> {
        self.table.get_mut(index)?.as_mut()
    }

    /// Says what a service directory did not let us do.
    fn warn_failure(&self, index: usize, trouble: Failure) {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let name = slot.map_or(&b""[..], |slot| &slot.name);
        let mut line = service_prefix(name, "warning");
        self.reporter.print(append_failure(&mut line, trouble));
    }
}

/// Adds a slot's control FIFOs to what the loop sleeps on, those that are not
/// in it.
fn listen(
    waiter: &Poller,
    index: usize,
    service: &Service,
) -> Result<(), Failure> {
    let index = u64::try_from(index).unwrap_or(u64::MAX >> 2);
    for (bit, role) in [(0, Role::Service), (1, Role::Log)] {
        if let Some(fifo) = service.control(role) {
            let token = TOKEN_SLOTS.saturating_add(index << 1 | bit);
            match waiter.add(fifo, Interest::Readable, token) {
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
