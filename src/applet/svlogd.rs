//! svlogd.
use crate::sys::start::Start;
/// main
pub(super) fn main(_start: Start) -> u8 { 0 }
