//! Reads and sets resource limits, and raises the limit of open files.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rustix::fd::AsRawFd as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{At, Errno, error, raw};
pub use rustix::process::Resource as Limit;

/// The original soft and hard limit of open files, stored when this process
/// raises them: until then the soft one is 0. No limit is `usize::MAX`.
static GIVEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Raises the limit of open files to the hard limit, or to `needed` if
/// that is more and the kernel allows it. Children get the original limits
/// back: [`restore_files`].
pub fn raise_files(needed: u32) {
    let given = getrlimit(Resource::Nofile);
    for (stored, limit) in GIVEN.iter().zip([given.current, given.maximum]) {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        stored.store(limit.unwrap_or(usize::MAX), Ordering::Relaxed);
    }
    let needed = given.maximum.map(|most| most.max(needed.into()));
    for most in [needed, given.maximum] {
        let most = Rlimit {
            current: most,
            maximum: most,
        };
        // If both are refused the process can open fewer files.
        if setrlimit(Resource::Nofile, most).is_ok() {
            return;
        }
    }
}

/// Makes room in the kernel's table for `needed` descriptors, by copying `any`
/// to the greatest number for a moment. A full table grows, and if children
/// share it the kernel then waits until every processor has released the old
/// one: tens of milliseconds each time (`expand_fdtable`, Linux fs/file.c).
/// Where the limit is lower the table grows when it must.
pub fn reserve_files(any: At<'_>, needed: u32) {
    let _late = raw::dup_above(any, needed.saturating_sub(1)).is_err();
}

/// Keeps the `low` lowest numbers that are free for [`release_number`], once in
/// the life of this process. `any` is an open file.
pub fn keep_low_numbers(any: At<'_>, low: u32) {
    let [next, end] = &LOW;
    if end.load(Ordering::Relaxed) != 0 {
        return;
    }
    for count in 0..low {
        let Ok(copy) = raw::dup_above(any, 3) else {
            return;
        };
        let number = copy.as_raw_fd().cast_unsigned();
        if count == 0 {
            next.store(number, Ordering::Relaxed);
        } else if number != end.load(Ordering::Relaxed) {
            return;
        }
        end.store(number.saturating_add(1), Ordering::Relaxed);
        copy.leave_open();
    }
}

/// The next number that [`release_number`] frees, and the end of those that it
/// has left.
static LOW: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

/// Returns true for a number that is kept for [`release_number`].
pub(super) fn is_low_number(number: u32) -> bool {
    let [next, end] = LOW.each_ref().map(|n| n.load(Ordering::Relaxed));
    (next..end).contains(&number)
}

/// Frees the lowest number that is kept: the next file that is opened gets it.
///
/// For files that children get: a child copies the table of open files up to
/// the greatest number of its own, and closes all between, so that the cost of
/// a start would grow with the number of slots.
pub fn release_number() {
    let [next, end] = LOW.each_ref().map(|n| n.load(Ordering::Relaxed));
    if next < end {
        let _closed = raw::close_number(next).is_err();
        let [stored, _] = &LOW;
        stored.store(next.saturating_add(1), Ordering::Relaxed);
    }
}

/// Restores the original limits of open files in a child, if this process has
/// raised them.
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

/// Sets a soft limit, at most to the hard one.
pub fn set_soft(limit: Resource, value: u64) -> Result<(), Errno> {
    let old = getrlimit(limit);
    let value = old.maximum.map_or(value, |most| value.min(most));
    let new = Rlimit {
        current: Some(value),
        maximum: old.maximum,
    };
    setrlimit(limit, new).map_err(error::from)
}
