//! Wraps Linux: the only module with unsafe code and system calls.
//!
//! Calls go to rustix where rustix has them and links without a panic path.
//! `raw` holds the others, except those that only `buffer`, `fd_passing`,
//! `image`, `memory` and `stderr` use. Assembly is in `arch`, one file per architecture. Every
//! function that this module exports is safe, except those that `program!`
//! uses. Functions return the kernel's [`Errno`]; the caller, which knows what
//! the call was for, adds verb and path once.

#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arch/arm.rs")]
#[cfg_attr(target_arch = "mips", path = "arch/mips.rs")]
#[cfg_attr(target_arch = "riscv64", path = "arch/riscv64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
#[macro_use]
mod arch;

pub mod buffer;
pub mod cgroup;
pub mod child;
pub mod clock;
mod clone_vm;
pub mod console;
pub mod dir;
pub mod dm;
pub mod environ;
pub mod error;
mod exec;
pub mod exit_device;
pub mod fault;
pub mod fd;
pub mod fd_passing;
pub mod file;
pub mod identity;
pub mod image;
mod inherited;
pub mod inotify;
pub mod ledger;
pub mod limits;
pub mod mem;
pub mod memory;
mod open;
pub mod pidfd;
pub mod poller;
pub mod power;
pub mod priority;
pub mod privilege;
pub mod proc;
pub mod program;
mod raw;
pub mod secure;
pub mod signal;
pub mod start;
pub mod static_cell;
pub mod stderr;
pub mod syslog;
pub mod udp;
pub mod watchdog;

use core::time::Duration;

pub use error::Errno;
pub use fd::{At, CWD, Fd};
pub use rustix::fd::AsFd;

/// Writes all `bytes` to `fd`, in as many calls as needed.
///
/// Only an interruption is retried.
pub fn write_all(fd: At<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(Errno::EIO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(error::from(errno)),
        }
    }
    Ok(())
}

/// Writes as many of `bytes` as one call takes; returns their number.
pub fn write_once(fd: At<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::write(fd, bytes) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(error::from),
        }
    }
}

/// Reads once into `buffer`; returns the number of bytes, 0 at the end.
pub fn read(fd: At<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(error::from),
        }
    }
}

/// Returns the number of bytes that wait to be read; 0 when that is unknown.
pub fn waiting(fd: At<'_>) -> u64 {
    rustix::io::ioctl_fionread(fd).unwrap_or(0)
}

/// Longest time that a diagnostic waits for a blocked descriptor 2, such as a
/// serial line that is busy with kernel messages.
const STDERR_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes an unnamed pipe; returns the end to read from and the end to write
/// to. With `nonblocking` neither end blocks.
pub fn pipe(nonblocking: bool) -> Result<[Fd; 2], Errno> {
    raw::pipe(nonblocking)
}

/// Writes a diagnostic to descriptor 2.
///
/// Returns nothing, because a failure could not be reported. What descriptor 2
/// does not take within [`STDERR_TIMEOUT`] is dropped: a console that flow
/// control has stopped must not stop the caller for good.
pub fn print_error(line: &[u8]) {
    let until = clock::mono().after(STDERR_TIMEOUT);
    let mut rest = line;
    loop {
        match stderr::write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
            Err(Errno::EAGAIN) => {}
            Err(_) => return,
        }
        let left = until.since(clock::mono());
        if rest.is_empty() || !poller::writable(fd::STDERR, left) {
            return;
        }
    }
}

/// Writes a diagnostic as [`print_error`] does, without waiting: what
/// descriptor 2 does not take at once is dropped.
pub fn try_print_error(line: &[u8]) {
    let _sent = stderr::write(line).is_ok();
}

/// Returns memory to the kernel that is not in use now: see [`memory::trim`];
/// also the stacks of children that have become their programs.
pub fn trim_memory() {
    memory::trim();
    clone_vm::trim_stacks();
}

/// Ends the process with an exit code.
pub fn exit(code: u8) -> ! {
    raw::exit(code)
}

/// Writes `line` to descriptor 1; returns false when not all of it could be
/// written.
pub fn print(line: &[u8]) -> bool {
    write_all(fd::STDOUT, line).is_ok()
}
