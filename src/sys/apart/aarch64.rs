//! How AArch64 begins a process on a stack of its own.

/// `clone(flags, stack, tid, 0, tid)`: what the kernel answers; the new
/// process goes on in `begin(letter)` with nothing on its stack.
///
/// # Safety
/// `stack` is the aligned end of memory that nobody else uses until the
/// kernel has cleared `tid`, and `letter` outlives that.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn clone(
    flags: usize,
    stack: *mut u8,
    tid: *mut u32,
    letter: *const super::Letter,
) -> isize {
    core::arch::naked_asm!(
        "mov x5, x3",
        "mov x4, x2",
        "mov x3, xzr",
        "mov x8, #{number}",
        "svc #0",
        "cbz x0, 2f",
        "ret",
        "2:",
        "mov x29, xzr",
        "mov x30, xzr",
        "mov x0, x5",
        "b {begin}",
        number = const 220,
        begin = sym super::begin,
    )
}
