//! Handles requests to shut down: signals, keys, flag files (contract §7.4,
//! §16.22).

use core::ffi::CStr;

use crate::{
    machine::stages::{Stage, StageExit},
    sys::{
        clock,
        power::PowerAction,
        signal::{self, Number},
    },
    wire::signals::{self, SignalRequest},
};

use super::{
    super::flag_files::{self, is_set},
    Init, STAGE_2_TIMEOUT,
};

/// A program that PID 1 runs on a request to shut down, and that decides about
/// it by setting or clearing the flags.
struct RequestProgram {
    path: &'static CStr,
    /// Message about the request.
    what: &'static str,
}

/// Index of the program of ctrl-alt-del.
const CTRL_ALT_DEL: usize = 0;
/// Index of the program of a power failure.
const POWER_FAILURE: usize = 1;
/// All of these programs.
const REQUEST_PROGRAMS: [RequestProgram; 2] = [
    RequestProgram {
        path: c"/etc/runit/ctrlaltdel",
        what: "ctrl-alt-del request...",
    },
    RequestProgram {
        path: c"/etc/runit/pwrfail",
        what: "power failure...",
    },
];

/// State of these programs, with the process id of each that runs.
#[derive(Debug, Default)]
pub(super) struct RequestPrograms {
    running: [Option<u32>; REQUEST_PROGRAMS.len()],
    /// True to power off whatever the flags say, since none could be set.
    off: bool,
}

/// Signals that PID 1 handles, beginning with those whose meaning can be
/// configured, in the order of `wire::signals`.
pub(super) const SIGNALS: [Number; signals::COUNT + 2] = [
    Number::CONT,
    Number::INT,
    Number::POWER,
    Number::ALARM,
    Number::USR1,
    Number::USR2,
    Number::TERM,
    signal::HALT,
    signal::OFF,
    signal::RESTART,
    Number::CHILD,
    Number::PIPE,
];

impl Init {
    /// Handles a signal.
    pub(super) fn signal(&mut self, signal: Number) {
        if signal == Number::PIPE {
            return;
        }
        if !self.stages.can_leave() {
            self.warning("signals only work in stage 2.", b"");
            return;
        }
        let mut found = SIGNALS.iter().zip(self.params.signals.0);
        let found = found.find(|(known, _)| **known == signal);
        if let Some((_, Some(request))) = found {
            match request {
                SignalRequest::Nothing => {}
                SignalRequest::Off => self.go_down(Some(PowerAction::Off)),
                SignalRequest::Halt => self.go_down(Some(PowerAction::Halt)),
                SignalRequest::Reboot => {
                    self.go_down(Some(PowerAction::Reboot));
                }
            }
            return;
        }
        match signal {
            Number::CONT => self.check_flags(),
            Number::POWER => self.power_failure(),
            Number::INT => self.ctrl_alt_del(),
            signal::HALT | signal::OFF => self.go_down(Some(PowerAction::Off)),
            signal::RESTART => self.go_down(Some(PowerAction::Reboot)),
            // busybox's halt, poweroff and reboot send these. runit ignores
            // them, and a stage 2 script may rely on that.
            Number::USR1 | Number::USR2 if self.is_built_in() => {
                self.go_down(Some(PowerAction::Off));
            }
            // A container's owner sends it to stop the container.
            Number::TERM if self.is_built_in() && self.params.contained => {
                self.go_down(Some(PowerAction::Off));
            }
            Number::TERM if self.is_built_in() => {
                self.go_down(Some(PowerAction::Reboot));
            }
            Number::ALARM if self.stages.stage() == Stage::Rescue => {}
            Number::ALARM => match self.script {
                Some(pid) => {
                    // ESRCH: it has ended and will be reaped shortly.
                    let _gone = signal::kill(pid, Number::ALARM).is_err();
                }
                None => self.supervisor.rescan(),
            },
            _ => {}
        }
    }

    /// Returns true when no script decides what a signal means.
    fn is_built_in(&self) -> bool {
        self.script.is_none() || self.stages.stage() == Stage::Rescue
    }

