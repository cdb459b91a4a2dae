//! Processing of rotated logs by the config's `!` command (contract §5.7,
//! §16.24).
//!
//! ```text
//!          a .u exists                   it exited 0
//!   Idle ----------------> Running ----------------------> Idle
//!                           ^   |
//!               PAUSE later |   | it ended otherwise,
//!                           |   v or could not be started
//!                          Failed
//! ```
//!
//! The directory is the queue: every file called `.u` waits to be processed,
//! also one of an earlier run of svlogd. Only a rotation that would make the
//! queue longer, and the end of the program, wait for the processor.

use core::ffi::CStr;

use crate::{
    sys::{
        AsFd, At, Errno,
        child::{self, ExitStatus, Extra, Program, Setup},
        clock, file, secure,
        signal::{self, Number},
    },
    wire::{
        clock::Instant,
        logname::{Kind, LogName},
    },
};

use super::{
    config::Config,
    context::{LogContext, Mode, PAUSE},
    job::Job,
};

/// A log directory as its processor sees it.
pub(super) struct Site<'a> {
    /// Name for messages.
    pub(super) name: &'a [u8],
    /// The directory, its `lock` and its `current`.
    pub(super) files: [At<'a>; 3],
    pub(super) config: &'a Config,
}

impl<'a> Site<'a> {
    /// Returns the directory.
    fn dir(&self) -> At<'a> {
        let [dir, ..] = self.files;
        dir
    }
}

/// The processor of a log directory, running or not.
pub(super) struct Processor {
    job: Job,
}

impl Processor {
    /// A processor that has nothing to do.
    pub(super) const IDLE: Self = Self { job: Job::Idle };

    /// Returns whether no log waits to be processed.
    pub(super) fn is_idle(&self) -> bool {
        self.job == Job::Idle
    }

    /// Returns the name of the log that is being processed.
    pub(super) fn at_work_on(&self) -> Option<LogName> {
        self.job.name()
    }

    /// Returns the moment of the next start after a failure.
    pub(super) fn due(&self) -> Option<Instant> {
        self.job.due()
    }

    /// Starts the processor on the pending log, unless it is running. A
    /// failure is reported, and it is tried again after [`PAUSE`].
    pub(super) fn begin(
        &mut self,
        context: &mut LogContext,
        site: &Site<'_>,
        pending: Option<LogName>,
    ) {
        if matches!(self.job, Job::Running(..)) || context.mode == Mode::Worker
        {
            return;
        }
        let mut what = "";
        self.job = match pending {
            None => Job::Idle,
            Some(name) => match launch(context, site, name, &mut what) {
                Ok(pid) => Job::Running(pid, name),
                Err(errno) => {
                    context.warn("pausing", what, site.name, errno);
                    Job::Failed(clock::mono().after(PAUSE))
                }
            },
        };
    }

    /// Checks whether the processor has ended, or must be started again.
    /// Returns whether the directory is to be searched for its next log.
    pub(super) fn check(
        &mut self,
        context: &mut LogContext,
        site: &Site<'_>,
        is_open: bool,
        now: Instant,
    ) -> bool {
        let (job, search) = match (self.job, context.mode) {
            // The parent owns the processor and signals when none is left.
            (job, Mode::Worker) => {
                let done = core::mem::take(&mut context.pending.job_done);
                (if done { Job::Idle } else { job }, false)
            }
            (Job::Running(pid, name), mode) => {
                let Some(end) = child::try_wait(pid) else {
                    return false;
                };
                let done = match mode {
                    Mode::Alone | Mode::Worker => {
                        finish(context, site, name, end)
                    }
                    Mode::Shared | Mode::Unshared => {
                        end == ExitStatus::Exited(0)
                    }
                };
                if done || !is_open {
                    (Job::Idle, done && is_open)
                } else {
                    (Job::Failed(now.after(PAUSE)), false)
                }
            }
            (Job::Failed(_), _) if !is_open => (Job::Idle, false),
            (Job::Failed(until), _) if until <= now => {
                // Holds also if the directory cannot be listed now.
                (Job::Failed(now.after(PAUSE)), true)
            }
            (job @ (Job::Idle | Job::Failed(_)), _) => (job, false),
        };
        self.job = job;
        search
    }

    /// Kills a processor that still runs at TERM's limit. Its log is processed
    /// after the next start.
    pub(super) fn end(&mut self, context: &LogContext, directory: &[u8]) {
        if let Job::Running(pid, name) = self.job {
            let what = b"processor does not end, it is killed: ";
            let name = name.as_bytes();
            context.report("warning", &[what, directory, b"/", name]);
            // ESRCH: it has just ended.
            let _gone = match context.mode {
                Mode::Alone => signal::kill_group(pid, Number::KILL),
                Mode::Shared | Mode::Unshared | Mode::Worker => {
                    signal::kill(pid, Number::KILL)
                }
            };
        }
        self.job = Job::Idle;
    }
}

