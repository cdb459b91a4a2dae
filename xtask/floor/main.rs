//! floor: measures the cost of the kernel alone, the limit that supervisors
//! are compared with.
//!
//! # Synopsis
//! `floor vfork|fork|files|files-fork DIR...`: keep every DIR/run alive and do
//! nothing else. On HUP it ends them with TERM and then exits. `files` and
//! `files-fork` also make the file calls that runit's protocol requires of a
//! supervisor: the lock and the FIFOs before the first start; pid, stat and
//! status by rename before it, after each start and at the end.
//!
//! `floor status DIR...`: make the calls of `sv status`, and nothing else.
//!
//! `floor hog`: keep one processor busy.
//!
//! `floor churn FILE`: read FILE again and again, so that it fills the
//! available memory.
//!
//! Under the name `run` it is the service. It first reads the clock, writes a
//! record of 16 bytes (its number from the link ./id, its pid, nanoseconds) to
//! the FIFO that ./stamp leads to, and sleeps. If a link ./ready exists, it
//! first reports readiness on descriptor 3. If a file ./crash exists, it exits
//! instead of sleeping. On USR1 it writes a record again.
//!
//! Built by rustc alone, without libc or allocation, like the release.
#![no_std]
#![no_main]

use core::{
    arch::{asm, global_asm},
    ffi::{CStr, c_char},
    ptr::null,
};

/// Maximum number of services: that of runit's own runsvdir.
const SERVICES: usize = 1000;

/// System call numbers of x86-64.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const SIGPROCMASK: usize = 14;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const EXIT: usize = 60;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FLOCK: usize = 73;
    pub const CHDIR: usize = 80;
    pub const SIGTIMEDWAIT: usize = 128;
    pub const CLOCK_GETTIME: usize = 228;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const MKNODAT: usize = 259;
    pub const FSTATAT: usize = 262;
    pub const RENAMEAT: usize = 264;
    pub const READLINKAT: usize = 267;
}

/// System call numbers of AArch64.
#[cfg(target_arch = "aarch64")]
mod number {
    pub const FLOCK: usize = 32;
    pub const MKNODAT: usize = 33;
    pub const MKDIRAT: usize = 34;
    pub const RENAMEAT: usize = 38;
    pub const CHDIR: usize = 49;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const READLINKAT: usize = 78;
    pub const FSTATAT: usize = 79;
    pub const EXIT: usize = 93;
    pub const CLOCK_GETTIME: usize = 113;
    pub const KILL: usize = 129;
    pub const SIGPROCMASK: usize = 135;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const GETPID: usize = 172;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;
}

const O_RDONLY: usize = 0;
const O_WRONLY: usize = 1;
const O_RDWR: usize = 2;
const O_CREAT: usize = 0o100;
const O_TRUNC: usize = 0o1000;
const O_APPEND: usize = 0o2000;
const O_NONBLOCK: usize = 0o4000;
const O_CLOEXEC: usize = 0o2_000_000;

const SIGHUP: usize = 1;
const SIGUSR1: usize = 10;
const SIGTERM: usize = 15;
const SIGCHLD: usize = 17;

/// AT_FDCWD.
const CWD: usize = -100_isize as usize;
const CLONE_VM: usize = 0x100;
const CLONE_VFORK: usize = 0x4000;

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl _start",
    "_start: mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    main = sym start
);

#[cfg(target_arch = "aarch64")]
global_asm!(".globl _start", "_start: mov x0, sp", "bl {main}", main = sym start);

/// Makes a system call.
#[cfg(target_arch = "x86_64")]
fn call(number: usize, a: [usize; 5]) -> isize {
    let answer;
    // SAFETY: every caller's pointers outlive the call.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => answer,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3],
            in("r8") a[4], lateout("rcx") _, lateout("r11") _);
    }
    answer
}

/// Makes a system call.
#[cfg(target_arch = "aarch64")]
fn call(number: usize, a: [usize; 5]) -> isize {
    let answer;
    // SAFETY: every caller's pointers outlive the call.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a[0] as isize => answer,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4]);
    }
    answer
}

/// Calls `clone` and returns the child's pid; the child calls `child` and
/// never returns. With CLONE_VM the child runs below the parent's stack, and
/// CLONE_VFORK suspends the parent meanwhile.
#[cfg(target_arch = "x86_64")]
fn clone(flags: usize, dir: *const c_char) -> isize {
    let answer;
    // SAFETY: the child touches nothing above the stack pointer.
    unsafe {
        asm!("syscall", "test rax, rax", "jnz 2f", "sub rsp, 256",
            "and rsp, -16", "mov rdi, r12", "call {child}", "ud2", "2:",
            child = sym child,
            inlateout("rax") number::CLONE as isize => answer,
            in("rdi") flags | SIGCHLD, in("rsi") 0, in("rdx") 0, in("r10") 0,
            in("r8") 0, in("r12") dir, lateout("rcx") _, lateout("r11") _);
    }
    answer
}

