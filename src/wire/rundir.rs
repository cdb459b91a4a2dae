//! Names in the run directory for data that a service directory cannot hold.
//!
//! A directory is identified by its device and inode, so that supervisor and
//! `sv` derive the same name from any path to it, without a table of links:
//! `DEVICE-INODE`, both decimal, as `stat -c %d-%i DIRECTORY` prints them.
//! Data that belongs to an entry of a directory, regardless of where that
//! leads, is named `DEVICE-INODE-ENTRY`.

use crate::text::{Line, Path, TooLong};

/// Returns the name for a directory or, if `entry` is not empty, for that
/// entry of it.
pub fn name(device: u64, inode: u64, entry: &[u8]) -> Result<Path, TooLong> {
    let mut line = Line::new();
    line.number(device).text("-").number(inode);
    let dash: &[u8] = if entry.is_empty() { b"" } else { b"-" };
    Path::join(&[line.as_bytes(), dash, entry])
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn names_differ_and_fit() {
        let of = |device, inode, entry: &[u8]| {
            name(device, inode, entry).unwrap().as_bytes().to_vec()
        };
        assert_eq!(of(2049, 17, b""), b"2049-17");
        assert_eq!(of(2049, 17, b"service"), b"2049-17-service");
        let longest = of(u64::MAX, u64::MAX, b"");
        assert_eq!(longest.len(), 41);
        assert!(name(1, 1, &[b'x'; crate::config::PATH_BYTES]).is_err());
    }
}
