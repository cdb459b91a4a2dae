//! Holds one service directory being supervised, and passes events to its
//! state machine.
//!
//! Its parts are separate: its name, the plain data that describe its state,
//! its open descriptors, what is published of it, and which failures were
//! reported. The files in `slot/` do what the machine asks for.

mod actions;
mod adopt;
mod end;
mod log;
mod options;
mod publication;
mod record;
mod start;

use core::{sync::atomic::AtomicU32, time::Duration};

use crate::{
    machine::{
        presence::Presence,
        slot::{Role, SlotState},
    },
    sys::{
        Fd, clock,
        file::{self, Identity},
    },
    text::Name,
    wire::{
        clock::{Instant, Now, Wall, earliest},
        options::GroupKill,
        status::State,
        why::Death,
    },
};

#[cfg(test)]
use crate::wire::status::Status;

use super::{
    context::Context,
    critical::{self, Critical},
    ledger::Held,
    logger::PendingOrders,
    reporter::{Refusal, service_prefix},
    service::{DirOptions, Service},
    source::Source,
    warned::{Warned, Warning},
};

use adopt::Watches;
use options::{FINISH_AFTER, SCRIPT_AFTER};
use publication::Publication;
pub(super) use publication::PublishAt;
pub(super) use record::{Recorded, is_valid};

/// Maximum number of bytes taken from a control FIFO per iteration. They are
/// read one at a time: bytes behind one whose script runs must stay in the
/// FIFO. The rest is read in the next iteration.
const CONTROL_BYTES: usize = 16;

/// A service directory being supervised.
pub(super) struct Slot {
    key: Key,
    data: Data,
    /// Open descriptors; `None` once the service was told to exit and has
    /// ended, but is still listed in the services directory.
    open: Option<Service>,
    /// Processes that an earlier supervisor has started.
    watches: Watches,
    publication: Publication,
    warned: Warned,
}

/// Identification of a slot.
struct Key {
    /// Index of its table entry.
    index: u16,
    name: Name,
    identity: Identity,
}

/// State of a slot, without descriptors.
struct Data {
    machine: SlotState,
    /// Presence of its directory in the services directory.
    presence: Presence,
    /// Limit on downtime; `None` if the service is not critical.
    critical: Option<Critical>,
    spawned: Spawned,
    /// Orders not yet sent because the logger's socket is full.
    orders: PendingOrders,
    /// End of `./run`, and whether it was unexpected; kept until
    /// `supervise/why` contains it.
    death: Option<(Death, bool)>,
}

/// Facts of the children that were started.
#[derive(Default)]
struct Spawned {
    /// Times of the last start of each role in ticks since boot, modulo 2^32:
    /// before and, if it has succeeded, after.
    begun: [[u32; 2]; 3],
    /// Signals that reach the process group which the service's process leads;
    /// `None` if it leads none.
    group: Option<GroupKill>,
    /// Time at which an overdue child was killed; cleared when one ends.
    killed_at: Option<Instant>,
}

impl Slot {
    /// Takes over the service directory `dir` as the slot `index` at the time
    /// `now`. Nothing of it is started yet.
    pub(super) fn open(
        index: u16,
        name: Name,
        identity: Identity,
        dir: Fd,
        now: Now,
        context: &Context,
    ) -> Result<Self, Refusal> {
        let held = context.ledger.held(index);
        let inherited = Service::inherit(dir, identity, &held);
        let opened = inherited.or_else(|dir| {
            // What was there describes another slot, or is not true.
            context.ledger.hold(index, &Held::default());
            Service::open(dir, &|what, cause| {
                context.reporter.warn_service(&name, what, cause);
            })
        });
        let (mut service, options) = opened.map_err(Refusal::Failed)?;
        let DirOptions {
            down,
            log_down,
            critical,
        } = options;
        let machine = SlotState::new(down, log_down, now);
        service
            .listen(&context.poller, index)
            .map_err(Refusal::Failed)?;
        if log_down.is_some() {
            service.open_pipe().map_err(Refusal::Failed)?;
        }
        Ok(Self {
            key: Key {
                index,
                name,
                identity,
            },
            data: Data {
                machine,
                presence: Presence::UNLISTED,
                critical,
                spawned: Spawned::default(),
                orders: PendingOrders::default(),
                death: None,
            },
            open: Some(service),
            watches: Watches::default(),
            publication: Publication::default(),
            warned: Warned::default(),
        })
    }

