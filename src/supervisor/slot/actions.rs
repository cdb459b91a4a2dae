//! Performs the actions that a slot's machine asks for.

use crate::{
    machine::slot::{Action, Actions, Role},
    sys::{clock, signal},
    wire::{
        control::Signal,
        options::{self, GroupKill},
        status::State,
        why::Waits,
    },
};

use super::{
    super::{children, context::Context},
    Slot, start,
};

impl Slot {
    /// Performs `actions`, and those that follow from their outcome. The
    /// result is published when nothing else is to be done now.
    pub(super) fn perform(&mut self, actions: Actions, context: &mut Context) {
        let mut todo = actions;
        loop {
            self.record(&todo, context);
            // A start is the last of a list.
            let mut outcome = None;
            for action in &todo {
                if *action == Action::Ended {
                    return self.close(context);
                }
                outcome = self.act(*action, context);
            }
            match outcome {
                Some(actions) => todo = actions,
                None if todo.is_empty() => break,
                None => todo.clear(),
            }
        }
        self.publication.schedule();
        if !self.data.machine.busy() {
            self.pause_control(false, context);
        }
    }

    /// Performs one action; returns those that follow if it is a start.
    fn act(
        &mut self,
        action: Action,
        context: &mut Context,
    ) -> Option<Actions> {
        match action {
            Action::Run(Role::Log) if self.shares_logger() => {
                return Some(self.attach(context));
            }
            Action::Run(role) => return Some(self.run(role, context)),
            Action::Finish(exit) => return Some(self.finish(exit, context)),
            Action::Script(byte) => return Some(self.script(byte, context)),
            Action::Signal(role, signal) => self.send(role, signal, context),
            Action::SetDeadline => {
                self.set_deadline(Role::Service, c"timeout-kill", 0, context);
            }
            Action::TimedOut(role) => self.kill_overdue(role, context),
            Action::Parked => {
                let what = "dies again and again: parked, next try in 5 \
                            minutes or with `sv up`";
                context.reporter.warn_service(&self.key.name, what, "");
            }
            Action::GiveUp => {
                let what = "./finish exited with 125: not started again until \
                            `sv up`";
                context.reporter.warn_service(&self.key.name, what, "");
            }
            Action::ClosePipe => {
                let shared = self.forward_order(b'x', context);
                if let Some(service) = &mut self.open {
                    service.close_pipe();
                }
                if !shared {
                    let path = c"log/timeout-kill";
                    self.set_deadline(Role::Log, path, 0, context);
                }
            }
            // The caller handles it.
            Action::Ended => {}
        }
        None
    }

    /// Publishes the end of the slot and closes its files. A scan checks
    /// whether the directory has come back meanwhile, under this name or
    /// another.
    fn close(&mut self, context: &Context) {
        self.publish(context);
        if !self.is_end_kept() {
            context.ledger.clear(self.key.index);
        }
        if let Some(service) = self.open.take() {
            service.unlock();
        }
    }

    /// Sends a signal to a child. The service directory may replace the signal
    /// that stops the service.
    fn send(&mut self, role: Role, signal: Signal, context: &mut Context) {
        let mut sent = signal;
        let stops = matches!(
            signal,
            Signal::Terminate | Signal::Continue | Signal::Kill
        );
        if role == Role::Service && signal == Signal::Terminate {
            let path = c"down-signal";
            sent = self
                .option(path, options::down_signal, &context.reporter)
                .unwrap_or(signal);
        }
        if role == Role::Log && self.forward_signal(signal, context) {
            return;
        }
        let Some(pid) = self.pid(role) else { return };
        let number = signal::number(sent);
        let group = self.data.spawned.group.filter(|_| role == Role::Service);
        let reaches_group = match group {
            Some(GroupKill::All) => stops,
            Some(GroupKill::Mixed) => signal == Signal::Kill,
            None => false,
        };
        if let Some(watch) = self.watches.get(role) {
            return watch.send(number, reaches_group);
        }
        // ESRCH: it has ended and is about to be reaped.
        let _ended = if reaches_group {
            children::kill_led(pid, number).is_err()
        } else {
            children::kill(pid, number).is_err()
        };
    }

    /// Kills a child whose time limit has expired.
    fn kill_overdue(&mut self, role: Role, context: &mut Context) {
        let script = match self.data.machine.waits() {
            (Waits::Control(byte), _) => start::script_path(byte),
            _ => [0; 10],
        };
        let status = self.data.machine.status(role);
        let subject = match status.map(|status| status.state) {
            None => start::as_c_str(&script),
            Some(State::Finish) => c"./finish",
            Some(_) if role == Role::Log => c"log/./run",
            Some(State::Run | State::Down) => c"./run",
        };
        let mut line = super::service_prefix(&self.key.name, "warning");
        line.bytes(subject.to_bytes());
        line.text(" has not ended in time, sending KILL");
        context.reporter.print(&mut line);
        self.send(role, Signal::Kill, context);
        self.data.spawned.killed_at = Some(clock::mono());
    }
}
