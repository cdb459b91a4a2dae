//! Contains the assembly of AArch64: the entry point, with the arguments at
//! sp, and the start of a process on a stack of its own.

/// Defines `runt_entry`.
#[macro_export]
macro_rules! start_code {
    () => {
        core::arch::global_asm!(
            ".globl runt_entry",
            "runt_entry:",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, sp",
            "b {start}",
            start = sym runt_start,
        );
    };
}

/// Defines the body of `clone_vm::clone`: passes the arguments in the kernel's
/// order, and continues the new process in `child_main`. The kernel clears the
/// word `TAKEN` bytes before `args`.
macro_rules! clone_code {
    () => {
        core::arch::naked_asm!(
            "mov x5, x3",
            "sub x4, x3, #{taken}",
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
            taken = const TAKEN,
            begin = sym child_main,
        )
    };
}
