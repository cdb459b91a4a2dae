//! Bundles the parts of the supervisor that the work on a slot uses.

use crate::sys::poller::Poller;

use super::{
    ledger::Ledger, logger::Loggers, reporter::Reporter, spawner::Spawner,
};

/// Parts of the supervisor that the work on a slot uses.
pub(super) struct Context {
    /// Wakes the loop.
    pub(super) poller: Poller,
    /// Prints messages.
    pub(super) reporter: Reporter,
    /// Starts children.
    pub(super) spawner: Spawner,
    /// Keeps the state of the slots beyond this process.
    pub(super) ledger: Ledger,
    /// Loggers shared by services whose `log/` has no `run`.
    pub(super) loggers: Loggers,
    /// During shutdown: milliseconds that each child has to end, where its
    /// service directory sets no limit.
    pub(super) stop_limit: Option<u32>,
    /// True after a fault of this process: the processes of its services are
    /// its children.
    pub(super) resumed: bool,
}
