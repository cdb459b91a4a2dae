//! Entries of the services directory that cannot be used. Each cause is
//! reported once; a refused service directory is tried again at growing
//! intervals.
//!
//! | event | consequence |
//! |---|---|
//! | an entry cannot be used, for another cause than last time | reported |
//! | it can be used, or is gone | removed: the same cause is reported again |
//! | a service directory is refused | tried again after 1 s, then 2 s and so on, up to 30 s |
//! | its name leads to another directory, or something is freed | tried at once |
//!
//! # Capacity
//! `config::SLOTS` entries. Further entries are counted, and the number is
//! reported when it has changed. They are tried again with each full scan, at
//! least every 30 s. [`GENERAL`] causes that concern no entry have table
//! entries of their own.

use core::{num::NonZero, time::Duration};

use heapless::Vec;

use crate::{
    config,
    text::{self, hash},
    wire::clock::Instant,
};

/// Seconds until a refused service directory is tried for the second time. All
/// tries are on whole seconds, so that many refused directories do not cause
/// many scans.
const FIRST: u8 = 1;

/// Maximum seconds between two tries.
const CAP: u8 = 30;

/// Maximum number of remembered causes that concern the services directory as
/// a whole: it cannot be read, or changes cannot be seen.
const GENERAL: usize = 4;

/// Capacity of the table.
const CAPACITY: usize = config::SLOTS.saturating_add(GENERAL);

/// Table of the entries that cannot be used.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Refused {
    /// Entries of the current scan for which the table had no room.
    more: usize,
    /// The number of those that was reported last.
    reported: usize,
    /// Time at which the refused ones among them are tried again.
    more_due: Option<Instant>,
    /// Comes last: memory of entries that are never needed is not touched.
    entries: Vec<Entry, CAPACITY>,
}

/// A cause that was reported.
#[derive(Debug)]
struct Entry {
    /// Hash of the entry's name, or of the cause if it concerns no entry.
    subject: u32,
    /// Hash of the cause.
    cause: u32,
    retry: Option<Retry>,
    /// The current scan has met it, or does not look for it.
    seen: bool,
}

/// Next try of a service directory.
#[derive(Clone, Copy, Debug)]
struct Retry {
    /// Hash of the directory.
    target: u32,
    /// Time of the try, in seconds of the monotonic clock.
    due: NonZero<u32>,
    /// Seconds of the current wait.
    delay: u8,
}

/// Consequence of a cause that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It must be reported.
    New,
    /// It was reported already.
    Known,
    /// The table is full: it is counted, if the current scan looks for it.
    Full,
}

