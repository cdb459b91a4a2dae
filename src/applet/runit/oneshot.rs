//! Which programs PID 1 runs once while services are up: the test rig's, and
//! the one that is told of a good boot.

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::stages::Stage,
    sys::{
        child::ExitStatus,
        clock,
        power::Ending,
        signal::{self, Number},
    },
    text::Line,
    wire::clock::Instant,
};

use super::{
    super::flag_files::is_set, CANNOT_RUN, Init, PREFIX, step::StepResult,
};

/// The program of a good boot.
const BOOT_GOOD_PROGRAM: &CStr = config::BOOT_GOOD;
/// How long it may take.
const BOOT_GOOD_TIMEOUT: Duration = Duration::from_secs(30);

/// What is on the way.
#[derive(Debug, Default)]
pub(super) struct Oneshots {
    /// The process of the test rig's program.
    rig: Option<u32>,
    /// When to look whether the boot is good; or, while its program runs,
    /// when it has had its time.
    due: Option<Instant>,
    /// The process of that program, and when it was started.
    good: Option<(u32, Instant)>,
    /// Since when services are up.
    since: Option<Instant>,
}

impl Oneshots {
    /// When the loop has to look at the clock.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }
}

impl Init {
    /// Services are up: runs the test rig's program, once.
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

    /// Takes the end of an errand.
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

    /// Says how the test rig's program has ended, and switches off.
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
        self.go_down(Some(Ending::Off));
    }

    /// Does what has become due: every critical service has been up for as
    /// long as the board says, or the program of a good boot is late.
    pub(super) fn check_oneshots(&mut self, now: Instant) {
        let due = self.oneshots.due.take_if(|due| *due <= now);
        if due.is_none() || self.stages.stage() != Stage::Two {
            return;
        }
        if let Some((pid, began)) = self.oneshots.good.take() {
            // ESRCH: it has ended this moment.
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
            // A service that is down now is not up for so long any sooner.
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
