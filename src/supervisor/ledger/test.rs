//! Tests the ledger: what the next supervisor finds in it.

use std::ffi::CString;

use super::*;
use crate::text::Line;

const KEY: Identity = Identity {
    device: 7,
    inode: 9,
};

/// Returns the fields of a row with this inode, all others being `rest`.
fn fields(inode: u64, rest: u8) -> Fields {
    let mut fields = [rest; BYTES];
    fields[..8].copy_from_slice(&KEY.device.to_le_bytes());
    fields[8..16].copy_from_slice(&inode.to_le_bytes());
    fields
}

fn reporter() -> Reporter {
    Reporter {
        prefix: Line::new(),
        console: None,
    }
}

/// Opens the ledger in a directory as the next supervisor does.
fn open(dir: &tempfile::TempDir, slots: usize) -> Ledger {
    let path = CString::new(dir.path().to_str().unwrap()).unwrap();
    let mut ledger = Ledger::default();
    ledger.use_later(file::open_dir(CWD, &path).unwrap());
    ledger.begin(slots, &reporter());
    ledger
}

/// Returns a directory where a ledger can be kept, if there is one.
fn place() -> Option<tempfile::TempDir> {
    let dirs = [std::env::temp_dir(), "/dev/shm".into()];
    let made = dirs.iter().flat_map(tempfile::tempdir_in);
    made.into_iter().find(|dir| open(dir, 1).is_kept())
}

fn key(inode: u64) -> Identity {
    Identity { inode, ..KEY }
}

/// Returns the row of a directory, and its index.
fn row_of(ledger: &Ledger, key: Identity) -> Option<(u16, Fields)> {
    let index = ledger.find(key)?;
    Some((index, ledger.left(index)?))
}

#[test]
fn rows_are_found_by_the_next_supervisor_only() {
    let Some(dir) = place() else { return };
    std::fs::remove_file(dir.path().join("ledger")).unwrap();
    let mut first = open(&dir, 64);
    for index in [0, 3, 63] {
        let row = fields(index.into(), 5);
        first.record(index, &row, &reporter());
        assert!(!first.is_left(index));
        assert_eq!(first.find(key(index.into())), None);
    }
    first.clear(3);
    let next = open(&dir, 64);
    for index in [0, 63] {
        assert!(next.is_left(index));
        let found = row_of(&next, key(index.into()));
        assert_eq!(found, Some((index, fields(index.into(), 5))));
    }
    assert!(!next.is_left(3));
    assert_eq!(next.find(key(3)), None);
    // It grows with the highest row.
    let size = dir.path().join("ledger").metadata().unwrap().len();
    assert!((19_500..20_000).contains(&size), "{size}");
}

#[test]
fn the_number_of_slots_may_change() {
    let Some(dir) = place() else { return };
    std::fs::remove_file(dir.path().join("ledger")).unwrap();
    let mut first = open(&dir, 64);
    let all = [0, 3, 40, 63];
    for index in all {
        first.record(index, &fields(index.into(), 5), &reporter());
        let cell = first.cell(index).unwrap();
        cell.store(100 + u32::from(index), Ordering::Relaxed);
    }
    for slots in [999, 64, 5, 4, 50] {
        let next = open(&dir, slots);
        let found = all.map(|inode| {
            let (index, row) = row_of(&next, key(inode.into())).unwrap();
            assert_eq!(row, fields(inode.into(), 5));
            let cell = next.cell(index).unwrap();
            let pid = 100 + u32::from(inode);
            assert_eq!(cell.load(Ordering::Relaxed), pid);
            index
        });
        assert!(found.iter().all(|index| usize::from(*index) < slots));
    }
    // With too few slots it begins anew.
    assert_eq!(open(&dir, 3).find(key(0)), None);
    let size = dir.path().join("ledger").metadata().unwrap().len();
    assert!(size < 1500);
}

