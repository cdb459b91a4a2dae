//! How much a process may use: soft limits, read and set.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{At, Errno, error, raw};
use crate::config;

pub use rustix::process::{Resource as Limit, Rlimit as Limits};

/// Raises the number of files this process may open to what it may have at
/// most; answers the limits from before, for its children.
pub fn raise_files() -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // When it is refused the table holds what fits, and says so then.
    let _refused = setrlimit(Resource::Nofile, most).is_err();
    before
}

/// Descriptors that a process with a table of [`config::SLOTS`] rows has at
/// most, the first 64 besides: none has a greater number.
pub fn files() -> u32 {
    const FILES: usize = config::SLOTS * 8 + 64;
    u32::try_from(FILES).unwrap_or(u32::MAX)
}

/// Makes room for a table of [`files`] descriptors, by opening `any` once more
/// there. A table that is full grows, and one that children have too waits
/// then until every processor has let go of the old one: tens of milliseconds
/// each time (`expand_fdtable`, Linux fs/file.c). Where the limit is lower it
/// grows when it must.
pub fn reserve_files(any: At<'_>) {
    let _lower = raw::dup_above(any, files().saturating_sub(1)).is_err();
}

/// Puts the number of files back to what `raise_files` found.
pub(super) fn restore_files(before: Rlimit) {
    let _refused = setrlimit(Resource::Nofile, before).is_err();
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
