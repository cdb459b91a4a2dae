//! Reads the monotonic and the wall clock, and watches for steps.

use rustix::fd::AsFd;

use super::{At, Errno, Fd, raw, read};
use crate::wire::clock::{Instant, Now, Wall};

/// USER_HZ: ticks of /proc in a second, on every machine that is supported.
const TICKS: u32 = 100;

/// Nanoseconds of a tick.
pub const TICK: u32 = 1_000_000_000 / TICKS;

/// Reads the monotonic clock.
pub fn mono() -> Instant {
    let (secs, nanos) = raw::clock(1);
    let (secs, nanos) = (natural(secs), natural(nanos));
    Instant::at(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Reads the wall clock; a time before 1970 counts as 1970.
pub fn wall() -> Wall {
    let (secs, nanos) = raw::clock(0);
    Wall {
        secs: natural(secs),
        nanos: u32::try_from(nanos).unwrap_or(0),
    }
}

/// Returns the time since boot, sleep included, in the ticks of /proc/PID/stat.
pub fn boot_ticks() -> u64 {
    let (secs, nanos) = raw::clock(7);
    let part = u32::try_from(nanos).unwrap_or(0) / TICK;
    let whole = natural(secs).saturating_mul(TICKS.into());
    whole.saturating_add(part.into())
}

/// Sets the wall clock to a second since 1970.
pub fn set_wall(secs: u64) -> Result<(), Errno> {
    raw::set_clock(secs)
}

/// Reads both clocks.
pub fn now() -> Now {
    Now {
        mono: mono(),
        wall: wall(),
    }
}

/// Reports that the wall clock was set: a timer for a time that never comes,
/// which the kernel cancels when the clock is set.
#[derive(Debug)]
pub struct ClockSteps(Fd);

impl ClockSteps {
    /// Starts to watch.
    pub fn new() -> Result<Self, Errno> {
        let timer = raw::timerfd()?;
        raw::cancel_on_set(&timer)?;
        Ok(Self(timer))
    }

    /// Acknowledges that the clock was set.
    pub fn take(&self) {
        // ECANCELED is the report; the next read waits for the next step.
        let _canceled = read(self.0.as_fd(), &mut [0; 8]).is_err();
    }

    /// Returns the descriptor that becomes readable when the clock is set.
    pub fn as_fd(&self) -> At<'_> {
        self.0.as_fd()
    }
}

/// Returns the number, or 0 when it is negative.
fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
