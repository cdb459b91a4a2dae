//! Enters a program, and defines what compiled code expects of a libc.

use core::ffi::{CStr, c_char};

/// The arguments of a program, each of which ends with a NUL.
pub type Words = &'static [*const c_char];

/// Makes `fn $main(Words, *const *const c_char) -> usize` the program: it gets
/// its arguments and the environment, and returns the exit code.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        $crate::entry_code!();

        /// Continues `_start`, with the kernel's stack pointer.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn floor_start(stack: *const usize) -> ! {
            // SAFETY: `_start` passes what the kernel gave it.
            let (words, environ) = unsafe { $crate::entry::arguments(stack) };
            $crate::call::exit($main(words, environ))
        }

        /// Satisfies the compiler; never reached.
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::call::exit($crate::entry::PANICKED)
        }

        $crate::memory_functions!();
    };
}

/// Exit code after a panic.
pub const PANICKED: usize = 101;

/// Defines `_start`.
#[macro_export]
macro_rules! entry_code {
    () => {
        /// The kernel jumps here, with the arguments at the stack pointer.
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn _start() -> ! {
            #[cfg(target_arch = "x86_64")]
            core::arch::naked_asm!(
                "mov rdi, rsp",
                "and rsp, -16",
                "call {start}",
                "ud2",
                start = sym floor_start,
            );
            #[cfg(target_arch = "aarch64")]
            core::arch::naked_asm!(
                "mov x0, sp",
                "bl {start}",
                "brk 1",
                start = sym floor_start,
            );
            #[cfg(target_arch = "riscv64")]
            core::arch::naked_asm!(
                ".option push",
                ".option norelax",
                "lla gp, __global_pointer$",
                ".option pop",
                "mv a0, sp",
                "andi sp, sp, -16",
                "tail {start}",
                start = sym floor_start,
            );
            #[cfg(target_arch = "arm")]
            core::arch::naked_asm!(
                "mov r0, sp",
                "bic r1, r0, #7",
                "mov sp, r1",
                "bl {start}",
                "udf #0",
                start = sym floor_start,
            );
        }
    };
}

/// Returns the arguments and the environment.
///
/// # Safety
/// `stack` must be the stack pointer that the kernel gave the process.
pub unsafe fn arguments(stack: *const usize) -> (Words, *const *const c_char) {
    // SAFETY: the kernel stores argc, argv and a null, and the environment.
    unsafe {
        let (argc, argv) = (*stack, stack.add(1).cast::<*const c_char>());
        (core::slice::from_raw_parts(argv, argc), argv.add(argc + 1))
    }
}

/// Returns an argument, which is empty if there are fewer.
pub fn word(words: Words, index: usize) -> &'static [u8] {
    words.get(index).map_or(b"", |word| {
        // SAFETY: the kernel made the arguments.
        unsafe { CStr::from_ptr(*word) }.to_bytes()
    })
}

/// Defines the functions that code calls which the compiler generates.
#[macro_export]
macro_rules! memory_functions {
    () => {
        /// Copies memory.
        ///
        /// # Safety
        /// As for memcpy(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcpy(
            to: *mut u8,
            from: *const u8,
            count: usize,
        ) -> *mut u8 {
            for i in 0..count {
                // SAFETY: the caller guarantees that both ranges are valid.
                unsafe {
                    to.add(i).write_volatile(from.add(i).read_volatile())
                };
            }
            to
        }

        /// Fills memory.
        ///
        /// # Safety
        /// As for memset(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memset(
            to: *mut u8,
            byte: i32,
            count: usize,
        ) -> *mut u8 {
            for i in 0..count {
                // SAFETY: the caller guarantees that the range is valid.
                unsafe { to.add(i).write_volatile(byte as u8) };
            }
            to
        }

        /// Compares memory.
        ///
        /// # Safety
        /// As for memcmp(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcmp(
            a: *const u8,
            b: *const u8,
            count: usize,
        ) -> i32 {
            for i in 0..count {
                // SAFETY: the caller guarantees that both ranges are valid.
                let (a, b) = unsafe {
                    (a.add(i).read_volatile(), b.add(i).read_volatile())
                };
                if a != b {
                    return i32::from(a) - i32::from(b);
                }
            }
            0
        }

        /// Compares memory for equality.
        ///
        /// # Safety
        /// As for memcmp(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn bcmp(
            a: *const u8,
            b: *const u8,
            count: usize,
        ) -> i32 {
            // SAFETY: the caller guarantees that both ranges are valid.
            unsafe { memcmp(a, b, count) }
        }

        /// Returns the length of a C string.
        ///
        /// # Safety
        /// As for strlen(3).
        #[unsafe(no_mangle)]
        unsafe extern "C" fn strlen(text: *const core::ffi::c_char) -> usize {
            let mut count = 0;
            // SAFETY: the caller guarantees that the string is valid.
            while unsafe { text.add(count).read_volatile() } != 0 {
                count += 1;
            }
            count
        }
    };
}
