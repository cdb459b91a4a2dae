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
//! The iteration ends after the current slot when its [`Budget`] is spent, or
//! when the owner's deadline has come (for example, a watchdog ping). The next
//! iteration continues there.

mod budget;
pub mod cgroup;
mod chown_log;
mod context;
mod control;
mod critical;
pub mod front;
mod group;
mod latency;
pub mod log_ring;
mod logger;
pub mod overlay;
mod path_watch;
mod reaper;
mod relay;
mod reporter;
pub mod rundir;
mod scan;
mod service;
mod slot;
mod source;
mod spawner;
mod supervise;
mod table;
mod wall_clock;
mod warned;

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::{restart_delay, slot::Role},
    sys::{
        self, AsFd, At, Errno, Fd,
        child::{self, Environ, ExitStatus},
        clock, file, limits,
        poller::{Interest, Poller},
        signal::Number,
    },
    text::Name,
    wire::clock::{Instant, earliest},
};
use heapless::Vec;

use budget::Budget;
use context::Context;
use latency::Latency;
use logger::Loggers;
pub use logger::logger_user;
use reaper::Reaper;
pub use reaper::{AWAITED, Events};
use relay::Relay;
pub use reporter::{Refusal, Reporter, append_failure, dropped_lines};
use scan::{Scanner, Slots};
use source::Source;
use spawner::Spawner;
pub use supervise::Failure;
use table::Table;
use wall_clock::WallClock;

/// Maximum number of slots whose files are written per iteration; those that
/// have been stale longest come first. The others wait for the next iteration,
/// which first handles children that have ended and starts that are due.
const PUBLICATIONS_PER_ITERATION: usize = 8;

/// Maximum staleness of `supervise/*` while the loop is busy. A service that
/// is told to end mostly does so at once: that intermediate state need not be
/// written, and the next start does not wait for it. A changed *want* is
/// published in the same iteration.
const MAX_STALENESS: Duration = Duration::from_millis(5);

/// Idle time after which unused memory is returned to the kernel, and after
/// which orders are sent again to a logger whose socket was full. This costs
/// one more wake-up, and none after it if nothing is left to do.
const IDLE_DELAY: Duration = Duration::from_secs(1);

/// Deadline that has passed at any time.
const AT_ONCE: Instant = Instant::at(0);

