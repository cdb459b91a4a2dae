//! Describes the open files of a slot in the ledger, for the next execution of
//! this process, which goes on with them.
//!
//! A description is a few numbers of descriptors with a check sum of what they
//! lead to. It is trusted only if the same files are open under the same
//! numbers; otherwise the slot is opened by its paths, as any other.

use core::iter::once;

use crate::{
    sys::{
        AsFd as _, Fd,
        fault::{inherited_info, number_of, take_inherited, unlock_one},
        file::{Identity, info_of},
    },
    wire::ledger::check,
};

use super::ledger::Held;

/// Number of files: lock, control FIFO and `ok` of the service, then those of
/// the log service, then both ends of the log pipe.
pub(super) const FILES: usize = 8;

/// The files of a slot; `None` where it has none.
pub(super) type Files<F> = [Option<F>; FILES];

/// Indices of the locks; that of the service directory is 0.
const LOCKS: [usize; 2] = [1, 4];

/// Index of the flags, behind the numbers of the service directory and of the
/// files, which are 0 for none.
const FLAGS: usize = 1 + FILES;

/// Index of the check sum of the flags and of what the numbers lead to.
const SUM: usize = FLAGS + 1;

/// Index of the word that says what is published of the service; that of the
/// log service follows.
const PUBLISHED: usize = SUM + 1;

/// Index of the first word of the name.
const NAME: usize = PUBLISHED + 2;

/// Bytes of the longest name that is kept.
const NAME_BYTES: usize = size_of::<Held>() - 4 * NAME;

/// Returns the words of the files of a service directory, which are open from
/// now on in the next execution too.
pub(super) fn describe(
    name: &[u8],
    flags: u32,
    dir: &Fd,
    files: &Files<&Fd>,
) -> Held {
    let mut held = Held::default();
    put(&mut held, FLAGS, flags);
    let mut sum = flags;
    for (index, file) in [Some(dir)].iter().chain(files).enumerate() {
        let Some(file) = file else { continue };
        let Ok(info) = info_of(file.as_fd()) else {
            return Held::default();
        };
        file.pass_on();
        put(&mut held, index, number_of(file));
        sum = add(sum, index, info.identity);
    }
    put(&mut held, SUM, sum);
    if name.len() <= NAME_BYTES {
        let words = held.iter_mut().skip(NAME);
        for (word, bytes) in words.zip(name.chunks(4)) {
            let mut chunk = [0; 4];
            for (place, byte) in chunk.iter_mut().zip(bytes) {
                *place = *byte;
            }
            *word = u32::from_le_bytes(chunk);
        }
    }
    held
}

/// Returns the name of the slot, after which there are zeros; empty if it is
/// too long to be kept.
pub(super) fn name(held: &Held) -> [u8; NAME_BYTES] {
    let mut name = [0; NAME_BYTES];
    let words = held.iter().skip(NAME);
    for (chunk, word) in name.as_chunks_mut().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    name
}

/// Returns the flags.
pub(super) fn flags(held: &Held) -> u32 {
    number(held, FLAGS)
}

/// Returns the number of the inherited service directory.
pub(super) fn directory(held: &Held) -> u32 {
    number(held, 0)
}

/// Takes the inherited files of a service directory. Returns `None` if any is
/// not the one that was described, or has lost its name; what seems to be a
/// lock is unlocked then.
pub(super) fn take(held: &Held, dir: Identity) -> Option<Files<Fd>> {
    if !leads_to(held, dir) {
        for index in LOCKS {
            unlock_one(number(held, index));
        }
        return None;
    }
    let mut files = [const { None }; FILES];
    for (index, file) in (1..).zip(&mut files) {
        *file = take_inherited(number(held, index));
        if let Some(file) = file {
            file.pass_on();
        }
    }
    Some(files)
}

/// Returns true if the numbers of a description lead to what they led to when
/// it was made, of this service directory.
fn leads_to(held: &Held, dir: Identity) -> bool {
    let mut sum = add(flags(held), 0, dir);
    for index in 1..=FILES {
        let number = number(held, index);
        if number != 0 {
            match inherited_info(number) {
                Some(info) if info.links > 0 => {
                    sum = add(sum, index, info.identity);
                }
                _ => return false,
            }
        }
    }
    // All zeros describe nothing.
    directory(held) != 0 && held.get(SUM) == Some(&sum)
}

/// Returns the word that says what is published of the service, or with
/// `of_log` of the log service.
pub(super) fn published(held: &mut Held, of_log: bool) -> Option<&mut u32> {
    held.get_mut(PUBLISHED.saturating_add(of_log.into()))
}

/// Stores a word.
fn put(held: &mut Held, index: usize, value: u32) {
    if let Some(word) = held.get_mut(index) {
        *word = value;
    }
}

/// Returns a word: the number of the file at an index, or 0 for none.
fn number(held: &Held, index: usize) -> u32 {
    held.get(index).copied().unwrap_or(0)
}

/// Adds what the file at an index leads to to a check sum.
fn add(sum: u32, index: usize, identity: Identity) -> u32 {
    let Identity { device, inode } = identity;
    let halves = [device, device >> 32, inode, inode >> 32];
    let index = u64::try_from(index).unwrap_or(0);
    let words = once(u64::from(sum)).chain(once(index)).chain(halves);
    check(words.map(|word| u32::try_from(word & 0xffff_ffff).unwrap_or(0)))
}
