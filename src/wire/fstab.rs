//! Lines of /etc/fstab (fstab(5), mount(8)).

use crate::text::{Path, TooLong};

/// Line of the file: a source, its mount point, and how to mount it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Source: a device, a directory to bind, or a name without meaning.
    pub device: &'a [u8],
    /// Mount point; `none` for swap.
    pub target: &'a [u8],
    /// Type of the file system.
    pub kind: &'a [u8],
    /// Words of the fourth field.
    pub options: &'a [u8],
    /// The file system must be checked before it is mounted.
    pub checked: bool,
}

impl<'a> Entry<'a> {
    /// Reads a line. Returns `Ok(None)` for blanks and comments, `Err` for a
    /// line with fewer than three fields.
    pub fn parse(line: &'a [u8]) -> Result<Option<Self>, Short> {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let device = match words.next() {
            None | Some([b'#', ..]) => return Ok(None),
            Some(device) => device,
        };
        let target = words.next().ok_or(Short)?;
        let kind = words.next().ok_or(Short)?;
        let options = words.next().unwrap_or(b"defaults");
        let pass = words.nth(1).unwrap_or(b"0");
        Ok(Some(Self {
            device,
            target,
            kind,
            options,
            checked: pass != b"0",
        }))
    }
}

/// Error: a line has too few fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short;

/// Returns a field with its escapes resolved: `\040` is a blank.
///
/// Returns `Err(TooLong)` if that is more than `config::PATH_BYTES` or
/// contains a NUL.
pub fn field(text: &[u8]) -> Result<Path, TooLong> {
    let mut bytes = text.iter();
    let mut path = Path::join(&[])?;
    while let Some(byte) = bytes.next() {
        let byte = match *byte {
            b'\\' => {
                let digits = bytes.by_ref().take(3);
                digits.fold(0_u8, |value, digit| {
                    value.wrapping_shl(3) | (digit & 7)
                })
            }
            byte => byte,
        };
        path.push(&[byte])?;
    }
    Ok(path)
}

/// MS_RDONLY.
pub const READ_ONLY: u32 = 1;
/// MS_NOSUID.
pub const NO_SUID: u32 = 2;
/// MS_NODEV.
pub const NO_DEVICES: u32 = 4;
/// MS_NOEXEC.
pub const NO_EXEC: u32 = 8;
/// Flags of a file system from which no program, device or privilege is used.
pub const DATA_ONLY: u32 = NO_SUID | NO_DEVICES | NO_EXEC;
/// MS_REMOUNT.
pub const REMOUNT: u32 = 0x20;
/// MS_SILENT: the kernel does not log that a mount failed.
pub const SILENT: u32 = 0x8000;
/// MS_BIND.
pub const BIND: u32 = 0x1000;

/// Options that are bits of mount(2), each after the letter of its bit: `A` is
/// the lowest; lower case clears the bit. An option with two bits is listed
/// twice, and both are set.
const BITS: &[u8] = b"Aro arw Bnosuid bsuid Cnodev cdev Dnoexec dexec Esync \
    easync Fremount Hdirsync Knoatime katime Lnodiratime ldiratime Mbind \
    Mrbind Orbind Psilent Vrelatime Ystrictatime Zlazytime";

/// Changes the bits of an option; returns false if it has none.
fn set_bits(flags: &mut u32, word: &[u8]) -> bool {
    let mut some = false;
    for entry in BITS.split(|byte| *byte == b' ') {
        if let [letter, name @ ..] = entry
            && name == word
        {
            let number = letter.to_ascii_uppercase().wrapping_sub(b'A');
            let bit = 1_u32.wrapping_shl(number.into());
            if letter.is_ascii_uppercase() {
                *flags |= bit;
            } else {
                *flags &= !bit;
            }
            some = true;
        }
    }
    some
}

/// Options for the programs that read the file, not for the kernel.
const OTHERS: &[u8] = b"defaults auto nouser user users _netdev sw";

/// Contents of the fourth field.
#[derive(Clone, Debug)]
pub struct Options {
    /// Flags of mount(2).
    pub flags: u32,
    /// Options for the file system, joined by commas.
    pub data: Path,
    /// `noauto`: not mounted at boot.
    pub not_at_boot: bool,
    /// `nofail`: the absence of the device is no failure.
    pub optional: bool,
}

