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
        AsFd, Errno,
        child::{self, ExitStatus, Program, Setup},
        clock, file, secure,
        signal::{self, Number},
    },
    wire::{
        clock::Instant,
        logname::{Kind, LogName},
    },
};

use super::{
    context::{LogContext, Mode, PAUSE},
    directory::Directory,
    job::Job,
};

impl Directory {
    /// Starts the processor on the pending log, unless it is running. A
    /// failure is reported, and it is tried again after [`PAUSE`].
    pub(in crate::applet) fn begin_job(
        &mut self,
        context: &mut LogContext,
        pending: Option<LogName>,
    ) {
        if matches!(self.job, Job::Running(..)) || context.mode == Mode::Worker
        {
            return;
        }
        let mut what = "";
        self.job = match pending {
            None => Job::Idle,
            Some(name) => match self.launch(context, name, &mut what) {
                Ok(pid) => Job::Running(pid, name),
                Err(errno) => {
                    context.warn("pausing", what, self.subject(), errno);
                    Job::Failed(clock::mono().after(PAUSE))
                }
            },
        };
    }

    /// Starts the processor; where there are other streams, in a copy of this
    /// process that waits for it. Returns the process id. On an error `what`
    /// names the action that failed.
    fn launch(
        &mut self,
        context: &mut LogContext,
        name: LogName,
        what: &mut &'static str,
    ) -> Result<u32, Errno> {
        if context.mode == Mode::Alone {
            return self.start(context, name, what);
        }
        *what = "unable to fork for processor";
        // It must not outlive this process: another one then owns the log.
        if let Some(pid) = self.fork_worker(context, Number::KILL)? {
            return Ok(pid);
        }
        let end = match self.start(context, name, what) {
            Ok(pid) => child::wait(pid),
            Err(errno) => {
                context.warn("pausing", what, self.subject(), errno);
                None
            }
        };
        let done = end.is_some_and(|end| self.finish(context, name, end));
        child::exit(u8::from(!done))
    }

    /// Starts the processor and returns its process id. On an error `what`
    /// names the action that failed.
    fn start(
        &self,
        context: &LogContext,
        name: LogName,
        what: &mut &'static str,
    ) -> Result<u32, Errno> {
        let at = self.dir.as_fd();
        let subject = self.subject();
        let access = self.config.limits().access;
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
        let command = self.config.texts().command();
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
        let more = [state.as_fd(), newstate.as_fd()];
        child::spawn_with(&program, &setup, Some(more))
    }

    /// Checks whether the processor has ended, or must be started again.
    pub(in crate::applet) fn check_job(
        &mut self,
        context: &mut LogContext,
        now: Instant,
    ) {
        match (self.job, context.mode) {
            // The parent owns the processor and signals when none is left.
            (_, Mode::Worker) => {
                if core::mem::take(&mut context.pending.job_done) {
                    self.job = Job::Idle;
                }
            }
            (Job::Running(pid, name), mode) => {
                let Some(end) = child::try_wait(pid) else {
                    return;
                };
                let done = match mode {
                    Mode::Alone | Mode::Worker => {
                        self.finish(context, name, end)
                    }
                    Mode::Shared | Mode::Unshared => {
                        end == ExitStatus::Exited(0)
                    }
                };
                self.job = Job::Failed(now.after(PAUSE));
                if done || !self.is_open {
                    self.job = Job::Idle;
                }
                if done && self.is_open {
                    self.prune(context);
                }
            }
            (Job::Failed(_), _) if !self.is_open => self.job = Job::Idle,
            (Job::Failed(until), _) if until <= now => {
                // Holds also if the directory cannot be listed now.
                self.job = Job::Failed(now.after(PAUSE));
                self.prune(context);
            }
            (Job::Idle | Job::Failed(_), _) => {}
        }
    }

    /// Handles the end of the processor. Returns whether its log is finished.
    fn finish(
        &self,
        context: &LogContext,
        name: LogName,
        end: ExitStatus,
    ) -> bool {
        if end == ExitStatus::Exited(0) {
            return self.conclude(context, name);
        }
        let subject = self.subject();
        let what: [&[u8]; 2] = [b"processor failed, restart: ", subject];
        context.report("warning", &what);
        let temporary = name.with(Kind::Temporary);
        // The next listing deletes what stays.
        let _stays =
            file::remove(self.dir.as_fd(), temporary.as_c_str()).is_err();
        false
    }

    /// Makes the processor's output the finished log. Syncs it before its
    /// source is removed.
    fn conclude(&self, context: &LogContext, name: LogName) -> bool {
        let at = self.dir.as_fd();
        let (new, done) = (name.with(Kind::Temporary), name.with(Kind::Safe));
        let (from, to) = (new.as_c_str(), done.as_c_str());
        // Best effort: a file system may have neither modes nor a medium.
        if let Ok(output) = secure::read(at, from) {
            let _synced = file::sync(output.as_fd()).is_ok();
            let mode = self.config.limits().access.closed();
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
        let subject = self.subject();
        match concluded {
            Ok(()) => {
                context.info(&[b"processed: ", subject, b"/", done.as_bytes()]);
            }
            Err(errno) => context.warn("warning", what, subject, errno),
        }
        concluded.is_ok()
    }

    /// Kills a processor that still runs at TERM's limit. Its log is processed
    /// after the next start.
    pub(in crate::applet) fn end_job(&mut self, context: &LogContext) {
        if let Job::Running(pid, name) = self.job {
            let what = b"processor does not end, it is killed: ";
            let subject = self.subject();
            context.report("warning", &[what, subject, b"/", name.as_bytes()]);
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
