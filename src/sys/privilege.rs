//! Limits the privileges of this process and its programs: capabilities, no
//! new privileges (capabilities(7), prctl(2)).

use super::{Errno, raw};
use crate::wire::capability::Set;

/// PR_SET_KEEPCAPS.
const KEEP: u32 = 8;
/// PR_CAPBSET_READ.
const BOUND_READ: u32 = 23;
/// PR_CAPBSET_DROP.
const BOUND_DROP: u32 = 24;
/// PR_SET_NO_NEW_PRIVS.
const NO_NEW_PRIVS: u32 = 38;
/// PR_CAP_AMBIENT.
const AMBIENT: u32 = 47;
/// PR_CAP_AMBIENT_RAISE.
const RAISE: u32 = 2;

/// Keeps all later programs from getting privileges from their files.
pub fn no_new() -> Result<(), Errno> {
    raw::prctl(NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Calls `each` with every capability the kernel knows: its number, whether
/// it is in the set, and whether it is in the bounding set.
fn every(
    set: Set,
    mut each: impl FnMut(u32, bool, bool) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for number in 0..Set::BITS {
        // EINVAL: the last one was before.
        let Ok(bound) = raw::prctl(BOUND_READ, number, 0) else {
            return Ok(());
        };
        let wanted = set.checked_shr(number).unwrap_or(0) & 1 == 1;
        each(number, wanted, bound == 1)?;
    }
    Ok(())
}

/// Limits the capabilities of later programs to those in `keep`.
pub fn bound(keep: Set) -> Result<(), Errno> {
    every(keep, |number, wanted, bound| {
        if bound && !wanted {
            raw::prctl(BOUND_DROP, number, 0)?;
        }
        Ok(())
    })
}

/// Keeps the permitted capabilities when this process changes from root to
/// another user.
pub fn keep() -> Result<(), Errno> {
    raw::prctl(KEEP, 1, 0).map(drop)
}

/// Gives these capabilities to later programs, whatever their user.
///
/// EPERM when this process lacks one of them. Those that the kernel does not
/// know are ignored.
pub fn ambient(set: Set) -> Result<(), Errno> {
    let mut sets = raw::capabilities()?;
    for ([_, _, inheritable], half) in
        sets.iter_mut().zip([set, set.checked_shr(32).unwrap_or(0)])
    {
        *inheritable |= u32::try_from(half & 0xffff_ffff).unwrap_or(0);
    }
    raw::set_capabilities(&sets)?;
    every(set, |number, wanted, _| {
        if wanted {
            raw::prctl(AMBIENT, RAISE, number)?;
        }
        Ok(())
    })
}
