//! Lines of /proc/self/mounts (proc(5), fstab(5)).

use super::fstab::field;
use crate::text::{Path, TooLong};

/// One mounted file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Mount point, with the escapes of fstab.
    target: &'a [u8],
    /// Type.
    kind: &'a [u8],
}

/// Types that store nothing on a medium: there is nothing to write back, and
/// some of them stay in use to the end.
const WITHOUT_MEDIUM: &[u8] = b"proc sysfs devtmpfs devpts tmpfs ramfs \
    rootfs cgroup cgroup2 debugfs tracefs securityfs configfs pstore bpf \
    mqueue";

impl<'a> Mount<'a> {
    /// Reads a line; `None` when it has fewer than three words.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(|byte| *byte == b' ');
        let _device = words.next()?;
        Some(Self {
            target: words.next()?,
            kind: words.next()?,
        })
    }

    /// Returns true if data may have to be written before the power goes off.
    pub fn has_medium(self) -> bool {
        let mut without = WITHOUT_MEDIUM.split(|byte| *byte == b' ');
        !without.any(|kind| kind == self.kind)
    }

    /// Returns true if it is the kernel's initial file system, into which it
    /// unpacks an initramfs.
    pub fn is_initial(self) -> bool {
        self.kind == b"rootfs"
    }

    /// Returns the mount point.
    ///
    /// Returns `Err(TooLong)` if that is more than `config::PATH_BYTES`.
    pub fn target(self) -> Result<Path, TooLong> {
        field(self.target)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_target_with_a_blank() {
        let line = b"/dev/vda1 /mnt/a\\040b\\134 ext4 rw 0 0";
        let mount = Mount::parse(line).unwrap();
        assert!(mount.has_medium());
        assert_eq!(mount.target().unwrap().as_bytes(), b"/mnt/a b\\");
        assert!(
            !Mount::parse(b"none /run tmpfs rw 0 0")
                .unwrap()
                .has_medium()
        );
        assert_eq!(Mount::parse(b"none /run"), None);
    }

    #[test]
    fn file_systems_with_and_without_a_medium() {
        // type, has a medium, is the initial one
        let rows = [
            ("ext4", true, false),
            ("vfat", true, false),
            ("tmpfs", false, false),
            ("proc", false, false),
            ("cgroup2", false, false),
            ("rootfs", false, true),
        ];
        for (kind, medium, initial) in rows {
            let line = format!("none / {kind} rw 0 0");
            let mount = Mount::parse(line.as_bytes()).unwrap();
            let found = (mount.has_medium(), mount.is_initial());
            assert_eq!(found, (medium, initial), "{kind}");
        }
    }

    #[test]
    fn a_target_beyond_the_capacity() {
        let line = [b"x /", &[b'y'; 300][..], b" ext4"].concat();
        assert!(Mount::parse(&line).unwrap().target().is_err());
    }
}
