//! Writes, swaps off and unmounts all media at the end.

use core::ffi::CStr;

use crate::{
    config,
    machine::shutdown::{self, MEDIA},
    supervisor::{Reporter, Supervisor},
    sys::{CWD, Errno, child::ExitStatus, file, power},
    text::{Path, TooLong},
    wire::{clock::Instant, mounts::Mount},
};

use super::{fstab, report::warning, seed, step::StepResult, task::Task};

/// The table of mounts, oldest first.
const MOUNTS: &CStr = c"/proc/self/mounts";

/// A mount with a medium.
#[derive(Debug, Default)]
struct Newest {
    /// Number of its line in the table.
    number: usize,
    /// Mount point; `None` when there is no such mount.
    target: Option<Path>,
    /// Name and value of a capacity that hides other mounts.
    hidden: Option<(&'static str, usize)>,
}

impl Newest {
    /// Finds the newest mount among the first `below` lines of the table.
    /// Holds one line in memory at a time.
    fn find(&mut self, below: usize) -> Result<(), Errno> {
        (self.target, self.hidden) = (None, None);
        let mut number = 0_usize;
        let mut buffer = [0; config::LINE_BYTES];
        let each = &mut |line: &[u8], whole: bool| {
            if number >= below {
                return false;
            }
            let mount = Mount::parse(line);
            if mount.is_none() && !whole {
                self.hidden = Some(("line-bytes", config::LINE_BYTES));
            }
            match mount.filter(|m| m.has_medium()).map(Mount::target) {
                Some(Ok(target)) => {
                    (self.number, self.target) = (number, Some(target));
                }
                Some(Err(TooLong { limit })) => {
                    self.hidden = Some(("path-bytes", limit));
                }
                None => {}
            }
            number = number.saturating_add(1);
            true
        };
        file::each_line_or_start(CWD, MOUNTS, &mut buffer, each)
    }
}

/// Part of the work that is done or runs.
#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// Shutdown has not come this far.
    #[default]
    Idle,
    /// Save the random seed and write all media.
    Write,
    /// Disable swap.
    Swap,
    /// Unmount one medium after the other.
    Unmount,
    /// Write what could not be unmounted.
    LastWrite,
    Done,
}

/// A pass over the table of mounts, newest first, since a mount inside another
/// one is later in the table.
#[derive(Debug, Default)]
struct Pass {
    /// True after the first pass, which reports failures.
    again: bool,
    /// True after the first medium of the pass.
    begun: bool,
    /// True when a medium was unmounted.
    freed: bool,
    /// True when one was not.
    kept: bool,
    /// True when one exceeded its time: it would hang again.
    late: bool,
}

impl Pass {
    /// Returns true when another pass may unmount more, since a moved mount
    /// may be inside a newer one.
    fn may_free_more(&self) -> bool {
        self.freed && self.kept && !self.late
    }
}

/// Writes and unmounts all media, each in a child process of its own, so that
/// one that hangs does not keep the others from it.
#[derive(Debug, Default)]
pub(super) struct Media {
    /// True when they are only written: they stay in use.
    stay: bool,
    /// Time by which all of it is to be finished.
    until: Option<Instant>,
    phase: Phase,
    pass: Pass,
    /// The medium that is being unmounted.
    medium: Newest,
    task: Task,
}

impl Media {
    /// Begins. `deadline` is that of services and scripts: time that they have
    /// left unused is added. With `stay` all media are written, and stay
    /// mounted.
    pub(super) fn begin(&mut self, stay: bool, deadline: Instant) {
        self.stay = stay;
        self.until = Some(deadline.after(MEDIA));
        self.phase = Phase::Write;
    }

    /// Leaves the media as they are.
    pub(super) fn skip(&mut self, now: Instant) {
        self.until = Some(now);
        self.phase = Phase::Done;
    }

    /// Returns the time at which to call [`Media::advance`].
    pub(super) fn due(&self) -> Option<Instant> {
        let now = self.until.map(|_| Instant::AT_ONCE);
        self.task.due().or(now)
    }

    /// Handles the exit of a child; returns false when it is another one.
    pub(super) fn child_ended(&mut self, pid: u32, end: ExitStatus) -> bool {
        self.task.child_ended(pid, end)
    }

