//! Performs the actions that a slot's machine asks for, and publishes the
//! results.

use core::{ffi::CStr, time::Duration};

use crate::{
    machine::{
        restart_delay::{RETRY, RestartDelay},
        slot::{Action, Actions, Exit, Facts, Role},
    },
    sys::{Errno, child::ExitStatus, clock, file, poller::Interest, signal},
    text,
    wire::{
        control::Signal,
        options::{self, GroupKill},
        status::{State, Want},
        why::{Death, DeathCause, Waits},
    },
};

use super::{
    PUBLICATIONS_PER_ITERATION, Slot, Supervisor, TOKEN_SLOTS, listen,
    service::Service, service_prefix, spawn, supervise::Failure,
};

/// Maximum number of bytes read from an option file: the longest valid content
/// is the four numbers of `runt/backoff`.
const OPTION_BYTES: usize = 64;

impl Slot {
    /// Remembers an option file as invalid; returns true unless it is the one
    /// that was last.
    pub(super) fn is_new_bad_option(&mut self, path: &CStr) -> bool {
        let hash = text::hash(path.to_bytes());
        core::mem::replace(&mut self.bad_option, hash) != hash
    }
}

impl Supervisor {
    /// Performs `actions`, and those that follow from their outcome. The
    /// result is published when nothing else is to be done now.
    pub(super) fn perform(&mut self, index: usize, actions: Actions) {
        let mut todo = actions;
        loop {
            // A start is the last of a list.
            let mut outcome = None;
            for action in &todo {
                match *action {
                    Action::Run(Role::Log) if self.shares_logger(index) => {
                        outcome = Some(self.attach(index));
                    }
                    Action::Run(role) => {
                        outcome = Some(self.run(index, role));
                    }
                    Action::Finish(exit) => {
                        self.publish_now(index);
                        outcome = Some(self.finish(index, exit));
                    }
                    Action::Script(byte) => {
                        outcome = Some(self.script(index, byte));
                    }
                    Action::Signal(role, signal) => {
                        self.send(index, role, signal);
                    }
                    Action::SetDeadline => {
                        self.set_deadline(
                            index,
                            Role::Service,
                            c"timeout-kill",
                            0,
                        );
                    }
                    Action::TimedOut(role) => self.kill_overdue(index, role),
                    Action::Parked => {
                        let what = "dies again and again: parked, next try in \
                                    5 minutes or with `sv up`";
                        self.warn_service(index, b"", what);
                    }
                    Action::GiveUp => {
                        let what = "./finish exited with 125: not started \
                                    again until `sv up`";
                        self.warn_service(index, b"", what);
                    }
                    Action::ClosePipe => {
                        let shared = self.forward_order(index, b'x');
                        let slot = self.slot(index);
                        let service =
                            slot.and_then(|slot| slot.service.as_mut());
                        if let Some(service) = service {
                            service.close_pipe();
                        }
                        if !shared {
                            let path = c"log/timeout-kill";
                            self.set_deadline(index, Role::Log, path, 0);
                        }
                    }
                    Action::Ended => {
                        self.publish(index);
                        self.release(index);
                        return;
                    }
                }
            }
            match outcome {
                Some(actions) => todo = actions,
                None => break,
            }
        }
        self.publish_soon(index);
        self.resume_control(index);
    }

