//! Tests that files and directories stay within their bounds for any sequence
//! of lines, rotations and failures.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::wire::clock::Wall;

/// Adds `bytes` in blocks of these sizes; returns the files.
fn files(mut fill: Fill, bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut files = vec![Vec::new()];
    let mut sizes = sizes.iter().cycle();
    let mut all = bytes;
    while !all.is_empty() {
        let (block, behind) =
            all.split_at(all.len().min(*sizes.next().unwrap()));
        all = behind;
        let mut rest = block;
        while !rest.is_empty() {
            let Step { take, rotate } = fill.step(rest);
            assert!(take > 0 || rotate && fill.size > 0);
            fill.add(take);
            files.last_mut().unwrap().extend_from_slice(&rest[..take]);
            rest = &rest[take..];
            if rotate {
                fill.size = 0;
                files.push(Vec::new());
            }
        }
    }
    files
}

/// Applies the rules of the contract line by line.
fn naive(bound: u64, line: u64, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut files = vec![Vec::new()];
    for byte in bytes {
        if files.last().unwrap().len() as u64 >= bound {
            files.push(Vec::new());
        }
        let file = files.last_mut().unwrap();
        file.push(*byte);
        let full = bound >= line && file.len() as u64 >= bound - line;
        if *byte == b'\n' && full {
            files.push(Vec::new());
        }
    }
    files
}

