//! What a line of /proc/self/mounts says (proc(5), fstab(5)).

use super::fstab::field;
use crate::text::{Path, TooLong};

/// One mounted file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Where it is mounted, with fstab's escapes.
    target: &'a [u8],
    /// Its type.
    kind: &'a [u8],
}

/// Types that keep nothing on a medium: there is nothing to write back, and
/// some of them are in use to the end.
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

    /// Whether something may have to be written before the power goes.
    pub fn has_medium(self) -> bool {
        let mut without = WITHOUT_MEDIUM.split(|byte| *byte == b' ');
        !without.any(|kind| kind == self.kind)
    }

    /// Whether it is what the kernel has at its start and unpacks an
    /// initramfs into.
    pub fn is_initial(self) -> bool {
        self.kind == b"rootfs"
    }

    /// Where it is mounted.
    ///
    /// `Err(TooLong)` when that is more than `config::PATH_BYTES`.
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
    fn a_target_beyond_the_capacity() {
        let line = [b"x /", &[b'y'; 300][..], b" ext4"].concat();
        assert!(Mount::parse(&line).unwrap().target().is_err());
    }
}
