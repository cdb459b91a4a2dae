//! What time it is, on both clocks.

use crate::wire::clock::{Instant, Now, Wall};

use super::raw;

/// The clock that never jumps.
pub fn mono() -> Instant {
    let (secs, nanos) = raw::clock(1);
    let (secs, nanos) = (natural(secs), natural(nanos));
    Instant(secs.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The wall clock; before 1970 it counts as 1970.
pub fn wall() -> Wall {
    let (secs, nanos) = raw::clock(0);
    Wall {
        secs: natural(secs),
        nanos: u32::try_from(nanos).unwrap_or(0),
    }
}

/// Both.
pub fn now() -> Now {
    Now {
        mono: mono(),
        wall: wall(),
    }
}

/// The number, or 0 when it is negative.
fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
