//! Which entries a directory has.

use core::ffi::CStr;

use rustix::fd::AsFd as _;

use super::{At, CWD, Errno, file, raw};
use crate::text::Path;

/// Bytes of records read at once: some twenty names.
const BUFFER: usize = 1024;

/// Calls `each` with the name of every entry but `.` and `..`.
///
/// The directory's offset is where the last reader left it: open it anew for
/// each use. An error ends the reading; `each` has then seen a part only.
pub fn list(dir: At<'_>, mut each: impl FnMut(&CStr)) -> Result<(), Errno> {
    list_to(dir, &mut each)
}

/// As [`list`]: one copy of the code for all its callers.
fn list_to(dir: At<'_>, each: &mut dyn FnMut(&CStr)) -> Result<(), Errno> {
    let mut buffer = [0; BUFFER];
    loop {
        let count = raw::getdents(dir, &mut buffer)?;
        let mut records = buffer.get(..count).unwrap_or(&[]);
        if records.is_empty() {
            return Ok(());
        }
        while let Some((name, rest)) = first(records) {
            records = rest;
            if name != c"." && name != c".." {
                each(name);
            }
        }
    }
}

/// The path of the entry behind `last` in the order of names, of those that
/// end in `suffix` and are not hidden. A directory that is not there has none.
///
/// Whose path is longer than `config::PATH_BYTES` is left out.
pub fn next(dir: &CStr, last: Option<&Path>, suffix: &[u8]) -> Option<Path> {
    let mut best: Option<Path> = None;
    let open = file::open_dir(CWD, dir).ok()?;
    let listed = list(open.as_fd(), |name| {
        let name = name.to_bytes();
        let path = Path::join(&[dir.to_bytes(), b"/", name]);
        let wanted = !name.starts_with(b".") && name.ends_with(suffix);
        let (true, Ok(path)) = (wanted, path) else {
            return;
        };
        let bytes = path.as_bytes();
        let behind = last.is_none_or(|last| bytes > last.as_bytes());
        let before = best.as_ref().is_none_or(|best| bytes < best.as_bytes());
        if behind && before {
            best = Some(path);
        }
    });
    // A part of them is better than none.
    let _part = listed.is_err();
    best
}

/// The first record's name and what follows the record.
///
/// A record is inode (8 bytes), offset (8), its own length (2), type (1) and
/// the name with its NUL.
fn first(records: &[u8]) -> Option<(&CStr, &[u8])> {
    let length = records.get(16..)?.first_chunk::<2>()?;
    let length = usize::from(u16::from_ne_bytes(*length));
    let (record, rest) = records.split_at_checked(length)?;
    let name = CStr::from_bytes_until_nul(record.get(19..)?).ok()?;
    Some((name, rest))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["c.conf", "a.conf", ".b.conf", "b", "b.conf"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let path = format!("{}\0", dir.path().display());
        let path = CStr::from_bytes_with_nul(path.as_bytes()).unwrap();
        let mut last = None;
        let mut names = Vec::new();
        while let Some(next) = next(path, last.as_ref(), b".conf") {
            names.push(crate::text::basename(next.as_bytes()).to_vec());
            last = Some(next);
        }
        assert_eq!(names, [b"a.conf", b"b.conf", b"c.conf"]);
        assert!(super::next(c"/nonexistent", None, b"").is_none());
    }
}