proptest! {
    #[test]
    fn blocks_are_cut_as_lines_are(
        bound in 1..300_u64,
        line in 1..120_u64,
        bytes in proptest::collection::vec(
            prop_oneof![1 => Just(b'\n'), 9 => Just(b'a')], 0..2000
        ),
        sizes in proptest::collection::vec(1..400_usize, 1..6),
    ) {
        let fill = Fill { size: 0, bound, line };
        let mut found = files(fill, &bytes, &sizes);
        prop_assert!(found.iter().all(|file| file.len() as u64 <= bound));
        let mut expected = naive(bound, line, &bytes);
        // An empty file at the end may be made early or late.
        for files in [&mut found, &mut expected] {
            files.retain(|file| !file.is_empty());
        }
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn defaults_rotate_in_the_last_thousand_bytes() {
    let mut fill = Fill {
        size: 998_998,
        bound: 1_000_000,
        line: 1000,
    };
    let step = |take, rotate| Step { take, rotate };
    assert_eq!(fill.step(b"a"), step(1, false));
    assert_eq!(fill.step(b"\n"), step(1, false));
    assert_eq!(fill.step(b"a\nb\n"), step(2, true));
    fill.add(1);
    assert_eq!(fill.step(&[b'a'; 2000]), step(1001, true));
    fill.bound = 0;
    assert_eq!(fill.step(&[b'\n'; 2000]), step(2000, false));
    let short = Fill {
        size: 500,
        bound: 500,
        line: 1000,
    };
    assert_eq!(short.step(b"\n"), step(0, true));
}

#[test]
fn uncounted_bytes_make_room_again() {
    let empty = Fill {
        size: 5,
        bound: 10,
        line: 3,
    };
    let mut fill = empty;
    fill.add(7);
    assert_eq!(fill.size, 12);
    fill.uncount(7);
    assert_eq!(fill, empty);
    fill.uncount(9);
    assert_eq!(fill.size, 0);
}

#[test]
fn files_are_counted_and_the_oldest_is_deleted_first() {
    let name = |secs, kind| LogName::new(Wall { secs, nanos: 0 }, kind);
    for processed in [false, true] {
        let mut olds = OldLogs::new(None, processed);
        for secs in [7, 5, 9] {
            olds.add(name(secs, Kind::Safe));
        }
        olds.add(name(3, Kind::Unsafe));
        olds.add(name(4, Kind::Unsafe));
        assert_eq!(olds.count, 5);
        assert_eq!(olds.newest, Some(name(9, Kind::Safe)));
        let (first, pending) = if processed {
            (name(5, Kind::Safe), Some(name(3, Kind::Unsafe)))
        } else {
            (name(3, Kind::Unsafe), None)
        };
        assert_eq!(olds.pending, pending);
        assert_eq!(olds.excess(5), None);
        assert_eq!(olds.excess(4), Some(first));
        assert!(!olds.removed_oldest(4));
        assert_eq!(olds.excess(3), None);
        assert!(olds.removed_oldest(2));
    }
}

/// Event of a directory.
#[derive(Clone, Debug)]
enum Event {
    /// Lines of these lengths are read at once.
    Lines(Vec<usize>),
    /// `current` has reached its age, or ALRM was received.
    Rotate,
    /// The processor ends, successfully or not.
    Processed(bool),
    /// Deletion is refused from now on, or allowed again.
    Sealed(bool),
    /// The disk is full: the oldest is deleted if there are more than `N`.
    Full,
    /// The logger is killed and started again.
    Killed,
    /// The clock jumps.
    Clock(u64),
}

/// A directory as the machine's owner keeps it, with files of numbers.
struct Model {
    files: BTreeMap<LogName, u64>,
    fill: Fill,
    keep: u64,
    keep_full: u64,
    processed: bool,
    busy: Option<LogName>,
    sealed: bool,
    clock: u64,
    newest: Option<LogName>,
    /// Bytes that were logged, and bytes that were deleted by the rules.
    logged: u64,
    deleted: u64,
    /// Some old logs could not be deleted when they should have been.
    late: bool,
}

impl Model {
    fn look(&self) -> OldLogs {
        let mut olds = OldLogs::new(self.newest, self.processed);
        self.files.keys().for_each(|name| olds.add(*name));
        olds
    }

    fn delete(&mut self, name: LogName) -> bool {
        assert!(self.busy != Some(name), "deleted under its processor");
        if self.sealed {
            return false;
        }
        self.deleted += self.files.remove(&name).unwrap();
        true
    }

    fn tidy(&mut self) {
        let mut olds = self.look();
        self.newest = olds.newest;
        self.late = false;
        while self.keep > 0
            && let Some(name) = olds.excess(self.keep)
        {
            if !self.delete(name) {
                self.late = true;
                break;
            }
            if olds.removed_oldest(self.keep) {
                olds = self.look();
            }
        }
        if self.busy.is_none() {
            self.busy = olds.pending;
        }
    }

    fn put_aside(&mut self, kind: Kind) {
        let clock = Wall {
            secs: self.clock,
            nanos: 0,
        };
        let name = LogName::after(self.newest, clock, kind);
        let moment = |name: LogName| name.moment();
        assert!(self.newest.and_then(moment) < moment(name), "an old name");
        self.newest = Some(name);
        assert!(self.files.insert(name, self.fill.size).is_none());
        self.fill.size = 0;
        self.tidy();
    }

    fn processed(&mut self, well: bool) {
        let Some(name) = self.busy.take() else { return };
        if well {
            let size = self.files.remove(&name).unwrap();
            self.files.insert(name.with(Kind::Safe), size);
        }
        self.tidy();
    }

    fn rotate(&mut self) {
        if self.fill.size == 0 {
            return;
        }
        // The input waits until nothing is pending.
        while self.busy.is_some() {
            self.processed(true);
        }
        let kind = if self.processed {
            Kind::Unsafe
        } else {
            Kind::Safe
        };
        self.put_aside(kind);
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Lines(lengths) => {
                let mut block = Vec::new();
                for length in lengths {
                    block.extend(vec![b'x'; *length]);
                    block.push(b'\n');
                }
                self.logged += block.len() as u64;
                let mut rest = &block[..];
                while !rest.is_empty() {
                    let Step { take, rotate } = self.fill.step(rest);
                    self.fill.add(take);
                    assert!(self.fill.size <= self.fill.bound);
                    rest = &rest[take..];
                    if rotate {
                        self.rotate();
                    }
                }
            }
            Event::Rotate => self.rotate(),
            Event::Processed(well) => self.processed(*well),
            Event::Sealed(sealed) => self.sealed = *sealed,
            Event::Full => {
                if self.keep_full < self.keep
                    && let Some(name) = self.look().excess(self.keep_full)
                {
                    self.delete(name);
                }
            }
            Event::Killed => {
                self.busy = None;
                self.newest = None;
                self.newest = self.look().newest;
                if self.fill.size > 0 {
                    self.put_aside(Kind::Unsafe);
                }
                self.tidy();
            }
            Event::Clock(secs) => self.clock = *secs,
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => proptest::collection::vec(0..150_usize, 1..8).prop_map(Event::Lines),
        2 => Just(Event::Rotate),
        3 => any::<bool>().prop_map(Event::Processed),
        1 => any::<bool>().prop_map(Event::Sealed),
        1 => Just(Event::Full),
        1 => Just(Event::Killed),
        1 => (0..1000_u64).prop_map(Event::Clock),
    ]
}

proptest! {
    #[test]
    fn the_disk_in_use_has_a_bound(
        bound in 1..400_u64,
        line in 1..120_u64,
        keep in 1..6_u64,
        keep_full in 0..6_u64,
        processed in any::<bool>(),
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut model = Model {
            files: BTreeMap::new(),
            fill: Fill { size: 0, bound, line },
            keep,
            keep_full,
            processed,
            busy: None,
            sealed: false,
            clock: 500,
            newest: None,
            logged: 0,
            deleted: 0,
            late: false,
        };
        for event in &events {
            model.step(event);
            let kept: u64 = model.files.values().sum();
            // Nothing is lost except by the rules.
            prop_assert_eq!(model.logged, kept + model.fill.size + model.deleted);
            // Each crash leaves one more file that waits for the processor.
            let waiting = model.files.keys()
                .filter(|name| name.kind() == Some(Kind::Unsafe)).count() as u64;
            let most = if processed { keep.max(waiting) } else { keep };
            if !model.late {
                prop_assert!(model.files.len() as u64 <= most);
                prop_assert!(kept + model.fill.size <= (most + 1) * bound);
            }
        }
        // All files whose deletion failed are deleted at the first
        // opportunity.
        model.step(&Event::Sealed(false));
        while model.busy.is_some() {
            model.step(&Event::Processed(true));
        }
        model.step(&Event::Lines(vec![1]));
        model.step(&Event::Rotate);
        while model.busy.is_some() {
            model.step(&Event::Processed(true));
        }
        prop_assert!(model.files.len() as u64 <= keep);
    }
}
