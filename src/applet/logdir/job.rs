//! State of a log directory's processor, the config's `!` command.

use crate::wire::{clock::Instant, logname::LogName};

/// State of a directory's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// No log waits to be processed.
    Idle,
    /// The process with this id works on this log.
    Running(u32, LogName),
    /// It failed and is started again at this moment.
    Failed(Instant),
}

impl Job {
    /// Returns the moment of the next start after a failure.
    pub(super) fn due(self) -> Option<Instant> {
        match self {
            Self::Failed(until) => Some(until),
            Self::Idle | Self::Running(..) => None,
        }
    }

    /// Returns the name of the log that is being processed.
    pub(super) fn name(self) -> Option<LogName> {
        match self {
            Self::Running(_, name) => Some(name),
            Self::Idle | Self::Failed(_) => None,
        }
    }
}