#[test]
fn a_damaged_row_is_not_found() {
    let Some(dir) = place() else { return };
    let mut first = open(&dir, 4);
    first.record(1, &fields(1, 5), &reporter());
    first.record(2, &fields(2, 6), &reporter());
    let start = start_of(1, STRIDE);
    let cell = start + 1;
    for index in start..start + ROW {
        for bit in 0..32 {
            let next = open(&dir, 4);
            let word = next.get(index);
            next.set(index, word ^ (1 << bit));
            let found = next.find(key(1)).is_some();
            assert_eq!(found, index == cell, "word {}", index - start);
            assert!(next.find(key(2)).is_some(), "{} {bit}", index - start);
            next.set(index, word);
            assert!(next.find(key(1)).is_some());
        }
    }
}

#[test]
fn a_row_that_was_cut_short_has_its_last_content() {
    let Some(dir) = place() else { return };
    let mut first = open(&dir, 4);
    first.record(1, &fields(1, 5), &reporter());
    let start = start_of(1, STRIDE);
    first.copy(start, OLD);
    first.set(WRITTEN, 2);
    for written in 0..ROW {
        let next = open(&dir, 4);
        assert_eq!(row_of(&next, key(1)), Some((1, fields(1, 5))));
        next.copy(start, OLD);
        for index in start..start + written {
            next.set(index, 0x0bad_0bad);
        }
        next.set(WRITTEN, 2);
    }
}

#[test]
fn a_control_byte_counts_until_its_slot_is_recorded() {
    let Some(dir) = place() else { return };
    for role in [Role::Service, Role::Log] {
        let mut first = open(&dir, 4);
        first.record(2, &fields(2, 5), &reporter());
        let cell = first.command_cell(2, role).unwrap();
        assert_eq!(open(&dir, 4).take_command(2), None, "none was read");
        first.command_cell(2, role);
        cell.store(u32::from_ne_bytes(*b"t\0\0\0"), Ordering::Relaxed);
        let mut next = open(&dir, 4);
        assert_eq!(next.take_command(1), None);
        assert_eq!(next.take_command(2), Some((role, b't')));
        assert_eq!(next.take_command(2), None);
        cell.store(u32::from_ne_bytes(*b"t\0\0\0"), Ordering::Relaxed);
        first.record(2, &fields(2, 6), &reporter());
        assert_eq!(open(&dir, 4).take_command(2), None, "recorded");
    }
}

#[test]
fn pids_of_another_boot_do_not_count() {
    let Some(dir) = place() else { return };
    let mut first = open(&dir, 4);
    first.record(1, &fields(1, 5), &reporter());
    for word in [0, 1, 3, ROW_WORDS] {
        first.set(word, first.get(word) ^ 1);
        let mut next = open(&dir, 4);
        assert_eq!(next.find(key(1)), None, "{word}");
        next.record(1, &fields(1, 5), &reporter());
        first = next;
    }
}

#[test]
fn open_files_are_described_by_rows_of_this_version() {
    let Some(dir) = place() else { return };
    std::fs::remove_file(dir.path().join("ledger")).unwrap();
    let held = core::array::from_fn(|index| 7 << index);
    let mut first = open(&dir, 4);
    assert!(!first.hold(1, &held), "there is no row");
    first.record(1, &fields(1, 5), &reporter());
    assert!(first.hold(1, &held));
    let next = open(&dir, 4);
    assert_eq!(next.held(1), held);
    assert_eq!(next.held(0), Held::default());
    assert_eq!(row_of(&next, key(1)), Some((1, fields(1, 5))));
    // A version before had shorter rows.
    std::fs::remove_file(dir.path().join("ledger")).unwrap();
    let mut first = open(&dir, 4);
    first.stride = ROW;
    first.set(ROW_WORDS, ROW.try_into().unwrap());
    for index in 0..3 {
        first.record(index, &fields(index.into(), 5), &reporter());
    }
    for _ in 0..2 {
        let mut next = open(&dir, 4);
        for index in 0..3 {
            let found = row_of(&next, key(index.into()));
            assert_eq!(found, Some((index, fields(index.into(), 5))));
            assert!(!next.hold(index, &held));
            assert_eq!(next.held(index), Held::default());
            next.record(index, &fields(index.into(), 5), &reporter());
        }
    }
}
