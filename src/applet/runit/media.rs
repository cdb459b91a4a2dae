//! Writes, swaps off and unmounts all media at the end.

use core::ffi::CStr;

use crate::{
    config,
    machine::shutdown::{self, MEDIA},
    supervisor::Reporter,
    sys::{CWD, Errno, clock, file, power},
    text::{Path, TooLong},
    wire::{clock::Instant, mounts::Mount},
};

use super::{Init, fstab, seed, step::StepResult};

/// The table of mounts, oldest first.
const MOUNTS: &CStr = c"/proc/self/mounts";

/// The newest mount with a medium in a part of the table.
#[derive(Default)]
struct Newest {
    /// Number of its line.
    number: usize,
    /// Mount point; `None` when there is no such mount.
    target: Option<Path>,
    /// Name and value of a capacity that hides other mounts.
    hidden: Option<(&'static str, usize)>,
}

/// Finds the newest mount among the first `below` lines of the table. Holds
/// one line in memory at a time.
fn newest(below: usize) -> Result<Newest, Errno> {
    let mut found = Newest::default();
    let mut number = 0_usize;
    let mut buffer = [0; config::LINE_BYTES];
    file::each_line_or_start(CWD, MOUNTS, &mut buffer, &mut |line, whole| {
        if number >= below {
            return false;
        }
        let mount = Mount::parse(line);
        if mount.is_none() && !whole {
            found.hidden = Some(("line-bytes", config::LINE_BYTES));
        }
        match mount.filter(|m| m.has_medium()).map(Mount::target) {
            Some(Ok(target)) => {
                (found.number, found.target) = (number, Some(target));
            }
            Some(Err(TooLong { limit })) => {
                found.hidden = Some(("path-bytes", limit));
            }
            None => {}
        }
        number = number.saturating_add(1);
        true
    })?;
    Ok(found)
}

impl Init {
    /// Writes and unmounts all media, each in a child process of its own, so
    /// that one that hangs does not keep the others from it. Does nothing in a
    /// container, whose media are its owner's.
    pub(super) fn sync_and_unmount(&mut self) {
        if self.params.contained {
            return;
        }
        // Adds the time that services and scripts have left unused.
        let until = self.arm_deadline().after(MEDIA);
        let sync = |_: &Reporter| {
            power::sync();
            StepResult::Done
        };
        self.with_timeout(b"all media", until, &|reporter| {
            seed::save(reporter);
            sync(reporter)
        });
        self.with_timeout(b"swap", until, &|reporter| {
            fstab::swap_off(reporter);
            StepResult::Done
        });
        // A moved mount may be inside a newer one.
        let mut first = true;
        while self.unmount_all(until, first) {
            first = false;
        }
        self.with_timeout(b"all media", until, &sync);
    }

    /// Unmounts everything with a medium, newest first, since a mount inside
    /// another one is later in the table. Returns true when another pass may
    /// free more. Failures are reported if this is the `first` pass.
    fn unmount_all(&mut self, until: Instant, first: bool) -> bool {
        let (mut freed, mut kept, mut late) = (false, false, false);
        let mut below = usize::MAX;
        loop {
            let Newest {
                number,
                target,
                hidden,
            } = match newest(below) {
                Ok(found) => found,
                Err(errno) => {
                    self.warn("unable to read ", MOUNTS.to_bytes(), errno);
                    return false;
                }
            };
            if let (true, usize::MAX, Some((bound, value))) =
                (first, below, hidden)
            {
                let reporter = self.supervisor.reporter();
                reporter.capacity_reached(
                    "some file systems stay mounted",
                    bound,
                    value,
                );
            }
            let Some(target) = target else {
                return freed && kept && !late;
            };
            let result =
                self.with_timeout(target.as_bytes(), until, &|reporter| {
                    unmount(&target, first.then_some(reporter))
                });
            freed |= result == StepResult::Done;
            // It would hang again.
            late |= result == StepResult::Late;
            // The root is in use until the end.
            kept |= result != StepResult::Done && target.as_bytes() != b"/";
            below = number;
        }
    }

    /// Runs `work` on a medium in a child process, limited to its share of the
    /// time until `until`.
    fn with_timeout(
        &mut self,
        medium: &[u8],
        until: Instant,
        work: &dyn Fn(&Reporter) -> StepResult,
    ) -> StepResult {
        let share = shutdown::share(until, clock::mono());
        let result =
            share.map_or(StepResult::Late, |s| self.run_in_child(work, s));
        if result == StepResult::Late {
            self.warning("not synchronized in time: ", medium);
        }
        result
    }
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
