//! Passes open files on to the next execution of this program: pipes, FIFOs,
//! directories, and those of [`Fd::pass_on`]. The next execution takes what it
//! still needs, and closes the rest.

use core::{
    cell::UnsafeCell,
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::fd::AsFd as _;

use super::{
    At, Fd, child,
    fd::{self, WORDS},
    file::{self, Info, Kind},
    limits, raw,
};
use crate::config::family::RECOVERY;

/// Descriptors that were open when this execution began, as bits.
struct Inherited(UnsafeCell<[u32; WORDS]>);

// SAFETY: there is one thread, and no caller keeps a word.
unsafe impl Sync for Inherited {}

/// The inherited descriptors that nothing has taken.
static INHERITED: Inherited = Inherited(UnsafeCell::new([0; WORDS]));
/// Highest number of a descriptor that may have been open then.
static HIGHEST: AtomicU32 = AtomicU32::new(0);

/// Returns the highest number of a descriptor that can be inherited.
pub(super) fn bound() -> u64 {
    u64::try_from(WORDS).unwrap_or(0).saturating_mul(32)
}

/// Keeps the files that are passed on open when a program is executed, and
/// unlocks the others.
pub(super) fn keep() {
    let highest = u32::try_from(fd::highest()).unwrap_or(0);
    for number in 3..=highest {
        // This execution may have had no time to take it.
        let waits =
            inherited(number).is_some_and(|(word, bit)| *word & bit != 0);
        if waits || fd::is_passed_on(number.cast_signed()) {
            keep_one(number);
            continue;
        }
        if limits::is_low_number(number) {
            continue;
        }
        match kind_of(number) {
            Some(Kind::Fifo | Kind::Directory) => keep_one(number),
            // A child that is being started may keep it open for a while.
            Some(Kind::Regular) => with_file(number, file::unlock),
            Some(_) | None => {}
        }
    }
}

/// Keeps a file open when a program is executed.
pub(super) fn keep_one(number: u32) {
    let _kept = raw::set_cloexec(number, false).is_err();
}

/// Closes all files on exec again, and takes the locks again: no program was
/// executed.
pub(super) fn keep_no_longer() {
    child::set_cloexec_inherited();
    let highest = u32::try_from(fd::highest()).unwrap_or(0);
    for number in 3..=highest {
        if kind_of(number) == Some(Kind::Regular) {
            // EAGAIN: another process has taken it meanwhile.
            with_file(number, |file| {
                let _lost = file::lock_now(file).is_err();
            });
        }
    }
}

/// Calls `work` with an open file of this number.
pub(super) fn with_file<T>(number: u32, work: impl FnOnce(At<'_>) -> T) -> T {
    let file = Fd::unnoted(number.cast_signed());
    let result = work(file.as_fd());
    file.leave_open();
    result
}

/// Returns the kind of an open file; `None` if none has this number.
fn kind_of(number: u32) -> Option<Kind> {
    with_file(number, |file| file::info_of(file).ok()).map(|info| info.kind)
}

/// Returns the numbers of the descriptors that may have been open.
fn old_numbers() -> RangeInclusive<u32> {
    3..=HIGHEST.load(Ordering::Relaxed)
}

/// Returns the number of a descriptor, for [`take_inherited`].
pub fn number_of(file: &Fd) -> u32 {
    file.number().cast_unsigned()
}

/// Returns the word and the bit of a descriptor in [`INHERITED`].
fn inherited(number: u32) -> Option<(&'static mut u32, u32)> {
    let index = usize::try_from(number >> 5).ok()?;
    // SAFETY: one thread, and no caller keeps the word.
    let words = unsafe { &mut *INHERITED.0.get() };
    Some((words.get_mut(index)?, 1 << (number & 31)))
}

/// Remembers all descriptors up to `highest` that are open, and closes them on
/// exec.
pub(super) fn remember(highest: u32) {
    HIGHEST.store(highest, Ordering::Relaxed);
    for number in old_numbers() {
        if raw::set_cloexec(number, true).is_ok()
            && let Some((word, bit)) = inherited(number)
        {
            *word |= bit;
            // The next fault may come before it is taken.
            fd::note(number.cast_signed());
        }
    }
}

/// Returns an inherited descriptor, once.
pub fn take_inherited(number: u32) -> Option<Fd> {
    let (word, bit) = inherited(number).filter(|_| RECOVERY)?;
    let there = *word & bit != 0;
    *word &= !bit;
    there.then(|| Fd::from_number(usize::try_from(number).unwrap_or(0)))
}

/// Returns the attributes of an inherited descriptor that nothing has taken.
pub fn inherited_info(number: u32) -> Option<Info> {
    let (word, bit) = inherited(number)?;
    (*word & bit != 0)
        .then(|| with_file(number, |file| file::info_of(file).ok()))?
}

/// Unlocks the inherited files that nothing has taken: they can be locked
/// again.
pub fn unlock_inherited() {
    old_numbers().for_each(unlock_one);
}

/// Unlocks an inherited file, if nothing has taken it.
pub fn unlock_one(number: u32) {
    let kind = inherited_info(number).map(|info| info.kind);
    if kind == Some(Kind::Regular) {
        with_file(number, file::unlock);
    }
}

/// Returns the inherited directories, each once.
pub fn inherited_directories() -> impl Iterator<Item = Fd> {
    inherited_of(Kind::Directory)
}

/// Returns the inherited file that is neither a pipe nor has a name: an inotify
/// instance.
pub(super) fn take_inherited_other() -> Option<Fd> {
    inherited_of(Kind::Other).next()
}

/// Returns the inherited files of a kind, each once.
fn inherited_of(kind: Kind) -> impl Iterator<Item = Fd> {
    old_numbers().filter_map(move |number| {
        let info = inherited_info(number)?;
        (info.kind == kind).then(|| take_inherited(number))?
    })
}

/// Closes the inherited descriptors that nothing has taken.
pub fn close_inherited() {
    for number in old_numbers() {
        drop(take_inherited(number));
    }
}
