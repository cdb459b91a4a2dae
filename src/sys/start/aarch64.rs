//! Where the kernel enters on AArch64: sp holds the arguments.

/// Defines `_start`.
#[macro_export]
macro_rules! start_code {
    () => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, sp",
            "b {start}",
            start = sym runt_start,
        );
    };
}