impl Refused {
    /// Returns an empty table.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
            more: 0,
            reported: 0,
            more_due: None,
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.entries.clear();
        (self.more, self.reported, self.more_due) = (0, 0, None);
    }

    /// Begins a scan of all entries.
    pub fn begin_all(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.seen = false);
        (self.more, self.more_due) = (0, None);
    }

    /// Begins a scan of the entry `name`.
    pub fn begin(&mut self, name: &[u8]) {
        self.of(name).for_each(|entry| entry.seen = false);
    }

    /// Records that the entry `name` cannot be used, or, without a name, that
    /// the services directory cannot.
    ///
    /// `refused` is given for a service directory that is to be tried again:
    /// the hash of the directory and the current time.
    pub fn note(
        &mut self,
        name: &[u8],
        cause: &[u8],
        refused: Option<(u32, Instant)>,
    ) -> Noted {
        let cause = hash(cause);
        let subject = if name.is_empty() { cause } else { hash(name) };
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|e| e.subject == subject) {
            let known = core::mem::replace(&mut entry.cause, cause) == cause;
            entry.seen = true;
            let last = entry.retry;
            entry.retry = refused.map(|(target, now)| {
                let last = last.filter(|last| last.target == target);
                Retry::new(target, last.map_or(0, |last| last.delay), now)
            });
            return if known { Noted::Known } else { Noted::New };
        }
        let named = self.entries.iter().filter(|e| e.subject != e.cause);
        let full = !name.is_empty() && named.count() >= config::SLOTS;
        let entry = Entry {
            subject,
            cause,
            seen: true,
            retry: refused.map(|(target, now)| Retry::new(target, 0, now)),
        };
        if full || self.entries.push(entry).is_err() {
            self.more = self.more.saturating_add(1);
            if let Some((_, now)) = refused {
                self.more_due = self
                    .more_due
                    .or(Some(now.after(Duration::from_secs(CAP.into()))));
            }
            return Noted::Full;
        }
        Noted::New
    }

    /// Returns true if the service directory `target`, to which `name` leads,
    /// was refused and is not yet due for another try.
    pub fn waits(&mut self, name: &[u8], target: u32, now: Instant) -> bool {
        let waits = |entry: &&mut Entry| {
            entry
                .retry
                .is_some_and(|it| it.target == target && it.due() > now)
        };
        match self.of(name).find(waits) {
            Some(entry) => {
                entry.seen = true;
                true
            }
            None => false,
        }
    }

    /// Makes every refused directory due: a resource was freed, or an operator
    /// asks.
    pub fn retry_all_now(&mut self) {
        let retries = self.entries.iter_mut().filter_map(|e| e.retry.as_mut());
        retries.for_each(|retry| retry.due = NonZero::<u32>::MIN);
    }

    /// Ends a scan and removes the entries that it did not meet.
    ///
    /// After a full scan (`all`) returns the number of entries for which there
    /// was no room, if that is to be reported.
    pub fn end(&mut self, all: bool) -> Option<usize> {
        text::keep(&mut self.entries, |entry| entry.seen);
        let reported =
            all.then(|| core::mem::replace(&mut self.reported, self.more));
        reported.filter(|reported| *reported != self.more && self.more > 0)?;
        Some(self.more)
    }

    /// Ends a scan that was incomplete: no entry is removed.
    pub fn keep(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.seen = true);
    }

    /// Returns the time of the next try.
    pub fn due(&self) -> Option<Instant> {
        let retries = self.entries.iter().filter_map(|entry| entry.retry);
        let due = retries.map(Retry::due);
        due.chain(self.more_due).min()
    }

    /// Returns the entries of a name: one, unless hashes collide.
    fn of(&mut self, name: &[u8]) -> impl Iterator<Item = &mut Entry> {
        let subject = hash(name);
        self.entries
            .iter_mut()
            .filter(move |e| e.subject == subject)
    }
}

impl Retry {
    /// Returns the next try after one at `now` that had been delayed by `last`
    /// seconds.
    fn new(target: u32, last: u8, now: Instant) -> Self {
        let delay = last.saturating_mul(2).clamp(FIRST, CAP);
        let due = now.after(Duration::from_secs(delay.into())).nanos();
        let due = u32::try_from(due.div_ceil(1_000_000_000)).ok();
        Self {
            target,
            due: due.and_then(NonZero::new).unwrap_or(NonZero::<u32>::MAX),
            delay,
        }
    }

