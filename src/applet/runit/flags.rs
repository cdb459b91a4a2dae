//! Tells which flag files of `runit-init` were set for the current request
//! (contract §7.4, §7.5).
//!
//! A flag file survives a reboot unless its directory is a tmpfs, and on a
//! read-only file system it cannot be cleared. So a flag counts only if its
//! status has changed since PID 1 was started, and `reboot` only in the pair
//! whose `stopit` was set.

use core::ffi::CStr;

use crate::{
    sys::{CWD, Errno, file},
    wire::{
        clock::Wall,
        record::{Reader, Writer},
    },
};

use super::super::flag_files::{FLAGS, Flags, is_set};

/// State of the flag files at the start of PID 1, and the current request.
#[derive(Debug)]
pub(super) struct RequestFlags {
    /// Time of the last change of each flag that was set before PID 1 was
    /// started.
    stale: [[Option<Wall>; 2]; FLAGS.len()],
    /// True for each pair whose `stopit` was set for this request.
    asked: [bool; FLAGS.len()],
}

impl RequestFlags {
    /// Reads the flags; those that are set now are ignored from then on.
    pub(super) fn new() -> Self {
        Self {
            stale: FLAGS
                .map(|Flags { stop, reboot }| [stop, reboot].map(changed)),
            asked: [false; FLAGS.len()],
        }
    }

    /// Writes its state.
    pub(super) fn save(&self, writer: &mut Writer) {
        for stale in self.stale.as_flattened() {
            writer.put_option(stale.map(Wall::in_nanos));
        }
        writer.put_flags(&self.asked);
    }

    /// Returns flags in a state that [`RequestFlags::save`] wrote.
    pub(super) fn restore(reader: &mut Reader<'_>) -> Self {
        let mut take = || reader.take_option().map(Wall::from_nanos);
        Self {
            stale: FLAGS.map(|_| [take(), take()]),
            asked: reader.take_flags(),
        }
    }

    /// Clears each fresh `stopit`; returns true when there was one. Calls
    /// `failed` with a flag that cannot be cleared, and the cause.
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

    /// Returns the fresh `reboot` flag, if there is one. Without a `stopit`,
    /// when stage 2 has ended by itself, both pairs count.
    pub(super) fn reboot(&self) -> Option<&'static CStr> {
        let any = self.asked.iter().any(|asked| *asked);
        let mut pairs = FLAGS.iter().zip(&self.stale).zip(&self.asked);
        let found = pairs.find(|((flags, [_, stale]), asked)| {
            (**asked || !any) && is_fresh(flags.reboot, *stale)
        });
        found.map(|((flags, _), _)| flags.reboot)
    }
}

/// Returns true for a flag that is set and has changed since `stale` was read.
fn is_fresh(flag: &CStr, stale: Option<Wall>) -> bool {
    let now = changed(flag);
    now.is_some() && now != stale
}

/// Returns the time of the last change of a flag that is set.
fn changed(flag: &CStr) -> Option<Wall> {
    let info = is_set(flag).then(|| file::info(CWD, flag).ok());
    info.flatten().map(|info| info.changed)
}
