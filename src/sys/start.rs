//! Enters the program: from the kernel's stack to `main` with arguments.

use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_char},
    ptr,
};

pub use super::program::{Argv, Environ, List, Word};

/// The arguments and environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The path by which its file was executed, whatever its first argument
    /// is; empty if the kernel does not report it.
    pub file: &'static CStr,
    /// Its arguments.
    pub argv: Argv,
    /// Its environment.
    pub environ: Environ,
    /// Bytes that the kernel stores on the stack to call a signal handler; 0
    /// if it does not report that.
    pub signal_frame: usize,
}

/// Arguments and environment from the kernel; `None` in the unit tests.
static GIVEN: Given = Given(UnsafeCell::new(None));

/// Memory of [`GIVEN`].
struct Given(UnsafeCell<Option<Start>>);

// SAFETY: it is written once, before there is any other use.
unsafe impl Sync for Given {}

/// Returns the value of a variable of this process's original environment.
pub fn variable(name: &[u8]) -> Option<&'static CStr> {
    given().and_then(|given| given.environ.get(name))
}

/// Returns the environment that this process was given.
pub fn environ() -> Environ {
    given().map_or(Environ::empty(), |given| given.environ)
}

/// Returns what the kernel gave this process; `None` in the unit tests.
pub(super) fn given() -> Option<Start> {
    // SAFETY: it was written before, if at all.
    unsafe { *GIVEN.0.get() }
}

/// Replaces the path by which the program was executed.
pub(super) fn set_file(file: &'static CStr) {
    // SAFETY: there is one thread, and every other use takes a copy.
    if let Some(start) = unsafe { &mut *GIVEN.0.get() } {
        start.file = file;
    }
}

/// Reads the stack that the kernel prepared, and keeps it for later.
///
/// # Safety
/// `stack` must be the stack pointer that the kernel gave the process.
pub unsafe fn from_stack(stack: *const usize) -> Start {
    // SAFETY: the caller vouches for it.
    let start = unsafe { read_stack(stack) };
    // SAFETY: nothing has read it yet.
    unsafe { *GIVEN.0.get() = Some(start) };
    start
}

/// Reads the stack that the kernel prepared: the number of arguments, the
/// arguments, a null, the environment, a null, the auxiliary vector.
///
/// # Safety
/// As for [`from_stack`].
unsafe fn read_stack(stack: *const usize) -> Start {
    /// AT_EXECFN: the path that was executed.
    const FILE: usize = 31;
    /// AT_MINSIGSTKSZ: bytes of a signal frame.
    const SIGNAL_FRAME: usize = 51;
    // SAFETY: the kernel stores the number of arguments there.
    let count = unsafe { *stack };
    // SAFETY: the arguments follow it.
    let argv = unsafe { stack.add(1) }.cast();
    let after = count.saturating_add(2);
    // SAFETY: the environment follows the arguments and their null.
    let environ = unsafe { stack.add(after) }.cast::<*const c_char>();
    let mut variables = List(environ);
    while variables.next().is_some() {}
    // SAFETY: the auxiliary vector follows the null that the list is at.
    let auxiliary = unsafe { variables.0.add(1) }.cast();
    // SAFETY: the kernel made it.
    let file = unsafe { auxiliary_value(auxiliary, FILE) };
    let file = match file {
        0 => c"",
        file => {
            let path = ptr::with_exposed_provenance(file);
            // SAFETY: a C string that the kernel left on our stack.
            unsafe { CStr::from_ptr(path) }
        }
    };
    // SAFETY: the kernel made it.
    let signal_frame = unsafe { auxiliary_value(auxiliary, SIGNAL_FRAME) };
    Start {
        file,
        signal_frame,
        argv: Argv(List(argv)),
        environ: Environ(environ),
    }
}

/// Returns an entry of the auxiliary vector; 0 if there is none.
///
/// # Safety
/// `entry` must lead to the auxiliary vector that the kernel made.
unsafe fn auxiliary_value(
    mut entry: *const [usize; 2],
    wanted: usize,
) -> usize {
    loop {
        // SAFETY: the entry is one of the vector, at most the last, AT_NULL.
        let [key, value] = unsafe { *entry };
        if key == wanted {
            return value;
        }
        if key == 0 {
            return 0;
        }
        // SAFETY: this one was not the last.
        entry = unsafe { entry.add(1) };
    }
}

/// Makes `fn $main(Start) -> u8` the program: defines `runt_entry`, which
/// the kernel enters, and exits with the code that `$main` returns.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        $crate::start_code!();
        $crate::memory_functions!();

        /// Continues `runt_entry`, with the kernel's stack pointer.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn runt_start(stack: *const usize) -> ! {
            // SAFETY: `runt_entry` passes what the kernel gave it.
            let start = unsafe { $crate::sys::start::from_stack(stack) };
            $crate::sys::exit($main(start))
        }

        /// Makes the link fail if a panic path is left.
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::sys::start::panicked()
        }
    };
}

/// Handles a panic: with `nopanic` a program that reaches this cannot be
/// linked; otherwise reports the panic and exits with 111.
pub fn panicked() -> ! {
    #[cfg(feature = "nopanic")]
    {
        unsafe extern "C" {
            fn runt_reached_a_panic() -> !;
        }
        // SAFETY: the function does not exist, so this never runs: a program
        // that reaches it does not link.
        unsafe { runt_reached_a_panic() }
    }
    #[cfg(not(feature = "nopanic"))]
    {
        super::print_error(b"runt: fatal: a defect of the program: panic\n");
        super::exit(111)
    }
}