    /// Takes the result of the work that has ended, if any, and begins the
    /// next, unless one runs. Returns true when all is done.
    #[inline(never)]
    pub(super) fn advance(
        &mut self,
        now: Instant,
        supervisor: &mut Supervisor,
    ) -> bool {
        if self.task.due().is_none() {
            self.start_next(now, supervisor);
        }
        if let Some((result, _)) = self.task.take_result(now, supervisor) {
            self.ended(result, supervisor.reporter());
        }
        matches!(self.phase, Phase::Done)
    }

    /// Begins the work of the phase, or ends the phase.
    fn start_next(&mut self, now: Instant, supervisor: &mut Supervisor) {
        if matches!(self.phase, Phase::Unmount)
            && !self.find_next(supervisor.reporter())
        {
            return;
        }
        let first = !self.pass.again;
        let unmount = |reporter: &Reporter| {
            let reporter = first.then_some(reporter);
            let target = self.medium.target.as_ref();
            target.map_or(StepResult::Nothing, |t| unmount(t, reporter))
        };
        let work: &dyn Fn(&Reporter) -> StepResult = match self.phase {
            Phase::Write => &|reporter| {
                seed::save(reporter);
                sync(reporter)
            },
            Phase::Swap => &|reporter| {
                fstab::swap_off(reporter);
                StepResult::Done
            },
            Phase::Unmount => &unmount,
            Phase::LastWrite => &sync,
            Phase::Idle | Phase::Done => return,
        };
        // Limited to its share of the time that is left.
        match shutdown::share(self.until.unwrap_or(now), now) {
            Some(share) => self.task.run(work, share, now, supervisor),
            None => self.task.finish(StepResult::Late, now),
        }
    }

    /// Finds the next medium of the pass; after the last, begins another pass
    /// or the next phase and returns false.
    fn find_next(&mut self, reporter: &Reporter) -> bool {
        let begun = core::mem::replace(&mut self.pass.begun, true);
        let below = if begun {
            self.medium.number
        } else {
            usize::MAX
        };
        let found = self.medium.find(below);
        if let Err(errno) = found {
            reporter.warn("unable to read ", MOUNTS.to_bytes(), errno);
        }
        if let (false, false, Some((bound, value))) =
            (self.pass.again, begun, self.medium.hidden)
        {
            reporter.capacity_reached(
                "some file systems stay mounted",
                bound,
                value,
            );
        }
        let any = found.is_ok() && self.medium.target.is_some();
        if !any {
            if found.is_ok() && self.pass.may_free_more() {
                self.pass = Pass {
                    again: true,
                    ..Pass::default()
                };
            } else {
                self.phase = Phase::LastWrite;
            }
        }
        any
    }

    /// Records the result of the work of a phase.
    fn ended(&mut self, result: StepResult, reporter: &Reporter) {
        let late = result == StepResult::Late;
        let (next, medium) = match self.phase {
            Phase::Write if self.stay => (Phase::Done, &b"all media"[..]),
            Phase::Write => (Phase::Swap, &b"all media"[..]),
            Phase::Swap => (Phase::Unmount, &b"swap"[..]),
            Phase::Unmount => {
                let target = self.medium.target.as_ref();
                let target = target.map_or(&b""[..], Path::as_bytes);
                let done = result == StepResult::Done;
                self.pass.freed |= done;
                self.pass.late |= late;
                // The root is in use until the end.
                self.pass.kept |= !done && target != b"/";
                (Phase::Unmount, target)
            }
            Phase::Idle | Phase::LastWrite | Phase::Done => {
                (Phase::Done, &b"all media"[..])
            }
        };
        if late {
            warning(reporter, "not synchronized in time: ", medium);
        }
        self.phase = next;
    }
}

/// Writes all media.
fn sync(_: &Reporter) -> StepResult {
    power::sync();
    StepResult::Done
}

/// Unmounts a medium. One that is in use is made read-only instead, for which
/// it returns [`StepResult::Nothing`].
fn unmount(target: &Path, reporter: Option<&Reporter>) -> StepResult {
    // First make it read-only: a file system below an overlay can be unmounted
    // while the overlay still writes to it.
    let read_only = power::make_read_only(target.as_c_str());
    match (power::unmount(target.as_c_str()), read_only) {
        (Ok(()), _) => StepResult::Done,
        (Err(_), Ok(())) => StepResult::Nothing,
        (Err(_), Err(errno)) => {
            if let Some(reporter) = reporter {
                reporter.warn("unable to unmount ", target.as_bytes(), errno);
            }
            StepResult::Failed
        }
    }
}
