//! State that all streams of a logger share, and the buffers of each.

use heapless::Vec;

use crate::{
    args::svlogd::LENGTH,
    config,
    sys::{Errno, buffer::Buffer, poller::Poller},
};

use super::super::logdir::{LogContext, Output, TEXT_EXTRA};

/// First token of the streams.
pub(super) const TOKEN_STREAMS: u64 = 3;

/// Memory of a stream; pages that are never used stay untouched.
pub(super) struct Buffers {
    /// Texts of the config.
    pub(super) text: Vec<u8, { config::LOG_CONFIG_BYTES + TEXT_EXTRA }>,
    /// Incomplete line: fewer bytes than decide where a line goes.
    pub(super) kept: Vec<u8, LENGTH>,
}

impl Buffers {
    /// Empty buffers.
    pub(super) const NEW: Self = Self {
        text: Vec::new(),
        kept: Vec::new(),
    };
}

/// State and buffers that all streams share.
pub(super) struct Shared {
    pub(super) context: LogContext,
    pub(super) output: Output,
    pub(super) input: Buffer,
    pub(super) poller: Poller,
}

impl Shared {
    /// Reports an error of the copy on the console.
    pub(super) fn report_console(&self, shown: Result<(), Errno>) {
        if let Err(errno) = shown {
            let (what, option) = ("unable to show lines", b"runt/log-console");
            self.context.warn("warning", what, option, errno);
        }
    }
}
