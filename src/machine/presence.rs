//! Presence of a slot's directory in the services directory, and the time
//! from which its absence counts.
//!
//! ```text
//!              see               end, unseen              end, unseen, settled
//! Unlisted ----------> Listed ----------------> Missing ----------> Leaving
//!                        ^                         |
//!                        +-------------------------+
//!                         see, or `keep`: nothing could be compared
//! ```
//!
//! # Invariants
//! A slot that is seen within [`SETTLE`] of the scan that missed it first
//! never leaves, unless its name leads elsewhere. A slot that stays unseen
//! leaves with the first scan after that.

use core::time::Duration;

use crate::wire::clock::Instant;

/// Time for which the directory of a running service must be missing before
/// the service is told to exit.
///
/// A script that deploys a service by `rm` and `ln -s`, or that rewrites the
/// services directory, needs two or more processes for it: tens of
/// milliseconds, or a second on a slow board during boot. An operator who
/// removes a link waits no longer than runit needs at best (1.3 s) plus the
/// time that a slow board needs.
pub const SETTLE: Duration = Duration::from_secs(2);

/// Presence of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// The current scan has seen it, or does not look for it.
    seen: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No scan has seen it: the slot of `runsv`, or of a directory that is no
    /// longer served.
    Unlisted,
    /// The last scan that looked saw it.
    Listed,
    /// A scan missed it; it leaves from this time on.
    Missing(Instant),
    /// It has been told to exit.
    Leaving,
}

/// Consequence of a scan for a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// None.
    Stays,
    /// It leaves unless a scan sees it before this time.
    Settles(Instant),
    /// It must be told to exit now.
    Leaves,
}

impl Presence {
    /// State of a slot that no scan has seen.
    pub const UNLISTED: Self = Self {
        seen: false,
        state: State::Unlisted,
    };

    /// Resets the state to that before any scan.
    pub fn mark_unlisted(&mut self) {
        *self = Self::UNLISTED;
    }

    /// Records that it was told to exit, by an earlier supervisor.
    pub fn mark_leaving(&mut self) {
        self.state = State::Leaving;
    }

    /// Begins a scan, which looks for this slot if `looks`.
    pub fn begin(&mut self, looks: bool) {
        self.seen = !looks && self.state == State::Listed;
    }

    /// Records that the scan sees it; returns true if it did so before, under
    /// another name.
    pub fn mark_seen(&mut self) -> bool {
        if self.state != State::Leaving {
            self.state = State::Listed;
        }
        core::mem::replace(&mut self.seen, true)
    }

    /// Records that its name leads to something else: it leaves with this scan
    /// unless the scan sees it under another name.
    pub fn replace(&mut self) {
        if !self.seen && self.state != State::Leaving {
            self.state = State::Missing(Instant::at(0));
        }
    }

    /// Ends a scan that could not compare everything: running slots stay.
    pub fn keep(&mut self) {
        if matches!(self.state, State::Missing(_)) {
            self.state = State::Listed;
        }
    }

    /// Returns true if the end of a scan changes nothing.
    pub fn stays(&self) -> bool {
        self.seen || self.state == State::Leaving
    }

    /// Ends a scan; `at_once` returns true if an absence counts immediately.
    pub fn end(
        &mut self,
        at_once: impl FnOnce() -> bool,
        now: Instant,
    ) -> Outcome {
        if self.stays() {
            return Outcome::Stays;
        }
        let until = match self.state {
            State::Missing(until) => until,
            State::Unlisted | State::Listed | State::Leaving => {
                now.after(SETTLE)
            }
        };
        if until <= now || at_once() {
            self.state = State::Leaving;
            return Outcome::Leaves;
        }
        self.state = State::Missing(until);
        Outcome::Settles(until)
    }

    /// Returns true if the slot stays known after its end: its directory is
    /// present, or may come back.
    pub fn stays_known(&self) -> bool {
        matches!(self.state, State::Listed | State::Missing(_))
    }
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Entry {
        There,
        Twice,
        Gone,
        Elsewhere,
        NotLooked,
        NotCompared,
    }