    /// Returns the time of the try.
    fn due(self) -> Instant {
        Instant::at(u64::from(self.due.get()).saturating_mul(1_000_000_000))
    }
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::at(secs * 1_000_000_000)
    }

    /// Scans all; returns the number of reports.
    fn scan(refused: &mut Refused, names: &[String], cause: &str) -> usize {
        refused.begin_all();
        let reported = names
            .iter()
            .filter(|name| {
                let noted =
                    refused.note(name.as_bytes(), cause.as_bytes(), None);
                noted == Noted::New
            })
            .count();
        reported + usize::from(refused.end(true).is_some())
    }

    fn names(count: usize) -> Vec<String, 20> {
        (0..count).map(|n| format!("n{n}")).collect()
    }

    #[test]
    fn each_cause_is_reported_once_whatever_the_count() {
        for count in 0..=20 {
            let mut refused = Refused::new();
            let all = names(count);
            let some = count.min(config::SLOTS);
            let first = some + usize::from(count > some);
            assert_eq!(scan(&mut refused, &all, "x"), first);
            for _ in 0..5 {
                assert_eq!(scan(&mut refused, &all, "x"), 0);
            }
            // Another cause; the number of the rest is the same.
            assert_eq!(scan(&mut refused, &all, "y"), some);
            // Repaired, and broken again.
            assert_eq!(scan(&mut refused, &[], ""), 0);
            assert_eq!(scan(&mut refused, &all, "y"), first);
        }
    }

    #[test]
    fn the_number_of_the_rest_is_reported_when_it_changes() {
        let mut refused = Refused::new();
        let mut more = |count| {
            refused.begin_all();
            for name in &names(count) {
                refused.note(name.as_bytes(), b"x", None);
            }
            refused.end(true)
        };
        let slots = config::SLOTS;
        assert_eq!(more(slots), None);
        assert_eq!(more(slots + 2), Some(2));
        assert_eq!(more(slots + 2), None);
        assert_eq!(more(slots + 1), Some(1));
        assert_eq!(more(slots), None);
        assert_eq!(more(slots + 1), Some(1));
    }

    #[test]
    fn general_causes_have_entries_of_their_own() {
        let mut refused = Refused::new();
        refused.note(b"", b"first", None);
        let reported = config::SLOTS + 1;
        assert_eq!(scan(&mut refused, &names(20), "x"), reported);
        assert_eq!(refused.note(b"", b"one", None), Noted::New);
        assert_eq!(refused.note(b"", b"two", None), Noted::New);
        assert_eq!(refused.note(b"", b"one", None), Noted::Known);
        assert_eq!(refused.note(b"n19", b"x", None), Noted::Full);
    }

    #[test]
    fn a_table_that_is_cleared_is_a_new_one() {
        let mut refused = Refused::new();
        let mut reports = |clears| {
            if clears {
                refused.clear();
                assert_eq!(refused.due(), None);
            }
            refused.begin_all();
            let noted = names(20).into_iter().map(|name| {
                refused.note(name.as_bytes(), b"x", Some((7, at(5))))
            });
            let new = noted.filter(|noted| *noted == Noted::New).count();
            assert!(refused.due().is_some());
            (new, refused.end(true))
        };
        let slots = config::SLOTS;
        let first = (slots, Some(20 - slots));
        assert_eq!(reports(false), first);
        assert_eq!(reports(false), (0, None));
        assert_eq!(reports(true), first);
    }

    /// Entries beyond the capacity are tried again when the longest wait after
    /// the first of them is over, or with others before.
    #[test]
    fn entries_beyond_the_capacity_are_tried_again() {
        let mut refused = Refused::new();
        refused.begin_all();
        for name in &names(config::SLOTS) {
            refused.note(name.as_bytes(), b"x", None);
        }
        for (name, secs) in [(b"a", 5), (b"b", 9)] {
            let noted = refused.note(name, b"x", Some((7, at(secs))));
            assert_eq!(noted, Noted::Full);
            assert_eq!(refused.due(), Some(at(5 + u64::from(CAP))));
        }
        refused.end(true);
        assert!(refused.due().is_some());
        refused.begin_all();
        assert_eq!(refused.due(), None);
    }

    #[test]
    fn a_scan_of_one_name_leaves_the_others_alone() {
        let mut refused = Refused::new();
        scan(&mut refused, &names(2), "x");
        refused.begin(b"n0");
        assert_eq!(refused.end(false), None);
        assert_eq!(refused.note(b"n0", b"x", None), Noted::New);
        assert_eq!(refused.note(b"n1", b"x", None), Noted::Known);
        // A scan that was cut short removes nothing.
        refused.begin_all();
        refused.keep();
        assert_eq!(refused.end(true), None);
        assert_eq!(refused.note(b"n1", b"x", None), Noted::Known);
    }

    #[test]
    fn each_wait_is_twice_as_long_up_to_the_cap() {
        let mut refused = Refused::new();
        let mut waits = vec![];
        let mut now = at(100);
        for _ in 0..8 {
            refused.note(b"a", b"x", Some((7, now)));
            let due = refused.due().unwrap();
            waits.push(due.since(now).as_secs());
            assert!(refused.waits(b"a", 7, now));
            assert!(!refused.waits(b"a", 8, now), "another directory");
            assert!(!refused.waits(b"b", 7, now), "another name");
            assert!(!refused.waits(b"a", 7, due));
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        refused.note(b"a", b"x", Some((7, now)));
        assert!(refused.waits(b"a", 7, now));
        refused.retry_all_now();
        assert!(!refused.waits(b"a", 7, now));
        // Another directory starts over.
        refused.note(b"a", b"x", Some((8, now)));
        assert_eq!(refused.due().unwrap().since(now).as_secs(), 1);
        // It can be used.
        refused.begin(b"a");
        refused.end(false);
        assert_eq!(refused.due(), None);
    }

    proptest! {
        #[test]
        fn tries_are_never_dense(
            moments in proptest::collection::vec(0..5_000_000_000_u64, 1..9),
        ) {
            // More than the capacity.
            let mut refused = Refused::new();
            let mut last = 0;
            for (number, moment) in moments.iter().enumerate() {
                last += moment;
                let name = [b'a' + number as u8];
                let now = Instant::at(last);
                refused.note(&name, b"x", Some((number as u32, now)));
                let due = refused.due().unwrap();
                let whole = due.nanos() % 1_000_000_000 == 0;
                prop_assert!(whole || number > config::SLOTS);
            }
        }
    }
}
