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

mod act;
pub mod cgroup;
mod critical;
mod entry;
pub mod face;
mod give;
mod group;
mod logger;
mod path;
mod relay;
mod scan;
mod service;
mod spawn;
mod supervise;
mod table;
mod time;
mod turns;
mod voice;

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

use path::Way;
use scan::{Scanned, Services};
use service::{Service, Wishes};
pub use supervise::Trouble;
use voice::heading;
pub use voice::{Refusal, Voice, tell};

/// One place of the table: a service directory, or free.
pub type Place = Option<Slot>;

/// Bytes taken from a control FIFO in one turn, one at a time: a byte whose
/// script runs must leave those behind it where they are. What is left shows
/// in the next turn.
const CONTROL_BYTES: usize = 16;

/// Slots in which a turn reacts to a child's end, starts what is due or takes
/// up a new service directory, all counted: each may start a process.
const SERVED: usize = 16;

/// Slots whose files are written in one turn, the longest unwritten first.
/// More wait for the next one, which sees before that who else has ended or is
/// to be started.
const PUBLISHED: usize = 8;

/// How long files may be untrue while something else is to be done all the
/// time. A service that is told to end mostly does so at once: that it was
/// told need not be written then, and its successor does not wait for it. That
/// something else is wanted of it is written in the same turn.
const UNTRUE: Duration = Duration::from_millis(5);

/// How long it is quiet before the memory of what happened is given back, and
/// a logger that took nothing is asked again: one more wake-up, and if that was
/// all none after it.
const QUIET: Duration = Duration::from_secs(1);

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
const TOKEN_FACE: u64 = 3;
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
    told: bool,
    /// The kernel refused a child last time, and that was told.
    unforked: bool,
    /// Orders that its logger has no room for now, as bits.
    untold: u32,
    /// When its files are to be written: when they ceased to be true, or
    /// later if that could not be done last time.
    unpublished: Option<Instant>,
    /// They could not be written last time, and that was told.
    unwritten: bool,
    /// The option file that was last told to say nothing known.
    odd: Option<&'static CStr>,
    /// The signals that reach the group which the service's process leads;
    /// `None` when it leads none.
    group: Option<GroupKill>,
    /// The control FIFO is left alone until a script has ended.
    deaf: bool,
    /// When a child that had its time was killed, until one ends.
    killed: Option<Instant>,
    /// How `./run` ended and whether nobody asked for it, as long as
    /// `supervise/why` does not say so.
    death: Option<(Death, bool)>,
    /// What `supervise/why` says is waited for, and whether until when.
    waits: (Waits, bool),
}

/// What a turn has for its owner.
#[derive(Debug, Default)]
pub struct Heard {
    /// Signals that are the owner's affair.
    pub signals: Vec<Number, SIGNALS>,
    /// Which children that the owner waits for have ended, and how.
    pub ended: Vec<(u32, ExitStatus), AWAITED>,
}

