//! dm-verity: the boot parameter, the superblock that `veritysetup format`
//! writes to the start of a hash device, and the line of the kernel's table
//! (Documentation/admin-guide/device-mapper/verity.rst).
//!
//! Only the root hash is trusted. The superblock is not: each of its fields is
//! bounded here, and a wrong one gives a device on which no block has the hash
//! that it should have.

use ufmt::uwrite;

use super::dm::{self, Device};

/// Value of `runt.verity=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verity<'a> {
    /// Name of the device with the data.
    pub data: &'a [u8],
    /// Name of the device with the superblock and the hashes.
    pub hash: &'a [u8],
    /// The hash over all, as hexadecimal digits.
    root_hash: &'a [u8],
}

impl<'a> Verity<'a> {
    /// Reads `DATA:HASH:ROOTHASH`. `None` if there is no such name or the hash
    /// is none: as many digits as SHA-1 to SHA-512 have.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        let colon = |byte: &u8| *byte == b':';
        let first = text.iter().position(colon)?;
        let last = text.iter().rposition(colon)?;
        let verity = Self {
            data: text.get(..first)?,
            hash: text.get(first.checked_add(1)?..last)?,
            root_hash: text.get(last.checked_add(1)?..)?,
        };
        let Self {
            data,
            hash,
            root_hash,
        } = verity;
        let is_hash = (40..=128).contains(&root_hash.len())
            && root_hash.len().is_multiple_of(2)
            && root_hash.iter().all(u8::is_ascii_hexdigit);
        (is_hash && !data.is_empty() && !hash.is_empty()).then_some(verity)
    }
}

/// Bytes of the superblock.
pub const SUPERBLOCK: usize = 512;

/// Contents of a superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock<'a> {
    /// Position of the salt: 0 after the data, 1 before it.
    kind: u32,
    /// Name of the hash.
    algorithm: &'a [u8],
    /// Bytes of a block of data.
    data_block: u32,
    /// Bytes of a block of hashes.
    hash_block: u32,
    /// Blocks of data.
    blocks: u64,
    salt: &'a [u8],
}

/// Most bytes of the salt.
const SALT: usize = 256;
/// Sizes of a block.
const BLOCK: core::ops::RangeInclusive<u32> = 512..=1 << 19;
/// Greatest size of a device in bytes.
const MOST: u64 = i64::MAX.unsigned_abs();

/// Returns the bytes from offset `at` on.
fn field_from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or(&[])
}

/// Returns the `N` bytes at offset `at`.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let field = field_from(bytes, at).first_chunk();
    field.copied().unwrap_or([0; N])
}

impl<'a> Superblock<'a> {
    /// Reads a superblock; returns the name of the first field that is wrong.
    pub fn parse(bytes: &'a [u8; SUPERBLOCK]) -> Result<Self, &'static str> {
        let number = |at| u32::from_le_bytes(field(bytes, at));
        let kind = number(12);
        let mut names = field_from(bytes, 32).split(|byte| *byte == 0);
        let algorithm = names.next().unwrap_or(&[]);
        let (data_block, hash_block) = (number(64), number(68));
        let blocks = u64::from_le_bytes(field(bytes, 72));
        let size = blocks.checked_mul(data_block.into()).unwrap_or(0);
        let length = usize::from(u16::from_le_bytes(field(bytes, 80)));
        let salt = field_from(bytes, 88).get(..length).unwrap_or(&[]);
        let is_block =
            |size: u32| BLOCK.contains(&size) && size.is_power_of_two();
        // Nothing that would end a word of the table.
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let rules = [
            ("signature", bytes.starts_with(b"verity\0\0")),
            ("version", number(8) == 1),
            ("hash type", kind <= 1),
            (
                "algorithm",
                (1..32).contains(&algorithm.len())
                    && algorithm.iter().all(is_name),
            ),
            ("data block size", is_block(data_block)),
            ("hash block size", is_block(hash_block)),
            ("number of blocks", (1..=MOST).contains(&size)),
            ("salt size", length <= SALT),
        ];
        match rules.iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(field),
            None => Ok(Self {
                kind,
                algorithm,
                data_block,
                hash_block,
                blocks,
                salt,
            }),
        }
    }

