//! The memory functions that compiled code calls by name. `program!` exports
//! them, because a prebuilt `core` leaves them to a libc.
//!
//! The compiler replaces a loop that copies, fills or compares by a call of
//! the function for that purpose; here the function would call itself. An
//! empty assembly statement in each loop, which may access any memory,
//! prevents that at every level of optimisation. `cargo xtask audit` checks
//! the result.

use core::{arch::asm, ffi::c_int};

/// Bytes of a word, which is copied in one step.
const WORD: usize = size_of::<usize>();

/// Bytes of half a word of 64 bits, which is copied in one step where a whole
/// one cannot be: the alignment of most structures.
const HALF: usize = size_of::<u32>();

/// True if a word may be at any address: the processor reads and writes it as
/// fast as an aligned one.
const ANY_ADDRESS: bool = cfg!(any(
    target_arch = "aarch64",
    target_arch = "x86_64",
    all(target_arch = "arm", target_feature = "v7"),
));

/// Keeps the compiler from replacing the loop that contains it.
#[inline]
fn keep_loop() {
    // SAFETY: it contains no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

/// Copies a byte or a word from `from` to `to`, both `at` bytes further on.
///
/// # Safety
/// As for [`core::ptr::copy`]; with `ANY` the addresses may have any alignment.
#[inline]
unsafe fn step<T, const ANY: bool>(to: *mut u8, from: *const u8, at: usize) {
    let from = from.wrapping_add(at).cast::<T>();
    let value = if ANY {
        // SAFETY: the caller vouches for it.
        unsafe { from.read_unaligned() }
    } else {
        // SAFETY: the caller vouches for it. On a processor that needs aligned
        // words the other function reads each byte.
        unsafe { from.read() }
    };
    // SAFETY: the caller vouches for it.
    unsafe { put::<T, ANY>(to.wrapping_add(at), value) };
}

/// Writes a byte or a word.
///
/// # Safety
/// As for [`core::ptr::write`]; with `ANY` the address may have any alignment.
#[inline]
unsafe fn put<T, const ANY: bool>(to: *mut u8, value: T) {
    if ANY {
        // SAFETY: the caller vouches for it.
        unsafe { to.cast::<T>().write_unaligned(value) };
    } else {
        // SAFETY: the caller vouches for it.
        unsafe { to.cast::<T>().write(value) };
    }
}

/// Returns how many of `count` bytes come before the first word that can be
/// copied at once: `distance` is that of both addresses from a word, or `None`
/// if they differ.
#[inline]
fn before_words(any: bool, distance: Option<usize>, count: usize) -> usize {
    match distance {
        _ if any => 0,
        Some(distance) => distance.min(count),
        None => count,
    }
}

/// Returns the end of the words that can be copied at once after the `first`
/// of `count` bytes.
#[inline]
fn after_words(first: usize, count: usize) -> usize {
    let rest = count.wrapping_sub(first);
    first.wrapping_add(rest.wrapping_sub(rest % WORD))
}

/// Returns the distance of two addresses from the last word before them, if it
/// is the same.
#[inline]
fn past_word(one: usize, other: usize) -> Option<usize> {
    (one % WORD == other % WORD).then_some(one % WORD)
}

/// Copies as memcpy(3) does, in the order of the addresses: `to` may be below
/// `from` in the same object.
///
/// # Safety
/// As for memcpy(3), but for overlap.
#[inline]
unsafe fn copy_up<const ANY: bool>(to: *mut u8, from: *const u8, count: usize) {
    let apart = to.addr() ^ from.addr();
    let unit = match (apart % WORD, apart % HALF) {
        _ if ANY => WORD,
        (0, _) => WORD,
        (_, 0) => HALF,
        _ => 1,
    };
    let rest = unit.wrapping_sub(1);
    let first = if ANY {
        0
    } else {
        count.min(to.addr().wrapping_neg() & rest)
    };
    let last = count.wrapping_sub(count.wrapping_sub(first) & rest);
    // SAFETY: bytes of the `count`.
    unsafe { steps_up::<u8, ANY>(to, from, 0, first) };
    #[allow(
        unreachable_patterns,
        reason = "both are as long on 32-bit machines"
    )]
    match unit {
        // SAFETY: words of the `count` bytes.
        WORD => unsafe { steps_up::<usize, ANY>(to, from, first, last) },
        // SAFETY: the same.
        HALF => unsafe { steps_up::<u32, ANY>(to, from, first, last) },
        // SAFETY: bytes of the `count`.
        _ => unsafe { steps_up::<u8, ANY>(to, from, first, last) },
    }
    // SAFETY: bytes of the `count`.
    unsafe { steps_up::<u8, ANY>(to, from, last, count) };
}

