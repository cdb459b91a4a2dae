//! Owns the script of the current stage: its process, its time limits, and the
//! pause before a failed stage 2 is entered again.

use core::{ffi::CStr, time::Duration};

use crate::{
    machine::stages::{Stage, StageExit},
    supervisor::{Reporter, Supervisor},
    sys::{
        clock,
        signal::{self, Number},
    },
    wire::{
        clock::{Instant, earliest},
        record::{Reader, Writer},
    },
};

use super::{
    console::ConsoleStreams,
    report::{info, warning},
};

/// Time from TERM to KILL for the script of stage 2 (contract §7.4).
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay before a failed stage 2 is entered again (contract §7.3).
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Returns the path of a stage's script.
pub(super) const fn script(stage: Stage) -> &'static CStr {
    match stage {
        Stage::One | Stage::Rescue => c"/etc/runit/1",
        Stage::Two => c"/etc/runit/2",
        Stage::Three | Stage::Over => c"/etc/runit/3",
    }
}

/// The script of the current stage, or rescue's program.
#[derive(Debug, Default)]
pub(super) struct StageScript {
    /// Process id; `None` when no script runs.
    pid: Option<u32>,
    /// Path of the current or last script.
    path: &'static CStr,
    /// Time by which it must have ended.
    deadline: Option<Instant>,
    /// True when it was told to end.
    stopping: bool,
    /// True when it was sent KILL.
    killed: bool,
    /// Time at which a failed stage 2 is entered again.
    restart_at: Option<Instant>,
}

/// The end of a script.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScriptEnd {
    /// Its process, the leader of its session.
    pub(super) leader: u32,
    /// True when it was told to end.
    pub(super) stopped: bool,
}

impl StageScript {
    /// Writes its state.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.put_option(self.pid.map(u64::from));
        writer.put_time(self.deadline);
        writer.put_flags(&[self.stopping, self.killed]);
        writer.put_time(self.restart_at);
    }

    /// Returns the script `path` in a state that [`StageScript::save`] wrote.
    pub(super) fn restore(
        path: &'static CStr,
        reader: &mut Reader<'_>,
        supervisor: &mut Supervisor,
    ) -> Self {
        let pid = reader.take_pid();
        if let Some(pid) = pid {
            supervisor.await_exit(pid);
        }
        let deadline = reader.take_time();
        let [stopping, killed] = reader.take_flags();
        Self {
            pid,
            path,
            deadline,
            stopping,
            killed,
            restart_at: reader.take_time(),
        }
    }

    /// Starts a script in a session of its own. With `terminal` the session
    /// has the console as its terminal, so that a rescue shell has job
    /// control. The script must end by `deadline`, if there is one. Returns
    /// false when it cannot be started, which is reported.
    pub(super) fn start(
        &mut self,
        path: &'static CStr,
        terminal: bool,
        deadline: Option<Instant>,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) -> bool {
        self.pid = console.spawn(path, terminal, supervisor);
        (self.path, self.deadline) = (path, deadline);
        self.is_running()
    }

    /// Returns true when a script runs.
    pub(super) fn is_running(&self) -> bool {
        self.pid.is_some()
    }

    /// Returns true when the script was told to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Returns the time at which to call [`StageScript::expire`] and
    /// [`StageScript::take_restart`].
    pub(super) fn due(&self) -> Option<Instant> {
        earliest(&[self.deadline, self.restart_at])
    }

    /// Sends the script a signal, if it runs.
    pub(super) fn signal(&self, number: Number) {
        if let Some(pid) = self.pid {
            // ESRCH: it has ended and will be reaped shortly.
            let _gone = signal::kill(pid, number).is_err();
        }
    }

    /// Tells the script to end; returns false when none runs.
    pub(super) fn stop(&mut self, number: Number) -> bool {
        self.signal(number);
        self.stopping = self.is_running();
        if self.stopping {
            self.deadline = Some(clock::mono().after(STOP_TIMEOUT));
        }
        self.stopping
    }

    /// Handles the exit of a child; returns the script if that was it.
    pub(super) fn child_ended(
        &mut self,
        pid: u32,
        exit: StageExit,
        reporter: &Reporter,
    ) -> Option<ScriptEnd> {
        self.pid.take_if(|own| *own == pid)?;
        self.deadline = None;
        self.killed = false;
        let path = self.path;
        match exit {
            StageExit::Exited(0) => {}
            StageExit::Exited(_) => {
                warning(reporter, "child failed: ", path.to_bytes());
            }
            StageExit::Crashed => {
                warning(reporter, "child crashed: ", path.to_bytes());
            }
        }
        let stopped = core::mem::take(&mut self.stopping);
        Some(ScriptEnd {
            leader: pid,
            stopped,
        })
    }

    /// Prints that the stage of the last script is left.
    pub(super) fn report_left(&self, reporter: &Reporter) {
        info(reporter, "leave stage: ", self.path.to_bytes());
    }

    /// Handles a script that exceeds its time: kills that of stage 2, and
    /// stops waiting for any other, which it returns.
    #[inline(never)]
    pub(super) fn expire(
        &mut self,
        now: Instant,
        supervisor: &mut Supervisor,
    ) -> Option<ScriptEnd> {
        self.deadline.take_if(|until| *until <= now)?;
        let pid = self.pid?;
        if self.stopping && !self.killed {
            let what = "stage 2 not terminated, sending sigkill...";
            warning(supervisor.reporter(), what, b"");
            self.signal(Number::KILL);
            self.killed = true;
            self.deadline = Some(now.after(STOP_TIMEOUT));
            return None;
        }
        let what = "not ended in time: ";
        warning(supervisor.reporter(), what, self.path.to_bytes());
        // From now on its exit does not matter.
        supervisor.stop_awaiting(pid);
        self.child_ended(pid, StageExit::Crashed, supervisor.reporter())
    }

    /// Kills what is left of a failed stage 2 and has it entered again after a
    /// delay.
    pub(super) fn restart_later(&mut self, leader: u32, reporter: &Reporter) {
        warning(reporter, "killing all processes in stage 2...", b"");
        // ESRCH: no process is left.
        let _none = signal::kill_group(leader, Number::KILL).is_err();
        self.restart_at = Some(clock::mono().after(RETRY_DELAY));
    }

    /// Returns true while a failed stage 2 waits to be entered again.
    pub(super) fn awaits_restart(&self) -> bool {
        self.restart_at.is_some()
    }

    /// Returns true once when a failed stage 2 is to be entered again.
    pub(super) fn take_restart(&mut self, now: Instant) -> bool {
        self.restart_at.take_if(|at| *at <= now).is_some()
    }

    /// Leaves a failed stage 2 as it is.
    pub(super) fn cancel_restart(&mut self) {
        self.restart_at = None;
    }
}