    /// Handles ctrl-alt-del.
    fn ctrl_alt_del(&mut self) {
        if !self.start_request_program(CTRL_ALT_DEL)
            && self.is_built_in()
            && self.restart_at.is_none()
        {
            self.info("ctrl-alt-del request...", b"", "");
            self.go_down(Some(PowerAction::Reboot));
        }
    }

    /// Handles the signal of a power failure. With a program for it, as runit
    /// 2.3.1: the program may clear the flag again. Without one, as Debian's
    /// runit.
    fn power_failure(&mut self) {
        if !self.start_request_program(POWER_FAILURE) {
            self.go_down(Some(PowerAction::Off));
        }
    }

    /// Runs one of [`REQUEST_PROGRAMS`] unless it runs already. Returns false
    /// when there is none.
    fn start_request_program(&mut self, index: usize) -> bool {
        let (Some(asked), Some(None)) = (
            REQUEST_PROGRAMS.get(index),
            self.request_programs.running.get(index),
        ) else {
            return true;
        };
        if !is_set(asked.path) {
            return false;
        }
        self.info(asked.what, b"", "");
        if index == POWER_FAILURE
            && let Err((what, path, errno)) = flag_files::set(None)
        {
            self.warn(what, path.to_bytes(), errno);
            self.request_programs.off = true;
        }
        self.info("enter stage: ", asked.path.to_bytes(), "");
        match self.spawn(asked.path, false) {
            Ok(pid) => {
                if let Some(entry) =
                    self.request_programs.running.get_mut(index)
                {
                    *entry = Some(pid);
                }
                true
            }
            Err(errno) => {
                self.warn("unable to fork for ", asked.path.to_bytes(), errno);
                // A power failure does not wait for a process.
                index != POWER_FAILURE
            }
        }
    }

    /// Handles the exit of one of [`REQUEST_PROGRAMS`]. Returns false when
    /// `pid` is none of them.
    pub(super) fn request_program_ended(
        &mut self,
        pid: u32,
        outcome: StageExit,
    ) -> bool {
        let found = REQUEST_PROGRAMS
            .iter()
            .zip(&mut self.request_programs.running);
        let mut found = found.filter(|(_, running)| **running == Some(pid));
        let found = found.next().map(|(asked, running)| {
            *running = None;
            asked
        });
        let Some(asked) = found else { return false };
        if outcome == StageExit::Crashed {
            self.warning("child crashed: ", asked.path.to_bytes());
        }
        self.info("leave stage: ", asked.path.to_bytes(), "");
        if core::mem::take(&mut self.request_programs.off) {
            self.go_down(Some(PowerAction::Off));
        }
        self.check_flags();
        true
    }

    /// Shuts down if a flag of `runit-init` is set.
    pub(super) fn check_flags(&mut self) {
        if self.leaving || !self.stages.can_leave() {
            // The flags are those of another request.
            return;
        }
        let reporter = self.supervisor.reporter();
        let asked = self.requested.take(&mut |path, errno| {
            reporter.warn("unable to chmod ", path.to_bytes(), errno);
        });
        if asked {
            self.go_down(None);
        }
    }

    /// Leaves stage 2, unless that has begun. From then on the programs of
    /// ctrl-alt-del and of a test rig come too late.
    pub(super) fn go_down(&mut self, ending: Option<PowerAction>) {
        if self.leaving || !self.stages.can_leave() {
            return;
        }
        self.ending = ending;
        self.arm_deadline();
        match self.script {
            Some(pid) => {
                // An interactive shell ignores TERM and ends on HUP.
                let signal = if self.stages.stage() == Stage::Rescue {
                    Number::HUP
                } else {
                    Number::TERM
                };
                // ESRCH: it has ended and will be reaped shortly.
                let _gone = signal::kill(pid, signal).is_err();
                self.leaving = true;
                self.script_deadline =
                    Some(clock::mono().after(STAGE_2_TIMEOUT));
            }
            None => self.leave_stage_2(),
        }
    }

    /// Ends stage 2 and enters stage 3.
    pub(super) fn leave_stage_2(&mut self) {
        self.restart_at = None;
        if self.stages.leave() {
            self.enter(Stage::Three);
        }
    }
}
