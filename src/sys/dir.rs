//! Lists the entries of a directory.

use core::ffi::CStr;

use rustix::fd::AsFd as _;

use super::{At, CWD, Errno, file, raw};
use crate::text::Path;

/// Bytes of records read at once: about twenty names.
const BUFFER: usize = 1024;

/// A reader of a directory that may pause between any two entries.
///
/// The kernel keeps the position: an entry that exists during the whole
/// reading is returned exactly once, whatever is made or removed meanwhile.
#[derive(Debug)]
pub struct Reader {
    buffer: [u8; BUFFER],
    /// The range of the records in `buffer` that are not returned yet.
    rest: core::ops::Range<usize>,
}

impl Reader {
    /// A reader that starts at the offset of the open directory.
    pub const NEW: Self = Self {
        buffer: [0; BUFFER],
        rest: 0..0,
    };

    /// Returns the name of the next entry of `dir` but `.` and `..`; `None`
    /// after the last. `dir` must be the same open directory each time.
    pub fn next(&mut self, dir: At<'_>) -> Result<Option<&CStr>, Errno> {
        loop {
            if self.rest.is_empty() {
                let count = raw::getdents(dir, &mut self.buffer)?;
                if count == 0 {
                    return Ok(None);
                }
                self.rest = 0..count;
            }
            let records = self.buffer.get(self.rest.clone()).unwrap_or(&[]);
            let length = first(records).ok_or(Errno::EIO)?;
            let start = self.rest.start;
            let end = start.saturating_add(length);
            self.rest.start = end;
            let name = start.saturating_add(NAME)..end;
            if matches!(
                self.buffer.get(name.clone()),
                Some([b'.', 0, ..] | [b'.', b'.', 0, ..])
            ) {
                continue;
            }
            let name = self.buffer.get(name).unwrap_or(&[]);
            return CStr::from_bytes_until_nul(name)
                .map(Some)
                .map_err(|_| Errno::EIO);
        }
    }
}

/// Calls `each` with the name of every entry but `.` and `..`.
///
/// The directory's offset stays where the last reader left it: open it again
/// for each use. An error ends the reading after a part of the entries.
pub fn list(dir: At<'_>, mut each: impl FnMut(&CStr)) -> Result<(), Errno> {
    list_to(dir, &mut each)
}

/// Does the work of [`list`]: one copy of the code for all callers.
fn list_to(dir: At<'_>, each: &mut dyn FnMut(&CStr)) -> Result<(), Errno> {
    let mut reader = Reader::NEW;
    while let Some(name) = reader.next(dir)? {
        each(name);
    }
    Ok(())
}

/// Returns the path of the entry after `last` in the order of names, among
/// those that end in `suffix` and are not hidden. A missing directory has
/// none.
///
/// An entry whose path is longer than `config::PATH_BYTES` is left out.
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
        let after = last.is_none_or(|last| bytes > last.as_bytes());
        let before = best.as_ref().is_none_or(|best| bytes < best.as_bytes());
        if after && before {
            best = Some(path);
        }
    });
    // A part of them is better than none.
    let _part = listed.is_err();
    best
}

/// The offset of the name in a record: after inode (8 bytes), offset (8), the
/// record's own length (2) and type (1).
const NAME: usize = 19;

/// Returns the length of the first record; `None` when it is incomplete, which
/// the kernel never writes.
fn first(records: &[u8]) -> Option<usize> {
    let length = records.get(16..)?.first_chunk::<2>()?;
    let length = usize::from(u16::from_ne_bytes(*length));
    (NAME < length && length <= records.len()).then_some(length)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn entries_that_stay_are_listed_once_while_others_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let make = |name: &str| std::fs::write(path(name), "").unwrap();
        for number in 0..200 {
            make(&format!("stays{number}"));
            make(&format!("goes{number}"));
        }
        let root = format!("{}\0", dir.path().display());
        let root = CStr::from_bytes_with_nul(root.as_bytes()).unwrap();
        let open = file::open_dir(CWD, root).unwrap();
        let mut reader = Reader::NEW;
        let mut stays = Vec::new();
        let mut at = 0;
        while let Some(name) = reader.next(open.as_fd()).unwrap() {
            let name = name.to_str().unwrap().to_string();
            if name.starts_with("stays") {
                stays.push(name);
            }
            if at < 200 {
                std::fs::remove_file(path(&format!("goes{at}"))).unwrap();
                make(&format!("comes{at}"));
            }
            at += 1;
        }
        stays.sort();
        let mut all: Vec<_> = (0..200).map(|n| format!("stays{n}")).collect();
        all.sort();
        assert_eq!(stays, all);
        assert_eq!(reader.next(open.as_fd()), Ok(None));
    }

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