/// Starts the processor; where there are other streams, in a copy of this
/// process that waits for it. Returns the process id. On an error `what`
/// names the action that failed.
fn launch(
    context: &mut LogContext,
    site: &Site<'_>,
    name: LogName,
    what: &mut &'static str,
) -> Result<u32, Errno> {
    if context.mode == Mode::Alone {
        return start(context, site, name, what);
    }
    *what = "unable to fork for processor";
    // It must not outlive this process: another one then owns the log.
    if let Some(pid) = context.fork(&site.files, Number::KILL)? {
        return Ok(pid);
    }
    let end = match start(context, site, name, what) {
        Ok(pid) => child::wait(pid),
        Err(errno) => {
            context.warn("pausing", what, site.name, errno);
            None
        }
    };
    let done = end.is_some_and(|end| finish(context, site, name, end));
    child::exit(u8::from(!done))
}

/// Starts the processor and returns its process id. On an error `what`
/// names the action that failed.
fn start(
    context: &LogContext,
    site: &Site<'_>,
    name: LogName,
    what: &mut &'static str,
) -> Result<u32, Errno> {
    let (at, subject) = (site.dir(), site.name);
    let access = site.config.limits().access;
    let mode = access.open();
    context.info(&[b"processing: ", subject, b"/", name.as_bytes()]);
    *what = "unable to open input for processor";
    let input = secure::read(at, name.as_c_str())?;
    *what = "unable to open output for processor";
    let output = name.with(Kind::Temporary);
    let output = secure::truncate(at, output.as_c_str(), mode)?;
    // The same failure is reported for `current`.
    let _given = access.set_group(output.as_fd()).is_ok();
    *what = "unable to open state for processor";
    // What the previous run of the processor wrote to `newstate`.
    let mut state = secure::read(at, c"state");
    if state.as_ref().err() == Some(&Errno::ENOENT) {
        secure::truncate(at, c"state", mode)?;
        state = secure::read(at, c"state");
    }
    let state = state?;
    *what = "unable to open newstate for processor";
    let newstate = secure::truncate(at, c"newstate", mode)?;
    *what = "unable to fork for processor";
    let mut prefix = context.line("warning");
    prefix.text("unable to run processor: ").bytes(subject);
    let command = site.config.texts().command();
    let command = CStr::from_bytes_until_nul(command);
    let program = Program {
        path: c"/bin/sh",
        arguments: &[c"-c", command.unwrap_or(c"")],
        environ: context.environ,
    };
    let setup = Setup {
        dir: Some(at),
        sub: None,
        stdin: Some(input.as_fd()),
        stdout: Some(output.as_fd()),
        stderr: None,
        session: false,
        // A group of its own, so that its children can be killed with it.
        group: true,
        cgroup: None,
        terminal: false,
        blocking: true,
        error_prefix: Some(&prefix),
        error_code: crate::applet::FATAL,
    };
    let more = Extra {
        first: 4,
        files: &[state.as_fd(), newstate.as_fd()],
    };
    child::spawn_with(&program, &setup, Some(more))
}

/// Handles the end of the processor. Returns whether its log is finished.
fn finish(
    context: &LogContext,
    site: &Site<'_>,
    name: LogName,
    end: ExitStatus,
) -> bool {
    if end == ExitStatus::Exited(0) {
        return conclude(context, site, name);
    }
    let what: [&[u8]; 2] = [b"processor failed, restart: ", site.name];
    context.report("warning", &what);
    let temporary = name.with(Kind::Temporary);
    // The next listing deletes what stays.
    let _stays = file::remove(site.dir(), temporary.as_c_str()).is_err();
    false
}

/// Makes the processor's output the finished log. Syncs it before its
/// source is removed.
fn conclude(context: &LogContext, site: &Site<'_>, name: LogName) -> bool {
    let at = site.dir();
    let (new, done) = (name.with(Kind::Temporary), name.with(Kind::Safe));
    let (from, to) = (new.as_c_str(), done.as_c_str());
    // Best effort: a file system may have neither modes nor a medium.
    if let Ok(output) = secure::read(at, from) {
        let _synced = file::sync(output.as_fd()).is_ok();
        let mode = site.config.limits().access.closed();
        let _marked = file::set_mode_of(output.as_fd(), mode).is_ok();
    }
    let mut what = "unable to rename processed";
    let mut concluded = file::rename(at, from, to);
    if concluded.is_ok() {
        what = "unable to unlink";
        concluded = file::remove(at, name.as_c_str());
    }
    if concluded.is_ok() {
        what = "unable to rename state";
        concluded = file::rename(at, c"newstate", c"state");
    }
    let subject = site.name;
    match concluded {
        Ok(()) => {
            context.info(&[b"processed: ", subject, b"/", done.as_bytes()]);
        }
        Err(errno) => context.warn("warning", what, subject, errno),
    }
    concluded.is_ok()
}