    /// Handles the end of a slot's child.
    pub(super) fn child_exited(
        &mut self,
        index: usize,
        role: Role,
        end: ExitStatus,
    ) {
        let now = clock::now();
        let exit = match end {
            ExitStatus::Exited(code) => Exit {
                code: code.into(),
                signal: 0,
            },
            ExitStatus::Killed(signal, core) => Exit {
                code: -1,
                signal: signal | if core { 0x80 } else { 0 },
            },
        };
        let facts = self.facts(index, role);
        if self.slot(index).is_some_and(|slot| slot.death.is_some()) {
            // Only one death at a time is added to the record.
            self.publish(index);
        }
        let Some(slot) = self.slot(index) else { return };
        slot.killed_at = None;
        if let (Role::Service, Some(status)) = (role, slot.machine.status(role))
        {
            // The code may be ours or the service's own: a start that ends
            // with 111 at once will most likely do so again, and the reason
            // was reported.
            slot.exec_failure_reported = end == ExitStatus::Exited(111);
            // An exit that the operator requested is not recorded; during
            // shutdown nothing is, to spare the medium.
            if status.state == State::Run && !slot.machine.is_leaving() {
                let lived =
                    now.mono.since(slot.machine.started_at()).as_millis();
                let when = now.wall;
                let how = match end {
                    ExitStatus::Exited(code) => DeathCause::Exited(code),
                    ExitStatus::Killed(signal, core) => {
                        DeathCause::Killed(signal, core)
                    }
                };
                let lived = u64::try_from(lived).unwrap_or(u64::MAX);
                let again = status.want == Want::Up && !status.term;
                slot.death = Some((
                    Death {
                        when,
                        cause: how,
                        runtime_ms: lived,
                    },
                    again,
                ));
            }
        }
        let actions = slot.machine.ended(role, exit, facts, now);
        self.perform(index, actions);
    }

    /// Returns the contents of a service directory that matter now that a
    /// process has ended.
    fn facts(&mut self, index: usize, role: Role) -> Facts {
        let mut facts = Facts::default();
        if let (Role::Service, Some(slot)) = (role, self.slot(index)) {
            let service = slot.service.as_ref();
            facts.finish = service.is_some_and(Service::has_finish);
            if slot.machine.wants_down() {
                // Nothing is restarted.
                return facts;
            }
            let backoff = c"runt/backoff";
            facts.restart_delay = RestartDelay {
                backoff: self.option(index, backoff, options::backoff),
                max_deaths: self
                    .option(index, c"max-death-tally", options::number)
                    .unwrap_or(0),
            };
        }
        facts
    }

