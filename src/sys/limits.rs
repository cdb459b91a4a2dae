//! How much a process may use: soft limits, read and set.

use core::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{At, Errno, error, raw};
use crate::config;

pub use rustix::process::Resource as Limit;

/// The soft and the hard limit of open files that this process was given, once
/// it has raised them: until then the soft one is 0. No limit is `usize::MAX`.
static GIVEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Raises the number of files this process may open to what it may have at
/// most, or to what it needs with `slots` slots where that is more and it may
/// do so. Its children get back what it was given: [`restore_files`].
pub fn raise_files(slots: usize) {
    let given = getrlimit(Resource::Nofile);
    for (place, limit) in GIVEN.iter().zip([given.current, given.maximum]) {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        place.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
    }
    let needed = given.maximum.map(|most| most.max(files_of(slots).into()));
    for most in [needed, given.maximum] {
        let most = Rlimit {
            current: most,
            maximum: most,
        };
        // When it is refused the table holds what fits, and says so then.
        if setrlimit(Resource::Nofile, most).is_ok() {
            return;
        }
    }
}

/// Descriptors of a slot at most: the service directory, both ends of the log
/// pipe, `cgroup.procs`, and for each of service and log two locks, the control
/// FIFO, `ok` and the directory that these are in, when that is elsewhere.
const OF_SLOT: usize = 14;

/// Descriptors of a supervisor besides those of its slots and loggers: the
/// standard streams, what its loop sleeps on and what tells it of changes, its
/// directories, console, watchdog and front, and those open for a moment.
const OTHERS: usize = 36;

/// Returns how many descriptors a supervisor with `slots` slots has at most.
/// The kernel gives the lowest free number: none is greater.
pub fn files_of(slots: usize) -> u32 {
    let files = slots.saturating_mul(OF_SLOT).saturating_add(OTHERS);
    u32::try_from(files.saturating_add(config::LOGGERS)).unwrap_or(u32::MAX)
}

/// Returns how many descriptors any process of this program has at most.
pub fn files() -> u32 {
    files_of(config::SLOTS)
}

/// Makes room for the descriptors of `slots` slots, by opening `any` once more
/// with the greatest number. A table that is full grows, and one that children
/// have too waits then until every processor has let go of the old one: tens
/// of milliseconds each time (`expand_fdtable`, Linux fs/file.c). Where the
/// limit is lower it grows when it must.
pub fn reserve_files(any: At<'_>, slots: usize) {
    let last = files_of(slots).saturating_sub(1);
    let _lower = raw::dup_above(any, last).is_err();
}

/// In a child: puts the limits of open files back to what this process was
/// given, if it has raised them.
pub(super) fn restore_files() {
    let [soft, hard] = GIVEN.each_ref().map(|g| g.load(Ordering::Relaxed));
    let limit = |value: usize| match value {
        usize::MAX => None,
        value => u64::try_from(value).ok(),
    };
    if soft != 0 {
        let given = Rlimit {
            current: limit(soft),
            maximum: limit(hard),
        };
        let _refused = setrlimit(Resource::Nofile, given).is_err();
    }
}

/// Sets a soft limit, at most as high as the hard one.
pub fn set_soft(limit: Resource, value: u64) -> Result<(), Errno> {
    let old = getrlimit(limit);
    let value = old.maximum.map_or(value, |most| value.min(most));
    let new = Rlimit {
        current: Some(value),
        maximum: old.maximum,
    };
    setrlimit(limit, new).map_err(error::from)
}
