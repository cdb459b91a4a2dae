//! Makes system calls. Their results are not checked: a program that measures
//! has no use for a failure but that the measurement does not come.

use core::ffi::CStr;

pub use syscalls::Sysno;

/// Defines numbers of the kernel, which are the same on all architectures that
/// are measured.
macro_rules! numbers {
    ($($name:ident = $number:expr, $about:literal;)*) => {
        $(#[doc = $about] pub const $name: usize = $number;)*
    };
}

numbers! {
    O_RDONLY = 0, "Open for reading.";
    O_WRONLY = 1, "Open for writing.";
    O_RDWR = 2, "Open for both.";
    O_CREAT = 0o100, "Create it.";
    O_TRUNC = 0o1000, "Empty it.";
    O_APPEND = 0o2000, "Write at its end.";
    O_NONBLOCK = 0o4000, "Never wait.";
    O_CLOEXEC = 0o2_000_000, "Close it when a program is executed.";
    SIGHUP = 1, "The signal that ends a supervisor.";
    SIGKILL = 9, "The signal that ends every process but process 1.";
    SIGUSR1 = 10, "The signal that asks a service for a record.";
    SIGTERM = 15, "The signal that ends a service.";
    SIGCHLD = 17, "The signal of a child that has ended.";
    CWD = -100_isize as usize, "The current directory.";
    REALTIME = 0, "The clock of the date.";
    MONOTONIC = 1, "The clock that is never set.";
}

/// The calls that take 64-bit times, and the one for the type of a file.
#[cfg(target_arch = "arm")]
mod named {
    use super::Sysno;
    pub const CLOCK_GETTIME: Sysno = Sysno::clock_gettime64;
    pub const CLOCK_NANOSLEEP: Sysno = Sysno::clock_nanosleep_time64;
    pub const FSTATAT: Sysno = Sysno::fstatat64;
}
#[cfg(not(target_arch = "arm"))]
mod named {
    use super::Sysno;
    pub const CLOCK_GETTIME: Sysno = Sysno::clock_gettime;
    pub const CLOCK_NANOSLEEP: Sysno = Sysno::clock_nanosleep;
    #[cfg(target_arch = "aarch64")]
    pub const FSTATAT: Sysno = Sysno::fstatat;
    #[cfg(not(target_arch = "aarch64"))]
    pub const FSTATAT: Sysno = Sysno::newfstatat;
}
use named::{CLOCK_GETTIME, CLOCK_NANOSLEEP, FSTATAT};

/// Makes a system call.
pub fn call(number: Sysno, a: [usize; 5]) -> isize {
    // SAFETY: every caller's pointers outlive the call.
    let answer = unsafe {
        syscalls::raw::syscall5(
            number.id() as usize,
            a[0],
            a[1],
            a[2],
            a[3],
            a[4],
        )
    };
    answer as isize
}

/// Returns the set of the signals with these numbers.
pub const fn set(signals: &[usize]) -> u64 {
    let (mut set, mut i) = (0, 0);
    while i < signals.len() {
        set |= 1 << (signals[i] - 1);
        i += 1;
    }
    set
}

/// Sets the signal mask.
pub fn mask(set: u64) {
    const SETMASK: usize = 2;
    let set = &raw const set as usize;
    call(Sysno::rt_sigprocmask, [SETMASK, set, 0, 8, 0]);
}

/// Waits for one of these signals; for an empty set, without end.
pub fn wait_signal(set: u64) -> isize {
    let set = &raw const set as usize;
    call(Sysno::rt_sigtimedwait, [set, 0, 0, 8, 0])
}

/// Sends a signal.
pub fn kill(pid: isize, signal: usize) {
    call(Sysno::kill, [pid as usize, signal, 0, 0, 0]);
}

/// Opens a file.
pub fn open(at: usize, path: &CStr, flags: usize, mode: usize) -> isize {
    let path = path.as_ptr() as usize;
    call(Sysno::openat, [at, path, flags | O_CLOEXEC, mode, 0])
}

/// Closes a descriptor.
pub fn close(fd: isize) {
    call(Sysno::close, [fd as usize, 0, 0, 0, 0]);
}

/// Writes bytes.
pub fn write(fd: isize, bytes: &[u8]) {
    let (place, count) = (bytes.as_ptr() as usize, bytes.len());
    call(Sysno::write, [fd as usize, place, count, 0, 0]);
}

/// Reads bytes; returns those that were there.
pub fn read(fd: isize, buffer: &mut [u8]) -> &[u8] {
    let (place, count) = (buffer.as_mut_ptr() as usize, buffer.len());
    let count = call(Sysno::read, [fd as usize, place, count, 0, 0]);
    buffer.get(..count.max(0) as usize).unwrap_or(&[])
}

/// Makes a directory.
pub fn mkdir(at: usize, path: &CStr, mode: usize) {
    call(Sysno::mkdirat, [at, path.as_ptr() as usize, mode, 0, 0]);
}

/// Makes a FIFO.
pub fn mkfifo(at: usize, path: &CStr) {
    const FIFO: usize = 0o010_600;
    call(Sysno::mknodat, [at, path.as_ptr() as usize, FIFO, 0, 0]);
}

/// Mounts a file system.
pub fn mount(kind: &CStr, target: &CStr, data: &CStr) {
    let [kind, target, data] =
        [kind, target, data].map(|text| text.as_ptr() as usize);
    call(Sysno::mount, [kind, target, kind, 0, data]);
}

/// Returns true if `path` exists.
pub fn is_there(at: usize, path: &CStr) -> bool {
    let mut stat = [0_u64; 18];
    let (path, stat) = (path.as_ptr() as usize, &raw mut stat as usize);
    call(FSTATAT, [at, path, stat, 0, 0]) == 0
}

/// Returns the time of a clock in nanoseconds.
pub fn clock(id: usize) -> u64 {
    let mut time = [0_u64; 2];
    let place = &raw mut time as usize;
    call(CLOCK_GETTIME, [id, place, 0, 0, 0]);
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// Sleeps.
pub fn sleep(milliseconds: u64) {
    let time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    let place = &raw const time as usize;
    call(CLOCK_NANOSLEEP, [MONOTONIC, 0, place, 0, 0]);
}

/// Ends the process.
pub fn exit(code: usize) -> ! {
    loop {
        call(Sysno::exit, [code, 0, 0, 0, 0]);
    }
}
