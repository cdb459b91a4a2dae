//! Defines the result of a step of PID 1 and helpers that several steps use.

use core::{ffi::CStr, sync::atomic::AtomicU32};

use crate::{
    config,
    supervisor::Reporter,
    sys::{
        CWD, Errno,
        child::{self, ExitStatus, Program, Setup},
        file,
    },
};

/// Result of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StepResult {
    /// There was nothing to do.
    #[default]
    Nothing,
    /// It is done.
    Done,
    /// It failed and the failure was reported.
    Failed,
    /// Its time limit was exceeded.
    Late,
}

impl StepResult {
    /// Combines several results: `some` when there was anything to do,
    /// `failed` when any part failed.
    pub(super) fn of(some: bool, failed: bool) -> Self {
        match (some, failed) {
            (_, true) => Self::Failed,
            (true, false) => Self::Done,
            (false, false) => Self::Nothing,
        }
    }
}

/// Runs a program to its end; returns true when it exits with a code below
/// `limit`. Blocks, so call it in a child process only.
pub(super) fn run(path: &CStr, arguments: &[&CStr], limit: u8) -> bool {
    let program = Program {
        path,
        arguments,
        environ: child::Environ::empty(),
    };
    let setup = Setup {
        dir: None,
        sub: None,
        stdin: None,
        stdout: None,
        stderr: None,
        session: false,
        group: false,
        cgroup: None,
        terminal: false,
        blocking: true,
        error_prefix: None,
        error_code: 127,
    };
    let end = child::spawn(&program, &setup, &AtomicU32::new(0))
        .ok()
        .and_then(child::wait);
    matches!(end, Some(ExitStatus::Exited(code)) if code < limit)
}

/// Returns true when nothing is mounted at `target`. Creates `target` if it is
/// missing.
pub(super) fn is_free(target: &CStr) -> Result<bool, Errno> {
    match is_mounted(target) {
        Ok(mounted) => Ok(!mounted),
        Err(Errno::ENOENT) => file::make_dir(CWD, target, 0o755).map(|()| true),
        Err(errno) => Err(errno),
    }
}

/// Returns true when `target` is on another device than its parent directory.
pub(super) fn is_mounted(target: &CStr) -> Result<bool, Errno> {
    let path = target.to_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let parent = path.get(..slash.unwrap_or(0)).unwrap_or(b"");
    let parent = file::path_of(&[parent, b"/"])?;
    let parent = file::info(CWD, parent.as_c_str())?;
    let info = file::info(CWD, target)?;
    Ok(info.identity.device != parent.identity.device)
}

/// Calls `each` with every line of an optional file. Reports a line that is
/// too long and a failure to read to `reporter`.
pub(super) fn each_line(
    path: &CStr,
    reporter: Option<&Reporter>,
    each: &mut dyn FnMut(&[u8]),
) {
    let mut buffer = [0; config::LINE_BYTES];
    let read = file::lines(CWD, path, &mut buffer, |line| {
        match line {
            Some(line) => each(line),
            None => reporter.iter().for_each(|reporter| {
                let what = "a line is too long";
                reporter.capacity_reached(
                    what,
                    "line-bytes",
                    config::LINE_BYTES,
                );
            }),
        }
        true
    });
    match read {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => reporter.iter().for_each(|reporter| {
            reporter.warn("unable to read ", path.to_bytes(), errno);
        }),
    }
}
