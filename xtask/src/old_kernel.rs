//! Runs a program as on the oldest supported kernel, Linux 4.4.
//!
//! Later system calls return ENOSYS, to the program and to all its
//! descendants. This needs no list, which could be incomplete: calls are
//! numbered in the order in which they were added. Not emulated: newer flags
//! of older calls, and the calls of 32-bit machines with 64-bit seconds (5.1),
//! which x86-64 does not have.

use std::{
    ffi::OsString, os::unix::process::CommandExt as _, process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    io::Errno,
    process::{PidfdFlags, getpid, pidfd_open},
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// `mlock2`: the last call added to x86-64 up to Linux 4.4.
const LAST: i64 = 325;

/// Start of the numbers of `x32`, whose calls are old.
const END: i64 = 512;

/// Executes the program that the words name; returns only on failure.
pub fn run(words: &[OsString]) -> Result<()> {
    let [program, arguments @ ..] = words else {
        bail!("no program");
    };
    let newer = (LAST + 1..END).map(|call| (call, Vec::new())).collect();
    let refused = Errno::NOSYS.raw_os_error().cast_unsigned();
    let filter = SeccompFilter::new(
        newer,
        SeccompAction::Allow,
        SeccompAction::Errno(refused),
        TargetArch::x86_64,
    )?;
    let filter = BpfProgram::try_from(filter)?;
    seccompiler::apply_filter(&filter).context("the kernel has no seccomp")?;
    // Added in 5.3.
    let newer = pidfd_open(getpid(), PidfdFlags::empty());
    ensure!(
        newer.err() == Some(Errno::NOSYS),
        "the filter has no effect"
    );
    let failed = Command::new(program).args(arguments).exec();
    Err(failed).context(format!("cannot run {}", program.display()))
}
