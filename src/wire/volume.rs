//! Names of a volume: label and UUID in the first bytes of a file system or
//! swap area, UUID of a partition in the partition table, and its name in the
//! kernel's `uevent` (fstab(5), blkid(8)).

use crate::text::whole_number;

/// Kind of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The label in the file system.
    Label,
    /// The UUID in the file system.
    Uuid,
    /// The UUID in the partition table; if the table has none, the number of
    /// the disk and that of the partition: `0123abcd-01`.
    Partition,
    /// The name in the partition table, which only a GPT has.
    PartitionName,
}

/// The name of a volume: `LABEL=data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Kind of the name.
    pub key: Key,
    /// The name itself.
    value: &'a [u8],
}

/// Bytes to read from the start of a volume or disk.
pub const HEAD: usize = 4096;

/// Format of a volume. The label follows the UUID.
struct Kind {
    /// Offset and bytes of its magic number.
    magic: (u16, &'static [u8]),
    /// Offset of its UUID.
    uuid: u16,
    /// The UUID is a number, and the label is padded with blanks instead of
    /// zeros.
    fat: bool,
}

/// Returns an entry of the table.
const fn kind(offset: u16, magic: &'static [u8], uuid: u16, fat: bool) -> Kind {
    Kind {
        magic: (offset, magic),
        uuid,
        fat,
    }
}

/// Known formats: ext2 to ext4, swap with pages of 4096 bytes, FAT32, FAT12
/// and FAT16. The first match counts.
const KINDS: [Kind; 4] = [
    kind(0x438, &[0x53, 0xef], 0x468, false),
    kind(4086, b"SWAPSPACE2", 1036, false),
    kind(82, b"FAT32 ", 67, true),
    kind(54, b"FAT1", 39, true),
];

impl Kind {
    /// Returns the order in which the bytes of the UUID are spelled, the
    /// length of the label and its padding byte.
    fn form(&self) -> (&'static [u8], usize, u8) {
        if self.fat {
            (&NUMBER, 11, b' ')
        } else {
            (&STRAIGHT, 16, 0)
        }
    }
}

impl<'a> Tag<'a> {
    /// Reads a name; `None` if it is that of a device.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let keys: [(&[u8], _); 4] = [
            (b"LABEL=", Key::Label),
            (b"UUID=", Key::Uuid),
            (b"PARTUUID=", Key::Partition),
            (b"PARTLABEL=", Key::PartitionName),
        ];
        keys.into_iter().find_map(|(word, key)| {
            let value = super::cmdline::unquoted(text.strip_prefix(word)?);
            (!value.is_empty()).then_some(Self { key, value })
        })
    }

    /// Returns true if a volume can have this name. The name of a partition is
    /// its UUID or, where the table has none, `0123abcd-01` with partitions
    /// counted from one. Suffixes such as the kernel's `/PARTNROFF=` are not
    /// accepted.
    pub fn is_possible(self) -> bool {
        self.key != Key::Partition
            || match self.value.len() {
                11 => !self.value.ends_with(b"-00"),
                length => length == 36,
            }
    }

    /// Returns true if it names the volume that begins with `head`, its first
    /// [`HEAD`] bytes, or partition `number` of the disk that begins with it
    /// if that has an MBR partition table.
    pub fn names(self, head: &[u8], number: u8) -> bool {
        let mut digits = Digits(self.value);
        if self.key == Key::Partition {
            return number > 0
                && has(head, 510, &[0x55, 0xaa])
                && digits.spell(at(head, 440), &NUMBER)
                && digits.spell(&[number], &[0])
                && digits.0.is_empty();
        }
        let mut kinds = KINDS.iter();
        let kind = kinds.find(|k| has(head, k.magic.0.into(), k.magic.1));
        let Some(kind) = kind else { return false };
        let (order, room, fill) = kind.form();
        let uuid = at(head, kind.uuid.into());
        if self.key == Key::Uuid {
            return digits.spell(uuid, order) && digits.0.is_empty();
        }
        let label = at(uuid, order.len()).get(..room);
        let rest = label.and_then(|label| label.strip_prefix(self.value));
        self.key == Key::Label
            && rest.is_some_and(|rest| rest.iter().all(|byte| *byte == fill))
    }

    /// Returns true if it is the name in this line of a partition's `uevent`
    /// in sysfs, which shows letters beyond ASCII as `!`.
    pub fn names_partition(self, line: &[u8]) -> bool {
        self.key == Key::PartitionName
            && line.strip_prefix(b"PARTNAME=") == Some(self.value)
    }

    /// Returns true if it names the partition with this UUID in a GPT.
    pub fn names_entry(self, uuid: &[u8; 16]) -> bool {
        let mut digits = Digits(self.value);
        digits.spell(uuid, &MIXED) && digits.0.is_empty()
    }
}