/// State of the event loop.
pub struct Supervisor {
    table: Table,
    context: Context,
    reaper: Reaper,
    scanner: Scanner,
    budget: Budget,
    latency: Latency,
    wall_clock: WallClock,
    front: Option<front::ServerEnd>,
    /// Pipe that takes the services' output; used in PID 1 only.
    relay: Option<Relay>,
    /// Time at which unused memory is returned, unless an event comes before.
    idle_at: Option<Instant>,
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
        let table = Table::take(slots).ok_or(Errno::EBUSY)?;
        let kept = scan::KEPT.take().ok_or(Errno::EBUSY)?;
        child::set_cloexec_inherited();
        let reaper = Reaper::new(wanted)?;
        let poller = Poller::new()?;
        let signals = Source::Signals.token();
        poller.add(reaper.signals(), Interest::Readable, signals)?;
        let wall_clock = WallClock::watch(&poller, &reporter);
        let descriptors = config::descriptors(slots);
        // If refused, the table holds fewer slots; that is reported when it
        // is full.
        limits::raise_files(descriptors);
        limits::reserve_files(reaper.signals(), descriptors);
        Ok(Self {
            table,
            context: Context {
                poller,
                reporter,
                spawner: Spawner::new(environ, sessions),
                loggers: Loggers::new(),
                stop_limit: None,
            },
            reaper,
            scanner: Scanner::new(kept),
            budget: Budget::new(),
            latency: Latency::new(),
            wall_clock,
            front: None,
            relay: None,
            idle_at: Some(clock::mono().after(IDLE_DELAY)),
        })
    }

    /// Returns the reporter of this supervisor.
    pub fn reporter(&self) -> &Reporter {
        &self.context.reporter
    }

    /// Returns the number of slots that have not ended.
    pub fn live(&self) -> usize {
        self.table.slots().filter(|slot| slot.is_live()).count()
    }

    /// Returns whether a slot may still end. One whose child does not end
    /// within `patience` of its KILL does not count: that child hangs in the
    /// kernel.
    pub fn is_ending(&self, patience: Duration, now: Instant) -> bool {
        let mut slots = self.table.slots();
        slots.any(|slot| slot.is_live() && !slot.hangs(patience, now))
    }

    /// Calls `each` with the name of every service that has not ended and was
    /// not killed, and with the time at which its child is killed, if known.
    pub fn each_running(&self, each: &mut dyn FnMut(&[u8], Option<Instant>)) {
        for slot in self.table.slots().filter(|slot| slot.is_running()) {
            each(slot.name(), slot.due());
        }
    }

    /// Returns how long all critical services have been up: zero if one is
    /// down or stopped, `Duration::MAX` if there is none.
    pub fn critical_uptime(&self, now: Instant) -> Duration {
        let up = self.table.slots().filter_map(|s| s.critical_uptime(now));
        up.min().unwrap_or(Duration::MAX)
    }

    /// Returns a critical service whose limit is exceeded. To be called
    /// repeatedly: the time is counted from the first call that finds the
    /// service failing.
    pub fn failed_critical(&mut self, now: Instant) -> Option<Name> {
        let mut found = None;
        for slot in self.table.slots_mut() {
            if slot.has_failed(now) {
                found = Some(slot.name().clone());
            }
        }
        found
    }

    /// Supervises the service directory `dir` under `name`.
    pub fn add(&mut self, name: &[u8], dir: Fd) -> Result<(), Refusal> {
        let identity = file::info_of(dir.as_fd())
            .map_err(|errno| Refusal::of("stat", c".", errno))?
            .identity;
        self.table.insert(name, identity, dir, &mut self.context)
    }

    /// Ends an iteration when `fd` becomes readable; the caller reads it then.
    pub fn wake_with(&self, fd: At<'_>) -> Result<(), Errno> {
        let token = Source::Services.token();
        self.context.poller.add(fd, Interest::Readable, token)
    }

    /// Frees the table entries of slots that have ended.
    pub fn free_ended(&mut self) {
        self.table.free_ended(None);
    }

    /// Supervises every service directory in `path` from now on.
    pub fn supervise_dir(&mut self, path: &'static CStr) {
        self.scanner.start(path);
        self.scan();
        self.budget.begin(clock::mono(), None);
    }

    /// Stops looking for service directories; existing slots stay.
    pub fn stop_scanning(&mut self) {
        self.scanner.stop();
        for slot in self.table.slots_mut() {
            slot.presence().mark_unlisted();
        }
        self.free_ended();
    }

    /// Scans at once, takes up again services that were told to exit, and
    /// checks whether the supervise directories are still where their paths
    /// lead.
    pub fn rescan(&mut self) {
        self.recheck_all();
        self.scanner.revive();
        self.scan();
    }

    /// Begins or continues a scan if one is due.
    fn scan(&mut self) {
        self.scanner.run(&mut Slots {
            table: &mut self.table,
            context: &mut self.context,
            budget: &mut self.budget,
        });
    }

    /// Tells every slot to exit.
    pub fn exit_all(&mut self) {
        self.table.update_all(|slot| slot.exit(&mut self.context));
    }

    /// Tells every slot to exit for the shutdown. Each of its present and
    /// later children has `millis` milliseconds to end, where its service
    /// directory sets no limit.
    pub fn stop_all(&mut self, millis: u32) {
        self.context.stop_limit = Some(millis);
        self.exit_all();
        for slot in self.table.slots_mut() {
            slot.limit_scripts(&self.context);
        }
    }

    /// Kills every slot's service, and the script that runs for it.
    pub fn kill_all(&mut self) {
        self.table.update_all(|slot| slot.kill(&mut self.context));
    }

    /// Awaits the exit of a child of the owner: [`Events::ended`] reports it.
    /// At most [`AWAITED`] children can be awaited.
    pub fn await_exit(&mut self, pid: u32) {
        self.reaper.await_exit(pid);
    }

    /// Stops awaiting the exit of a child.
    pub fn stop_awaiting(&mut self, pid: u32) {
        self.reaper.stop_awaiting(pid);
    }

    /// Executes a front's commands from now on.
    pub fn accept_front(
        &mut self,
        server: front::ServerEnd,
    ) -> Result<(), Errno> {
        server.listen(&self.context.poller)?;
        self.front = Some(server);
        Ok(())
    }

    /// Makes services write to the console through this process from now on,
    /// and read nothing.
    pub fn relay_output(&mut self) -> Result<(), Errno> {
        self.relay = Some(Relay::open()?);
        Ok(())
    }

    /// Forwards all that ended services have written, for at most `limit`.
    pub fn flush_output(&self, limit: Duration) {
        if let (Some(relay), Some(console)) =
            (&self.relay, self.context.reporter.console)
        {
            relay.flush(console, limit);
        }
    }

    /// Runs one iteration: sleeps until an event or `until`, then handles
    /// everything that is pending or due.
    pub fn iterate(&mut self, until: Option<Instant>) -> Events {
        let mut events = Events::default();
        self.poll_output();
        let tokens = self.wait(until);
        let quiet = tokens.is_empty();
        let idle = self.is_idle(quiet);
        if self.budget.take_backlog() {
            self.reap(&mut events);
        }
        for token in tokens {
            self.handle(Source::of(token), &mut events);
        }
        self.tick();
        self.scan();
        let free = quiet && !self.budget.has_backlog();
        self.publish(if free { Duration::ZERO } else { MAX_STALENESS });
        if let Some(services) = self.scanner.path() {
            self.latency.publish(services, self.budget.began());
        }
        if idle {
            sys::trim_memory();
        }
        events
    }

    /// Handles an event source that is ready.
    fn handle(&mut self, source: Source, events: &mut Events) {
        let console = self.context.reporter.console;
        match source {
            Source::Signals => {
                if self.reaper.read_signals(events) {
                    self.reap(events);
                }
            }
            Source::Services => self.scanner.read_changes(),
            Source::Mounts => {
                self.recheck_all();
                self.scanner.schedule();
            }
            Source::Front => {
                if let Some(front) = &self.front {
                    let commands = events.commands.as_mut_view();
                    front.read_commands(&self.context.poller, commands);
                }
            }
            Source::Output => {
                if let Some(front) = &self.front {
                    front.forward_stderr();
                }
                if let (Some(relay), Some(console)) = (&self.relay, console) {
                    relay.forward(console);
                }
            }
            Source::Clock => self.restamp(),
            Source::Loggers => self.read_answers(),
            Source::Console => {
                if let Some(console) = console {
                    console.write_backlog();
                }
            }
            Source::Control(index, role) => {
                let context = &mut self.context;
                self.table
                    .update(index, |slot| slot.read_control(role, context));
            }
        }
    }

    /// Makes the loop wait for what the console is ready for: the rest of its
    /// queue, or more output.
    fn poll_output(&mut self) {
        let poller = &self.context.poller;
        if let Some(console) = self.context.reporter.console {
            console.update_poller(poller, Source::Console.token());
            if let Some(relay) = &mut self.relay {
                relay.update_poller(poller, console);
            }
        }
    }

    /// Ends an iteration: sleeps until an event, or until the next one has to
    /// begin, and returns the tokens of the sources that are ready.
    fn wait(
        &mut self,
        until: Option<Instant>,
    ) -> Vec<u64, { sys::poller::BATCH }> {
        let wake = if self.budget.has_backlog() {
            Some(AT_ONCE)
        } else {
            self.deadline(until)
        };
        self.latency.measure(self.budget.began());
        let tokens = match self.context.poller.wait(wake) {
            Ok(tokens) => tokens,
            Err(errno) => {
                // No known cause makes this fail; the pause keeps it from
                // spinning.
                self.reporter().warn("unable to wait", b"", errno);
                sys::poller::sleep(restart_delay::RESTART_PAUSE);
                Vec::new()
            }
        };
        self.budget.begin(clock::mono(), until);
        tokens
    }

    /// Returns true once after [`IDLE_DELAY`] without events, when unused
    /// memory is to be returned.
    fn is_idle(&mut self, quiet: bool) -> bool {
        let now = self.budget.began();
        if !quiet {
            self.idle_at = Some(now.after(IDLE_DELAY));
            return false;
        }
        self.idle_at.take_if(|due| *due <= now).is_some()
    }

    /// Returns the latest time at which the next iteration has to begin.
    fn deadline(&self, until: Option<Instant>) -> Option<Instant> {
        let slots = self.table.slots().filter(|slot| slot.is_live());
        let due = slots
            .flat_map(|slot| [slot.due(), slot.publish_at().due()])
            .flatten()
            .min();
        let scan = self.scanner.due(&self.table);
        let orders = self.context.loggers.due();
        earliest(&[until, due, scan, orders, self.idle_at])
    }

    /// Reaps the children that have ended, orphans included, until the budget
    /// is spent: each counts, whichever process started it.
    fn reap(&mut self, events: &mut Events) {
        while let Some(pid) = child::next_zombie() {
            let found = self.table.find(pid);
            if let Some((_, _, true)) = found {
                self.kill_group(pid);
            }
            if let Some(end) = self.reaper.reap(pid, events) {
                self.child_exited(pid, end, found);
            }
            if self.budget.spend() {
                return self.budget.leave_backlog();
            }
        }
    }

    /// Kills the processes that a service leaves behind that led a process
    /// group. It is a zombie.
    fn kill_group(&self, pid: u32) {
        let roles = [Role::Service, Role::Log, Role::Script];
        let slots = self.table.slots();
        let pids = slots.flat_map(|slot| roles.map(|role| slot.pid(role)));
        group::kill_remains(pid, pids.flatten().filter(|p| *p != pid));
    }

    /// Handles the end of a child that the owner does not await: a logger, the
    /// child of a slot, or an orphan.
    fn child_exited(
        &mut self,
        pid: u32,
        end: ExitStatus,
        found: Option<(u16, Role, bool)>,
    ) {
        let Context {
            loggers,
            poller,
            reporter,
            ..
        } = &mut self.context;
        if loggers.ended(pid, end, poller, reporter) {
            self.table.update_all(|slot| {
                if slot.pid(Role::Log) == Some(pid) {
                    slot.child_exited(Role::Log, end, &mut self.context);
                }
            });
        } else if let Some((index, role, _)) = found {
            let context = &mut self.context;
            self.table
                .update(index, |slot| slot.child_exited(role, end, context));
        }
    }

    /// Reads the loggers' answers. At most one answer per slot is read of
    /// each, so that a misbehaving logger cannot occupy the loop.
    fn read_answers(&mut self) {
        for at in 0..config::LOGGERS {
            for _ in 0..self.table.len() {
                let context = &mut self.context;
                let answer = context.loggers.next_answer(at, &context.poller);
                let Some((pid, stream)) = answer else { break };
                self.table.update(stream, |slot| {
                    if slot.pid(Role::Log) == Some(pid) {
                        let end = ExitStatus::Exited(0);
                        slot.child_exited(Role::Log, end, context);
                    }
                });
            }
        }
    }

    /// Performs what is due in every slot, until the budget is spent.
    fn tick(&mut self) {
        let now = clock::now();
        self.context.loggers.begin_retry();
        let stopped = self.table.visit(|slot| {
            slot.tick(now, &mut self.context) && self.budget.spend()
        });
        if stopped {
            self.budget.leave_backlog();
        }
    }

    /// Writes the files of the slots that have been stale longest, and for at
    /// least `patience`.
    fn publish(&mut self, patience: Duration) {
        let now = clock::mono();
        for _ in 0..PUBLICATIONS_PER_ITERATION {
            match self.table.next_publication() {
                Some((at, index)) if at.is_due(now, patience) => {
                    let context = &self.context;
                    self.table.update(index, |slot| slot.publish(context));
                }
                _ => return,
            }
        }
    }

    /// Makes each slot check whether its supervise directories are where their
    /// paths lead.
    fn recheck_all(&mut self) {
        self.table.slots_mut().for_each(slot::Slot::recheck);
    }

    /// Gives the times in records the value that they would have if the wall
    /// clock had been right before, if it was set.
    fn restamp(&mut self) {
        let Some((before, now)) = self.wall_clock.read_change() else {
            return;
        };
        let renamed = |moment| now.restamped(&before, moment);
        for slot in self.table.slots_mut() {
            slot.restamp(now, &renamed, &self.context);
        }
    }
}
