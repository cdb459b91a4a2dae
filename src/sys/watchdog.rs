//! How the hardware watchdog is spoken to (Documentation/watchdog of Linux).

use core::{ffi::CStr, time::Duration};

use linux_raw_sys::ioctl::{WDIOC_GETBOOTSTATUS, WDIOC_SETTIMEOUT};
use rustix::fd::AsFd;

use super::{CWD, Errno, Fd, file, raw, write_once};

/// An open watchdog: it bites when nobody feeds it. Closing it, by whatever
/// end, leaves it armed, since the letter that would stop it is never written.
#[derive(Debug)]
pub struct Watchdog(Fd);

/// WDIOF_CARDRESET: the last start was the watchdog's doing.
const CARD_RESET: i32 = 0x20;

impl Watchdog {
    /// Opens it, which arms it.
    pub fn open(path: &CStr) -> Result<Self, Errno> {
        file::open_write(CWD, path).map(Self)
    }

    /// Asks for a period in seconds; answers the one that it has, which the
    /// hardware may round. Where it cannot be asked it stays as it is.
    pub fn set_period(&self, seconds: u32) -> Result<Duration, Errno> {
        let mut value = i32::try_from(seconds).unwrap_or(i32::MAX);
        raw::watchdog(&self.0, WDIOC_SETTIMEOUT, &mut value)?;
        Ok(Duration::from_secs(u64::try_from(value).unwrap_or(0)))
    }

    /// Whether it has started the machine this time.
    pub fn caused_reset(&self) -> bool {
        let mut value = 0;
        raw::watchdog(&self.0, WDIOC_GETBOOTSTATUS, &mut value).is_ok()
            && value & CARD_RESET != 0
    }

    /// Feeds it.
    pub fn ping(&self) -> Result<(), Errno> {
        write_once(self.0.as_fd(), b"\0").map(|_| ())
    }
}
