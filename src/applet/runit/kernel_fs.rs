//! Mounts the kernel's file systems.

use core::ffi::CStr;

use crate::{
    supervisor::Reporter,
    sys::{CWD, Errno, file, power},
    wire::fstab::{DATA_ONLY, NO_DEVICES, NO_EXEC, NO_SUID},
};

use super::step::{StepResult, is_free};

/// A kernel file system that stage 1 mounts.
struct KernelFs {
    kind: &'static CStr,
    target: &'static CStr,
    options: &'static CStr,
    /// Flags of mount(2).
    flags: u32,
    /// True if some kernels lack it.
    optional: bool,
}

/// Returns an entry of the table.
const fn kernel_fs(
    kind: &'static CStr,
    target: &'static CStr,
    options: &'static CStr,
    flags: u32,
    optional: bool,
) -> KernelFs {
    KernelFs {
        kind,
        target,
        options,
        flags,
        optional,
    }
}

/// File systems that stage 1 mounts, in this order. One that is mounted
/// already is left as it is.
const KERNEL_FS: [KernelFs; 7] = [
    kernel_fs(c"proc", c"/proc", c"", DATA_ONLY, false),
    kernel_fs(c"sysfs", c"/sys", c"", DATA_ONLY, false),
    kernel_fs(c"devtmpfs", c"/dev", c"mode=755", NO_SUID, false),
    kernel_fs(
        c"devpts",
        c"/dev/pts",
        c"mode=620,ptmxmode=666,gid=5",
        NO_SUID | NO_EXEC,
        true,
    ),
    kernel_fs(c"tmpfs", c"/dev/shm", c"mode=1777", DATA_ONLY, true),
    kernel_fs(c"tmpfs", c"/run", c"mode=755", NO_SUID | NO_DEVICES, false),
    kernel_fs(
        c"cgroup2",
        c"/sys/fs/cgroup",
        c"nsdelegate",
        DATA_ONLY,
        true,
    ),
];

/// Links that programs expect in /dev and the kernel does not make.
const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
];

/// Mounts the kernel's file systems. A failure does not stop the others: a
/// board without /sys still runs its services.
pub(super) fn mount_all(reporter: &Reporter) -> StepResult {
    let mut failed = false;
    for kernel_fs in &KERNEL_FS {
        match mount(kernel_fs) {
            Ok(()) => {}
            Err(Errno::ENODEV | Errno::ENOENT | Errno::EINVAL)
                if kernel_fs.optional => {}
            Err(errno) => {
                failed = true;
                reporter.warn(
                    "unable to mount ",
                    kernel_fs.target.to_bytes(),
                    errno,
                );
            }
        }
    }
    for (target, link) in LINKS {
        // A static /dev has them already.
        let _there = file::make_link(target, CWD, link).is_err();
    }
    StepResult::of(true, failed)
}

/// Mounts a file system unless one is mounted at its target.
fn mount(kernel_fs: &KernelFs) -> Result<(), Errno> {
    if !is_free(kernel_fs.target)? {
        return Ok(());
    }
    let KernelFs {
        kind,
        target,
        options,
        flags,
        ..
    } = *kernel_fs;
    power::mount(kind, target, kind, flags, options)
}
