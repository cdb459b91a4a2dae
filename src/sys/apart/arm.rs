//! How 32-bit ARM begins a process on a stack of its own.

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
        "push {{r4, r5, r7, lr}}",
        "mov r5, r3",
        "mov r4, r2",
        "mov r3, #0",
        "mov r7, #{number}",
        "svc #0",
        "cmp r0, #0",
        "beq 2f",
        "pop {{r4, r5, r7, pc}}",
        "2:",
        "mov fp, #0",
        "mov lr, #0",
        "mov r0, r5",
        "bl {begin}",
        "udf #0",
        number = const 120,
        begin = sym super::begin,
    )
}
