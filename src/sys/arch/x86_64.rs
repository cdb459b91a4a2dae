//! What x86-64 wants in assembly: where the kernel enters, with the arguments
//! at rsp, and how a process begins on a stack of its own.

/// Defines `_start`.
#[macro_export]
macro_rules! start_code {
    () => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "xor ebp, ebp",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {start}",
            "ud2",
            start = sym runt_start,
        );
    };
}

/// All of `apart::clone`: what the kernel is given, in its order, and how the
/// new process goes on.
macro_rules! clone_code {
    () => {
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
            number = const syscalls::Sysno::clone.id(),
            begin = sym child_main,
        )
    };
}
