//! Runs one iteration of the event loop.

use core::time::Duration;

use heapless::Vec;

use crate::{
    machine::{restart_delay, slot::Role},
    sys::{self, child::ExitStatus, clock, poller},
    wire::clock::{Instant, earliest},
};

use super::{
    Events, IDLE_DELAY, Supervisor, children, context::Context, group, logger,
    slot::Slot, source::Source,
};

/// Maximum number of slots whose files are written per iteration; those that
/// have been stale longest come first. The others wait for the next iteration,
/// which first handles children that have ended and starts that are due.
const PUBLICATIONS_PER_ITERATION: usize = 8;

/// Maximum staleness of `supervise/*` while the loop is busy. A service that
/// is told to end mostly does so at once: that intermediate state need not be
/// written, and the next start does not wait for it. A changed *want* is
/// published in the same iteration.
const MAX_STALENESS: Duration = Duration::from_millis(5);

impl Supervisor {
    /// Runs one iteration: sleeps until an event or `until`, then handles
    /// everything that is pending or due.
    pub fn iterate(&mut self, until: Option<Instant>) -> Events {
        self.advance_upgrade();
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
        if self
            .resumed_until
            .is_some_and(|at| at <= self.budget.began())
        {
            self.end_resumption();
        }
        self.scan();
        self.end_resumption_if_scanned();
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
            Source::Upgrade => self.read_upgrade(),
            Source::Console => {
                if let Some(console) = console {
                    console.write_backlog();
                }
            }
            Source::Exit(index, role) => {
                let context = &mut self.context;
                self.table.update(index, &mut |slot| {
                    slot.check_watch(role, context);
                });
            }
            Source::Control(index, role) => {
                let context = &mut self.context;
                self.table.update(index, &mut |slot| {
                    slot.read_control(role, context);
                });
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
    fn wait(&mut self, until: Option<Instant>) -> Vec<u64, { poller::BATCH }> {
        let wake = if self.budget.has_backlog() {
            Some(Instant::AT_ONCE)
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
                poller::sleep(restart_delay::RESTART_PAUSE);
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
        let scan = self.scanner.due(&self.table);
        let orders = self.context.loggers.due();
        let resumed = self.resumed_until;
        let upgrade = self.upgrade.due();
        let owner = [until, scan, orders, self.idle_at, resumed, upgrade];
        let mut due = earliest(&owner);
        for slot in self.table.slots().filter(|slot| slot.is_live()) {
            due = earliest(&[due, slot.due(), slot.publish_at().due()]);
        }
        due
    }

    /// Reaps the children that have ended, orphans included, until the budget
    /// is spent: each counts, whichever process started it.
    fn reap(&mut self, events: &mut Events) {
        while let Some(zombie) = children::next_zombie() {
            let pid = zombie.pid;
            let found = self.table.find(pid);
            if let Some((index, role, leads)) = found {
                if leads {
                    self.kill_group(pid);
                }
                self.table
                    .update(index, &mut |slot| slot.note_exec(role, zombie));
            }
            if let Some(end) = self.reaper.reap(zombie, events) {
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
        if self.upgrade.child_ended(pid, end, reporter) {
            // That was all.
        } else if loggers.ended(pid, end, poller, reporter) {
            self.table.update_all(&mut |slot| {
                if slot.pid(Role::Log) == Some(pid) {
                    let end = Some(end);
                    slot.child_exited(Role::Log, end, &mut self.context);
                }
            });
        } else if let Some((index, role, _)) = found {
            let context = &mut self.context;
            self.table.update(index, &mut |slot| {
                slot.child_exited(role, Some(end), context);
            });
        }
    }

    /// Reads the loggers' answers. At most one answer per slot is read of
    /// each, so that a misbehaving logger cannot occupy the loop.
    fn read_answers(&mut self) {
        for at in 0..logger::LOGGERS {
            for _ in 0..self.table.len() {
                let context = &mut self.context;
                let answer = context.loggers.next_answer(at, &context.poller);
                let Some((pid, stream)) = answer else { break };
                self.table.update(stream, &mut |slot| {
                    if slot.pid(Role::Log) == Some(pid) {
                        let end = Some(ExitStatus::Exited(0));
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
        let stopped = self.table.visit(&mut |slot| {
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
            let (at, index) = self.table.next_publication();
            if !at.is_due(now, patience) {
                return;
            }
            let context = &self.context;
            self.table.update(index, &mut |slot| slot.publish(context));
        }
    }

    /// Makes each slot check whether its supervise directories are where their
    /// paths lead.
    pub(super) fn recheck_all(&mut self) {
        self.table.slots_mut().for_each(Slot::recheck);
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
