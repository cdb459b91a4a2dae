//! Holds the state of PID 1 and runs its event loop: stages, and the events
//! that lead from one to the next.

mod resume;

use core::ffi::CStr;

use crate::{
    machine::{
        shutdown::Step,
        stages::{Next, Policy, Stage, StageExit, Stages},
    },
    supervisor::{Ended, Supervisor},
    sys::{
        self, CWD, Errno,
        child::ExitStatus,
        clock, file,
        power::{self, PowerAction},
        signal::Number,
    },
    text::Line,
    wire::clock::{Instant, earliest},
};

use super::{
    super::flag_files::is_set,
    boot_good::BootGood,
    boot_params::BootParams,
    console::ConsoleStreams,
    kernel_fs,
    report::{PREFIX, info, warning},
    requests::{CTRL_ALT_DEL, POWER_FAILURE, Requests},
    rescue,
    rig::Rig,
    shutdown::SystemShutdown,
    signals::{Request, request},
    stage_script::{ScriptEnd, StageScript, script},
    steps::{Progress, Scope, Steps},
    watchdog::BoardWatchdog,
};

/// State of PID 1.
pub(super) struct Init {
    supervisor: Supervisor,
    console: ConsoleStreams,
    /// Time at which PID 1 was started.
    boot_start: Instant,
    /// Boot parameters, read before stage 1.
    params: BootParams,
    stages: Stages,
    /// The stage's script; none runs when runit does the stage itself.
    script: StageScript,
    /// Built-in stage 1.
    steps: Steps,
    requests: Requests,
    rig: Rig,
    boot_good: BootGood,
    watchdog: BoardWatchdog,
    shutdown: SystemShutdown,
    /// True when a fault has interrupted stage 3.
    faulted_in_stage_3: bool,
}

// What the loop calls is not inlined: in its frame every field would have a
// long offset.
impl Init {
    /// Returns the state before the first stage.
    pub(super) fn new(
        supervisor: Supervisor,
        console: ConsoleStreams,
        boot_start: Instant,
        params: BootParams,
    ) -> Self {
        let stages = Stages::new(Policy {
            // A rig has no operator.
            rescue: rescue::ALLOWED && params.rig.is_none(),
            // A distribution's script of stage 2 handles it in its own way.
            single: params.single && !is_set(script(Stage::Two)),
            emergency: params.emergency,
        });
        Self {
            supervisor,
            console,
            boot_start,
            params,
            stages,
            script: StageScript::default(),
            steps: Steps::new(&params),
            requests: Requests::new(),
            rig: Rig::new(params.rig),
            boot_good: BootGood::default(),
            watchdog: BoardWatchdog::new(params.contained),
            shutdown: SystemShutdown::new(params.contained),
            faulted_in_stage_3: false,
        }
    }

    /// Runs the stages and the event loop; with `resumed` from the state on
    /// that was restored.
    pub(super) fn run(mut self, resumed: bool) -> ! {
        self.save();
        if let Err(errno) = power::take_ctrl_alt_del() {
            // A container has no keyboard.
            if !self.params.contained {
                self.warn("unable to catch ctrl-alt-del", b"", errno);
            }
        }
        if !self.params.contained
            && let Err(errno) = sys::memory::lock()
        {
            self.warn("unable to lock the program in memory", b"", errno);
        }
        self.watchdog.open(false, self.supervisor.reporter());
        if resumed {
            self.continue_stage();
        } else {
            self.enter(self.stages.stage());
            if !self.steps.is_active() {
                self.check_console();
            }
        }
        loop {
            self.save();
            let events = self.supervisor.iterate(self.due());
            for number in &events.signals {
                self.handle_signal(*number);
            }
            for ended in &events.ended {
                self.child_ended(*ended);
            }
            let now = clock::mono();
            self.ping_watchdog(now);
            self.advance_steps(now);
            self.check_script(now);
            self.check_requests();
            self.advance_boot_good(now);
            self.advance_shutdown(now);
        }
    }

