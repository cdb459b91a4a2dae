//! Starts programs.

use core::{
    ffi::{CStr, c_char},
    ptr::null,
};

use crate::call::{self, Sysno, call};

const CLONE_VM: usize = 0x100;
const CLONE_VFORK: usize = 0x4000;

/// The way in which a child begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// In the memory of its parent, which waits until it executes a program.
    Vfork,
    /// In a copy of it.
    Copy,
}

/// A program to start.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its current directory.
    pub dir: *const c_char,
    /// A directory below that, which it has instead.
    pub below: Option<&'static CStr>,
    /// Its file.
    pub file: *const c_char,
    /// Its arguments, which a null ends.
    pub words: *const *const c_char,
    /// Its environment.
    pub environ: *const *const c_char,
    /// Its descriptors 0 and 1, if they are not those of its parent.
    pub streams: [Option<isize>; 2],
    /// Set if it gets a session of its own.
    pub session: bool,
}

/// The arguments of ./run.
struct RunWords([*const c_char; 2]);

// SAFETY: it is never written.
unsafe impl Sync for RunWords {}

static RUN: RunWords = RunWords([c"./run".as_ptr(), null()]);

impl Program {
    /// Returns ./run in a directory.
    pub fn run(dir: *const c_char, environ: *const *const c_char) -> Self {
        Self {
            dir,
            below: None,
            file: c"./run".as_ptr(),
            words: RUN.0.as_ptr(),
            environ,
            streams: [None; 2],
            session: false,
        }
    }

    /// Starts it; returns its pid.
    pub fn start(&self, fork: Fork) -> isize {
        let flags = match fork {
            Fork::Vfork => CLONE_VM | CLONE_VFORK,
            Fork::Copy => 0,
        };
        clone(flags, self)
    }

    /// Executes it in this process; returns if it cannot be executed.
    pub fn execute(&self) {
        let [file, words, environ] = [
            self.file as usize,
            self.words as usize,
            self.environ as usize,
        ];
        call(Sysno::execve, [file, words, environ, 0, 0]);
    }
}

/// Continues a child with its [`Program`].
extern "C" fn begin(program: *const ()) -> ! {
    // SAFETY: its parent passes one, and waits or is a copy.
    let program = unsafe { &*program.cast::<Program>() };
    call::mask(0);
    for (fd, stream) in program.streams.iter().enumerate() {
        if let Some(stream) = stream {
            call(Sysno::dup3, [*stream as usize, fd, 0, 0, 0]);
        }
    }
    if program.session {
        call(Sysno::setsid, [0; 5]);
    }
    let below = program.below.map_or(null(), CStr::as_ptr);
    for dir in [program.dir, below] {
        if !dir.is_null() {
            call(Sysno::chdir, [dir as usize, 0, 0, 0, 0]);
        }
    }
    program.execute();
    call::exit(111)
}

/// Calls clone(2) and returns the child's pid; the child calls `begin` and
/// never returns. A child that shares its parent's memory runs below the
/// parent's stack, and must have CLONE_VFORK too.
#[cfg(target_arch = "x86_64")]
fn clone(flags: usize, program: *const Program) -> isize {
    let answer;
    // SAFETY: the child touches nothing above the stack pointer.
    unsafe {
        core::arch::asm!("syscall", "test rax, rax", "jnz 2f", "sub rsp, 256",
            "and rsp, -16", "mov rdi, r12", "call {begin}", "ud2", "2:",
            begin = sym begin,
            inlateout("rax") Sysno::clone.id() as isize => answer,
            in("rdi") flags | call::SIGCHLD, in("rsi") 0, in("rdx") 0,
            in("r10") 0, in("r8") 0, in("r12") program, lateout("rcx") _,
            lateout("r11") _);
    }
    answer
}

/// As for x86-64.
#[cfg(target_arch = "aarch64")]
fn clone(flags: usize, program: *const Program) -> isize {
    let answer;
    // SAFETY: the child touches nothing above the stack pointer.
    unsafe {
        core::arch::asm!("svc 0", "cbnz x0, 2f", "mov x0, x20", "bl {begin}",
            "brk 1", "2:", begin = sym begin, in("x8") Sysno::clone.id(),
            inlateout("x0") (flags | call::SIGCHLD) as isize => answer,
            in("x1") 0, in("x2") 0, in("x3") 0, in("x4") 0,
            in("x20") program, lateout("x30") _);
    }
    answer
}

/// As for x86-64.
#[cfg(target_arch = "riscv64")]
fn clone(flags: usize, program: *const Program) -> isize {
    let answer;
    // SAFETY: the child touches nothing above the stack pointer.
    unsafe {
        core::arch::asm!("ecall", "bnez a0, 2f", "mv a0, s2",
            "call {begin}", "unimp", "2:", begin = sym begin,
            in("a7") Sysno::clone.id(),
            inlateout("a0") (flags | call::SIGCHLD) as isize => answer,
            in("a1") 0, in("a2") 0, in("a3") 0, in("a4") 0,
            in("s2") program, lateout("ra") _);
    }
    answer
}

/// As for x86-64.
#[cfg(target_arch = "arm")]
fn clone(flags: usize, program: *const Program) -> isize {
    let answer;
    // SAFETY: the child touches nothing above the stack pointer.
    unsafe {
        core::arch::asm!("svc 0", "cmp r0, #0", "bne 2f", "mov r0, r8",
            "bl {begin}", "udf #0", "2:", begin = sym begin,
            in("r7") Sysno::clone.id(),
            inlateout("r0") (flags | call::SIGCHLD) as isize => answer,
            in("r1") 0, in("r2") 0, in("r3") 0, in("r4") 0,
            in("r8") program, lateout("lr") _);
    }
    answer
}
