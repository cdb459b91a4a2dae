//! LINUX: the only unsafe code, the only place that knows a system call.
//!
//! What is called from here is rustix where rustix has it and links without
//! a panic path; `raw` holds the rest, but for what `handover`, `memory` and
//! `stderr` alone are about. What a machine wants in assembly is in
//! `arch`, a file for each. Nothing unsafe leaves this module.
//! Functions answer the kernel's [`Errno`]; the caller, who knows what the
//! call was for, names verb, path and cause once.

#[cfg_attr(target_arch = "aarch64", path = "arch/aarch64.rs")]
#[cfg_attr(target_arch = "arm", path = "arch/arm.rs")]
#[cfg_attr(target_arch = "mips", path = "arch/mips.rs")]
#[cfg_attr(target_arch = "riscv64", path = "arch/riscv64.rs")]
#[cfg_attr(target_arch = "x86_64", path = "arch/x86_64.rs")]
#[macro_use]
mod arch;

pub mod cgroup;
pub mod child;
pub mod clock;
mod clone_vm;
pub mod console;
pub mod dir;
pub mod environ;
pub mod error;
pub mod fd;
pub mod fd_passing;
pub mod file;
pub mod identity;
pub mod inotify;
pub mod limits;
pub mod memory;
pub mod poller;
pub mod power;
pub mod priority;
pub mod privilege;
pub mod proc;
mod raw;
pub mod rundir;
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

/// Sends `bytes` to `fd`, as many calls as it takes.
///
/// The only error that is retried is an interruption.
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

/// Sends what one call takes of `bytes`; answers how many that were.
pub fn write_once(fd: At<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::write(fd, bytes) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(error::from),
        }
    }
}

/// Reads once into `buffer`; answers how many bytes came, 0 at the end.
pub fn read(fd: At<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::read(fd, &mut *buffer) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(error::from),
        }
    }
}

/// How many bytes wait to be read; 0 when that cannot be told.
pub fn waiting(fd: At<'_>) -> u64 {
    rustix::io::ioctl_fionread(fd).unwrap_or(0)
}

/// How long a diagnostic waits for a descriptor 2 that takes nothing now: a
/// serial line that is busy with what the kernel says.
const PATIENCE: Duration = Duration::from_secs(1);

/// A pipe without a name: the end to read from, the end to write to. Neither
/// waits if it is `nonblocking`.
pub fn pipe(nonblocking: bool) -> Result<[Fd; 2], Errno> {
    raw::pipe(nonblocking)
}

/// Writes a diagnostic to descriptor 2.
///
/// There is nobody to tell when this fails, so nothing is answered. What a
/// descriptor 2 does not take within [`PATIENCE`] is dropped: a console that
/// is stopped by flow control must stop nobody for good.
pub fn print_error(line: &[u8]) {
    let until = clock::mono().after(PATIENCE);
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

/// As [`complain`], without waiting: what descriptor 2 does not take at once
/// is dropped.
pub fn try_print_error(line: &[u8]) {
    let _sent = stderr::write(line).is_ok();
}

/// Writes an answer to descriptor 1, whole; false when it could not be.
pub fn print(line: &[u8]) -> bool {
    write_all(fd::STDOUT, line).is_ok()
}
