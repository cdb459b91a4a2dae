//! Takes over the processes that an earlier supervisor of the directory has
//! left running, and notices their ends. They are not children of this
//! process, unless that has faulted: no exit status is known of them.

use core::{sync::atomic::Ordering, time::Duration};

use crate::{
    config::family::RECOVERY,
    machine::slot::{Action, Actions, Role},
    sys::{
        child, clock, file,
        signal::{self, Number},
    },
    text::{self, Line},
    wire::{
        clock::{Instant, Now},
        status::Status,
    },
};

use super::{
    super::{
        adopt::{self, Evidence, Verdict, Watch, judge},
        context::Context,
        source::Source,
    },
    Slot, Spawned,
    record::started_role,
    service_prefix,
};

/// Interval at which processes are looked for where the kernel does not report
/// their ends (before Linux 5.3).
const POLL: Duration = Duration::from_secs(1);

/// All roles.
const ROLES: [Role; 3] = [Role::Service, Role::Log, Role::Script];

/// Processes of a slot that are not children of this process.
#[derive(Debug, Default)]
pub(super) struct Watches {
    service: Option<Watch>,
    log: Option<Watch>,
    script: Option<Watch>,
    /// Time at which those are looked for whose ends are not reported.
    poll_at: Option<Instant>,
}

impl Watches {
    /// Returns the watched process of a role.
    pub(super) fn get(&self, role: Role) -> Option<&Watch> {
        match role {
            Role::Service => self.service.as_ref(),
            Role::Log => self.log.as_ref(),
            Role::Script => self.script.as_ref(),
        }
    }

    /// Returns the place for the watched process of a role.
    fn entry(&mut self, role: Role) -> &mut Option<Watch> {
        match role {
            Role::Service => &mut self.service,
            Role::Log => &mut self.log,
            Role::Script => &mut self.script,
        }
    }

    /// Returns the time at which processes are to be looked for.
    pub(super) fn due(&self) -> Option<Instant> {
        self.poll_at
    }
}

impl Slot {
    /// Takes over what is left of an earlier supervisor. To be called before
    /// anything is started or published.
    pub(super) fn adopt(&mut self, now: Now, context: &mut Context) {
        if !RECOVERY {
            return;
        }
        self.adopt_known_or_recorded(now, context);
        if context.resumed && !self.is_published() {
            // `sv` must find a supervisor when the old `ok` is closed.
            self.publish_now(context);
        }
    }

    /// Takes over what the ledger has of it, or its published status.
    fn adopt_known_or_recorded(&mut self, now: Now, context: &mut Context) {
        let machine = self.data.machine;
        let row = context.ledger.find(self.key.identity);
        if let Some(index) = row
            && let Some(mut fields) = context.ledger.left(index)
            && let Some(todo) = self.restore(&mut fields, !context.resumed)
        {
            let mut held = context.ledger.held(index);
            let service = self.open.as_mut();
            let restored = &self.data.machine;
            // An open directory is no other one.
            if service.is_some_and(|s| s.recall(restored, &mut held))
                || self.is_that_directory(&todo, context)
            {
                self.continue_from(todo, now, context);
                let command = context.ledger.take_command(index);
                if let Some((role, byte)) = command {
                    self.control(role, byte, context);
                }
                return;
            }
            self.data.machine = machine;
            self.data.spawned = Spawned::default();
        }
        let is_damaged = row.is_some() || !context.ledger.is_complete();
        let had_slot = context.resumed && is_damaged;
        for role in [Role::Service, Role::Log] {
            self.adopt_recorded(role, had_slot, context);
        }
    }

    /// Returns whether the restored state is that of this directory, and not of
    /// a removed one that had the same inode number: it has a published
    /// status, or one of the processes is there.
    fn is_that_directory(&mut self, todo: &Actions, context: &Context) -> bool {
        let recorded = self.open.as_mut().map(|service| {
            [Role::Service, Role::Log]
                .map(|role| service.recorded(role, context.resumed))
        });
        if recorded.is_some_and(|[service, _]| service.is_some()) {
            return true;
        }
        let is_there = |pid, role| {
            let known = Evidence::Started(self.data.spawned.begun(role));
            !matches!(judge(pid, None, known), Verdict::Gone)
        };
        let cell = context.ledger.cell(self.key.index);
        let started = todo.last().copied().and_then(started_role);
        let machine = &self.data.machine;
        started.zip(cell).is_some_and(|(role, cell)| {
            let pid = cell.load(Ordering::Relaxed);
            pid != 0 && is_there(pid, role)
        }) || ROLES.iter().any(|role| {
            let pid = machine.pid(*role).or_else(|| machine.held(*role));
            pid.is_some_and(|pid| is_there(pid, *role))
        })
    }

    /// Continues from the state that the ledger had, with the actions that
    /// were to be carried out then: a start was carried out if its cell has a
    /// pid.
    fn continue_from(
        &mut self,
        mut todo: Actions,
        now: Now,
        context: &mut Context,
    ) {
        let machine = &mut self.data.machine;
        if machine.is_leaving() {
            // Its entry may have been made again: that starts it anew.
            self.data.presence.mark_leaving();
        }
        let starts = todo.last().is_some_and(Action::is_start);
        let start = if starts { todo.pop() } else { None };
        let mut next = Actions::new();
        if let Some(start) = start
            && let Some(role) = started_role(start)
        {
            let cell = context.ledger.cell(self.key.index);
            match cell.map_or(0, |cell| cell.load(Ordering::Relaxed)) {
                // The command that it stands for was not carried out yet.
                0 if role == Role::Script => {
                    // It is the first one.
                    let _room = next.push(start).is_ok();
                }
                0 => next = machine.refused(role, now),
                pid => next = machine.started(role, pid, now),
            }
        }
        for role in ROLES {
            self.adopt_known(role, context);
        }
        if !context.resumed {
            // The supervision did not come to its end.
            text::keep(&mut todo, |action| {
                !matches!(action, Action::ClosePipe | Action::Ended)
            });
        } else if self.data.machine.is_closed()
            && let Some(service) = &mut self.open
        {
            service.close_pipe();
        }
        for actions in [todo, next] {
            if !actions.is_empty() {
                self.perform(actions, context);
            }
        }
        for role in ROLES {
            self.check_watch(role, context);
        }
    }

