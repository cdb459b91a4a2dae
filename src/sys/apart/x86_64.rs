//! How x86-64 begins a process on a stack of its own.

/// `clone(flags, stack, tid, tid)`: what the kernel answers; the new process
/// goes on in `begin(letter)` with nothing on its stack.
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
        "mov r9, rcx",
        "mov r10, rdx",
        "xor r8d, r8d",
        "mov eax, {number}",
        "syscall",
        "test rax, rax",
        "jz 2f",
        "ret",
        "2:",
        "xor ebp, ebp",
        "mov rdi, r9",
        "call {begin}",
        "ud2",
        number = const 56,
        begin = sym super::begin,
    )
}