/// Copies bytes or words from offset `at` to offset `end`, in the order of the
/// addresses.
///
/// # Safety
/// As for [`step`], for each.
#[allow(clippy::inline_always, reason = "a call costs more than most copies")]
#[inline(always)]
unsafe fn steps_up<T, const ANY: bool>(
    to: *mut u8,
    from: *const u8,
    mut at: usize,
    end: usize,
) {
    while at < end {
        keep_loop();
        // SAFETY: the caller vouches for it.
        unsafe { step::<T, ANY>(to, from, at) };
        at = at.wrapping_add(size_of::<T>());
    }
}

/// Copies as [`copy_up`] does, in the opposite order: `to` may be above `from`
/// in the same object.
///
/// # Safety
/// As for [`copy_up`].
#[inline]
unsafe fn copy_down<const ANY: bool>(
    to: *mut u8,
    from: *const u8,
    count: usize,
) {
    let end = to.addr().wrapping_add(count);
    let distance = past_word(end, from.addr().wrapping_add(count));
    let first = before_words(ANY, distance, count);
    let mut left = count;
    while left > 0 {
        keep_loop();
        if count.wrapping_sub(left) >= first && left >= WORD {
            left = left.wrapping_sub(WORD);
            // SAFETY: a word of the `count` bytes.
            unsafe { step::<usize, ANY>(to, from, left) };
        } else {
            left = left.wrapping_sub(1);
            // SAFETY: one of the `count` bytes.
            unsafe { step::<u8, ANY>(to, from, left) };
        }
    }
}

/// Implements memcpy(3).
///
/// # Safety
/// As for memcpy(3).
#[inline]
pub unsafe fn copy(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: the caller vouches for it.
    unsafe { copy_up::<ANY_ADDRESS>(to, from, count) };
}

/// Implements memmove(3).
///
/// # Safety
/// As for memmove(3).
#[inline]
pub unsafe fn move_bytes(to: *mut u8, from: *const u8, count: usize) {
    // True too if `to` is below `from`: the difference wraps.
    if to.addr().wrapping_sub(from.addr()) >= count {
        // SAFETY: the caller vouches for it; no byte is written before it is
        // read.
        unsafe { copy_up::<ANY_ADDRESS>(to, from, count) };
    } else {
        // SAFETY: the same.
        unsafe { copy_down::<ANY_ADDRESS>(to, from, count) };
    }
}

/// Implements memset(3) for a byte.
///
/// # Safety
/// As for memset(3).
#[inline]
pub unsafe fn fill(to: *mut u8, byte: u8, count: usize) {
    // SAFETY: the caller vouches for it.
    unsafe { fill_up::<ANY_ADDRESS>(to, byte, count) };
}

/// Implements [`fill`].
///
/// # Safety
/// As for memset(3).
#[inline]
unsafe fn fill_up<const ANY: bool>(to: *mut u8, byte: u8, count: usize) {
    let word = usize::from_ne_bytes([byte; WORD]);
    let distance = to.addr().wrapping_neg() % WORD;
    let first = before_words(ANY, Some(distance), count);
    let last = after_words(first, count);
    // SAFETY: bytes of the `count`.
    unsafe { puts::<u8, ANY>(to, byte, 0, first) };
    // SAFETY: words of the `count` bytes.
    unsafe { puts::<usize, ANY>(to, word, first, last) };
    // SAFETY: bytes of the `count`.
    unsafe { puts::<u8, ANY>(to, byte, last, count) };
}

/// Writes bytes or words from offset `at` to offset `end`.
///
/// # Safety
/// As for [`put`], for each.
#[allow(clippy::inline_always, reason = "a call costs more than most copies")]
#[inline(always)]
unsafe fn puts<T: Copy, const ANY: bool>(
    to: *mut u8,
    value: T,
    mut at: usize,
    end: usize,
) {
    while at < end {
        keep_loop();
        // SAFETY: the caller vouches for it.
        unsafe { put::<T, ANY>(to.wrapping_add(at), value) };
        at = at.wrapping_add(size_of::<T>());
    }
}

/// Implements memcmp(3), and bcmp(3), which requires less.
///
/// # Safety
/// As for memcmp(3).
#[inline]
pub unsafe fn compare(one: *const u8, other: *const u8, count: usize) -> c_int {
    let mut at = 0;
    while at < count {
        keep_loop();
        // SAFETY: one of the `count` bytes.
        let first = unsafe { one.wrapping_add(at).read() };
        // SAFETY: one of the `count` bytes.
        let second = unsafe { other.wrapping_add(at).read() };
        if first != second {
            return c_int::from(first).wrapping_sub(c_int::from(second));
        }
        at = at.wrapping_add(1);
    }
    0
}

/// Implements strlen(3).
///
/// # Safety
/// As for strlen(3).
#[inline]
pub unsafe fn length(text: *const u8) -> usize {
    let mut at = 0;
    // SAFETY: all bytes before were not the NUL, so the text goes on.
    while unsafe { text.wrapping_add(at).read() } != 0 {
        keep_loop();
        at = at.wrapping_add(1);
    }
    at
}

