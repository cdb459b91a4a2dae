//! Where the kernel enters on 32-bit ARM: sp holds the arguments.

/// Defines `_start`, and what GNU ld wants for unwinding that never happens.
#[macro_export]
macro_rules! start_code {
    () => {
        /// The kernel jumps here. A function, not bare assembly: the compiler
        /// then marks it as ARM or Thumb code, as the rest is.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn _start() -> ! {
            core::arch::naked_asm!(
                "mov r0, sp",
                // By way of r1: Thumb's `bic` does not take sp.
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