    fn entries() -> impl Strategy<Value = Entry> {
        use Entry::*;
        prop_oneof![
            3 => Just(There),
            1 => Just(Twice),
            6 => Just(Gone),
            1 => Just(Elsewhere),
            1 => Just(NotLooked),
            1 => Just(NotCompared),
        ]
    }

    proptest! {
        #[test]
        fn entry_is_removed_only_after_the_settling_time(
            scans in proptest::collection::vec((entries(), 0..900_u64), 1..40),
        ) {
            let mut presence = Presence::UNLISTED;
            presence.mark_seen();
            let mut at = 1;
            // Time at which it was missed first, among the relevant scans.
            let mut missed = None;
            for (entry, pause) in scans {
                at += pause * 1_000_000;
                let now = Instant::at(at);
                presence.begin(!matches!(entry, Entry::NotLooked));
                match entry {
                    Entry::There => prop_assert!(!presence.mark_seen()),
                    Entry::Twice => {
                        presence.mark_seen();
                        prop_assert!(presence.mark_seen());
                        presence.replace();
                    }
                    Entry::Elsewhere => presence.replace(),
                    Entry::Gone | Entry::NotLooked | Entry::NotCompared => {}
                }
                match entry {
                    Entry::There | Entry::Twice | Entry::NotCompared => {
                        missed = None;
                    }
                    Entry::Gone => missed = missed.or(Some(now)),
                    Entry::Elsewhere => missed = Some(Instant::at(0)),
                    Entry::NotLooked => {}
                }
                if matches!(entry, Entry::NotCompared) {
                    presence.keep();
                    continue;
                }
                let outcome = presence.end(|| false, now);
                let leaves = match missed {
                    Some(first) if first == Instant::at(0) => Some(now),
                    Some(first) => Some(first.after(SETTLE)),
                    None => None,
                };
                let expected = match leaves {
                    None => Outcome::Stays,
                    Some(leaves) if leaves <= now => Outcome::Leaves,
                    Some(leaves) => Outcome::Settles(leaves),
                };
                prop_assert_eq!(outcome, expected);
                prop_assert_eq!(
                    presence.stays_known(),
                    expected != Outcome::Leaves
                );
                if expected == Outcome::Leaves {
                    // It leaves once, regardless of later scans.
                    presence.begin(true);
                    presence.replace();
                    presence.mark_seen();
                    prop_assert_eq!(presence.end(|| true, now), Outcome::Stays);
                    prop_assert!(!presence.stays_known());
                    break;
                }
            }
        }
    }

    #[test]
    fn an_entry_is_as_new_after_its_directory_is_served_no_longer() {
        for leaves in [false, true] {
            let mut presence = Presence::UNLISTED;
            presence.mark_seen();
            if leaves {
                presence.begin(true);
                presence.end(|| true, Instant::at(1));
            }
            presence.mark_unlisted();
            assert_eq!(presence, Presence::UNLISTED);
            assert!(!presence.stays_known());
        }
    }

    #[test]
    fn an_entry_that_is_seen_again_does_not_stop_a_slot_from_leaving() {
        let mut presence = Presence::UNLISTED;
        presence.mark_leaving();
        presence.begin(true);
        presence.mark_seen();
        assert_eq!(presence.end(|| false, Instant::at(1)), Outcome::Stays);
        assert!(!presence.stays_known());
    }

    #[test]
    fn operator_and_removed_directory_skip_the_settling_time() {
        let mut presence = Presence::UNLISTED;
        presence.mark_seen();
        presence.begin(true);
        assert_eq!(presence.end(|| true, Instant::at(1)), Outcome::Leaves);
        let mut unlisted = Presence::UNLISTED;
        assert!(!unlisted.stays_known());
        let now = Instant::at(5);
        let outcome = unlisted.end(|| false, now);
        assert_eq!(outcome, Outcome::Settles(now.after(SETTLE)));
    }
}