/// Byte order of a little-endian number.
const NUMBER: [u8; 4] = [3, 2, 1, 0];
/// Byte order of a UUID.
const STRAIGHT: [u8; 16] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// Byte order of a UUID in a GPT, where the first three fields are
/// little-endian numbers.
const MIXED: [u8; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

/// Hexadecimal digits, with or without hyphens between them.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// Returns true if the next digits spell `bytes` in this `order`.
    fn spell(&mut self, bytes: &[u8], order: &[u8]) -> bool {
        order.iter().all(|index| {
            let byte = bytes.get(usize::from(*index)).copied();
            byte.is_some_and(|byte| {
                self.is_next(byte >> 4) && self.is_next(byte & 15)
            })
        })
    }

    /// Returns true if the next digit is this one.
    fn is_next(&mut self, nibble: u8) -> bool {
        while let [digit, rest @ ..] = self.0 {
            self.0 = rest;
            if *digit != b'-' {
                let digit = char::from(*digit).to_digit(16);
                return digit == Some(nibble.into());
            }
        }
        false
    }
}

/// Returns the number of the partition of `disk` that the device `name` is,
/// counted from one; `None` if it is none. A disk name that ends in a digit is
/// followed by a `p`: `loop12` is no partition of `loop1`.
pub fn partition_number(disk: &[u8], name: &[u8]) -> Option<u8> {
    let rest = name.strip_prefix(disk)?;
    let rest = if disk.last()?.is_ascii_digit() {
        rest.strip_prefix(b"p")?
    } else {
        rest
    };
    let number = u8::try_from(whole_number(rest)?).ok()?;
    (number > 0).then_some(number)
}

/// Returns the byte offset of the UUID of partition `number`, counted from
/// one, on the disk that begins with `head`, its first [`HEAD`] bytes; `None`
/// if it has no GPT.
pub fn entry_place(head: &[u8], number: u8) -> Option<u64> {
    /// Bytes of a block; disks with larger blocks are not supported.
    const BLOCK: u64 = 512;
    /// Offset of the UUID in a table entry.
    const UUID: u64 = 16;
    let header = at(head, 512);
    if !has(header, 0, b"EFI PART") {
        return None;
    }
    // The upper half of either number is 0: the table is at the disk's start.
    let block = u32::from_le_bytes(*at(header, 72).first_chunk()?);
    let size = u16::from_le_bytes(*at(header, 84).first_chunk()?);
    let before = u64::from(number).checked_sub(1)?;
    let offset = u64::from(block).wrapping_mul(BLOCK).wrapping_add(UUID);
    Some(offset.wrapping_add(before.wrapping_mul(size.into())))
}

/// Returns true if `wanted` is at `offset`.
fn has(bytes: &[u8], offset: usize, wanted: &[u8]) -> bool {
    at(bytes, offset).starts_with(wanted)
}