    /// Takes over what runs of it already, publishes it if it is new, and
    /// starts it unless it is to stay down.
    pub(super) fn begin(&mut self, now: Now, context: &mut Context) {
        self.adopt(now, context);
        if self.open.as_ref().is_some_and(Service::is_new) {
            // A reader finds the files as soon as the service starts.
            self.publish(context);
        }
        let actions = self.data.machine.tick(now);
        if context.resumed && actions.is_empty() && self.is_published() {
            // All that is left is to make the row that of this execution.
            self.record(&actions, context);
            self.publication.at = PublishAt::Never;
        } else {
            self.perform(actions, context);
        }
        if let Some(service) = &mut self.open {
            service.expect_changes();
        }
    }

    /// Returns the index of its table entry.
    pub(super) fn index(&self) -> u16 {
        self.key.index
    }

    /// Returns its name.
    pub(super) fn name(&self) -> &Name {
        &self.key.name
    }

    /// Changes its name: the directory was renamed.
    pub(super) fn rename(&mut self, name: Name) {
        self.key.name = name;
        if let Some(service) = &mut self.open {
            service.describe_again();
        }
    }

    /// Returns the identity of its directory.
    pub(super) fn identity(&self) -> Identity {
        self.key.identity
    }

    /// Returns whether it has not ended.
    pub(super) fn is_live(&self) -> bool {
        self.open.is_some()
    }

    /// Returns whether its entry is to be freed. If it was told to exit by an
    /// operator and is still listed, the entry stays, so that the next scan
    /// does not add it again (§16.20).
    pub(super) fn is_gone(&self) -> bool {
        !self.is_live() && !self.data.presence.stays_known()
    }

    /// Returns whether the next supervisor is to know that it has ended: an
    /// operator has told it to exit, and it is still listed.
    fn is_end_kept(&self) -> bool {
        !self.data.machine.is_leaving() && self.data.presence.stays_known()
    }

    /// Returns whether a child was killed and has not ended within `patience`:
    /// it hangs in the kernel.
    pub(super) fn hangs(&self, patience: Duration, now: Instant) -> bool {
        let killed_at = self.data.spawned.killed_at;
        killed_at.is_some_and(|at| now.since(at) >= patience)
    }

    /// Returns whether it has not ended and no child was killed.
    pub(super) fn is_running(&self) -> bool {
        self.is_live() && self.data.spawned.killed_at.is_none()
    }

    /// Returns whether its directory no longer exists.
    pub(super) fn is_removed(&self) -> bool {
        let service = self.open.as_ref();
        service.is_some_and(|service| file::is_removed(service.dir()))
    }

    /// Returns its presence in the services directory.
    pub(super) fn presence(&mut self) -> &mut Presence {
        &mut self.data.presence
    }

    /// Returns the time of its next start or deadline.
    pub(super) fn due(&self) -> Option<Instant> {
        earliest(&[self.data.machine.due(), self.watches.due()])
    }

    /// Returns the process id of a child.
    pub(super) fn pid(&self, role: Role) -> Option<u32> {
        self.data.machine.pid(role)
    }

    /// Returns the state of a role's process.
    #[cfg(test)]
    pub(super) fn status(&self, role: Role) -> Option<Status> {
        self.data.machine.status(role)
    }

    /// Returns the role of a child of this process, and whether it leads a
    /// process group as the service.
    pub(super) fn role_of(&self, pid: u32) -> Option<(Role, bool)> {
        let role = self.data.machine.role_of(pid)?;
        if self.watches.get(role).is_some() {
            // It is no child: that has the number of one that has ended.
            return None;
        }
        Some((
            role,
            role == Role::Service && self.data.spawned.group.is_some(),
        ))
    }

    /// Returns how long a critical service has been up: zero if it does not
    /// run. `None` if it is not critical.
    pub(super) fn critical_uptime(&self, now: Instant) -> Option<Duration> {
        let started = self.data.machine.started_at();
        self.data.critical?;
        Some(critical::uptime(self.pid(Role::Service), started, now))
    }