/// Calls `clone` and returns the child's pid; the child calls `child` and
/// never returns. With CLONE_VM the child runs below the parent's stack, and
/// CLONE_VFORK suspends the parent meanwhile.
#[cfg(target_arch = "aarch64")]
fn clone(flags: usize, dir: *const c_char) -> isize {
    let answer;
    // SAFETY: the child touches nothing above the stack pointer.
    unsafe {
        asm!("svc 0", "cbnz x0, 2f", "mov x0, x20", "bl {child}", "brk 1",
            "2:", child = sym child, in("x8") number::CLONE,
            inlateout("x0") (flags | SIGCHLD) as isize => answer,
            in("x1") 0, in("x2") 0, in("x3") 0, in("x4") 0, in("x20") dir,
            lateout("x30") _);
    }
    answer
}

/// The environment that the children get.
static mut ENVIRON: *const *const c_char = null();

/// A service: the pid of its process, its directory, and a descriptor of that
/// where files are written.
#[derive(Clone, Copy)]
struct Slot {
    pid: isize,
    dir: *const c_char,
    open: usize,
}

/// The table of services.
static mut SLOTS: [Slot; SERVICES] = [Slot {
    pid: 0,
    dir: null(),
    open: 0,
}; SERVICES];

/// Returns the set of the signals with these numbers.
const fn set(signals: &[usize]) -> u64 {
    let (mut set, mut i) = (0, 0);
    while i < signals.len() {
        set |= 1 << (signals[i] - 1);
        i += 1;
    }
    set
}

/// Sets the signal mask.
fn mask(set: u64) {
    call(number::SIGPROCMASK, [2, &raw const set as usize, 0, 8, 0]);
}

/// Waits for one of these signals.
fn wait_signal(set: u64) -> isize {
    call(number::SIGTIMEDWAIT, [&raw const set as usize, 0, 0, 8, 0])
}

/// Calls `openat`.
fn open(at: usize, path: &CStr, flags: usize, mode: usize) -> isize {
    let path = path.as_ptr() as usize;
    call(number::OPENAT, [at, path, flags | O_CLOEXEC, mode, 0])
}

/// Calls `close`.
fn close(fd: isize) {
    call(number::CLOSE, [fd as usize, 0, 0, 0, 0]);
}

/// Calls `write`.
fn write(fd: isize, bytes: &[u8]) {
    let (place, count) = (bytes.as_ptr() as usize, bytes.len());
    call(number::WRITE, [fd as usize, place, count, 0, 0]);
}

/// Returns true if `path` exists.
fn is_there(at: usize, path: &CStr) -> bool {
    let mut stat = [0_u64; 18];
    let (path, stat) = (path.as_ptr() as usize, &raw mut stat as usize);
    call(number::FSTATAT, [at, path, stat, 0, 0]) == 0
}

