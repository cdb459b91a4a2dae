//! Contains the assembly of 32-bit MIPS: the entry point, with the arguments
//! at sp, and the start of a process on a stack of its own.
//!
//! Also makes system calls preserve registers. The kernel changes `$1`, `$3`,
//! `hi` and `lo`, but `asm!` cannot name `$1` and the libraries do not name
//! the rest, so the compiler keeps values in them over a call (observed: PID 1
//! stored through such a pointer). Every `syscall` instruction of the program
//! is therefore replaced by a call of a routine that saves and restores them.
//! It does that below the stack pointer: nothing else writes there, since the
//! only signal handler has a stack of its own, and so has a child.

/// Defines `runt_entry` and the system call routine.
#[macro_export]
macro_rules! start_code {
    () => {
        core::arch::global_asm!(
            // The macro takes precedence over the instruction of its name in
            // the whole program, which is compiled as one unit.
            ".macro syscall",
            ".set push",
            ".set noreorder",
            ".set noat",
            "sw $ra, -4($sp)",
            "jal __runt_syscall",
            "sw $1, -8($sp)",
            "lw $ra, -4($sp)",
            ".set pop",
            ".endm",
            // Every system call changes `$8` and `$9`, and `asm!` declares
            // that: they are free here.
            "__runt_syscall:",
            ".set push",
            ".set noreorder",
            ".set noat",
            "mfhi $8",
            "mflo $9",
            "sw $3, -12($sp)",
            "sw $8, -16($sp)",
            "sw $9, -20($sp)",
            // The instruction itself.
            ".word 0x0000000c",
            "lw $8, -16($sp)",
            "lw $9, -20($sp)",
            "lw $3, -12($sp)",
            "mthi $8",
            "mtlo $9",
            "jr $ra",
            "lw $1, -8($sp)",
            ".set pop",
        );
        core::arch::global_asm!(
            ".globl runt_entry",
            "runt_entry:",
            ".set push",
            ".set noreorder",
            "move $fp, $zero",
            "move $ra, $zero",
            "move $a0, $sp",
            "li $t0, -8",
            "and $sp, $sp, $t0",
            "addiu $sp, $sp, -16",
            "la $t9, {start}",
            "jr $t9",
            "nop",
            ".set pop",
            start = sym runt_start,
        );
    };
}

/// Defines the body of `clone_vm::clone`: passes the arguments in the kernel's
/// order, and continues the new process in `child_main`. The kernel clears the
/// word `TAKEN` bytes before `args`.
///
/// The fifth argument is on the stack. `args` is kept in `$16`: the new
/// process does not get the registers that a call may change.
macro_rules! clone_code {
    () => {
        core::arch::naked_asm!(
            ".set push",
            ".set noreorder",
            "addiu $sp, $sp, -32",
            "sw $16, 24($sp)",
            "move $16, $a3",
            "addiu $t0, $a3, -{taken}",
            "sw $t0, 16($sp)",
            "move $a3, $zero",
            "li $v0, {number}",
            // The instruction itself: the macro of this name saves registers
            // below the stack pointer, which differs in the new process.
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
            number = const syscalls::Sysno::clone.id(),
            taken = const TAKEN,
            begin = sym child_main,
        )
    };
}
