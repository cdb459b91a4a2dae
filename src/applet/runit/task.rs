//! Holds one child of PID 1 that has a time limit, or the result that it left.

use core::time::Duration;

use crate::{
    machine::shutdown::LAST_WORDS,
    supervisor::{Reporter, Supervisor},
    sys::{
        child::{self, ExitStatus},
        signal::{self, Number},
    },
    wire::clock::Instant,
};

use super::step::StepResult;

/// Exit code of a forked child that had nothing to do.
const NOTHING_CODE: u8 = 99;

/// A child with a time limit, or the result of one. The child leads a session,
/// which is killed with it.
#[derive(Debug, Default)]
pub(super) struct Task {
    /// Time at which there is a result: the child's time limit, or the past;
    /// `None` when there is neither.
    due: Option<Instant>,
    /// Time at which the work began.
    began: Option<Instant>,
    /// Process id of the child, while it runs.
    pid: Option<u32>,
    /// True when the child is a copy of this process, not a program.
    forked: bool,
    /// The result at `due`.
    result: StepResult,
}

impl Task {
    /// Returns the time at which to call [`Task::take_result`]; `None` when
    /// there is no child and no result.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Sets the result of work that began at `began` and needed no child.
    pub(super) fn finish(&mut self, result: StepResult, began: Instant) {
        self.began = Some(began);
        self.end(result);
    }

    /// Sets the result.
    fn end(&mut self, result: StepResult) {
        self.pid = None;
        self.result = result;
        self.due = Some(Instant::AT_ONCE);
    }

    /// Takes over a program that runs as the child `pid`, which the supervisor
    /// awaits.
    pub(super) fn watch(&mut self, pid: u32, limit: Duration, now: Instant) {
        self.began = Some(now);
        self.pid = Some(pid);
        self.forked = false;
        self.result = StepResult::Late;
        self.due = Some(now.after(limit));
    }

    /// Runs `work` in a forked child for at most `limit`, so that a hang in
    /// the kernel does not hold up PID 1. Runs it in PID 1 when fork fails.
    pub(super) fn run(
        &mut self,
        work: &dyn Fn(&Reporter) -> StepResult,
        limit: Duration,
        now: Instant,
        supervisor: &mut Supervisor,
    ) {
        let reporter = supervisor.reporter();
        match child::fork_with(&[], None) {
            Err(errno) => {
                reporter.warn("unable to fork", b"", errno);
                self.finish(work(reporter), now);
            }
            Ok((true, _)) => {
                // Leads a session, so that its children are killed with it.
                let _leads = child::new_session().is_err();
                if let Some(console) = reporter.console {
                    console.discard_backlog();
                }
                let result = work(reporter);
                if let Some(console) = reporter.console {
                    console.flush(LAST_WORDS);
                }
                child::exit(match result {
                    StepResult::Done => 0,
                    StepResult::Nothing => NOTHING_CODE,
                    StepResult::Failed | StepResult::Late => 1,
                })
            }
            Ok((false, pid)) => {
                supervisor.await_exit(pid);
                self.watch(pid, limit, now);
                self.forked = true;
            }
        }
    }

    /// Handles the exit of a child; returns false when it is another one.
    pub(super) fn child_ended(&mut self, pid: u32, end: ExitStatus) -> bool {
        let own = self.pid == Some(pid);
        if own {
            self.end(match end {
                ExitStatus::Exited(0) => StepResult::Done,
                ExitStatus::Exited(NOTHING_CODE) if self.forked => {
                    StepResult::Nothing
                }
                ExitStatus::Exited(_) | ExitStatus::Killed(..) => {
                    StepResult::Failed
                }
            });
        }
        own
    }

    /// Returns the result and the start time of work that has ended or
    /// exceeded its limit; in the latter case the child is killed with its
    /// session.
    pub(super) fn take_result(
        &mut self,
        now: Instant,
        supervisor: &mut Supervisor,
    ) -> Option<(StepResult, Instant)> {
        self.due.take_if(|due| *due <= now)?;
        if let Some(pid) = self.pid.take() {
            // ESRCH: it has just ended.
            let _gone = signal::kill_led(pid, Number::KILL).is_err();
            // One that hangs in a driver is no longer waited for.
            supervisor.stop_awaiting(pid);
        }
        Some((self.result, self.began.unwrap_or(now)))
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn only_the_own_child_ends_a_task() {
        let nothing = ExitStatus::Exited(NOTHING_CODE);
        let rows = [
            (ExitStatus::Exited(0), true, StepResult::Done),
            (ExitStatus::Exited(1), true, StepResult::Failed),
            (nothing, true, StepResult::Nothing),
            (nothing, false, StepResult::Failed),
            (ExitStatus::Killed(9, false), false, StepResult::Failed),
        ];
        for (end, forked, result) in rows {
            let mut task = Task::default();
            assert!(!task.child_ended(0, end));
            assert_eq!(task.due(), None);
            task.watch(7, Duration::from_nanos(5), Instant::at(3));
            task.forked = forked;
            assert_eq!(task.due(), Some(Instant::at(8)));
            assert_eq!(task.result, StepResult::Late);
            assert!(!task.child_ended(8, end));
            assert!(task.child_ended(7, end) && !task.child_ended(7, end));
            assert_eq!(task.result, result);
            assert_eq!(task.began, Some(Instant::at(3)));
            assert_eq!(task.due(), Some(Instant::at(0)));
        }
    }
}
