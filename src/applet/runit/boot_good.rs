//! Runs the program that reports a good boot, once, when every critical
//! service has been up for the board's `good-seconds`.

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    supervisor::Supervisor,
    sys::child::ExitStatus,
    wire::{
        clock::Instant,
        record::{Reader, Writer},
    },
};

use super::{
    super::flag_files::is_set, console::ConsoleStreams, report, task::Task,
};

/// The program.
const PROGRAM: &CStr = config::BOOT_GOOD;
/// Time limit of the program.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The check for a good boot, and its program.
#[derive(Debug, Default)]
pub(super) struct BootGood {
    /// Time at which stage 2 began for the first time.
    since: Option<Instant>,
    /// Time of the next check.
    due: Option<Instant>,
    program: Task,
}

impl BootGood {
    /// Writes its state, without the program: what that prints stays.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.put_time(self.since);
        writer.put_time(self.due);
    }

    /// Restores the state that [`BootGood::save`] wrote.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) {
        self.since = reader.take_time();
        self.due = reader.take_time();
    }

    /// Begins to check, the first time that it is called.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.since.is_none() {
            (self.since, self.due) = (Some(now), Some(now));
        }
    }

    /// Returns the time at which to call [`BootGood::advance`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.or(self.program.due())
    }

    /// Handles the exit of a child; returns false when it is not the program.
    pub(super) fn child_ended(&mut self, pid: u32, end: ExitStatus) -> bool {
        self.program.child_ended(pid, end)
    }

    /// Reports the end of the program, which is killed when it exceeds its
    /// time. In stage 2 makes the check that is due, and runs the program when
    /// the boot is good.
    #[inline(never)]
    pub(super) fn advance(
        &mut self,
        in_stage_2: bool,
        now: Instant,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) {
        if let Some((result, began)) = self.program.take_result(now, supervisor)
        {
            let name = PROGRAM.to_bytes();
            report::step(supervisor.reporter(), name, result, began);
        }
        let due = self.due.take_if(|due| *due <= now);
        let (true, Some(_), Some(since)) = (in_stage_2, due, self.since) else {
            return;
        };
        let wanted = u64::try_from(config::GOOD_SECONDS).unwrap_or(u64::MAX);
        let wanted = Duration::from_secs(wanted);
        let up = supervisor.critical_uptime(now).min(now.since(since));
        if up < wanted {
            // A service that is down now cannot have been up that long any
            // sooner.
            self.due = Some(now.after(wanted.saturating_sub(up)));
            return;
        }
        if is_set(PROGRAM)
            && let Some(pid) = console.spawn(PROGRAM, false, supervisor)
        {
            self.program.watch(pid, TIMEOUT, now);
        }
    }
}
