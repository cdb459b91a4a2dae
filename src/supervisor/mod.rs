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

mod adopt;
mod budget;
pub mod cgroup;
mod children;
mod chown_log;
mod context;
mod control;
mod critical;
pub mod front;
mod group;
mod held;
mod iteration;
mod latency;
mod ledger;
pub mod log_ring;
mod logger;
pub mod overlay;
mod path_watch;
mod reaper;
pub mod recovery;
mod relay;
mod reporter;
pub mod rundir;
mod scan;
mod service;
#[cfg(test)]
mod simulated;
mod slot;
mod source;
mod spawner;
mod supervise;
mod table;
pub mod upgrade;
mod wall_clock;
mod warned;

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    sys::{
        AsFd, At, Errno, Fd,
        child::{self, Environ},
        clock, file, limits,
        poller::{Interest, Poller},
        priority,
        signal::Number,
    },
    text::Name,
    wire::clock::Instant,
};

use budget::Budget;
use context::Context;
use latency::Latency;
use ledger::Ledger;
use logger::Loggers;
pub use logger::logger_user;
use reaper::Reaper;
pub use reaper::{AWAITED, CANNOT_RUN, Ended, Events};
use relay::Relay;
pub use reporter::{
    Refusal, Reporter, append_failure, dropped_lines, service_prefix,
};
use scan::{Scanner, Slots};
use source::Source;
use spawner::Spawner;
pub use supervise::Failure;
use table::Table;
use upgrade::Upgrade;
use wall_clock::WallClock;

/// Idle time after which unused memory is returned to the kernel, and after
/// which orders are sent again to a logger whose socket was full. This costs
/// one more wake-up, and none after it if nothing is left to do.
const IDLE_DELAY: Duration = Duration::from_secs(1);

/// Time after a fault at which the services directory is compared, if all
/// services are known: what they and their operators wait for comes first.
const SCAN_AFTER: Duration = Duration::from_millis(100);

/// Maximum number of descriptors with low numbers, for the log pipes of the
/// first slots: to keep one costs a system call.
const LOW_NUMBERS: u32 = 64;

/// State of the event loop.
pub struct Supervisor {
    table: Table,
    context: Context,
    reaper: Reaper,
    scanner: Scanner,
    upgrade: Upgrade,
    budget: Budget,
    latency: Latency,
    wall_clock: WallClock,
    front: Option<front::ServerEnd>,
    /// Pipe that takes the services' output; used in PID 1 only.
    relay: Option<Relay>,
    /// Time at which unused memory is returned, unless an event comes before.
    idle_at: Option<Instant>,
    /// Time at which inherited files are closed after a fault.
    resumed_until: Option<Instant>,
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
        // Runaway services then do not keep it from answering, or from feeding
        // the watchdog. Without the right to, it shares the processors fairly.
        let _fair = priority::raise(config::PRIORITY).is_err();
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
                ledger: Ledger::default(),
                loggers: Loggers::new(),
                stop_limit: None,
                resumed: false,
            },
            reaper,
            scanner: Scanner::new(kept),
            upgrade: Upgrade::default(),
            budget: Budget::new(),
            latency: Latency::new(),
            wall_clock,
            front: None,
            relay: None,
            idle_at: Some(clock::mono().after(IDLE_DELAY)),
            resumed_until: None,
        })
    }

    /// Returns the reporter of this supervisor.
    pub fn reporter(&self) -> &Reporter {
        &self.context.reporter
    }

    /// Keeps the state of the slots in a file in `dir`, from which the next
    /// supervisor continues if this one is killed. No other supervisor may use
    /// that file meanwhile: the caller holds a lock, or `locks_slot` says that
    /// the lock of the only slot will be taken first.
    pub fn keep_state(&mut self, dir: Fd, locks_slot: bool) {
        let Context {
            ledger, reporter, ..
        } = &mut self.context;
        ledger.use_later(dir);
        if !locks_slot {
            ledger.begin(self.table.bound(), reporter);
        }
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
        let context = &mut self.context;
        let now = clock::now();
        self.table.insert(name, identity, dir, false, now, context)
    }

    /// Ends an iteration when `fd` becomes readable; the caller reads it then.
    pub fn wake_with(&self, fd: At<'_>) -> Result<(), Errno> {
        let token = Source::Services.token();
        self.context.poller.add(fd, Interest::Readable, token)
    }

    /// Frees the table entries of slots that have ended.
    pub fn free_ended(&mut self) {
        self.table.free_ended(None, &self.context.ledger);
    }

    /// Supervises every service directory in `path` from now on.
    pub fn supervise_dir(&mut self, path: &'static CStr) {
        let known = self.has_taken_back_all();
        if !self.context.resumed {
            self.keep_low_numbers();
        }
        self.scanner
            .start(path, if known { SCAN_AFTER } else { Duration::ZERO });
        self.scan();
        self.budget.begin(clock::mono(), None);
        self.end_resumption_if_scanned();
    }

    /// Keeps low numbers of descriptors for the log pipes of the first slots,
    /// unless there is one slot only.
    fn keep_low_numbers(&self) {
        let slots = u32::try_from(self.table.bound()).unwrap_or(0);
        let low = if slots > 1 {
            slots.saturating_mul(2)
        } else {
            0
        };
        let low = low.min(LOW_NUMBERS);
        limits::keep_low_numbers(self.reaper.signals(), low);
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
        self.table
            .update_all(&mut |slot| slot.exit(&mut self.context));
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
        self.table
            .update_all(&mut |slot| slot.kill(&mut self.context));
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

    /// Returns the number of the descriptor from which this process relays the
    /// output of services.
    pub fn output(&self) -> Option<u32> {
        self.relay.as_ref().map(Relay::number)
    }

    /// Forwards all that ended services have written, for at most `limit`.
    pub fn flush_output(&self, limit: Duration) {
        if let (Some(relay), Some(console)) =
            (&self.relay, self.context.reporter.console)
        {
            relay.flush(console, limit);
        }
    }
}
