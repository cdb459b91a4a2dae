//! How 64-bit RISC-V begins a process on a stack of its own.

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
        "mv a5, a3",
        "mv a4, a2",
        "li a3, 0",
        "li a7, {number}",
        "ecall",
        "beqz a0, 2f",
        "ret",
        "2:",
        "li s0, 0",
        "li ra, 0",
        "mv a0, a5",
        "tail {begin}",
        number = const 220,
        begin = sym super::begin,
    )
}
