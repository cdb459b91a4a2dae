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
    /// Requests to move this process to another file.
    Upgrade,
    /// The control FIFO of a slot's service or log service.
    Control(u16, Role),
    /// The end of a process of a slot that is not a child.
    Exit(u16, Role),
}

/// First token of the slots: [`PER_SLOT`] for each.
const SLOTS: u64 = 9;
/// Bits of a token that tell the sources of a slot apart.
const PER_SLOT: u32 = 3;
/// Number of the first token of exits among those of a slot.
const EXITS: u64 = 4;

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
            Self::Upgrade => 8,
            Self::Control(index, role) => of_slot(index, role, 0),
            Self::Exit(index, role) => of_slot(index, role, EXITS),
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
            8 => Self::Upgrade,
            token => {
                let number = token.saturating_sub(SLOTS);
                let role = match number & 3 {
                    0 => Role::Service,
                    1 => Role::Log,
                    _ => Role::Script,
                };
                let index = u16::try_from(number >> PER_SLOT);
                let index = index.unwrap_or(u16::MAX);
                if number & EXITS == 0 {
                    Self::Control(index, role)
                } else {
                    Self::Exit(index, role)
                }
            }
        }
    }
}

/// Returns the token of a source of a slot.
fn of_slot(index: u16, role: Role, kind: u64) -> u64 {
    let role = match role {
        Role::Service => 0,
        Role::Log => 1,
        Role::Script => 2,
    };
    SLOTS.saturating_add(u64::from(index) << PER_SLOT | kind | role)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn each_token_leads_back_to_its_source() {
        for token in (0..100_u64).filter(|token| {
            token.wrapping_sub(SLOTS) & 3 != 3 || *token < SLOTS
        }) {
            assert_eq!(Source::of(token).token(), token);
        }
        for last in [Source::Control, Source::Exit] {
            let last = last(u16::MAX, Role::Log);
            assert_eq!(Source::of(last.token()), last);
        }
    }
}
