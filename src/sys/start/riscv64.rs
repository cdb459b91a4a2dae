//! Where the kernel enters on 64-bit RISC-V: sp holds the arguments.

/// Defines `_start`.
#[macro_export]
macro_rules! start_code {
    () => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            ".option push",
            ".option norelax",
            "lla gp, __global_pointer$",
            ".option pop",
            "mv a0, sp",
            "andi sp, sp, -16",
            "mv ra, zero",
            "mv s0, zero",
            "tail {start}",
            start = sym runt_start,
        );
    };
}
