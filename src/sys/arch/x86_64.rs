//! Contains the assembly of x86-64: the entry point, with the arguments at
//! rsp, and the start of a process on a stack of its own.

/// Defines `runt_entry`.
#[macro_export]
macro_rules! start_code {
    () => {
        core::arch::global_asm!(
            ".globl runt_entry",
            "runt_entry:",
            "xor ebp, ebp",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {start}",
            "ud2",
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
            "mov r9, rcx",
            "lea r10, [rcx - {taken}]",
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
            taken = const TAKEN,
            begin = sym child_main,
        )
    };
}
