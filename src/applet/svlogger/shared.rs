//! Memory of a stream and state that all streams of a logger share.

use crate::{args::svlogd::LENGTH, config, sys::poller::Poller};

use super::super::logdir::{INPUT, LogContext, Output, TEXT_EXTRA};

/// First token of the streams.
pub(super) const TOKEN_STREAMS: u64 = 3;

/// The memory of a stream of which most is not touched.
pub(super) struct Buffers {
    /// What its config says.
    pub(super) text: [u8; config::LOG_CONFIG_BYTES + TEXT_EXTRA],
    /// What is not decided of its open line: less than is looked at of it.
    pub(super) kept: [u8; LENGTH],
}

impl Buffers {
    /// Nothing in it.
    #[allow(clippy::large_stack_arrays, reason = "it is never on the stack")]
    pub(super) const NEW: Self = Self {
        text: [0; config::LOG_CONFIG_BYTES + TEXT_EXTRA],
        kept: [0; LENGTH],
    };
}

/// What all streams share.
pub(super) struct Shared {
    pub(super) context: LogContext,
    pub(super) output: &'static mut Output,
    pub(super) input: &'static mut [u8; INPUT],
    pub(super) poller: Poller,
}