    /// Returns the earliest time at which something becomes due.
    fn due(&self) -> Option<Instant> {
        earliest(&[
            self.script.due(),
            self.steps.due(),
            self.boot_good.due(),
            self.watchdog.due(),
            self.shutdown.due(),
        ])
    }

    /// Prints a message that is not a warning.
    fn info(&self, what: &str, subject: &[u8]) {
        info(self.supervisor.reporter(), what, subject);
    }

    /// Prints a warning that has no errno.
    fn warning(&self, what: &str, subject: &[u8]) {
        warning(self.supervisor.reporter(), what, subject);
    }

    /// Prints a warning about a system call that failed.
    fn warn(&self, what: &str, subject: &[u8], errno: Errno) {
        self.supervisor.reporter().warn(what, subject, errno);
    }

    /// Reports a console that is still missing.
    fn check_console(&mut self) {
        if let Err(errno) = self.console.retry() {
            self.warn("unable to open ", b"/dev/console", errno);
        }
    }

    /// Handles the exit of one of PID 1's own children.
    #[inline(never)]
    fn child_ended(&mut self, child: Ended) {
        let (pid, end) = (child.pid, child.status);
        let exit = match end {
            ExitStatus::Exited(code) => StageExit::Exited(code),
            ExitStatus::Killed(..) => StageExit::Crashed,
        };
        let reporter = self.supervisor.reporter();
        if let Some(script) = self.script.child_ended(pid, exit, reporter) {
            self.script_ended(exit, script);
        } else if self.rig.child_ended(child, self.shutdown.is_armed()) {
            self.go_down(PowerAction::Off);
        } else {
            // At most one of them has this child.
            let _other = self.requests.child_ended(pid, exit, reporter)
                || self.steps.child_ended(pid, end)
                || self.boot_good.child_ended(pid, end)
                || self.shutdown.child_ended(pid, end);
        }
    }

    /// Pings the watchdog. During shutdown services are expected to be down,
    /// so only stage 2 depends on critical ones.
    fn ping_watchdog(&mut self, now: Instant) {
        let guards = self.stages.stage() == Stage::Two;
        self.watchdog.ping(guards, now, &mut self.supervisor);
    }

    /// Takes a step of built-in stage 1; after the last leaves the stage.
    fn advance_steps(&mut self, now: Instant) {
        let progress =
            self.steps
                .advance(now, &mut self.console, &mut self.supervisor);
        match progress {
            Progress::Waiting => {}
            Progress::Taken => {
                // The step may have loaded its driver.
                self.watchdog.open(false, self.supervisor.reporter());
            }
            Progress::Finished => {
                self.check_console();
                let code = self.steps.is_root_missing().into();
                self.leave(StageExit::Exited(code), None);
            }
        }
    }

    /// Handles what is due of the stage's script.
    fn check_script(&mut self, now: Instant) {
        if let Some(script) = self.script.expire(now, &mut self.supervisor) {
            self.script_ended(StageExit::Crashed, script);
        }
        if self.script.take_restart(now) {
            self.warning("restarting.", b"");
            self.enter(Stage::Two);
        }
    }

    /// Shuts down if a flag of `runit-init` is set and is to be checked. It is
    /// checked as soon as the stage allows a shutdown.
    fn check_requests(&mut self) {
        // Otherwise the flags are those of another request.
        if self.can_go_down() && self.requests.take(self.supervisor.reporter())
        {
            self.begin_going_down();
        }
    }

    /// Checks for a good boot.
    fn advance_boot_good(&mut self, now: Instant) {
        let in_stage_2 = self.stages.stage() == Stage::Two;
        self.boot_good.advance(
            in_stage_2,
            now,
            &mut self.console,
            &mut self.supervisor,
        );
    }

    /// Takes the next step of the shutdown.
    fn advance_shutdown(&mut self, now: Instant) {
        self.shutdown.advance(
            now,
            &self.requests,
            &self.rig,
            &mut self.supervisor,
        );
    }

