//! Decides when messages for a daemon that does not take them are dropped.
//!
//! The first one that fails waits for a limited time; then all are dropped and
//! counted, until the daemon takes the count.

use core::time::Duration;

use crate::wire::clock::Instant;

/// State of a daemon that may not accept messages at times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outage {
    /// Time of the first failure since a message was accepted.
    since: Option<Instant>,
    dropped: u64,
}

/// Decision about a message that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try again a little later.
    Retry,
    /// Drop it, and report that it is the first one.
    DropFirst,
    /// Drop it.
    Drop,
}

impl Outage {
    /// Returns how many messages were dropped: while that is not 0, the next
    /// message to send is the one that reports it.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes note that the daemon took a message, or the report.
    pub fn sent(&mut self) {
        *self = Self::default();
    }

    /// Takes note that the daemon did not take a message, which may wait for
    /// `patience` from the first failure on.
    pub fn failed(&mut self, now: Instant, patience: Duration) -> Action {
        let since = *self.since.get_or_insert(now);
        if self.dropped == 0 && now.since(since) < patience {
            return Action::Retry;
        }
        self.dropped = self.dropped.saturating_add(1);
        match self.dropped {
            1 => Action::DropFirst,
            _ => Action::Drop,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn waits_once_then_drops_until_the_daemon_is_back() {
        let patience = Duration::from_secs(10);
        let at = |secs: u64| Instant::at(secs * 1_000_000_000);
        let mut outage = Outage::default();
        assert_eq!(outage.failed(at(5), patience), Action::Retry);
        assert_eq!(outage.failed(at(14), patience), Action::Retry);
        assert_eq!(outage.failed(at(15), patience), Action::DropFirst);
        assert_eq!(outage.failed(at(15), patience), Action::Drop);
        assert_eq!(outage.failed(at(99), patience), Action::Drop);
        assert_eq!(outage.dropped(), 3);
        outage.sent();
        assert_eq!(outage.dropped(), 0);
        // The next outage is waited for again.
        assert_eq!(outage.failed(at(100), patience), Action::Retry);
        outage.sent();
        assert_eq!(outage.failed(at(120), patience), Action::Retry);
        let none = Duration::ZERO;
        assert_eq!(outage.failed(at(120), none), Action::DropFirst);
    }
}
