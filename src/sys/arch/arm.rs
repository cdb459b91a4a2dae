//! Contains the assembly of 32-bit ARM: the entry point, with the arguments at
//! sp, and the start of a process on a stack of its own.

/// Defines `runt_entry`, and the symbols that GNU ld requires for unwinding, which
/// never happens.
#[macro_export]
macro_rules! start_code {
    () => {
        /// The kernel jumps here. A function, not bare assembly: the compiler
        /// then marks it as ARM or Thumb code, as the rest is.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn runt_entry() -> ! {
            core::arch::naked_asm!(
                "mov r0, sp",
                // Through r1: Thumb's `bic` does not accept sp.
                "bic r1, r0, #7",
                "mov sp, r1",
                "mov fp, #0",
                "mov lr, #0",
                "bl {start}",
                "udf #0",
                start = sym runt_start,
            )
        }

        core::arch::global_asm!(
            ".globl __aeabi_unwind_cpp_pr0",
            "__aeabi_unwind_cpp_pr0:",
            ".globl __aeabi_unwind_cpp_pr1",
            "__aeabi_unwind_cpp_pr1:",
            "bx lr",
        );
    };
}

/// Defines the body of `clone_vm::clone`: passes the arguments in the kernel's
/// order, and continues the new process in `child_main`. The kernel clears the
/// word `TAKEN` bytes before `args`.
macro_rules! clone_code {
    () => {
        core::arch::naked_asm!(
            "push {{r4, r5, r7, lr}}",
            "mov r5, r3",
            "sub r4, r3, #{taken}",
            "mov r3, #0",
            "mov r7, #{number}",
            "svc #0",
            "cmp r0, #0",
            "beq 2f",
            "pop {{r4, r5, r7, pc}}",
            "2:",
            "mov fp, #0",
            "mov lr, #0",
            "mov r0, r5",
            "bl {begin}",
            "udf #0",
            number = const syscalls::Sysno::clone.id(),
            taken = const TAKEN,
            begin = sym child_main,
        )
    };
}