    /// Returns true when signals may ask for a shutdown: in stage 2 and in
    /// rescue, unless rescue has ended and the root is tried again.
    fn can_leave(&self) -> bool {
        self.stages.can_leave() && !self.steps.is_active()
    }

    /// Returns true when a shutdown can begin and has not been requested yet.
    fn can_go_down(&self) -> bool {
        self.can_leave() && !self.script.is_stopping()
    }

    /// Returns true when no script decides what a signal means.
    fn is_built_in(&self) -> bool {
        !self.script.is_running() || self.stages.stage() == Stage::Rescue
    }

    /// Handles a signal.
    #[inline(never)]
    fn handle_signal(&mut self, number: Number) {
        if number == Number::PIPE {
            return;
        }
        if !self.can_leave() {
            self.warning("signals only work in stage 2.", b"");
            return;
        }
        let BootParams {
            signals, contained, ..
        } = &self.params;
        match request(number, signals, !self.is_built_in(), *contained) {
            None => {}
            Some(Request::GoDown(action)) => self.go_down(action),
            Some(Request::CheckFlags) => {
                self.requests.check_later();
                self.check_requests();
            }
            Some(Request::CtrlAltDel) => self.ctrl_alt_del(),
            Some(Request::PowerFailure) => self.power_failure(),
            Some(Request::Scan) if self.stages.stage() == Stage::Rescue => {}
            Some(Request::Scan) if self.script.is_running() => {
                self.script.signal(Number::ALARM);
            }
            Some(Request::Scan) => self.supervisor.rescan(),
        }
    }

    /// Handles ctrl-alt-del.
    fn ctrl_alt_del(&mut self) {
        if !self.start_request_program(CTRL_ALT_DEL)
            && self.is_built_in()
            && !self.script.awaits_restart()
        {
            self.info("ctrl-alt-del request...", b"");
            self.go_down(PowerAction::Reboot);
        }
    }

    /// Handles a power failure. With a program for it, as runit 2.3.1: the
    /// program may clear the flag again. Without one, as Debian's runit.
    fn power_failure(&mut self) {
        if !self.start_request_program(POWER_FAILURE) {
            self.go_down(PowerAction::Off);
        }
    }

    /// Runs the program that decides about a request, as
    /// [`Requests::start_program`] does.
    fn start_request_program(&mut self, index: usize) -> bool {
        self.requests.start_program(
            index,
            &mut self.console,
            &mut self.supervisor,
        )
    }

    /// Shuts down and ends with `action`, unless that has begun.
    fn go_down(&mut self, action: PowerAction) {
        if self.can_go_down() {
            self.requests.set_action(action);
            self.begin_going_down();
        }
    }

    /// Leaves stage 2 or rescue. From then on other requests come too late.
    fn begin_going_down(&mut self) {
        self.shutdown
            .arm(&self.requests, self.supervisor.reporter());
        // An interactive shell ignores TERM and ends on HUP.
        let rescue = self.stages.stage() == Stage::Rescue;
        let number = if rescue { Number::HUP } else { Number::TERM };
        if !self.script.stop(number) {
            self.enter_stage_3();
        }
    }

    /// Ends stage 2 or rescue and enters stage 3.
    fn enter_stage_3(&mut self) {
        self.script.cancel_restart();
        if self.stages.leave() {
            self.enter(Stage::Three);
        }
    }

    /// Handles the exit of the stage's script.
    fn script_ended(&mut self, exit: StageExit, script: ScriptEnd) {
        if script.stopped {
            self.script.report_left(self.supervisor.reporter());
            return self.enter_stage_3();
        }
        if self.stages.stage() == Stage::Rescue && self.steps.is_root_missing()
        {
            // The operator may have repaired it.
            self.script.report_left(self.supervisor.reporter());
            return self.steps.begin(Scope::ToRoot);
        }
        self.leave(exit, Some(script));
    }

