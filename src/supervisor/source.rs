//! Numbers the event sources of the loop: each has a token in the poller.

use crate::machine::slot::Role;

/// Event source of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The signal descriptor.
    Signals,
    /// The inotify descriptor that watches the services directory, or a file
    /// that the owner reads.
    Services,
    /// The mount table, readable when something is mounted or unmounted.
    Mounts,
    /// The front's commands.
    Front,
    /// The pipe behind descriptor 2, in PID 1 also behind 1.
    Output,
    /// The timer that reports a changed wall clock.
    Clock,
    /// The console, or descriptor 2, while output is queued for it.
    Console,
    /// The shared loggers' answers.
    Loggers,
    /// The control FIFO of a slot's service or log service.
    Control(u16, Role),
}

/// First token of the control FIFOs: two for each slot.
const CONTROL: u64 = 8;

impl Source {
    /// Returns the token of the source.
    pub(super) fn token(self) -> u64 {
        match self {
            Self::Signals => 0,
            Self::Services => 1,
            Self::Mounts => 2,
            Self::Front => 3,
            Self::Output => 4,
            Self::Clock => 5,
            Self::Console => 6,
            Self::Loggers => 7,
            Self::Control(index, role) => {
                let log = u64::from(role == Role::Log);
                CONTROL.saturating_add(u64::from(index) << 1 | log)
            }
        }
    }

    /// Returns the source of a token.
    pub(super) fn of(token: u64) -> Self {
        match token {
            0 => Self::Signals,
            1 => Self::Services,
            2 => Self::Mounts,
            3 => Self::Front,
            4 => Self::Output,
            5 => Self::Clock,
            6 => Self::Console,
            7 => Self::Loggers,
            token => {
                let number = token.saturating_sub(CONTROL);
                let log = number & 1 != 0;
                let role = if log { Role::Log } else { Role::Service };
                let index = u16::try_from(number >> 1).unwrap_or(u16::MAX);
                Self::Control(index, role)
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_token_leads_back_to_its_source() {
        for token in 0..100 {
            assert_eq!(Source::of(token).token(), token);
        }
        let last = Source::Control(u16::MAX, Role::Log);
        assert_eq!(Source::of(last.token()), last);
    }
}