impl Options {
    /// Reads the field. Returns `Err(TooLong)` if the options for the file
    /// system are more than `config::PATH_BYTES`.
    pub fn parse(text: &[u8]) -> Result<Self, TooLong> {
        let mut options = Self {
            flags: 0,
            data: Path::join(&[])?,
            not_at_boot: false,
            optional: false,
        };
        for word in text.split(|byte| *byte == b',') {
            match word {
                b"noauto" => options.not_at_boot = true,
                b"nofail" => options.optional = true,
                b"" | [b'x', b'-', ..] => {}
                _ if set_bits(&mut options.flags, word) => {}
                _ if OTHERS.split(|byte| *byte == b' ').any(|o| o == word) => {}
                _ => {
                    let data = options.data.as_bytes();
                    let comma: &[u8] = if data.is_empty() { b"" } else { b"," };
                    options.data = Path::join(&[data, comma, word])?;
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_good_and_bad() {
        let line = b"/dev/vda1\t/data  ext4 rw,noatime,commit=5,nofail 0 2";
        let entry = Entry::parse(line).unwrap().unwrap();
        assert_eq!(
            (entry.device, entry.target),
            (&b"/dev/vda1"[..], &b"/data"[..])
        );
        assert!(entry.checked && entry.kind == b"ext4");
        let options = Options::parse(entry.options).unwrap();
        assert_eq!(options.flags, 0x400);
        assert_eq!(options.data.as_bytes(), b"commit=5");
        assert!(options.optional && !options.not_at_boot);
        assert_eq!(Entry::parse(b"  # x y z"), Ok(None));
        assert_eq!(Entry::parse(b"\t"), Ok(None));
        assert_eq!(Entry::parse(b"/dev/sda1 /a"), Err(Short));
        let swap = Entry::parse(b"/dev/x none swap").unwrap().unwrap();
        assert!(!swap.checked && swap.options == b"defaults");
        assert_eq!(Options::parse(swap.options).unwrap().flags, 0);
    }

    /// Each option with the flag of mount(2) that it sets or clears.
    #[test]
    fn options_and_their_flags() {
        let set = [
            ("ro", 0x1),
            ("nosuid", 0x2),
            ("nodev", 0x4),
            ("noexec", 0x8),
            ("sync", 0x10),
            ("remount", 0x20),
            ("dirsync", 0x80),
            ("noatime", 0x400),
            ("nodiratime", 0x800),
            ("bind", 0x1000),
            ("rbind", 0x5000),
            ("silent", 0x8000),
            ("relatime", 0x20_0000),
            ("strictatime", 0x100_0000),
            ("lazytime", 0x200_0000),
        ];
        for (word, flags) in set {
            let options = Options::parse(word.as_bytes()).unwrap();
            assert_eq!(options.flags, flags, "{word}");
            assert!(options.data.as_bytes().is_empty(), "{word}");
        }
        let all = set.map(|(word, _)| word).join(",");
        let every = set.iter().fold(0, |all, (_, flags)| all | flags);
        let cleared = [
            ("rw", 0x1),
            ("suid", 0x2),
            ("dev", 0x4),
            ("exec", 0x8),
            ("async", 0x10),
            ("atime", 0x400),
            ("diratime", 0x800),
        ];
        for (word, flags) in cleared {
            let options = Options::parse(format!("{all},{word}").as_bytes());
            assert_eq!(options.unwrap().flags, every & !flags, "{word}");
        }
    }

    #[test]
    fn options_for_the_reader_of_the_file() {
        // word, not at boot, optional
        let rows = [
            ("noauto", true, false),
            ("nofail", false, true),
            ("defaults", false, false),
            ("auto,nouser,user,users,_netdev,sw", false, false),
            ("x-systemd.automount,,x-", false, false),
        ];
        for (text, not_at_boot, optional) in rows {
            let options = Options::parse(text.as_bytes()).unwrap();
            let found = (options.not_at_boot, options.optional, options.flags);
            assert_eq!(found, (not_at_boot, optional, 0), "{text}");
            assert!(options.data.as_bytes().is_empty(), "{text}");
        }
    }

    #[test]
    fn later_options_win() {
        let of = |text: &[u8]| Options::parse(text).unwrap();
        assert_eq!(of(b"ro,rw").flags, 0);
        assert_eq!(of(b"rw,ro,bind").flags, READ_ONLY | BIND);
        assert_eq!(of(b"rbind,remount").flags, 0x5000 | REMOUNT);
        assert_eq!(of(b"relatime,strictatime,lazytime").flags, 0x320_0000);
        assert_eq!(of(b"a,b").data.as_bytes(), b"a,b");
        assert_eq!(of(b"a,,b=1,x-y,user,c").data.as_bytes(), b"a,b=1,c");
        assert!(Options::parse(&[b'z'; 300]).is_err());
        assert_eq!(field(b"/a\\040b\\134").unwrap().as_bytes(), b"/a b\\");
        assert!(field(&[b'z'; 300]).is_err());
        assert!(field(b"/a\\000b").is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(entry)) = Entry::parse(&line) {
                prop_assert!(!entry.device.starts_with(b"#"));
                let _options = Options::parse(entry.options);
                let _path = field(entry.target);
            }
        }

        #[test]
        fn a_path_is_what_was_escaped(
            path in proptest::collection::vec(1..=255_u8, 0..crate::config::PATH_BYTES),
        ) {
            let mut text = Vec::new();
            for byte in &path {
                if byte.is_ascii_graphic() && *byte != b'\\' {
                    text.push(*byte);
                } else {
                    text.extend_from_slice(format!("\\{byte:03o}").as_bytes());
                }
            }
            let read = field(&text).unwrap();
            prop_assert_eq!(read.as_bytes(), path);
        }
    }
}
