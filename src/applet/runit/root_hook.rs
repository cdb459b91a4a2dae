//! Runs the root hook: a program of an initramfs that is run before the root is
//! mounted, and may choose or prepare it. It answers on its descriptor 3 with
//! words as those of the kernel's command line.
//!
//! The descriptor is a pipe that PID 1 reads when the program has ended: it
//! waits for no other process that still has it open, and reads at most
//! `line-bytes`. It does not block, so that a program that writes more than a
//! pipe holds gets an error.

use core::{ffi::CStr, time::Duration};

use crate::{
    config::{self, family::ROOT},
    supervisor::{Reporter, Supervisor},
    sys::{self, AsFd, Fd, static_cell::StaticCell},
    wire::{clock::Instant, root::Root},
};

use super::{
    super::flag_files::is_set, console::ConsoleStreams, report, root,
    step::StepResult, task::Task,
};

/// The program.
const PROGRAM: &CStr = c"/etc/runit/root";
/// Name of the step.
pub(super) const NAME: &str = "/etc/runit/root";
/// Bytes of the answer.
static ANSWER: StaticCell<[u8; config::LINE_BYTES]> =
    StaticCell::new([0; config::LINE_BYTES]);

/// Returns the time limit of the program.
fn limit() -> Duration {
    match u64::try_from(config::ROOT_SECONDS) {
        Ok(seconds @ 1..) => Duration::from_secs(seconds),
        _ => Duration::MAX,
    }
}

/// The root hook and its answer.
#[derive(Debug)]
pub(super) struct RootHook {
    /// The pipe's end to read from, while the program runs.
    pipe: Option<Fd>,
    buffer: &'static mut [u8],
    /// Length of the answer.
    length: usize,
}

impl RootHook {
    /// Returns the hook before it is run.
    pub(super) fn new() -> Self {
        let buffer: &mut [u8] = match ANSWER.take() {
            Some(buffer) => buffer,
            None => &mut [],
        };
        Self {
            pipe: None,
            buffer,
            length: 0,
        }
    }

    /// Returns the words of the last answer.
    pub(super) fn answer(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or(&[])
    }

    /// Starts the program as `task`, if there is one and a root to choose.
    pub(super) fn start(
        &mut self,
        task: &mut Task,
        now: Instant,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) {
        (self.pipe, self.length) = (None, 0);
        if !is_set(PROGRAM) || !root::is_open() {
            return task.finish(StepResult::Nothing, now);
        }
        match sys::pipe(true) {
            Ok([ours, answer]) => {
                let answer = Some(answer.as_fd());
                self.pipe = Some(ours);
                match console.spawn_with(PROGRAM, &[], true, answer, supervisor)
                {
                    Some(pid) => task.watch(pid, limit(), now),
                    None => task.finish(StepResult::Failed, now),
                }
            }
            Err(errno) => {
                let what = "unable to make a pipe for ";
                supervisor.reporter().warn(what, NAME.as_bytes(), errno);
                task.finish(StepResult::Failed, now);
            }
        }
    }

    /// Handles the end of a step. If it was the program, and with success,
    /// reads its answer; one that is too long or wrong is reported and makes
    /// the step fail. Returns the result of the step.
    pub(super) fn end(
        &mut self,
        result: StepResult,
        reporter: &Reporter,
    ) -> StepResult {
        if !ROOT {
            return result;
        }
        let Some(pipe) =
            self.pipe.take().filter(|_| result == StepResult::Done)
        else {
            return result;
        };
        let mut length = 0_usize;
        // EAGAIN: the pipe is empty, and another process still has it open.
        while let Some(room) = self.buffer.get_mut(length..)
            && let Ok(count @ 1..) = sys::read(pipe.as_fd(), room)
        {
            length = length.saturating_add(count);
        }
        self.length = length;
        if length == self.buffer.len() {
            let what = "the answer of /etc/runit/root is too long";
            reporter.capacity_reached(what, "line-bytes", length);
        } else if let Some(word) = Root::default().read(self.answer()) {
            let what = "unknown word in the answer of /etc/runit/root: ";
            report::warning(reporter, what, word);
        } else {
            return result;
        }
        self.length = 0;
        StepResult::Failed
    }
}