/// Returns the time of a clock in nanoseconds.
fn clock(id: usize) -> u64 {
    let mut time = [0_u64; 2];
    let place = &raw mut time as usize;
    call(number::CLOCK_GETTIME, [id, place, 0, 0, 0]);
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// Ends the process.
fn exit(code: usize) -> ! {
    loop {
        call(number::EXIT, [code, 0, 0, 0, 0]);
    }
}

/// Executes ./run in its directory; runs in the child.
extern "C" fn child(dir: *const c_char) -> ! {
    let argv = [c"./run".as_ptr(), null()];
    mask(0);
    if call(number::CHDIR, [dir as usize, 0, 0, 0, 0]) == 0 {
        // SAFETY: it is set once, at the start.
        let environ = unsafe { ENVIRON };
        let (path, argv) = (argv[0] as usize, argv.as_ptr() as usize);
        call(number::EXECVE, [path, argv, environ as usize, 0, 0]);
    }
    exit(111)
}

/// Replaces one of the status files.
fn replace(dir: usize, path: &CStr, new: &CStr, content: &[u8]) {
    let fd = open(dir, new, O_WRONLY | O_NONBLOCK | O_TRUNC | O_CREAT, 0o644);
    if !content.is_empty() {
        write(fd, content);
    }
    close(fd);
    let (new, path) = (new.as_ptr() as usize, path.as_ptr() as usize);
    call(number::RENAMEAT, [dir, new, dir, path, 0]);
}

/// Publishes pid, stat and status.
fn publish(dir: usize, up: bool) {
    let pid: &[u8] = if up { b"12345\n" } else { b"" };
    let stat: &[u8] = if up { b"run\n" } else { b"down\n" };
    replace(dir, c"supervise/pid", c"supervise/pid.new", pid);
    replace(dir, c"supervise/stat", c"supervise/stat.new", stat);
    let now = clock(0).to_be_bytes();
    let mut status = [0; 20];
    for (place, byte) in status.iter_mut().zip(now) {
        *place = byte;
    }
    replace(dir, c"supervise/status", c"supervise/status.new", &status);
}

/// Takes control of a service directory with the calls that runsv must make;
/// returns its descriptor.
fn take(dir: *const c_char) -> usize {
    // SAFETY: `dir` is a program argument.
    let dir = unsafe { CStr::from_ptr(dir) };
    let dir = open(CWD, dir, O_RDONLY, 0) as usize;
    let at = |path: &CStr| [dir, path.as_ptr() as usize];
    is_there(dir, c"log");
    let [_, path] = at(c"supervise");
    call(number::MKDIRAT, [dir, path, 0o700, 0, 0]);
    let flags = O_WRONLY | O_NONBLOCK | O_APPEND | O_CREAT;
    let lock = open(dir, c"supervise/lock", flags, 0o600);
    call(number::FLOCK, [lock as usize, 2 | 4, 0, 0, 0]);
    for (path, flags) in
        [(c"supervise/control", O_RDWR), (c"supervise/ok", O_RDONLY)]
    {
        let [_, name] = at(path);
        call(number::MKNODAT, [dir, name, 0o010_600, 0, 0]);
        open(dir, path, flags | O_NONBLOCK, 0);
    }
    is_there(dir, c"down");
    publish(dir, false);
    dir
}

/// Keeps every directory's ./run alive until HUP.
fn supervise(flags: usize, files: bool, dirs: &[*const c_char]) -> usize {
    let wanted = const { set(&[SIGHUP, SIGCHLD]) };
    mask(wanted);
    // SAFETY: this is the only reference.
    let slots = unsafe { &mut *(&raw mut SLOTS) };
    let count = dirs.len().min(SERVICES);
    let slots = &mut slots[..count];
    for (slot, dir) in slots.iter_mut().zip(dirs) {
        slot.dir = *dir;
        if files {
            slot.open = take(*dir);
            slot.pid = clone(flags, slot.dir);
            publish(slot.open, true);
        } else {
            slot.pid = clone(flags, slot.dir);
        }
    }
    let mut ends = false;
    let mut left = count;
    while left > 0 {
        if wait_signal(wanted) == SIGHUP as isize {
            ends = true;
            for slot in slots.iter() {
                call(number::KILL, [slot.pid as usize, SIGTERM, 0, 0, 0]);
            }
        }
        loop {
            const NOHANG: usize = 1;
            let pid = call(number::WAIT4, [usize::MAX, 0, NOHANG, 0, 0]);
            if pid <= 0 {
                break;
            }
            let slot = slots.iter_mut().find(|slot| slot.pid == pid);
            let Some(slot) = slot else { continue };
            if ends {
                left -= 1;
            } else {
                slot.pid = clone(flags, slot.dir);
            }
            if files {
                publish(slot.open, !ends);
            }
        }
    }
    0
}

/// Makes the calls of `sv status`: opens each directory and then reads.
fn status(dirs: &[*const c_char]) -> usize {
    // SAFETY: this is the only reference.
    let slots = unsafe { &mut *(&raw mut SLOTS) };
    for (slot, dir) in slots.iter_mut().zip(dirs) {
        // SAFETY: it is a program argument.
        let path = unsafe { CStr::from_ptr(*dir) };
        slot.dir = *dir;
        slot.pid = open(CWD, path, O_RDONLY, 0);
    }
    for slot in slots.iter().take(dirs.len()) {
        let dir = slot.pid as usize;
        close(open(dir, c"supervise/ok", O_WRONLY | O_NONBLOCK, 0));
        let file = open(dir, c"supervise/status", O_RDONLY | O_NONBLOCK, 0);
        let mut bytes = [0_u8; 21];
        let place = bytes.as_mut_ptr() as usize;
        call(number::READ, [file as usize, place, 21, 0, 0]);
        close(file);
        is_there(dir, c"down");
        clock(0);
        open(dir, c"log", O_RDONLY, 0);
        // SAFETY: it is a program argument.
        write(1, unsafe { CStr::from_ptr(slot.dir) }.to_bytes());
    }
    0
}

/// Reads a file forever.
fn churn(path: &[*const c_char]) -> usize {
    let Some(path) = path.first() else { return 100 };
    // SAFETY: it is a program argument.
    let path = unsafe { CStr::from_ptr(*path) };
    let mut buffer = [0_u8; 16384];
    let place = buffer.as_mut_ptr() as usize;
    loop {
        let file = open(CWD, path, O_RDONLY, 0);
        if file < 0 {
            return 111;
        }
        while call(number::READ, [file as usize, place, 16384, 0, 0]) > 0 {}
        close(file);
    }
}

/// Writes the service's record.
fn stamp(record: &mut [u64; 2]) {
    let fd = open(CWD, c"stamp", O_WRONLY | O_NONBLOCK, 0);
    let place = record.as_ptr() as usize;
    call(number::WRITE, [fd as usize, place, 16, 0, 0]);
    close(fd);
}

/// Runs the service.
fn service() -> usize {
    let now = clock(1);
    let pid = call(number::GETPID, [0; 5]) as u64;
    let mut text = [0_u8; 8];
    let place = text.as_mut_ptr() as usize;
    let name = c"id".as_ptr() as usize;
    let length = call(number::READLINKAT, [CWD, name, place, 8, 0]);
    let digits = text.iter().take(length.max(0) as usize);
    let id = digits.fold(0, |id: u64, digit| {
        id.wrapping_mul(10).wrapping_add(u64::from(digit & 15))
    });
    let mut record = [id | pid << 32, now];
    let again = const { set(&[SIGUSR1]) };
    mask(again);
    stamp(&mut record);
    let name = c"ready".as_ptr() as usize;
    if call(number::READLINKAT, [CWD, name, place, 8, 0]) > 0 {
        write(3, b"\n");
        close(3);
    }
    if is_there(CWD, c"crash") {
        return 1;
    }
    loop {
        if wait_signal(again) == SIGUSR1 as isize {
            record[1] = clock(1);
            stamp(&mut record);
        }
    }
}

/// Runs the program: `stack` holds argc, argv and the environment.
extern "C" fn start(stack: *const usize) -> ! {
    // SAFETY: the kernel lays the stack out like this.
    let (argc, argv) =
        unsafe { (*stack, stack.add(1).cast::<*const c_char>()) };
    // SAFETY: argv has argc entries, and a null between it and the rest.
    let (argv, environ) = unsafe {
        (core::slice::from_raw_parts(argv, argc), argv.add(argc + 1))
    };
    // SAFETY: there is no other thread.
    unsafe { ENVIRON = environ };
    let word = |i: usize| {
        let word = argv.get(i).copied().unwrap_or(c"".as_ptr());
        // SAFETY: it is a program argument or the empty string.
        unsafe { CStr::from_ptr(word) }.to_bytes()
    };
    let rest = argv.get(2..).unwrap_or(&[]);
    exit(match (word(0), word(1)) {
        (name, _) if name.ends_with(b"run") => service(),
        (_, b"vfork") => supervise(CLONE_VM | CLONE_VFORK, false, rest),
        (_, b"files") => supervise(CLONE_VM | CLONE_VFORK, true, rest),
        (_, b"files-fork") => supervise(0, true, rest),
        (_, b"fork") => supervise(0, false, rest),
        (_, b"status") => status(rest),
        (_, b"churn") => churn(rest),
        (_, b"hog") => loop {
            core::hint::spin_loop();
        },
        _ => 100,
    })
}

/// Satisfies the compiler; never reached.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

/// Copies memory; called by code that the compiler generates.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller guarantees that both ranges are valid.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
    }
    to
}

/// Fills memory; called by code that the compiler generates.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    for i in 0..n {
        // SAFETY: the caller guarantees that the range is valid.
        unsafe { to.add(i).write_volatile(byte as u8) };
    }
    to
}

/// Compares memory; called by code that the compiler generates.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: the caller guarantees that both ranges are valid.
        let (a, b) = unsafe { (*a.add(i), *b.add(i)) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// Compares memory for equality; called by code that the compiler generates.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller guarantees that both ranges are valid.
    unsafe { memcmp(a, b, n) }
}

/// Returns the length of a C string.
///
/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    let mut n = 0;
    // SAFETY: the caller guarantees that the string is valid.
    while unsafe { text.add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}