    /// Leaves a stage that has ended and enters the next. `script` is the one
    /// that has ended, if the stage had one.
    fn leave(&mut self, exit: StageExit, script: Option<ScriptEnd>) {
        let stage = self.stages.stage();
        let next = self.stages.ended(exit);
        let reporter = self.supervisor.reporter();
        if let Some(script) = script {
            if next == Next::Again {
                return self.script.restart_later(script.leader, reporter);
            }
            self.script.report_left(reporter);
        }
        match next {
            // Only a script asks for it.
            Next::Again => {}
            Next::Enter(Stage::Over, _) => {
                self.shutdown.begin(
                    Step::KillAll,
                    &self.requests,
                    &mut self.supervisor,
                );
            }
            Next::Enter(next, _) => {
                if stage == Stage::One && next == Stage::Three {
                    self.warning("skipping stage 2...", b"");
                }
                self.enter(next);
            }
        }
    }

    /// Enters a stage: starts its script, or does the stage without one.
    fn enter(&mut self, mut stage: Stage) {
        if stage == Stage::Rescue {
            if self.start_rescue() {
                return;
            }
            let next = self.stages.ended(StageExit::Exited(0));
            let Next::Enter(after, _) = next else { return };
            stage = after;
        }
        let reporter = self.supervisor.reporter();
        self.watchdog.open(stage == Stage::Two, reporter);
        self.supervisor.refuse_upgrades();
        let scripted = self.start_script(stage);
        match stage {
            Stage::Two => {
                self.accept_upgrades();
                if !scripted {
                    self.serve();
                }
                self.boot_good.begin(clock::mono());
                if self.rig.start(&mut self.console, &mut self.supervisor) {
                    self.go_down(PowerAction::Off);
                }
            }
            _ if scripted => {}
            Stage::One => self.steps.begin(Scope::All),
            Stage::Three => self.shutdown.begin(
                Step::StopServices,
                &self.requests,
                &mut self.supervisor,
            ),
            Stage::Over | Stage::Rescue => {}
        }
    }

    /// Starts the script of a stage; returns false when there is none.
    fn start_script(&mut self, stage: Stage) -> bool {
        let reporter = self.supervisor.reporter();
        let deadline = matches!(stage, Stage::Three)
            .then(|| self.shutdown.arm(&self.requests, reporter));
        let path = script(stage);
        let text = path.to_bytes();
        match file::info(CWD, path) {
            Ok(_) if is_set(path) => {
                self.info("enter stage: ", text);
                let terminal = stage == Stage::One;
                return self.start(path, terminal, deadline);
            }
            Ok(_) => self.warning("not executable: ", text),
            Err(Errno::ENOENT) => {}
            Err(errno) => self.warn("unable to stat ", text, errno),
        }
        false
    }

    /// Starts the rescue program; returns false when there is none.
    fn start_rescue(&mut self) -> bool {
        let reporter = self.supervisor.reporter();
        if self.params.emergency {
            // No step has been taken yet, so there may be no console.
            kernel_fs::mount_all(reporter);
        }
        rescue::program(reporter).is_some_and(|path| {
            self.info("rescue: ", path.to_bytes());
            self.start(path, true, None)
        })
    }

    /// Starts a script, as [`StageScript::start`] does.
    fn start(
        &mut self,
        path: &'static CStr,
        terminal: bool,
        deadline: Option<Instant>,
    ) -> bool {
        let started = self.script.start(
            path,
            terminal,
            deadline,
            &mut self.console,
            &mut self.supervisor,
        );
        self.save();
        started
    }

    /// Does stage 2 without a script.
    fn serve(&mut self) {
        if let Err(errno) = self.console.detach(&mut self.supervisor) {
            self.warn("unable to detach services from the console", b"", errno);
        }
        let services = self.params.services;
        self.supervisor.keep_own_state(services, true);
        self.supervise();
        let millis = clock::mono().since(self.boot_start).as_millis();
        let mut line = Line::new();
        line.text(PREFIX);
        line.number(u64::try_from(self.supervisor.live()).unwrap_or(0));
        line.text(" services up, ");
        line.number(u64::try_from(millis).unwrap_or(u64::MAX));
        line.text(" ms after the start.");
        self.supervisor.reporter().print(&mut line);
    }
}