/// Returns the bytes from `offset` on.
fn at(bytes: &[u8], offset: usize) -> &[u8] {
    bytes.get(offset..).unwrap_or(&[])
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "0fedcba9-8765-4321-0123-456789abcdef";

    fn tag(text: &str) -> Tag<'_> {
        Tag::parse(text.as_bytes()).unwrap()
    }

    /// The bytes of the UUID above.
    const BYTES: [u8; 16] = [
        0x0f, 0xed, 0xcb, 0xa9, 0x87, 0x65, 0x43, 0x21, 0x01, 0x23, 0x45, 0x67,
        0x89, 0xab, 0xcd, 0xef,
    ];

    /// Returns a head with these bytes at these offsets, as the programs named
    /// in the tests write them.
    fn bytes(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        for (offset, part) in parts {
            bytes[*offset..][..part.len()].copy_from_slice(part);
        }
        bytes
    }

    #[test]
    fn superblocks_of_mkfs_are_recognised() {
        let ext4 = [
            (0x438, &[0x53, 0xef][..]),
            (0x468, &BYTES),
            (0x478, b"data"),
        ];
        let head = bytes(&ext4);
        assert!(tag(&format!("UUID={UUID}")).names(&head, 1));
        let large = UUID.to_uppercase();
        assert!(tag(&format!("UUID={large}")).names(&head, 1));
        assert!(tag("LABEL=data").names(&head, 1));
        assert!(tag("LABEL=\"data\"").names(&head, 1));
        for other in ["LABEL=dat", "LABEL=data2"] {
            assert!(!tag(other).names(&head, 1), "{other}");
        }
        assert!(!tag(&format!("UUID={UUID}0")).names(&head, 1));
        assert!(!tag(&format!("PARTUUID={UUID}")).names(&head, 1));
        assert!(!tag("LABEL=data").names(&bytes(&[(0x478, b"data")]), 1));
        assert!(!tag("PARTLABEL=data").names(&head, 1));
    }

    #[test]
    fn superblocks_of_mkswap_and_mkfs_fat_are_recognised() {
        let swap =
            [(4086, &b"SWAPSPACE2"[..]), (1036, &BYTES), (1052, b"pages")];
        let large = [
            (82, &b"FAT32   "[..]),
            (67, &[0x74, 0x6e, 0x75, 0x72]),
            (71, b"BOOT       "),
            (510, &[0x55, 0xaa]),
        ];
        let small = [
            (54, &b"FAT16   "[..]),
            (39, &[0x74, 0x6e, 0x75, 0x72]),
            (43, b"BOOT       "),
            (510, &[0x55, 0xaa]),
        ];
        let uuid = format!("UUID={UUID}");
        for (parts, label, uuid) in [
            (&swap[..], "LABEL=pages", &uuid[..]),
            (&large, "LABEL=BOOT", "UUID=7275-6E74"),
            (&small, "LABEL=BOOT", "UUID=7275-6e74"),
        ] {
            let head = bytes(parts);
            assert!(tag(label).names(&head, 0));
            assert!(tag(uuid).names(&head, 0));
            assert!(!tag(&format!("{label}S")).names(&head, 0));
            assert!(!tag("LABEL=B").names(&head, 0));
            assert!(!tag("UUID=7275-6E").names(&head, 0));
            assert!(!tag(&format!("{uuid}0")).names(&head, 0));
            // Each part of the magic counts.
            let mut other = head.clone();
            other[parts[0].0] ^= 1;
            assert!(
                !tag(label).names(&other, 0) && !tag(uuid).names(&other, 0)
            );
        }
        // All eleven letters.
        let full = bytes(&[(54, b"FAT12"), (43, b"ABCDEFGHIJK")]);
        assert!(tag("LABEL=ABCDEFGHIJK").names(&full, 0));
        assert!(!tag("LABEL=ABCDEFGHIJKF").names(&full, 0));
        assert!(!tag("LABEL=ABCDEFGHIJ").names(&full, 0));
    }

    #[test]
    fn the_kernels_name_of_a_partition_is_known() {
        let boot = tag("PARTLABEL=boot");
        assert!(boot.names_partition(b"PARTNAME=boot"));
        for line in ["PARTNAME=boot2", "PARTNAME=boo", "PARTN=boot", "boot", ""]
        {
            assert!(!boot.names_partition(line.as_bytes()), "{line}");
        }
        assert!(tag("PARTLABEL=\"a b\"").names_partition(b"PARTNAME=a b"));
        assert!(!tag("LABEL=boot").names_partition(b"PARTNAME=boot"));
    }

    #[test]
    fn partition_tables_of_sfdisk_are_recognised() {
        let signature = [0xcd, 0xab, 0x23, 0x01];
        let old = bytes(&[(440, &signature), (510, &[0x55, 0xaa])]);
        assert_eq!(entry_place(&old, 1), None);
        assert!(tag("PARTUUID=0123abcd-02").names(&old, 2));
        assert!(tag("PARTUUID=0123ABCD-0a").names(&old, 10));
        assert!(!tag("PARTUUID=0123abcd-02").names(&old, 1));
        assert!(!tag("UUID=0123abcd-02").names(&old, 2));
        assert!(!tag("PARTUUID=00000000-02").names(&[0; HEAD], 2));
        let new =
            bytes(&[(512, b"EFI PART"), (512 + 72, &[2]), (512 + 84, &[128])]);
        assert_eq!(entry_place(&new, 1), Some(1024 + 16));
        assert_eq!(entry_place(&new, 2), Some(1024 + 128 + 16));
        let mut swapped = BYTES;
        swapped[..4].reverse();
        swapped[4..6].reverse();
        swapped[6..8].reverse();
        assert!(tag(&format!("PARTUUID={UUID}")).names_entry(&swapped));
        assert!(!tag(&format!("PARTUUID={UUID}")).names_entry(&BYTES));
    }

    #[test]
    fn names_of_devices_are_no_names_of_volumes() {
        for text in ["/dev/sda1", "label=x", "tmpfs", "ubi0:root", "LABEL=", ""]
        {
            assert_eq!(Tag::parse(text.as_bytes()), None);
        }
    }

    #[test]
    fn a_disk_is_no_partition() {
        assert_eq!(partition_number(b"sda", b"sda1"), Some(1));
        assert_eq!(partition_number(b"mmcblk0", b"mmcblk0p12"), Some(12));
        for (disk, name) in [
            ("sda", "sda"),
            ("sda", "sda0"),
            ("sda", "sdb1"),
            ("sda", "sdaa"),
            ("sda", "sda256"),
            ("loop1", "loop12"),
            ("loop1", "loop10"),
            ("loop1", "loop1p"),
            ("loop1", "loop1p0"),
            ("mmcblk0", "mmcblk0boot0"),
            ("", "1"),
        ] {
            let number = partition_number(disk.as_bytes(), name.as_bytes());
            assert_eq!(number, None, "{name} of {disk}");
        }
        // A disk has an identifier of its own, which names no partition.
        let disk =
            bytes(&[(440, &[0xcd, 0xab, 0x23, 0x01]), (510, &[0x55, 0xaa])]);
        for (text, number) in [("0123abcd-00", 0), ("0123abcd-01", 1)] {
            let name = format!("PARTUUID={text}");
            assert_eq!(tag(&name).names(&disk, number), number > 0);
        }
        // The bytes before the table spell no name either.
        let new =
            bytes(&[(512, b"EFI PART"), (512 + 72, &[2]), (512 + 84, &[128])]);
        assert_eq!(entry_place(&new, 0), None);
        assert!(!tag("PARTUUID=00000000-00").names(&new, 0));
    }

    #[test]
    fn names_that_no_partition_can_have() {
        for good in ["0123abcd-01", "0123ABCD-ff", "00000000-10", UUID] {
            assert!(tag(&format!("PARTUUID={good}")).is_possible(), "{good}");
        }
        let offset = format!("{UUID}/PARTNROFF=1");
        let longer = format!("{UUID}0");
        let shorter = UUID.replacen('-', "", 1);
        for bad in [
            "0123abcd-00",
            "0123abcd-1",
            "0123abcd-001",
            "0123abcd",
            "0123abcd01",
            "0123abcd-01/PARTNROFF=1",
            &offset,
            &longer,
            &shorter,
            "-",
        ] {
            assert!(!tag(&format!("PARTUUID={bad}")).is_possible(), "{bad}");
            assert!(tag(&format!("LABEL={bad}")).is_possible(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_partition_has_one_name(
            disk in any::<[u8; 4]>(), number in any::<u8>(), other in any::<u8>(),
        ) {
            let head = bytes(&[(440, &disk), (510, &[0x55, 0xaa])]);
            let name = format!("{:08x}-{number:02x}", u32::from_le_bytes(disk));
            let text = format!("PARTUUID={name}");
            prop_assert_eq!(tag(&text).is_possible(), number > 0);
            let named = number > 0 && number == other;
            prop_assert_eq!(tag(&text).names(&head, other), named);
        }

        #[test]
        fn any_bytes_are_read_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..HEAD),
            value in ".{1,40}", number in any::<u8>(),
        ) {
            for key in ["LABEL", "UUID", "PARTUUID", "PARTLABEL"] {
                let text = format!("{key}={value}");
                // Quotes with nothing in them are no name.
                if let Some(tag) = Tag::parse(text.as_bytes()) {
                    let _known = tag.names(&bytes, number);
                    let _known = tag.names_partition(&bytes);
                }
                let _place = entry_place(&bytes, number);
            }
        }

        #[test]
        fn superblocks_and_nothing_else_have_a_name(
            kind in 0..KINDS.len(), uuid in any::<[u8; 16]>(),
            label in "[!-~]{1,11}", other in "[!-~]{1,11}",
        ) {
            let kind = &KINDS[kind];
            let (order, room, fill) = kind.form();
            let mut padded = label.clone().into_bytes();
            padded.resize(room, fill);
            let offset = usize::from(kind.uuid);
            let head = bytes(&[
                (kind.magic.0.into(), kind.magic.1),
                (offset, &uuid[..order.len()]),
                (offset + order.len(), &padded),
            ]);
            let digits: String =
                order.iter().map(|i| format!("{:02X}", uuid[usize::from(*i)])).collect();
            let uuid = format!("UUID={digits}");
            prop_assert!(tag(&uuid).names(&head, 0));
            // Quotes around a name are not part of it.
            if let Some(tag) = Tag::parse(format!("LABEL={label}").as_bytes())
                && tag.value == label.as_bytes()
            {
                prop_assert!(tag.names(&head, 0));
            }
            if let Some(tag) = Tag::parse(format!("LABEL={other}").as_bytes()) {
                prop_assert_eq!(
                    tag.names(&head, 0), tag.value == label.as_bytes()
                );
            }
        }
    }
}