    /// Returns the number of sectors of 512 bytes of the data.
    pub fn sectors(&self) -> u64 {
        // Bounded when it was read.
        self.blocks.saturating_mul(self.data_block.into()) / 512
    }

    /// Returns the line of the kernel's table, for a superblock in the first
    /// block of the hash device.
    pub fn table(
        &self,
        verity: &Verity<'_>,
        data: Device,
        hash: Device,
    ) -> Table {
        let mut line = Table::new();
        // There is room for every superblock and hash.
        let _fits = uwrite!(
            line,
            "{} {}:{} {}:{} {} {} {} 1 ",
            self.kind,
            data.major,
            data.minor,
            hash.major,
            hash.minor,
            self.data_block,
            self.hash_block,
            self.blocks
        );
        let salt = self.salt.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let salt = salt.filter_map(|nibble| {
            b"0123456789abcdef".get(usize::from(nibble)).copied()
        });
        let none: &[u8] = if self.salt.is_empty() { b"-" } else { b"" };
        let words = [self.algorithm, b" ", verity.root_hash, b" ", none];
        for byte in words.into_iter().flatten().copied().chain(salt) {
            let _fits = line.push(byte).is_ok();
        }
        line
    }
}

/// A line of the table.
pub type Table = heapless::Vec<u8, { dm::LINE }>;

