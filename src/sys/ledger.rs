//! Maps a file of words that outlive this process: the ledger. This is the
//! only mapping that the program makes.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::general;
use rustix::fd::AsRawFd as _;
use syscalls::Sysno;

use super::{At, Errno, error::syscall, memory, open};

/// File systems on which a page that was written once can be written again
/// without an allocation, which could fail and end the process: tmpfs, ramfs,
/// ext4 and xfs. The last two only serve supervisors whose run directory is on
/// a disk.
const FILE_SYSTEMS: [u32; 4] = [
    general::TMPFS_MAGIC,
    general::RAMFS_MAGIC,
    general::EXT4_SUPER_MAGIC,
    general::XFS_SUPER_MAGIC,
];

/// Returns true when a file in an open directory can be mapped with [`map`].
pub fn can_map(dir: At<'_>) -> bool {
    open::is_on(dir, &FILE_SYSTEMS)
}

/// Maps the first `words` words of an open file for good. A word may be used
/// only while the file is long enough to contain it. Copies of this process do
/// not have the mapping.
pub fn map(file: At<'_>, words: usize) -> Result<&'static [AtomicU32], Errno> {
    #[cfg(target_pointer_width = "64")]
    const CALL: Sysno = Sysno::mmap;
    #[cfg(target_pointer_width = "32")]
    const CALL: Sysno = Sysno::mmap2;
    const ACCESS: u32 = general::PROT_READ | general::PROT_WRITE;
    const SHARED: u32 = general::MAP_SHARED;
    let fd = file.as_raw_fd();
    let bytes = words.saturating_mul(size_of::<AtomicU32>());
    // SAFETY: the kernel chooses an unused range of addresses.
    let start = unsafe { syscall!(CALL, 0, bytes, ACCESS, SHARED, fd, 0) }?;
    memory::keep_from_copies(start, bytes);
    let start = core::ptr::with_exposed_provenance(start);
    // SAFETY: the range starts at a page, has this length and stays mapped.
    // Other processes that map the file, and the kernel, change whole words.
    Ok(unsafe { core::slice::from_raw_parts(start, words) })
}

/// Reads one byte, if there is one, into the first byte of a word. The kernel
/// writes it: if this process is killed at any time, it is in the file or in
/// the word.
pub fn read_byte(file: At<'_>, word: &AtomicU32) -> Option<u8> {
    let fd = file.as_raw_fd();
    loop {
        // SAFETY: the kernel writes one byte, for which the word has room.
        match unsafe { syscall!(Sysno::read, fd, word.as_ptr(), 1) } {
            Ok(1) => return Some(first_byte(word.load(Ordering::Relaxed))),
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return None,
        }
    }
}

/// Returns the byte that [`read_byte`] has read into a word.
pub fn first_byte(word: u32) -> u8 {
    let [byte, ..] = word.to_ne_bytes();
    byte
}

#[cfg(test)]
mod test {
    use std::{io::Write as _, os::fd::AsFd as _};

    use super::*;

    #[test]
    fn words_are_those_of_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 4096]).unwrap();
        let words = map(file.as_fd(), 2000).unwrap();
        words[3].store(u32::from_ne_bytes(*b"word"), Ordering::Relaxed);
        let mut bytes = [0; 4];
        let read = super::super::file::read_at(file.as_fd(), &mut bytes, 12);
        assert_eq!((read, &bytes), (Ok(4), b"word"));
    }
}