    /// Takes over the process of a role that the ledger has.
    fn adopt_known(&mut self, role: Role, context: &mut Context) {
        let machine = &mut self.data.machine;
        if let Some(pid) = machine.held(role) {
            machine.hold(role, None);
            let verdict = judge(pid, None, Evidence::Doubt);
            if let Verdict::Unclear(watch) = verdict {
                self.hold(role, watch, context);
            }
            return;
        }
        let Some(pid) = machine.pid(role) else { return };
        let known = Evidence::Started(self.data.spawned.begun(role));
        let shared = role == Role::Log && self.shares_logger();
        if context.resumed && !shared && child::is_child(pid) {
            return;
        }
        let watch = match judge(pid, None, known) {
            // A shared logger gives the stream up by itself.
            Verdict::Runs(watch) if !shared => watch,
            Verdict::Unclear(watch) if !shared && role != Role::Script => {
                self.data.machine.hold_running(role);
                return self.hold(role, watch, context);
            }
            Verdict::Gone | Verdict::Runs(_) | Verdict::Unclear(_) => {
                Watch::ended(pid)
            }
        };
        self.watch(role, watch, context);
    }

    /// Takes over the process that the files of a role name. With `had_slot`
    /// this process may have had a slot for the directory before it faulted,
    /// and what the files want holds.
    fn adopt_recorded(
        &mut self,
        role: Role,
        had_slot: bool,
        context: &mut Context,
    ) {
        let Some(service) = &mut self.open else {
            return;
        };
        let Some((status, written)) = service.recorded(role, context.resumed)
        else {
            return;
        };
        let dir = match role {
            Role::Log => file::info(service.dir(), c"log"),
            Role::Service | Role::Script => file::info_of(service.dir()),
        };
        let dir = dir.ok().map(|dir| dir.identity);
        // A shared logger gives the stream up by itself.
        let shared = role == Role::Log && self.shares_logger();
        if had_slot {
            self.data.machine.restore_want(role, status.want);
            let known = adopt::own_child(&status, dir, written);
            if let Some(status) = known.filter(|_| !shared) {
                return self.take_over(role, &status, context);
            }
        }
        if status.pid == 0 || shared {
            return;
        }
        let evidence = Evidence::Status(status, written);
        match judge(status.pid, dir, evidence) {
            Verdict::Gone => {}
            Verdict::Runs(watch) => {
                self.take_over(role, &status, context);
                self.watch(role, watch, context);
            }
            Verdict::Unclear(watch) => self.hold(role, watch, context),
        }
    }

    /// Takes over a process in the state that its status shows.
    fn take_over(&mut self, role: Role, status: &Status, context: &Context) {
        self.data.machine.adopt(role, status, clock::now());
        if role == Role::Service {
            self.data.spawned.group = self.group_kill(&context.reporter);
        }
    }

    /// Starts nothing in a role before this process has ended.
    fn hold(&mut self, role: Role, watch: Watch, context: &mut Context) {
        self.data.machine.hold(role, Some(watch.pid()));
        let path = if role == Role::Log {
            "log/./run"
        } else {
            "./run"
        };
        let mut line: Line = service_prefix(&self.key.name, "warning");
        line.text(path).text(" waits for the end of process ");
        line.number(watch.pid().into());
        line.text(", which another supervisor may have started for it");
        context.reporter.print(&mut line);
        self.watch(role, watch, context);
    }

    /// Notices the end of a process from now on.
    fn watch(&mut self, role: Role, mut watch: Watch, context: &Context) {
        let source = Source::Exit(self.key.index, role);
        if !watch.listen(&context.poller, source) {
            self.watches.poll_at = Some(clock::mono().after(POLL));
        }
        *self.watches.entry(role) = Some(watch);
    }

    /// Looks for the processes whose ends are not reported, if that is due.
    pub(super) fn poll_watches(&mut self, now: Instant, context: &mut Context) {
        if self.watches.poll_at.take_if(|due| *due <= now).is_none() {
            return;
        }
        for role in ROLES {
            self.check_watch(role, context);
            if self.watches.get(role).is_some_and(Watch::is_polled) {
                self.watches.poll_at = Some(now.after(POLL));
            }
        }
    }

    /// Handles the end of a watched process, if it has ended.
    pub(in super::super) fn check_watch(
        &mut self,
        role: Role,
        context: &mut Context,
    ) {
        let entry = self.watches.entry(role);
        let Some(watch) = entry.take_if(|watch| watch.has_ended()) else {
            return;
        };
        if self.pid(role).is_none() {
            let actions = self.data.machine.release(role, clock::now());
            return self.perform(actions, context);
        }
        if role == Role::Service && self.data.spawned.group.is_some() {
            // ESRCH: no process of the group is left.
            let _none = signal::kill_group(watch.pid(), Number::KILL).is_err();
        }
        self.child_exited(role, None, context);
    }
}
