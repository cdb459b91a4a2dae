//! Handles the end of a slot's child.

use crate::{
    machine::slot::{Exit, Role},
    sys::{
        child::{ExitStatus, Zombie},
        clock,
    },
    wire::{
        clock::Now,
        status::{State, Want},
        why::{Death, DeathCause},
    },
};

use super::{
    super::{context::Context, reaper::CANNOT_RUN, warned::Warning},
    Slot,
};

impl Slot {
    /// Records whether a child has ended because its program could not be
    /// executed, which it has reported. The next start is silent then: it will
    /// most likely end in the same manner.
    pub(in super::super) fn note_exec(&mut self, role: Role, child: Zombie) {
        if role == Role::Service {
            let failed = child.exited_before_exec(CANNOT_RUN);
            self.warned.note(Warning::EXEC, failed);
        }
    }

    /// Handles the end of a child, or of a process that this supervisor has
    /// not started; the exit status of that is not known.
    pub(in super::super) fn child_exited(
        &mut self,
        role: Role,
        end: Option<ExitStatus>,
        context: &mut Context,
    ) {
        let now = clock::now();
        let exit = match end {
            Some(ExitStatus::Exited(code)) => Exit {
                code: code.into(),
                signal: 0,
            },
            Some(ExitStatus::Killed(signal, core)) => Exit {
                code: -1,
                signal: signal | if core { 0x80 } else { 0 },
            },
            None => Exit::UNKNOWN,
        };
        let facts = self.facts(role, &context.reporter);
        if self.data.death.is_some() {
            // Only one death at a time is added to the record.
            self.publish(context);
        }
        self.data.spawned.killed_at = None;
        if role == Role::Service {
            self.record_death(end, now);
        }
        let actions = self.data.machine.ended(role, exit, facts, now);
        self.perform(actions, context);
    }

    /// Records the end of `./run`. An exit that the operator requested is not
    /// recorded; during shutdown nothing is, to spare the medium.
    fn record_death(&mut self, end: Option<ExitStatus>, now: Now) {
        let machine = &self.data.machine;
        let Some(status) = machine.status(Role::Service) else {
            return;
        };
        if status.state != State::Run || machine.is_leaving() {
            return;
        }
        let lived = now.mono.since(machine.started_at()).as_millis();
        let death = Death {
            when: now.wall,
            cause: match end {
                Some(ExitStatus::Exited(code)) => DeathCause::Exited(code),
                Some(ExitStatus::Killed(signal, core)) => {
                    DeathCause::Killed(signal, core)
                }
                None => DeathCause::Unknown,
            },
            runtime_ms: u64::try_from(lived).unwrap_or(u64::MAX),
        };
        let again = status.want == Want::Up && !status.term;
        self.data.death = Some((death, again));
    }
}
