//! State of the processor of a log directory.

use crate::wire::{clock::Instant, logname::LogName};

/// What the processor of a directory does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::applet) enum Job {
    /// Nothing waits for it.
    Idle,
    /// It is at work on a log.
    Running(u32, LogName),
    /// It is tried again then.
    Failed(Instant),
}

impl Job {
    /// When it is tried again.
    pub(in crate::applet) fn due(self) -> Option<Instant> {
        match self {
            Self::Failed(until) => Some(until),
            Self::Idle | Self::Running(..) => None,
        }
    }

    /// What it is at work on.
    pub(in crate::applet) fn name(self) -> Option<LogName> {
        match self {
            Self::Running(_, name) => Some(name),
            Self::Idle | Self::Failed(_) => None,
        }
    }
}