// Eight numbers, a name, a hash, a salt and what separates them.
const _: () = assert!(dm::LINE >= 8 * 20 + 32 + 128 + 2 * SALT + 12);

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    /// A root hash of SHA-1.
    const HASH: &str = "00112233445566778899aabbccddeeff00112233";

    /// Returns the superblock that veritysetup 2.6 wrote for 50 blocks with
    /// the salt 00112233.
    fn superblock() -> [u8; SUPERBLOCK] {
        let mut bytes = [0; SUPERBLOCK];
        let mut put = |at: usize, field: &[u8]| {
            bytes[at..][..field.len()].copy_from_slice(field);
        };
        put(0, b"verity\0\0\x01\0\0\0\x01");
        put(16, b"runt\0\0\x40\0\x80\0\0\0\0\0\0\x01sha256");
        put(65, &[0x10, 0, 0, 0, 0x10, 0, 0, 50]);
        put(80, b"\x04\0\0\0\0\0\0\0\x00\x11\x22\x33");
        bytes
    }

    /// Returns the line of the table for a superblock.
    fn table(bytes: &[u8; SUPERBLOCK]) -> String {
        let text = format!("a:b:{HASH}");
        let verity = Verity::parse(text.as_bytes()).unwrap();
        let [data, hash] = [0xfe01, 0xfe02].map(Device::decode);
        let superblock = Superblock::parse(bytes).unwrap();
        let line = superblock.table(&verity, data, hash);
        String::from_utf8(line.to_vec()).unwrap()
    }

    #[test]
    fn parameters() {
        let parse = |text: &str| {
            let text = text.as_bytes().to_vec();
            Verity::parse(&text).map(|verity| {
                let Verity { data, hash, .. } = verity;
                [data, hash].map(|name| String::from_utf8(name.into()).unwrap())
            })
        };
        let both = |a: &str, b: &str| Some([a.to_string(), b.to_string()]);
        let text = format!("/dev/sda1:LABEL=a:b:{HASH}");
        assert_eq!(parse(&text), both("/dev/sda1", "LABEL=a:b"));
        let long = "Fa".repeat(64);
        assert_eq!(parse(&format!("a:b:{long}")), both("a", "b"));
        for wrong in [
            format!("a:b:{}", &HASH[1..]),
            format!("a:b:{}", &HASH[2..]),
            format!("a:b:{long}00"),
            format!("a:b:{}g", &HASH[1..]),
            format!("a:b:{HASH} "),
            format!("a:{HASH}"),
            format!(":b:{HASH}"),
            format!("a::{HASH}"),
            HASH.into(),
            "::".into(),
            ":".into(),
            String::new(),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_superblock_of_veritysetup() {
        let bytes = superblock();
        let parsed = Superblock::parse(&bytes).unwrap();
        assert_eq!(parsed.sectors(), 50 * 8);
        assert_eq!(
            table(&bytes),
            format!("1 254:1 254:2 4096 4096 50 1 sha256 {HASH} 00112233")
        );
        let mut unsalted = bytes;
        unsalted[80] = 0;
        assert!(table(&unsalted).ends_with(&format!("sha256 {HASH} -")));
    }

    #[test]
    fn every_field_is_bounded() {
        let set = |at: usize, field: &[u8]| {
            let mut bytes = superblock();
            bytes[at..][..field.len()].copy_from_slice(field);
            Superblock::parse(&bytes).err()
        };
        for (at, field, name) in [
            (5, &b"i"[..], "signature"),
            (7, b"1", "signature"),
            (8, b"\x02", "version"),
            (11, b"\x01", "version"),
            (12, b"\x02", "hash type"),
            (32, b"\0", "algorithm"),
            (34, b" ", "algorithm"),
            (34, b"\n", "algorithm"),
            (38, &[b'a'; 26], "algorithm"),
            (64, b"\0\x01", "data block size"),
            (64, b"\x01", "data block size"),
            (66, b"\x10", "data block size"),
            (68, b"\0\0\0\x80", "hash block size"),
            (72, b"\0", "number of blocks"),
            (78, b"\x08", "number of blocks"),
            (79, b"\x80", "number of blocks"),
            (80, b"\x01\x01", "salt size"),
            (81, b"\xff", "salt size"),
        ] {
            assert_eq!(set(at, field), Some(name), "{at}");
        }
        for (at, field) in [
            (12, &b"\0"[..]),
            (64, b"\0\x02\0\0\0\0\x08"),
            (80, b"\0\x01"),
            (77, b"\x01"),
        ] {
            assert_eq!(set(at, field), None, "{at}");
        }
    }

    proptest! {
        #[test]
        fn a_table_has_ten_words_and_fits(
            salt in proptest::collection::vec(any::<u8>(), 0..=SALT),
            name in "[a-zA-Z0-9-]{1,31}", blocks in 1..=MOST >> 19,
            exponents in [9_u32..=19, 9..=19],
        ) {
            let mut bytes = superblock();
            let [data, hash] = exponents.map(|exponent| 1_u32 << exponent);
            bytes[32..64].fill(0);
            bytes[32..][..name.len()].copy_from_slice(name.as_bytes());
            bytes[64..68].copy_from_slice(&data.to_le_bytes());
            bytes[68..72].copy_from_slice(&hash.to_le_bytes());
            bytes[72..80].copy_from_slice(&blocks.to_le_bytes());
            let length = u16::try_from(salt.len()).unwrap();
            bytes[80..82].copy_from_slice(&length.to_le_bytes());
            bytes[88..][..salt.len()].copy_from_slice(&salt);
            let table = table(&bytes);
            let words: Vec<_> = table.split(' ').collect();
            prop_assert_eq!(words.len(), 10);
            prop_assert_eq!(words[5], blocks.to_string());
            prop_assert_eq!(words[7], name);
            let hex: String =
                salt.iter().map(|byte| format!("{byte:02x}")).collect();
            let hex = if hex.is_empty() { "-" } else { &hex };
            prop_assert_eq!(words[9], hex);
        }

        #[test]
        fn any_superblock_is_read(
            random in proptest::collection::vec(any::<u8>(), SUPERBLOCK),
            changes in proptest::collection::vec((0..SUPERBLOCK, any::<u8>()), 0..4),
        ) {
            let _read = Superblock::parse(random.first_chunk().unwrap()).is_ok();
            let mut bytes = superblock();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if let Ok(superblock) = Superblock::parse(&bytes) {
                prop_assert!(superblock.sectors() > 0);
                prop_assert_eq!(table(&bytes).split(' ').count(), 10);
            }
        }
    }
}