    /// Returns the meaning of an option file. An invalid one is reported and
    /// counts as missing.
    pub(super) fn option<T>(
        &mut self,
        index: usize,
        path: &'static CStr,
        meaning: fn(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let mut buffer = [0; OPTION_BYTES];
        let slot = self.slot(index)?;
        let dir = slot.service.as_ref()?.dir();
        let failed = match file::read_whole(dir, path, &mut buffer) {
            Ok(text) => match meaning(text) {
                Some(meant) => return Some(meant),
                None => Errno::EINVAL,
            },
            Err(Errno::ENOENT | Errno::ENOTDIR) => return None,
            Err(errno) => errno,
        };
        if slot.is_new_bad_option(path) {
            let verb = "use";
            let errno = failed;
            self.warn_failure(index, Failure { verb, path, errno });
        }
        None
    }

    /// Sends a signal to a slot's child. The service directory may replace the
    /// signal that stops the service.
    fn send(&mut self, index: usize, role: Role, signal: Signal) {
        let mut sent = signal;
        let stops = matches!(
            signal,
            Signal::Terminate | Signal::Continue | Signal::Kill
        );
        if role == Role::Service && signal == Signal::Terminate {
            sent = self
                .option(index, c"down-signal", options::down_signal)
                .unwrap_or(signal);
        }
        if role == Role::Log && self.forward_signal(index, signal) {
            return;
        }
        let Some(slot) = self.slot(index) else { return };
        let Some(pid) = slot.machine.pid(role) else {
            return;
        };
        let number = signal::number(sent);
        let group = slot.group.filter(|_| role == Role::Service);
        let reaches_group = match group {
            Some(GroupKill::All) => stops,
            Some(GroupKill::Mixed) => signal == Signal::Kill,
            None => false,
        };
        // ESRCH: it has ended and is about to be reaped.
        let _ended = if reaches_group {
            signal::kill_led(pid, number).is_err()
        } else {
            signal::kill(pid, number).is_err()
        };
    }

    /// Limits a child to the time in an option file, in milliseconds; 0 means
    /// no limit. During shutdown, all that have no such file have the same
    /// limit.
    pub(super) fn set_deadline(
        &mut self,
        index: usize,
        role: Role,
        path: &'static CStr,
        default: u32,
    ) {
        let millis = self.option(index, path, options::number);
        let default = self.stop_limit.unwrap_or(default);
        let millis = u64::from(millis.unwrap_or(default));
        if let (1.., Some(slot)) = (millis, self.slot(index)) {
            let time = Duration::from_millis(millis);
            slot.machine.set_deadline(role, clock::mono().after(time));
        }
    }

    /// Kills a child whose time limit has expired.
    fn kill_overdue(&mut self, index: usize, role: Role) {
        let Some(slot) = self.slot(index) else { return };
        let script = match slot.machine.waits() {
            (Waits::Control(byte), _) => spawn::script_path(byte),
            _ => [0; 10],
        };
        let status = slot.machine.status(role);
        let subject = match status.map(|status| status.state) {
            None => spawn::as_c_str(&script),
            Some(State::Finish) => c"./finish",
            Some(_) if role == Role::Log => c"log/./run",
            Some(State::Run | State::Down) => c"./run",
        };
        let subject = subject.to_bytes();
        self.warn_service(
            index,
            subject,
            " has not ended in time, sending KILL",
        );
        self.send(index, role, Signal::Kill);
        if let Some(slot) = self.slot(index) {
            slot.killed_at = Some(clock::mono());
        }
    }

    /// Writes a slot's status files before a child starts, since it may read
    /// them (contract §2.3, §2.5). A failure is reported by the next full
    /// publication.
    pub(super) fn publish_now(&mut self, index: usize) {
        if let Some(slot) = self.slot(index)
            && let Some(service) = &mut slot.service
        {
            let _reported_later = service.publish(&slot.machine).is_err();
        }
    }

    /// Schedules a slot's files to be written when nothing else is to be done.
    pub(super) fn publish_soon(&mut self, index: usize) {
        if let Some(slot) = self.slot(index) {
            let now = clock::mono();
            let due = slot.publish_due.map_or(now, |due| due.min(now));
            slot.publish_due = Some(due);
        }
    }

    /// Makes each slot check whether its supervise directories are where their
    /// paths lead.
    pub(super) fn recheck_all(&mut self) {
        for index in 0..self.table.len() {
            let slot = self.slot(index);
            let service = slot.and_then(|slot| slot.service.as_mut());
            if let Some(service) = service {
                service.recheck();
                self.publish_soon(index);
            }
        }
    }

    /// Writes the files of the slots that have been stale longest, and for at
    /// least `patience`.
    pub(super) fn publish_due(&mut self, patience: Duration) {
        let now = clock::mono();
        for _ in 0..PUBLICATIONS_PER_ITERATION {
            let slots = self.table.iter().enumerate();
            let due = slots.filter_map(|(index, entry)| {
                Some((entry.as_ref()?.publish_due?, index))
            });
            match due.min() {
                Some((due, index)) if now >= due.after(patience) => {
                    self.publish(index);
                }
                _ => return,
            }
        }
    }

    /// Writes a slot's status files, and the record of its deaths if that has
    /// changed. A failure is retried after [`RETRY`]. What is still missing
    /// then, because it was removed or replaced, is created again; not at
    /// once, since that would disturb the removal of the whole service
    /// directory. What a mount hides is created again at once.
    pub(super) fn publish(&mut self, index: usize) {
        let slot = self.slot(index);
        let service = slot.and_then(|slot| slot.service.as_mut());
        let hidden = service.is_some_and(Service::is_hidden);
        let renewed = if hidden { self.renew(index) } else { Ok(()) };
        let mut written = self.write(index);
        if written.is_ok() {
            written = renewed;
        }
        if written.is_err_and(Failure::is_unwritable)
            && let Some(slot) = self.slot(index)
            && let Some(service) = slot.service.as_mut()
            && service.relocate(&slot.machine)
        {
            written = self.write(index);
        }
        let reported = self
            .slot(index)
            .is_some_and(|slot| slot.publish_failure_reported);
        match written {
            Err(failure) if !reported => {
                let slot = self.slot(index);
                let service = slot.and_then(|slot| slot.service.as_mut());
                if service.is_some_and(|service| service.needs_report(failure))
                {
                    self.warn_failure(index, failure);
                }
            }
            Err(failure)
                if failure.errno == Errno::ENOENT
                    && self.renew(index).is_ok() =>
            {
                written = self.write(index);
            }
            Ok(()) | Err(_) => {}
        }
        let Some(slot) = self.slot(index) else { return };
        slot.publish_failure_reported = written.is_err();
        slot.publish_due = written.is_err().then(|| clock::mono().after(RETRY));
    }

    /// Writes those of a slot's files that have changed.
    fn write(&mut self, index: usize) -> Result<(), Failure> {
        let Some(slot) = self.slot(index) else {
            return Ok(());
        };
        let Some(service) = slot.service.as_mut() else {
            return Ok(());
        };
        let written = service.publish(&slot.machine);
        let (waits, until) = slot.machine.waits();
        // The end of a wait that has a time limit needs no record: the record
        // contains that time.
        let (recorded_wait, ends) = slot.waits;
        let changed =
            waits != recorded_wait && (waits != Waits::Nothing || !ends);
        if slot.death.is_some() || changed {
            let now = clock::now();
            let until = until.map(|until| now.to_wall(until));
            let recorded = service.write_why(slot.death, waits, until);
            if recorded.is_ok() {
                slot.death = None;
                slot.waits = (waits, until.is_some());
            }
            // Not `and`, which would copy by `memmove`.
            if written.is_ok() {
                return recorded;
            }
        }
        written
    }

    /// Creates missing supervise directories of a slot again.
    fn renew(&mut self, index: usize) -> Result<(), Failure> {
        let slot = self.table.get_mut(index).and_then(Option::as_mut);
        if let Some(service) = slot.and_then(|slot| slot.service.as_mut()) {
            service.renew()?;
            listen(&self.poller, index, service)?;
        }
        Ok(())
    }

    /// Stops reading a service's control FIFO while its slot is busy: what is
    /// written there stays in it.
    pub(super) fn pause_control(&mut self, index: usize) {
        self.set_control_interest(index, Interest::Never);
    }

    /// Resumes reading a service's control FIFO when its slot is no longer
    /// busy.
    fn resume_control(&mut self, index: usize) {
        let resume = self
            .slot(index)
            .is_some_and(|s| s.control_paused && !s.machine.busy());
        if resume {
            self.set_control_interest(index, Interest::Readable);
        }
    }

    /// Sets which events of a service's control FIFO wake the loop.
    fn set_control_interest(&mut self, index: usize, wake: Interest) {
        let token = u64::try_from(index).unwrap_or(u64::MAX >> 2) << 1;
        let Some(slot) = self.table.get_mut(index).and_then(Option::as_mut)
        else {
            return;
        };
        let service = slot.service.as_ref();
        if let Some(fifo) = service.and_then(|s| s.control(Role::Service)) {
            let token = TOKEN_SLOTS.saturating_add(token);
            // It is in the set as long as it is open.
            let _set = self.poller.change(fifo, wake, token).is_err();
            slot.control_paused = wake == Interest::Never;
        }
    }

    /// Prints a warning about a service.
    fn warn_service(&self, index: usize, subject: &[u8], what: &str) {
        let slot = self.table.get(index).and_then(Option::as_ref);
        let name = slot.map_or(&b""[..], |slot| &slot.name);
        let mut line = service_prefix(name, "warning");
        self.reporter.print(line.bytes(subject).text(what));
    }
}