    /// Returns whether it is critical and has been failing for too long, as
    /// [`Critical::has_failed`] does.
    pub(super) fn has_failed(&mut self, now: Instant) -> bool {
        let pid = self.pid(Role::Service);
        let critical = self.data.critical.as_mut();
        critical.is_some_and(|critical| critical.has_failed(pid, now))
    }

    /// Reads a control FIFO and executes its commands.
    pub(super) fn read_control(&mut self, role: Role, context: &mut Context) {
        for _ in 0..CONTROL_BYTES {
            if role == Role::Service && self.data.machine.busy() {
                return self.pause_control(true, context);
            }
            let unused = AtomicU32::new(0);
            let cell = context.ledger.command_cell(self.key.index, role);
            let cell = cell.unwrap_or(&unused);
            let service = self.open.as_mut();
            let fifo = service.and_then(|service| service.control(role));
            let Some(byte) = fifo.and_then(|fifo| fifo.read(cell)) else {
                return;
            };
            self.control(role, byte, context);
        }
    }

    /// Makes the service's control FIFO wake the loop no longer, or again.
    fn pause_control(&mut self, paused: bool, context: &Context) {
        let service = self.open.as_mut();
        if let Some(fifo) = service.and_then(|s| s.control(Role::Service)) {
            let source = Source::Control(self.key.index, Role::Service);
            fifo.set_paused(paused, &context.poller, source);
        }
    }

    /// Executes a control byte.
    fn control(&mut self, role: Role, byte: u8, context: &mut Context) {
        if matches!(byte, b'u' | b'o') {
            self.warned.note(Warning::EXEC, false);
        }
        let want = |slot: &Self| slot.data.machine.status(role).map(|s| s.want);
        let before = want(self);
        let actions = self.data.machine.control(role, byte, clock::now());
        self.perform(actions, context);
        // `sv` reads the files to see whether a service was told already
        // (contract §4.4): a changed want is published first.
        if self.is_live() && want(self) != before {
            self.publication.at = PublishAt::Now;
        }
    }

    /// Starts or kills what is due; returns whether anything was.
    pub(super) fn tick(&mut self, now: Now, context: &mut Context) -> bool {
        self.send_orders(context);
        let due = self.due().is_some_and(|due| due <= now.mono);
        if !due || !self.is_live() {
            return false;
        }
        self.poll_watches(now.mono, context);
        let actions = self.data.machine.tick(now);
        self.perform(actions, context);
        true
    }

    /// Tells the slot to exit. If it has ended, the next supervisor will not
    /// know of that.
    pub(super) fn exit(&mut self, context: &mut Context) {
        if self.is_live() {
            let actions = self.data.machine.leave(clock::now());
            self.perform(actions, context);
        } else {
            context.ledger.clear(self.key.index);
        }
    }

    /// Limits the children of a slot that was told to exit for the shutdown:
    /// its service has its limit, these scripts already run.
    pub(super) fn limit_scripts(&mut self, context: &Context) {
        let status = self.data.machine.status(Role::Service);
        self.set_deadline(Role::Script, SCRIPT_AFTER, 0, context);
        if status.is_some_and(|s| s.state == State::Finish) {
            self.set_deadline(Role::Service, FINISH_AFTER, 0, context);
        }
    }

    /// Kills the service, and the script that runs for it.
    pub(super) fn kill(&mut self, context: &mut Context) {
        let actions = self.data.machine.kill();
        self.perform(actions, context);
    }

    /// Gives the times in its records the value that they would have if the
    /// wall clock had been right before; `renamed` does that.
    pub(super) fn restamp(
        &mut self,
        now: Now,
        renamed: &dyn Fn(Wall) -> Wall,
        context: &Context,
    ) {
        self.data.machine.restamp(now);
        if let Some((death, _)) = &mut self.data.death {
            death.when = renamed(death.when);
        }
        let service = self.open.as_ref();
        let restamped = service.map_or(Ok(()), |s| s.restamp_why(renamed));
        if let Err(failure) = restamped {
            context.reporter.warn_failure(&self.key.name, failure);
        }
        self.publication.schedule();
    }
}
