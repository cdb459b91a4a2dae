//! Root file system named by words of the kernel's command line
//! (kernel-parameters(7)), and its overlay.

use super::cmdline::{unquoted, words};

/// Boot parameters of the root. The last of several equal words counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Root<'a> {
    /// `root=`: a device or a volume's name; empty: not given.
    pub device: &'a [u8],
    /// `rootfstype=`: type of the file system; empty: any that fits.
    pub kind: &'a [u8],
    /// `rootflags=`: options of the file system.
    pub options: &'a [u8],
    /// `runt.overlay=`: `tmpfs`, or the device that stores the changes; empty:
    /// no overlay.
    pub overlay: &'a [u8],
    /// `runt.verity=`: the dm-verity device that is the root instead of
    /// `device`, see `wire::verity`; empty: none.
    pub verity: &'a [u8],
    /// `rw`, as opposed to `ro`.
    pub writable: bool,
    /// `rootwait`: wait for the device without a time limit.
    pub wait: bool,
}

impl<'a> Root<'a> {
    /// Reads the words of a line. Returns the last one that is not about the
    /// root.
    pub fn read(&mut self, line: &'a [u8]) -> Option<&'a [u8]> {
        let mut other = None;
        for word in words(line) {
            let values: [(&[u8], _); 5] = [
                (b"root=", &mut self.device),
                (b"rootfstype=", &mut self.kind),
                (b"rootflags=", &mut self.options),
                (b"runt.overlay=", &mut self.overlay),
                (b"runt.verity=", &mut self.verity),
            ];
            let mut known = false;
            for (key, field) in values {
                if let Some(value) = word.strip_prefix(key) {
                    *field = unquoted(value);
                    known = true;
                }
            }
            match word {
                b"ro" => self.writable = false,
                b"rw" => self.writable = true,
                b"rootwait" => self.wait = true,
                _ if known => {}
                _ => other = Some(word),
            }
        }
        other
    }

    /// Returns true if it is the one that the kernel has unpacked.
    pub fn is_here(&self) -> bool {
        self.device.starts_with(b"/dev/ram")
    }

    /// Returns true if it is given and not the one that the kernel has
    /// unpacked.
    pub fn is_elsewhere(&self) -> bool {
        !(self.device.is_empty() && self.verity.is_empty() || self.is_here())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_words_of_a_root() {
        let mut root = Root::default();
        let other = root.read(b"console=ttyS0 quiet");
        assert_eq!((root, other), (Root::default(), Some(&b"quiet"[..])));
        assert!(!root.is_elsewhere() && !root.is_here());
        assert_eq!(root.read(b"root=/dev/ram0 "), None);
        assert!(!root.is_elsewhere() && root.is_here());
        let other = root.read(
            b"root=PARTUUID=0a-01 rootfstype=ext4 ro rw xroot=no rootwait \
              rootflags=\"noatime,x=a b\" runt.overlay=LABEL=data",
        );
        assert_eq!(other, Some(&b"xroot=no"[..]));
        let expected = Root {
            device: b"PARTUUID=0a-01",
            kind: b"ext4",
            options: b"noatime,x=a b",
            writable: true,
            wait: true,
            overlay: b"LABEL=data",
            verity: b"",
        };
        assert_eq!(root, expected);
        assert!(root.is_elsewhere());
        assert_eq!(root.read(b"root=/dev/sda2 ro runt.overlay="), None);
        assert_eq!(root.device, b"/dev/sda2");
        assert!(!root.writable && root.wait);
        assert_eq!(root.overlay, b"");
    }

    #[test]
    fn a_verified_root_needs_no_other_word() {
        let mut root = Root::default();
        assert_eq!(root.read(b"runt.verity=a:b:c"), None);
        assert_eq!(root.verity, b"a:b:c");
        assert!(root.is_elsewhere());
        assert_eq!(root.read(b"root=/dev/ram0"), None);
        assert!(!root.is_elsewhere());
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_read(
            line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)
        ) {
            let mut root = Root::default();
            root.read(&line);
            proptest::prop_assert!(root.device.len() <= line.len());
        }
    }
}
