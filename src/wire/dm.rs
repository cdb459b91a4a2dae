//! Records of the device mapper's ioctls (linux/dm-ioctl.h).

use crate::text;

/// Bytes of `struct dm_ioctl`.
const HEADER: usize = 312;
/// Offset of the device number in it.
const DEVICE: usize = 40;
/// Bytes of `struct dm_target_spec`, without the line that follows it.
const TARGET: usize = 40;

/// Most bytes of the line of a target.
pub const LINE: usize = 848;
/// Bytes of a record: with a target, its line and a NUL.
pub const RECORD: usize = HEADER + TARGET + (LINE + 1).next_multiple_of(8);

/// A record, to be passed to the kernel and overwritten by it.
pub type Record = [u8; RECORD];

/// The flag of a table and a device that are only read.
pub const READ_ONLY: u32 = 1;

/// Number of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Number of its driver.
    pub major: u64,
    /// Number among those of its driver.
    pub minor: u64,
}

impl Device {
    /// Decodes a number as the kernel stores it in records and in `stat`.
    pub fn decode(number: u64) -> Self {
        Self {
            major: number >> 8 & 0xfff,
            minor: number & 0xff | number >> 12 & 0xf_ff00,
        }
    }
}

/// A table of one target.
pub struct Target<'a> {
    /// Length in sectors of 512 bytes.
    pub sectors: u64,
    /// Name of its type.
    pub kind: &'a [u8],
    /// Its line, of at most [`LINE`] bytes.
    pub line: &'a [u8],
}

/// Encodes a record about the device `name`; `flags` are those of the kernel.
pub fn record(name: &[u8], flags: u32, target: Option<&Target<'_>>) -> Record {
    let mut record = [0; RECORD];
    let mut put = |offset: usize, bytes: &[u8]| {
        let room = record.get_mut(offset..).unwrap_or(&mut []);
        let _fits = text::copy(room, bytes);
    };
    let length = |length: usize| u32::try_from(length).unwrap_or(0);
    // Version of the interface, length, start of the table.
    put(0, &4_u32.to_le_bytes());
    put(12, &length(RECORD).to_le_bytes());
    put(16, &length(HEADER).to_le_bytes());
    put(28, &flags.to_le_bytes());
    put(48, name);
    if let Some(target) = target {
        // One target, from sector 0 on.
        put(20, &1_u32.to_le_bytes());
        put(HEADER + 8, &target.sectors.to_le_bytes());
        put(HEADER + 24, target.kind);
        put(HEADER + TARGET, target.line);
    }
    record
}

/// Returns the number of the device that a record is about.
pub fn device(record: &Record) -> u64 {
    let bytes = record.get(DEVICE..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_record_has_the_kernels_layout() {
        let target = Target {
            sectors: 0x0102_0304_0506,
            kind: b"verity",
            line: b"1 254:1 254:2",
        };
        let record = record(b"root", READ_ONLY, Some(&target));
        let mut expected = vec![0; RECORD];
        let mut put = |at: usize, bytes: &[u8]| {
            expected[at..][..bytes.len()].copy_from_slice(bytes);
        };
        put(0, &[4]);
        put(12, &u32::try_from(RECORD).unwrap().to_le_bytes());
        put(16, &[0x38, 1]);
        put(20, &[1]);
        put(28, &[1]);
        put(48, b"root");
        put(320, &[6, 5, 4, 3, 2, 1]);
        put(336, b"verity");
        put(352, b"1 254:1 254:2");
        assert_eq!(record[..], expected);
        assert_eq!(super::record(b"root", 0, None)[20], 0);
    }

    #[test]
    fn the_longest_line_has_a_nul_behind_it() {
        let line = [b'x'; LINE];
        let target = Target {
            sectors: 1,
            kind: b"verity",
            line: &line,
        };
        let record = record(b"root", 0, Some(&target));
        assert!(record[352..].starts_with(&line));
        assert_eq!(record.last(), Some(&0));
    }

    #[test]
    fn numbers_of_devices() {
        let mut record = record(b"root", 0, None);
        record[DEVICE..][..4].copy_from_slice(&[0x34, 0xfe, 0x20, 0x01]);
        let device = Device::decode(device(&record));
        assert_eq!((device.major, device.minor), (254, 0x1234));
        let device = Device::decode(0xfd05);
        assert_eq!((device.major, device.minor), (253, 5));
    }
}
