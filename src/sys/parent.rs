//! How a child reaches a directory that its parent has open: by the name that
//! /proc gives it, which stays right when the directory is renamed, unlinked
//! or hidden by another.

use core::ffi::CStr;

use rustix::fd::AsRawFd as _;

use super::{At, CWD, Errno, Fd, file};
use crate::text::Line;

/// The number that a child knows an open file of ours by.
pub fn number(file: At<'_>) -> u32 {
    file.as_raw_fd().cast_unsigned()
}

/// A process that has started this one.
#[derive(Clone, Copy, Debug)]
pub struct Parent(u32);

impl Parent {
    /// The parent that it has now.
    pub fn now() -> Self {
        let pid = rustix::process::getppid();
        Self(pid.map_or(0, |pid| pid.as_raw_pid().cast_unsigned()))
    }

    /// Opens a directory that it has open under this number.
    pub fn open_dir(self, number: u32) -> Result<Fd, Errno> {
        let mut path = Line::new();
        path.text("/proc/").number(self.0.into());
        path.text("/fd/").number(number.into()).text("\0");
        let path = CStr::from_bytes_until_nul(path.as_bytes());
        file::open_dir(CWD, path.unwrap_or(c""))
    }
}
