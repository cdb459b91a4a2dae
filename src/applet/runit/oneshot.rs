//! Runs programs once while services are up: that of a test rig, and the one
//! that reports a good boot.

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::stages::Stage,
    sys::{
        child::ExitStatus,
        clock,
        power::PowerAction,
        signal::{self, Number},
    },
    text::Line,
    wire::clock::Instant,
};

use super::{
    super::flag_files::is_set, CANNOT_RUN, Init, PREFIX, step::StepResult,
};

/// Program that is run after a good boot.
const BOOT_GOOD_PROGRAM: &CStr = config::BOOT_GOOD;
/// Time limit of that program.
const BOOT_GOOD_TIMEOUT: Duration = Duration::from_secs(30);

/// State of the programs that run.
#[derive(Debug, Default)]
pub(super) struct Oneshots {
    /// Process id of the test rig's program.
    rig: Option<u32>,
    /// Time of the next check for a good boot or, while its program runs, its
    /// time limit.
    due: Option<Instant>,
    /// Process id and start time of the program of a good boot.
    good: Option<(u32, Instant)>,
    /// Time at which stage 2 began.
    since: Option<Instant>,
}

impl Oneshots {
    /// Returns the time at which something becomes due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Init {
    /// Begins stage 2: runs the test rig's program, once.
    pub(super) fn start_oneshots(&mut self) {
        if self.oneshots.since.is_none() {
            let now = clock::mono();
            (self.oneshots.since, self.oneshots.due) = (Some(now), Some(now));
        }
        let Some(path) = self.params.rig.take() else {
            return;
        };
        match self.spawn(path, false) {
            Ok(pid) => self.oneshots.rig = Some(pid),
            Err(errno) => {
                self.warn("unable to fork for ", path.to_bytes(), errno);
                self.report_rig(ExitStatus::Exited(CANNOT_RUN));
            }
        }
    }

    /// Handles the exit of one of these programs.
    pub(super) fn oneshot_ended(&mut self, pid: u32, end: ExitStatus) {
        if self.oneshots.rig == Some(pid) {
            self.report_rig(end);
            return;
        }
        let good = self.oneshots.good.take_if(|(good, _)| *good == pid);
        if let Some((_, began)) = good {
            self.oneshots.due = None;
            let result = if end == ExitStatus::Exited(0) {
                StepResult::Done
            } else {
                StepResult::Failed
            };
            self.report_step(BOOT_GOOD_PROGRAM.to_bytes(), result, began);
        }
    }

    /// Reports the exit of the test rig's program, and powers off.
    fn report_rig(&mut self, end: ExitStatus) {
        let (prefix, number) = match end {
            ExitStatus::Exited(code) => ("exit ", code),
            ExitStatus::Killed(signal, _) => ("signal ", signal),
        };
        let mut line = Line::new();
        line.text(PREFIX)
            .text("rig: ")
            .text(prefix)
            .number(number.into());
        self.supervisor.reporter().print(&mut line);
        self.go_down(Some(PowerAction::Off));
    }

    /// Handles what has become due. Runs the program of a good boot when every
    /// critical service has been up for the board's `good-seconds`; kills it
    /// when it exceeds its time.
    pub(super) fn check_oneshots(&mut self, now: Instant) {
        let due = self.oneshots.due.take_if(|due| *due <= now);
        if due.is_none() || self.stages.stage() != Stage::Two {
            return;
        }
        if let Some((pid, began)) = self.oneshots.good.take() {
            // ESRCH: it has just ended.
            let _gone = signal::kill_led(pid, Number::KILL).is_err();
            self.supervisor.stop_awaiting(pid);
            self.report_step(
                BOOT_GOOD_PROGRAM.to_bytes(),
                StepResult::Late,
                began,
            );
            return;
        }
        let wanted = u64::try_from(config::GOOD_SECONDS).unwrap_or(u64::MAX);
        let wanted = Duration::from_secs(wanted);
        let since = self.oneshots.since.unwrap_or(now);
        let up = self.supervisor.critical_uptime(now).min(now.since(since));
        if up < wanted {
            // A service that is down now cannot have been up that long any
            // sooner.
            self.oneshots.due = Some(now.after(wanted.saturating_sub(up)));
            return;
        }
        if !is_set(BOOT_GOOD_PROGRAM) {
            return;
        }
        match self.spawn(BOOT_GOOD_PROGRAM, false) {
            Ok(pid) => {
                self.oneshots.good = Some((pid, now));
                self.oneshots.due = Some(now.after(BOOT_GOOD_TIMEOUT));
            }
            Err(errno) => {
                self.warn(
                    "unable to fork for ",
                    BOOT_GOOD_PROGRAM.to_bytes(),
                    errno,
                );
            }
        }
    }
}