/// The loop's state: everything that a running supervisor is.
pub struct Supervisor {
    table: table::Table,
    waiter: Poller,
    signals: Signals,
    voice: Voice,
    environ: Environ,
    /// Each child leads a session of its own.
    sessions: bool,
    /// On the way down: milliseconds that each child may take to end, where
    /// its service directory does not say.
    patience: Option<u32>,
    services: Option<Services>,
    scanned: &'static mut Scanned,
    /// What watches it. It outlives it: to close this would hold up a stop.
    way: Option<Way>,
    face: Option<face::Rear>,
    /// What services write, in PID 1.
    relay: Option<relay::Relay>,
    /// What services share whose `log/` has no `run`.
    loggers: [logger::Logger; config::LOGGERS],
    time: time::Time,
    turns: turns::Turns,
    /// When the owner has something to do.
    until: Option<Instant>,
    /// Children that have ended, or slots that are due, are left for the next
    /// turn.
    behind: bool,
    /// Slots served and children reaped in this turn.
    served: usize,
    /// Slot from which on what is due is done next.
    ticked: usize,
    /// When memory is to be given back, unless something happens before.
    quiet: Option<Instant>,
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
        voice: Voice,
        environ: Environ,
        sessions: bool,
    ) -> Result<Self, Errno> {
        let table = table::Table::take(slots).ok_or(Errno::EBUSY)?;
        let scanned = scan::SCANNED.take().ok_or(Errno::EBUSY)?;
        child::set_cloexec_inherited();
        let signals = Signals::take(wanted)?;
        let waiter = Poller::new()?;
        waiter.add(signals.as_fd(), Interest::Readable, TOKEN_SIGNALS)?;
        let time = time::Time::watch(&waiter, &voice);
        limits::raise_files(slots);
        limits::reserve_files(signals.as_fd(), slots);
        Ok(Self {
            table,
            waiter,
            signals,
            voice,
            environ,
            sessions,
            patience: None,
            services: None,
            scanned,
            way: None,
            face: None,
            relay: None,
            loggers: logger::none(),
            time,
            turns: turns::Turns::new(),
            until: None,
            behind: false,
            served: 0,
            ticked: 0,
            quiet: Some(clock::mono().after(QUIET)),
            awaited: Vec::new(),
        })
    }

    /// Who speaks for this supervisor.
    pub fn voice(&self) -> &Voice {
        &self.voice
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
            let hangs = slot.killed.is_some_and(|at| now.since(at) >= patience);
            slot.service.is_some() && !hangs
        })
    }

    /// Calls `each` with the name of every service that has not ended and was
    /// not killed, and with when its child is killed if that is known.
    pub fn names(&self, each: &mut dyn FnMut(&[u8], Option<Instant>)) {
        for slot in self.table.iter().flatten() {
            if slot.service.is_some() && slot.killed.is_none() {
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
        self.waiter.add(fd, Interest::Readable, TOKEN_SERVICES)
    }

    /// Frees the places of slots that have ended.
    pub fn forget(&mut self) {
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
        self.patience = Some(millis);
        self.exit_all();
        // Who was told to stop now has its limit; these run already.
        for index in 0..self.table.len() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            let status = slot.machine.status(Role::Service);
            let finish = status.is_some_and(|s| s.state == State::Finish);
            self.limit(index, Role::Script, spawn::SCRIPT_AFTER, 0);
            if finish {
                self.limit(index, Role::Service, spawn::FINISH_AFTER, 0);
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
    pub fn turn(&mut self, until: Option<Instant>) -> Heard {
        let mut heard = Heard::default();
        self.until = until;
        if let Some(console) = self.voice.console {
            console.attend(&self.waiter, TOKEN_CONSOLE);
        }
        self.attend_output();
        let wake = if self.behind {
            Some(Instant::at(0))
        } else {
            self.deadline(until)
        };
        self.turns.end();
        let tokens = match self.waiter.wait(wake) {
            Ok(tokens) => tokens,
            Err(errno) => {
                // Nothing known makes this fail; it must not spin.
                self.voice.warn("unable to wait", b"", errno);
                sys::poller::sleep(restart_delay::RESTART_PAUSE);
                Vec::new()
            }
        };
        let quiet = tokens.is_empty();
        let rests = self.rests(quiet);
        self.served = 0;
        if self.behind {
            self.reap(&mut heard);
        }
        for token in tokens {
            match token {
                TOKEN_SIGNALS => self.take_signals(&mut heard),
                TOKEN_SERVICES => self.hear_changes(),
                TOKEN_MOUNTS => {
                    self.doubt_all();
                    self.scan_soon();
                }
                TOKEN_FACE => self.take_face(&mut heard),
                TOKEN_LOG => {
                    self.pass_errors();
                    self.pass_output();
                }
                TOKEN_CLOCK => self.take_step(),
                TOKEN_LOGGER => self.take_answers(),
                TOKEN_CONSOLE => {
                    self.voice.console.iter().for_each(|c| c.write_on());
                }
                token => self.take_control(token),
            }
        }
        self.tick();
        self.scan_if_due();
        let free = quiet && !self.behind;
        self.publish_some(if free { Duration::ZERO } else { UNTRUE });
        self.tell_turn();
        if rests {
            sys::memory::trim();
        }
        heard
    }

    /// Whether nothing has happened for a while: once, then the memory of what
    /// happened is given back.
    fn rests(&mut self, quiet: bool) -> bool {
        let now = clock::mono();
        self.turns.begin(now);
        if !quiet {
            self.quiet = Some(now.after(QUIET));
            return false;
        }
        self.quiet.take_if(|due| *due <= now).is_some()
    }

    /// When the next turn has to come at the latest.
    fn deadline(&self, until: Option<Instant>) -> Option<Instant> {
        let slots = self.table.iter().flatten();
        let slots = slots.filter(|slot| slot.service.is_some());
        let due = slots
            .flat_map(|slot| [slot.machine.due(), slot.unpublished])
            .flatten()
            .min();
        let scan = self.services.as_ref().and_then(Services::due);
        [until, due, scan, self.quiet].into_iter().flatten().min()
    }

    /// Takes the signals that came; children that ended are dealt with here.
    fn take_signals(&mut self, heard: &mut Heard) {
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
    pub fn await_no_more(&mut self, pid: u32) {
        text::keep(&mut self.awaited, |awaited| *awaited != pid);
    }

    /// Counts a slot that is served or a child that is reaped; whether the turn has to end with it.
    fn is_spent(&mut self) -> bool {
        self.served = self.served.saturating_add(1);
        let late = |until| until <= clock::mono();
        self.served >= SERVED || self.until.is_some_and(late)
    }

    /// Takes the children that have ended, orphans too, until the turn is
    /// spent: each counts, whoever made it.
    fn reap(&mut self, heard: &mut Heard) {
        self.behind = false;
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
                self.await_no_more(pid);
                // There is room for as many as are awaited.
                let _room = heard.ended.push((pid, end)).is_ok();
            } else if self.was_logger(pid, end) {
                // All whose log service it was have heard of it.
            } else if let Some((index, role, _)) = found {
                self.ended(index, role, end);
            }
            if self.is_spent() {
                self.behind = true;
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
                return self.hear_later(index);
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
            slot.told = false;
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
            slot.unpublished = Some(Instant::at(0));
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
            self.tell_logger(index);
            let Some(slot) = self.slot(index) else {
                continue;
            };
            let due = slot.machine.due();
            if slot.service.is_some() && due.is_some_and(|due| due <= now.mono)
            {
                let actions = slot.machine.tick(now);
                self.perform(index, actions);
                if self.is_spent() {
                    self.ticked = index.saturating_add(1);
                    self.behind = true;
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
        let taken = Service::take(dir, &|odd, cause| {
            let mut line = heading(&name, "warning");
            self.voice.say(line.text(odd).text(cause));
        });
        let (service, Wishes { down, log_down }) =
            taken.map_err(Refusal::Trouble)?;
        let fresh = service.is_fresh();
        let now = clock::now();
        let machine = slot::SlotState::new(down, log_down, now);
        listen(&self.waiter, index, &service).map_err(Refusal::Trouble)?;
        let slot = Slot {
            name,
            identity,
            machine,
            service: Some(service),
            critical,
            presence: Presence::UNLISTED,
            told: false,
            unforked: false,
            untold: 0,
            unpublished: None,
            unwritten: false,
            odd: None,
            group: None,
            deaf: false,
            killed: None,
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
    fn warn_of(&self, index: usize, trouble: Trouble) {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let name = slot.map_or(&b""[..], |slot| &slot.name);
        let mut line = heading(name, "warning");
        self.voice.say(tell(&mut line, trouble));
    }
}

/// Adds a slot's control FIFOs to what the loop sleeps on, those that are not
/// in it.
fn listen(
    waiter: &Poller,
    index: usize,
    service: &Service,
) -> Result<(), Trouble> {
    let index = u64::try_from(index).unwrap_or(u64::MAX >> 2);
    for (bit, role) in [(0, Role::Service), (1, Role::Log)] {
        if let Some(fifo) = service.control(role) {
            let token = TOKEN_SLOTS.saturating_add(index << 1 | bit);
            match waiter.add(fifo, Interest::Readable, token) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => {
                    let (verb, path) = ("wait for", c"supervise");
                    return Err(Trouble { verb, path, errno });
                }
            }
        }
    }
    Ok(())
}