/// Defines the functions under the names that the compiler and `core` call,
/// and an unwinder's entry that a prebuilt `core` names and nothing calls.
#[macro_export]
macro_rules! memory_functions {
    () => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcpy(
            to: *mut u8,
            from: *const u8,
            count: usize,
        ) -> *mut u8 {
            // SAFETY: the caller vouches for it.
            unsafe { $crate::sys::mem::copy(to, from, count) };
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memmove(
            to: *mut u8,
            from: *const u8,
            count: usize,
        ) -> *mut u8 {
            // SAFETY: the caller vouches for it.
            unsafe { $crate::sys::mem::move_bytes(to, from, count) };
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memset(
            to: *mut u8,
            byte: core::ffi::c_int,
            count: usize,
        ) -> *mut u8 {
            // As memset(3) defines it: the lowest byte.
            let [byte, ..] = byte.to_le_bytes();
            // SAFETY: the caller vouches for it.
            unsafe { $crate::sys::mem::fill(to, byte, count) };
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcmp(
            one: *const u8,
            other: *const u8,
            count: usize,
        ) -> core::ffi::c_int {
            // SAFETY: the caller vouches for it.
            unsafe { $crate::sys::mem::compare(one, other, count) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn bcmp(
            one: *const u8,
            other: *const u8,
            count: usize,
        ) -> core::ffi::c_int {
            // SAFETY: the caller vouches for it.
            unsafe { $crate::sys::mem::compare(one, other, count) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn strlen(text: *const u8) -> usize {
            // SAFETY: the caller vouches for it.
            unsafe { $crate::sys::mem::length(text) }
        }

        #[unsafe(no_mangle)]
        extern "C" fn rust_eh_personality() {}
    };
}

#[cfg(test)]
mod test {
    use super::*;

    /// Bytes around and between the areas that a test uses.
    const ROOM: usize = 8 * WORD;

    /// Returns bytes of which no two words are equal.
    fn bytes() -> [u8; ROOM] {
        core::array::from_fn(|at| (at as u8).wrapping_mul(167) ^ 0x5a)
    }

    /// Calls `each` with all offsets of two areas in `ROOM` bytes, of any
    /// alignment and overlap, and all lengths.
    fn each_case(mut each: impl FnMut(usize, usize, usize)) {
        for count in 0..=3 * WORD + 1 {
            for to in 0..ROOM - count {
                for from in 0..ROOM - count {
                    each(to, from, count);
                }
            }
        }
    }

    /// A function with the arguments of memmove(3).
    type Copy = unsafe fn(*mut u8, *const u8, usize);

    /// Compares a copying function with the model, in the cases that it is for.
    fn copies(copy: Copy, is_for: impl Fn(usize, usize, usize) -> bool) {
        each_case(|to, from, count| {
            if !is_for(to, from, count) {
                return;
            }
            let mut area = bytes();
            let start = area.as_mut_ptr();
            // SAFETY: both areas are inside.
            unsafe { copy(start.add(to), start.add(from), count) };
            let mut model = bytes();
            model.copy_within(from..from + count, to);
            assert_eq!(area, model, "{to} <- {from}, {count} bytes");
        });
    }

    #[test]
    fn copies_of_every_alignment_and_overlap() {
        copies(copy_up::<true>, |to, from, count| {
            to <= from || to >= from + count
        });
        copies(copy_up::<false>, |to, from, count| {
            to <= from || to >= from + count
        });
        copies(copy_down::<true>, |to, from, _| to >= from);
        copies(copy_down::<false>, |to, from, _| to >= from);
        copies(copy, |to, from, count| to.abs_diff(from) >= count);
        copies(move_bytes, |_, _, _| true);
    }

    #[test]
    fn fills_of_every_alignment() {
        for fill in [fill, fill_up::<true>, fill_up::<false>] {
            each_case(|to, from, count| {
                let mut area = bytes();
                // SAFETY: the area is inside.
                unsafe { fill(area.as_mut_ptr().add(to), from as u8, count) };
                let mut model = bytes();
                model[to..to + count].fill(from as u8);
                assert_eq!(area, model, "{to}, {count} bytes");
            });
        }
    }

    #[test]
    fn comparisons_have_the_sign_of_the_first_difference() {
        each_case(|one, at, count| {
            let area = bytes();
            let first = &area[one..one + count];
            let mut other = bytes();
            if let Some(byte) = other[one..one + count].get_mut(at) {
                *byte ^= 1 + count as u8;
            }
            let second = &other[one..one + count];
            // SAFETY: there are so many bytes.
            let order =
                unsafe { compare(first.as_ptr(), second.as_ptr(), count) };
            assert_eq!(order.cmp(&0), first.cmp(second));
        });
    }

    #[test]
    fn lengths_end_at_the_first_nul() {
        for start in 0..WORD {
            for count in start..ROOM {
                let mut area = [0xff; ROOM];
                area[count] = 0;
                // SAFETY: a NUL follows.
                let length = unsafe { length(area.as_ptr().add(start)) };
                assert_eq!(length, count - start);
            }
        }
    }
}
