//! How the program begins: from the kernel's stack to `main` with arguments.

use core::{
    ffi::{CStr, c_char},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use super::child::Environ;

/// A list of C strings that ends in a null pointer.
#[derive(Clone, Copy, Debug)]
pub struct List(pub(super) *const *const c_char);

impl Iterator for List {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: the pointer is inside the list or at its null.
        let word = unsafe { *self.0 };
        if word.is_null() {
            return None;
        }
        // SAFETY: `word` was not the null, so one more is there.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: the kernel ends every argument and variable in a NUL and
        // leaves them in place as long as the process lives.
        Some(unsafe { CStr::from_ptr(word) })
    }
}

/// The arguments of the program, its own name first.
#[derive(Clone, Copy, Debug)]
pub struct Argv(List);

impl Argv {
    /// The arguments from the first on.
    pub fn iter(self) -> List {
        self.0
    }

    /// The arguments behind the first `count`; none when there are fewer.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        let mut list = self.0;
        for _ in 0..count {
            if list.next().is_none() {
                break;
            }
        }
        Self(list)
    }

    /// The first argument.
    pub fn first(self) -> Option<&'static CStr> {
        self.0.clone().next()
    }

    /// Puts `word` in the place of the first argument, if there is one.
    pub fn replace_first(self, word: &'static CStr) {
        if self.first().is_some() {
            // SAFETY: the place is one of the list that the kernel made on
            // our stack for us to change; it holds an argument.
            unsafe { *self.0.0.cast_mut() = word.as_ptr() };
        }
    }

    /// Takes the argument behind the first `count` out of the list, which
    /// ends there from now on, to be written on.
    ///
    /// Of this argument no reference may have been handed out before: a
    /// caller asks for it before it reads that far.
    pub fn claim(self, count: usize) -> Option<Word> {
        let place = self.skip(count).0.0;
        // SAFETY: the pointer is inside the list or at its null.
        let word = unsafe { *place };
        let length = self.skip(count).first()?.count_bytes();
        // SAFETY: the place is one of the list that the kernel made on our
        // stack for us to change; it holds an argument.
        unsafe { *place.cast_mut() = ptr::null() };
        Some(Word(word.cast_mut().cast(), length))
    }

    /// The list as `execve` takes it.
    pub(super) fn pointer(self) -> *const *const c_char {
        self.0.0
    }
}

/// An argument to be written on, which is what `ps` shows of this process.
#[derive(Debug)]
pub struct Word(*mut u8, usize);

impl Word {
    /// Its bytes, without the NUL.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `claim` found so many bytes there, in the part of our stack
        // that the kernel filled and left to us, and took the only way to
        // them out of the list.
        unsafe { core::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

/// What a program is given.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The path by which its file was executed, whatever name it was given;
    /// empty if the kernel does not tell.
    pub file: &'static CStr,
    /// Its arguments.
    pub argv: Argv,
    /// Its environment.
    pub environ: Environ,
}

/// The environment that this process was given; null in the unit tests.
static GIVEN: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());

/// A variable of the environment that this process was given.
pub fn variable(name: &[u8]) -> Option<&'static CStr> {
    let given = GIVEN.load(Ordering::Relaxed);
    (!given.is_null()).then(|| Environ(given).get(name))?
}

/// The environment that this process was given.
pub fn environ() -> Environ {
    let given = GIVEN.load(Ordering::Relaxed);
    if given.is_null() {
        return Environ::empty();
    }
    Environ(given)
}

/// Reads what the kernel left on the stack: the number of arguments, the
/// arguments, a null, the environment, a null, the auxiliary vector.
///
/// # Safety
/// `stack` must be the stack pointer that the kernel gave the process.
pub unsafe fn from_stack(stack: *const usize) -> Start {
    // SAFETY: the kernel stores the number of arguments there.
    let count = unsafe { *stack };
    // SAFETY: the arguments follow it.
    let argv = unsafe { stack.add(1) }.cast();
    let behind = count.saturating_add(2);
    // SAFETY: the environment follows the arguments and their null.
    let environ = unsafe { stack.add(behind) }.cast::<*const c_char>();
    GIVEN.store(environ.cast_mut(), Ordering::Relaxed);
    let mut variables = List(environ);
    while variables.next().is_some() {}
    // SAFETY: the auxiliary vector follows the null that the list is at.
    let auxiliary = unsafe { variables.0.add(1) }.cast();
    // SAFETY: the kernel made it.
    let file = unsafe { executed_file(auxiliary) };
    Start {
        file,
        argv: Argv(List(argv)),
        environ: Environ(environ),
    }
}

/// Returns the path that was executed: AT_EXECFN of getauxval(3).
///
/// # Safety
/// `entry` must lead to the auxiliary vector that the kernel made.
unsafe fn executed_file(mut entry: *const [usize; 2]) -> &'static CStr {
    /// AT_EXECFN.
    const FILE: usize = 31;
    loop {
        // SAFETY: the entry is one of the vector, at most the last, AT_NULL.
        let [key, value] = unsafe { *entry };
        match key {
            0 => return c"",
            FILE => {
                let path = ptr::with_exposed_provenance(value);
                // SAFETY: a C string that the kernel left on our stack.
                return unsafe { CStr::from_ptr(path) };
            }
            _ => {}
        }
        // SAFETY: this one was not the last.
        entry = unsafe { entry.add(1) };
    }
}

/// Makes `fn $main(Start) -> u8` the program: defines `_start`, which the
/// kernel enters, and ends the process with the code `$main` answers.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        $crate::start_code!();

        /// Where `_start` goes on, with the kernel's stack pointer.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn runt_start(stack: *const usize) -> ! {
            // SAFETY: `_start` passes what the kernel gave it.
            let start = unsafe { $crate::sys::start::from_stack(stack) };
            $crate::sys::child::exit($main(start))
        }

        /// A panic path that is left: the linker refuses this symbol.
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
            $crate::sys::start::panicked()
        }
    };
}

/// What a panic does: with `nopanic` it cannot be linked; else it says that
/// it came to pass and ends the process with 111.
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
        super::child::exit(111)
    }
}
