//! Controls the hardware watchdog (Documentation/watchdog of Linux).

use core::{ffi::CStr, time::Duration};

use linux_raw_sys::ioctl::{WDIOC_GETBOOTSTATUS, WDIOC_SETTIMEOUT};
use rustix::fd::AsFd;

use super::{CWD, Errno, Fd, file, raw, write_once};

/// An open watchdog: it resets the machine when it is not pinged in time. When
/// the descriptor is closed, even by the end of the process, it stays armed,
/// since the magic character `V` that would stop it is never written.
#[derive(Debug)]
pub struct Watchdog(Fd);

/// WDIOF_CARDRESET: the watchdog caused the last restart.
const CARD_RESET: i32 = 0x20;

impl Watchdog {
    /// Opens the watchdog, which arms it.
    pub fn open(path: &CStr) -> Result<Self, Errno> {
        file::open_write(CWD, path).map(Self)
    }

    /// Requests a timeout in seconds; returns the timeout in effect, which the
    /// hardware may round. On an error the timeout stays as it is.
    pub fn set_period(&self, seconds: u32) -> Result<Duration, Errno> {
        let mut value = i32::try_from(seconds).unwrap_or(i32::MAX);
        raw::watchdog(&self.0, WDIOC_SETTIMEOUT, &mut value)?;
        Ok(Duration::from_secs(u64::try_from(value).unwrap_or(0)))
    }

    /// Returns true when the watchdog caused the last restart.
    pub fn caused_reset(&self) -> bool {
        let mut value = 0;
        raw::watchdog(&self.0, WDIOC_GETBOOTSTATUS, &mut value).is_ok()
            && value & CARD_RESET != 0
    }

    /// Restarts its timeout.
    pub fn ping(&self) -> Result<(), Errno> {
        write_once(self.0.as_fd(), b"\0").map(|_| ())
    }
}
