//! Defines where the log ring of a service is kept, and its size
//! (`wire::ring` has the format).

use core::ffi::CStr;

use crate::{
    config,
    sys::{At, file},
    wire::options,
};

/// The name of a log ring in the state directory of its service directory
/// ([`super::rundir`]).
pub const FILE: &CStr = c"ring";

/// Greatest size of a log ring in bytes: it is kept in memory.
const MAX_BYTES: u64 = 16 << 20;

/// Returns the size in bytes of the log ring of a service directory, 0 for
/// none: the content of `runt/log-ring`, or the board's default. `None` when
/// that is not a number, or greater than [`MAX_BYTES`]. Without the family
/// `shared-logs` there is none.
pub fn bytes(dir: At<'_>) -> Option<u64> {
    if !config::family::SHARED_LOGS {
        return Some(0);
    }
    let mut buffer = [0; 16];
    let bytes = match file::read_whole(dir, c"runt/log-ring", &mut buffer) {
        Ok(text) => options::number(text)?.into(),
        Err(_) => u64::try_from(config::LOG_RING).unwrap_or(0),
    };
    (bytes <= MAX_BYTES).then_some(bytes)
}
