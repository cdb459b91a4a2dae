//! What time it is, on both clocks.

use rustix::fd::AsFd;

use super::{At, Errno, Fd, raw, read};
use crate::wire::clock::{Instant, Now, Wall};

/// The clock that never jumps.
pub fn mono() -> Instant {
    let (secs, nanos) = raw::clock(1);
    let (secs, nanos) = (natural(secs), natural(nanos));
    Instant::at(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The wall clock; before 1970 it counts as 1970.
pub fn wall() -> Wall {
    let (secs, nanos) = raw::clock(0);
    Wall {
        secs: natural(secs),
        nanos: u32::try_from(nanos).unwrap_or(0),
    }
}

/// Sets the wall clock to a second since 1970.
pub fn set_wall(secs: u64) -> Result<(), super::Errno> {
    raw::set_clock(secs)
}

/// Both.
pub fn now() -> Now {
    Now {
        mono: mono(),
        wall: wall(),
    }
}

/// Tells when somebody sets the wall clock: a timer for a day that never
/// comes, which the kernel cancels then.
#[derive(Debug)]
pub struct Steps(Fd);

impl Steps {
    /// From now on.
    pub fn new() -> Result<Self, Errno> {
        let timer = raw::timerfd()?;
        raw::cancel_on_set(&timer)?;
        Ok(Self(timer))
    }

    /// Takes note that it was set.
    pub fn take(&self) {
        // ECANCELED is what it has to say; it then waits for the next time.
        let _canceled = read(self.0.as_fd(), &mut [0; 8]).is_err();
    }

    /// The descriptor that becomes readable.
    pub fn as_fd(&self) -> At<'_> {
        self.0.as_fd()
    }
}

/// The number, or 0 when it is negative.
fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
