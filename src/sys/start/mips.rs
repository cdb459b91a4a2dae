//! Where the kernel enters on 32-bit MIPS: sp holds the arguments.

/// Defines `_start`.
#[macro_export]
macro_rules! start_code {
    () => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
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
