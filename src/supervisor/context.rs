//! Bundles what the work on a slot needs besides the slot.

use crate::sys::poller::Poller;

use super::{logger::Loggers, reporter::Reporter, spawner::Spawner};

/// What the work on any slot needs besides the slot.
pub(super) struct Context {
    /// Wakes the loop.
    pub(super) poller: Poller,
    /// Prints messages.
    pub(super) reporter: Reporter,
    /// Starts children.
    pub(super) spawner: Spawner,
    /// Loggers shared by services whose `log/` has no `run`.
    pub(super) loggers: Loggers,
    /// During shutdown: milliseconds that each child has to end, where its
    /// service directory sets no limit.
    pub(super) stop_limit: Option<u32>,
}
