//! Which entries a directory has.

use core::ffi::CStr;

use super::{At, Errno, raw};

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
