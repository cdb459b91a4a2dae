//! What AArch64 wants in assembly: where the kernel enters, with the arguments
//! at sp, and how a process begins on a stack of its own.

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

/// All of `apart::clone`: what the kernel is given, in its order, and how the
/// new process goes on.
macro_rules! clone_code {
    () => {
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
            number = const syscalls::Sysno::clone.id(),
            begin = sym child_main,
        )
    };
}
