//! State that all streams of a logger share, and the buffers of each.

use crate::{args::svlogd::LENGTH, config, sys::poller::Poller};

use super::super::logdir::{INPUT, LogContext, Output, TEXT_EXTRA};

/// First token of the streams.
pub(super) const TOKEN_STREAMS: u64 = 3;

/// Buffers of a stream; pages that are never used stay untouched.
pub(super) struct Buffers {
    /// Texts of the config.
    pub(super) text: [u8; config::LOG_CONFIG_BYTES + TEXT_EXTRA],
    /// Incomplete line: fewer bytes than decide where a line goes.
    pub(super) kept: [u8; LENGTH],
}

impl Buffers {
    /// Empty buffers.
    #[allow(clippy::large_stack_arrays, reason = "it is never on the stack")]
    pub(super) const NEW: Self = Self {
        text: [0; config::LOG_CONFIG_BYTES + TEXT_EXTRA],
        kept: [0; LENGTH],
    };
}

/// State and buffers that all streams share.
pub(super) struct Shared {
    pub(super) context: LogContext,
    pub(super) output: &'static mut Output,
    pub(super) input: &'static mut [u8; INPUT],
    pub(super) poller: Poller,
}
