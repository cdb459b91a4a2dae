//! How 32-bit MIPS begins a process on a stack of its own.

/// `clone(flags, stack, tid, 0, tid)`: what the kernel answers; the new
/// process goes on in `begin(letter)` with nothing on its stack.
///
/// The fifth argument lies on the stack. The letter is kept in `$16`: of the
/// registers that a call may change the new process gets none.
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
        ".set push",
        ".set noreorder",
        "addiu $sp, $sp, -32",
        "sw $16, 24($sp)",
        "move $16, $a3",
        "sw $a2, 16($sp)",
        "move $a3, $zero",
        "li $v0, {number}",
        // The instruction itself: the macro of this name saves registers
        // below the stack pointer, which is another one for the new process.
        ".word 0x0000000c",
        "bnez $a3, 3f",
        "nop",
        "beqz $v0, 4f",
        "nop",
        "2:",
        "lw $16, 24($sp)",
        "jr $ra",
        "addiu $sp, $sp, 32",
        "3:",
        "b 2b",
        "subu $v0, $zero, $v0",
        "4:",
        "move $fp, $zero",
        "move $ra, $zero",
        "move $a0, $16",
        "la $t9, {begin}",
        "jr $t9",
        "addiu $sp, $sp, -16",
        ".set pop",
        number = const 4120,
        begin = sym super::begin,
    )
}
