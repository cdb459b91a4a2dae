//! How media come to rest at the end: written, swapped off, unmounted.

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

/// What is mounted, the oldest first.
const MOUNTS: &CStr = c"/proc/self/mounts";

/// The newest mount with a medium in a part of the table.
#[derive(Default)]
struct Newest {
    /// Its line.
    number: usize,
    /// Where it is mounted; `None` when there is no such mount.
    target: Option<Path>,
    /// A bound that hides others, and its value.
    hidden: Option<(&'static str, usize)>,
}

/// Finds the newest mount among the first `below` lines of the table, of
/// which no more than one is in memory.
fn newest(below: usize) -> Result<Newest, Errno> {
    let mut found = Newest::default();
    let mut number = 0_usize;
    let mut buffer = [0; config::LINE_BYTES];
    file::heads(CWD, MOUNTS, &mut buffer, &mut |line, whole| {
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
    /// Puts the media to rest, each by itself: one that hangs keeps no other
    /// from it. In a container they are those of its owner.
    pub(super) fn sync_and_unmount(&mut self) {
        if self.params.contained {
            return;
        }
        // What services and scripts have left of their time is theirs too.
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
        // One that was moved may be inside a newer one.
        let mut first = true;
        while self.unmount_all(until, first) {
            first = false;
        }
        self.with_timeout(b"all media", until, &sync);
    }

    /// Unmounts what has a medium, the newest first: what is mounted inside
    /// another comes after it in the table. Returns true when another pass
    /// may free more. Only the `first` reports what it cannot do.
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
                reporter.capacity_reached("some stay mounted", bound, value);
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
            // The root is in use to the end.
            kept |= result != StepResult::Done && target.as_bytes() != b"/";
            below = number;
        }
    }

    /// Does something about a medium in a process of its own, that may hang
    /// for its share of the time `until` then.
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
            self.warning("has not come to rest in time: ", medium);
        }
        result
    }
}

/// Unmounts a medium or, when it is in use, makes it read-only, for which
/// it answers that there was nothing to do.
fn unmount(target: &Path, reporter: Option<&Reporter>) -> StepResult {
    // First read-only: what an overlay keeps its files on can be unmounted
    // while that still writes to it.
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
