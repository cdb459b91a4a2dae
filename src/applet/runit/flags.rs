//! Flag files of `runit-init`: those that were set for the request at hand
//! (contract §7.4, §7.5).
//!
//! A flag file outlives the boot in which it was set wherever its directory
//! is no tmpfs, and on a read-only file system nothing can clear it. So a flag
//! counts only when its status has changed since PID 1 began, and `reboot` only
//! in the pair whose `stopit` asked.

use core::ffi::CStr;

use crate::{
    sys::{CWD, Errno, file},
    wire::clock::Wall,
};

use super::super::flag_files::{FLAGS, Flags, is_set};

/// The flag files at the start of PID 1, and the request.
#[derive(Debug)]
pub(super) struct Requested {
    /// The last change of each flag that was set already.
    stale: [[Option<Wall>; 2]; FLAGS.len()],
    /// Pairs whose `stopit` was set for the request.
    asked: [bool; FLAGS.len()],
}

impl Requested {
    /// Makes all flags that are set now count for nothing.
    pub(super) fn new() -> Self {
        Self {
            stale: FLAGS
                .map(|Flags { stop, reboot }| [stop, reboot].map(changed)),
            asked: [false; FLAGS.len()],
        }
    }

    /// Clears each `stopit` that is set and counts; returns true when there
    /// was one. Calls `failed` with one that cannot be cleared, and the cause.
    pub(super) fn take(
        &mut self,
        failed: &mut dyn FnMut(&CStr, Errno),
    ) -> bool {
        let pairs = FLAGS.iter().zip(&self.stale).zip(&mut self.asked);
        let mut any = false;
        for ((flags, [stale, _]), asked) in pairs {
            if is_fresh(flags.stop, *stale) {
                (*asked, any) = (true, true);
                if let Err(errno) = file::set_mode(CWD, flags.stop, 0) {
                    failed(flags.stop, errno);
                }
            }
        }
        any
    }

    /// Returns the `reboot` flag that counts, if one is set. Without a
    /// `stopit`, when stage 2 has ended by itself, both pairs do.
    pub(super) fn reboot(&self) -> Option<&'static CStr> {
        let any = self.asked.iter().any(|asked| *asked);
        let mut pairs = FLAGS.iter().zip(&self.stale).zip(&self.asked);
        let found = pairs.find(|((flags, [_, stale]), asked)| {
            (**asked || !any) && is_fresh(flags.reboot, *stale)
        });
        found.map(|((flags, _), _)| flags.reboot)
    }
}

/// Returns true for a flag that is set and was not when `stale` was read.
fn is_fresh(flag: &CStr, stale: Option<Wall>) -> bool {
    let now = changed(flag);
    now.is_some() && now != stale
}

/// Returns the last change of a flag that is set.
fn changed(flag: &CStr) -> Option<Wall> {
    let info = is_set(flag).then(|| file::info(CWD, flag).ok());
    info.flatten().map(|info| info.changed)
}
