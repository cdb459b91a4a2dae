//! Packs files such that the bytes depend only on their names and contents and
//! on the version.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::{
    rootfs::{Entries, Entry},
    version::version,
};

/// Returns a compressor to gzip, without a name and a time in its header.
pub(super) fn gzip<W: Write>(to: W) -> GzEncoder<W> {
    GzBuilder::new().write(to, Compression::best())
}

/// Returns the entries as a compressed tar.
pub(super) fn packed(entries: &Entries) -> Result<Vec<u8>> {
    let mut tar = Archive::new(gzip(Vec::new()))?;
    for (path, entry) in entries {
        tar.add(path, entry)?;
    }
    Ok(tar.end()?.finish()?)
}

/// Returns the entries, all in one directory, as a compressed tar.
pub(super) fn packed_below(dir: &str, entries: &Entries) -> Result<Vec<u8>> {
    let entries = entries.iter();
    let entries = entries.map(|(k, v)| (format!("{dir}/{k}"), v.clone()));
    packed(&entries.collect())
}

/// A tar that is being written. All in it belongs to root and has the time of
/// the version.
pub(super) struct Archive<W: Write> {
    tar: Builder<W>,
    time: u64,
}

impl<W: Write> Archive<W> {
    /// Starts an archive.
    pub(super) fn new(to: W) -> Result<Self> {
        Ok(Self {
            tar: Builder::new(to),
            time: version()?.time.parse()?,
        })
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, path: &str, entry: &Entry) -> Result<()> {
        match entry {
            Entry::Directory => {
                let mut header = self.header(EntryType::Directory, 0o755)?;
                self.tar.append_data(&mut header, path, &[][..])?;
            }
            Entry::File(mode, content) => {
                let mut header = self.header(EntryType::Regular, *mode)?;
                header.set_size(u64::try_from(content.len())?);
                self.tar.append_data(&mut header, path, &content[..])?;
            }
            Entry::Link(target) => {
                let mut header = self.header(EntryType::Symlink, 0o777)?;
                self.tar.append_link(&mut header, path, target)?;
            }
            Entry::Device(mode, major, minor) => {
                let mut header = self.header(EntryType::Char, *mode)?;
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                self.tar.append_data(&mut header, path, &[][..])?;
            }
        }
        Ok(())
    }

    /// Adds a record of POSIX's extended headers, which describes the entry
    /// that is added next.
    pub(super) fn describe(&mut self, key: &str, value: &str) -> Result<()> {
        let rest = format!(" {key}={value}\n");
        // The length counts its own digits.
        let mut length = rest.len();
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        let record = format!("{length}{rest}");
        let mut header = self.header(EntryType::XHeader, 0o644)?;
        header.set_size(u64::try_from(record.len())?);
        let path = "PaxHeaders/entry";
        self.tar.append_data(&mut header, path, record.as_bytes())?;
        Ok(())
    }

    /// Returns the header of an entry.
    fn header(&self, kind: EntryType, mode: u32) -> Result<Header> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_size(0);
        header.set_mtime(self.time);
        Ok(header)
    }

    /// Ends the archive.
    pub(super) fn end(self) -> Result<W> {
        Ok(self.tar.into_inner()?)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_record_has_its_own_length() {
        for value in ["", "x", &"y".repeat(81), &"z".repeat(82)] {
            let mut tar = Archive::new(Vec::new()).unwrap();
            tar.describe("key", value).unwrap();
            let entry = Entry::File(0o644, b"content".to_vec());
            tar.add("name", &entry).unwrap();
            let bytes = tar.end().unwrap();
            let mut tar = tar::Archive::new(&bytes[..]);
            let mut entry = tar.entries().unwrap().next().unwrap().unwrap();
            let mut records = entry.pax_extensions().unwrap().unwrap();
            let record = records.next().unwrap().unwrap();
            assert_eq!(record.key(), Ok("key"));
            assert_eq!(record.value(), Ok(value));
            assert!(records.next().is_none());
        }
    }
}
