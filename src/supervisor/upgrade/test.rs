//! Tests what is read of the ledger of another program: one of each format
//! that a release has written.

use std::{
    ffi::CString, fs, io::Write as _, os::fd::AsFd as _, string::String,
    vec::Vec,
};

use super::{
    super::{ledger::Ledger, slot::Recorded},
    *,
};
use crate::sys::{CWD, file};

/// A ledger of each format, with three slots: a `finish` that runs, a service
/// that is down, and one that runs with a log service. `format-N` is that of
/// a runsvdir with a services directory of these.
const IMAGES: [(u8, &[u8]); 1] =
    [(1, include_bytes!("../../../tests/ledger/format-1"))];

/// The slots of the images: inode and processes.
const SLOTS: [(u64, &[u32]); 3] =
    [(829_379, &[8537]), (829_378, &[]), (829_376, &[8535, 8534])];

/// Bytes of an image before the first row, and of a row.
const HEADER: usize = 1024;
const ROW: usize = 224;
/// Bytes that describe open files behind a row.
const HELD: usize = 68;

/// Checks a copy with these bytes; returns the reason of a refusal.
fn check(bytes: &[u8]) -> Result<(), String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let mut line = Line::new();
    if check_ledger(file.as_fd(), &mut line) {
        return Ok(());
    }
    Err(String::from_utf8_lossy(line.as_bytes()).into_owned())
}

/// Replaces a word.
fn set(bytes: &mut [u8], word: usize, value: u32) {
    bytes[4 * word..4 * word + 4].copy_from_slice(&value.to_le_bytes());
}

/// Returns an image as later versions write it, which describe the open files
/// of each slot behind its row.
fn with_held(image: &[u8]) -> Vec<u8> {
    let (header, rows) = image.split_at(HEADER);
    let mut all = header.to_vec();
    set(&mut all, 10, (ROW + HELD) as u32 / 4);
    for row in rows.chunks_exact(ROW) {
        all.extend_from_slice(row);
        all.extend_from_slice(&[0xff; HELD]);
    }
    all
}

#[test]
fn a_ledger_of_each_format_is_read() {
    let images = IMAGES.map(|(format, image)| (format, image.to_vec()));
    let later = IMAGES.map(|(format, image)| (format, with_held(image)));
    for (format, mut image) in images.into_iter().chain(later) {
        assert_eq!(check(&image), Ok(()), "{format}");
        let Some(dir) = [std::env::temp_dir(), "/dev/shm".into()]
            .iter()
            .flat_map(tempfile::tempdir_in)
            .find(|dir| open(dir).is_kept())
        else {
            continue;
        };
        // Pids count in the same boot only.
        let path = dir.path().join("ledger");
        let own = fs::read(&path).unwrap();
        image[12..16].copy_from_slice(&own[12..16]);
        fs::write(path, image).unwrap();
        let mut ledger = open(&dir);
        let rows = ledger.take_left().map(|index| {
            let recorded = Recorded::load(index, &ledger).unwrap();
            let pids = recorded.processes.iter().map(|(pid, _)| *pid);
            (recorded.identity.inode, pids.collect::<Vec<_>>())
        });
        let rows: Vec<_> = rows.collect();
        assert_eq!(rows, SLOTS.map(|(inode, pids)| (inode, pids.to_vec())));
    }
}

/// Opens the ledger in a directory.
fn open(dir: &tempfile::TempDir) -> Ledger {
    let path = CString::new(dir.path().to_str().unwrap()).unwrap();
    let mut ledger = Ledger::default();
    ledger.use_later(file::open_dir(CWD, &path).unwrap());
    let prefix = Line::new();
    ledger.begin(
        64,
        &Reporter {
            prefix,
            console: None,
        },
    );
    ledger
}

#[test]
fn what_does_not_fit_is_refused() {
    let (_, image) = IMAGES[0];
    // The bounds are those of the unit tests.
    let changed = |word, value| {
        let mut bytes = image.to_vec();
        set(&mut bytes, word, value);
        check(&bytes)
    };
    let refused = |text: &str| Err(String::from(text));
    assert_eq!(check(&[]), Ok(()));
    let other = refused("the ledger has another format");
    for word in [0, 1, 10] {
        assert_eq!(changed(word, 99), other);
    }
    // Another boot, and more slots.
    assert_eq!((changed(3, 1), changed(2, 999)), (Ok(()), Ok(())));
    assert_eq!((changed(11, 8), changed(12, 64)), (Ok(()), Ok(())));
    let name = "name-bytes = 8 is less than the 9 in use";
    assert_eq!(changed(11, 9), refused(name));
    let path = "path-bytes = 64 is less than the 65 in use";
    assert_eq!(changed(12, 65), refused(path));
    let bad = refused("a row of the ledger cannot be read");
    assert_eq!(check(&image[..100]), other);
    assert_eq!(check(&image[..HEADER + ROW]), bad);
    // A damaged row.
    for word in HEADER / 4 + 2..(HEADER + ROW) / 4 {
        assert_eq!(changed(word, 0x0bad_0bad), bad, "{word}");
    }
    // A free row does not count, wherever the others are.
    let mut more = image[..HEADER + 3 * ROW].to_vec();
    more.extend(image[HEADER..HEADER + ROW].to_vec());
    set(&mut more, 5, 4);
    assert_eq!(check(&more), refused("slots = 3 is less than the 4 in use"));
    set(&mut more, HEADER / 4, 0);
    assert_eq!(check(&more), Ok(()));
}
