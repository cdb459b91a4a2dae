//! Shuts the system down: stops services, ends all processes, unmounts the
//! media and ends the machine (contract §7.5).

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::shutdown::{self, END, LAST_WORDS, Remaining, Shutdown, Step},
    supervisor::{Reporter, Supervisor},
    sys::{
        self, CWD, Errno,
        child::{self, ExitStatus},
        clock, dir, file, poller,
        power::{self, PowerAction},
        signal::{self, Number},
    },
    text::{Line, Path},
    wire::{
        clock::Instant,
        process::ProcStat,
        record::{Reader, Writer},
    },
};

use super::{
    media::Media,
    power_off::{PowerOff, reap_forever},
    report::{PREFIX, info, warning},
    requests::Requests,
    rig::Rig,
};

/// Flag file: the media are not written and unmounted at the end (runit
/// 2.2.0).
const NO_SYNC: &CStr = c"/etc/runit/nosync";

/// Shutdown of the system.
#[derive(Debug)]
pub(super) struct SystemShutdown {
    /// True in a container, whose media are its owner's.
    contained: bool,
    /// Time by which scripts and services must have ended; `None` before a
    /// shutdown is requested.
    deadline: Option<Instant>,
    /// Process id of the failsafe, while it exists.
    failsafe: Option<u32>,
    /// Ends the processes; `None` before that begins.
    processes: Option<Shutdown>,
    /// Unmounts the media when the processes have ended.
    media: Media,
    /// End of the machine; `None` while processes are ended.
    power_off: Option<PowerOff>,
}

impl SystemShutdown {
    /// Returns the state before a shutdown is requested.
    pub(super) fn new(contained: bool) -> Self {
        Self {
            contained,
            deadline: None,
            failsafe: None,
            processes: None,
            media: Media::default(),
            power_off: None,
        }
    }

    /// Writes its state, without the step.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.put_time(self.deadline);
        writer.put_option(self.failsafe.map(u64::from));
    }

    /// Restores the state that [`SystemShutdown::save`] wrote.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) {
        self.deadline = reader.take_time();
        self.failsafe = reader.take_pid();
    }

    /// Sets the deadline and forks the failsafe, unless that has been done.
    /// Returns the time by which scripts and services must have ended.
    pub(super) fn arm(
        &mut self,
        requests: &Requests,
        reporter: &Reporter,
    ) -> Instant {
        if let Some(deadline) = self.deadline {
            return deadline;
        }
        let whole = u64::try_from(config::DOWN_SECONDS).unwrap_or(u64::MAX);
        let whole = Duration::from_secs(whole).saturating_sub(END);
        let deadline = clock::mono().after(whole);
        self.deadline = Some(deadline);
        self.fork_failsafe(deadline, requests, reporter);
        deadline
    }

    /// Forks a process that ends the machine [`END`] after `deadline`, in case
    /// PID 1 hangs then. A KILL to all processes ends it too, so it is forked
    /// again after that.
    fn fork_failsafe(
        &mut self,
        deadline: Instant,
        requests: &Requests,
        reporter: &Reporter,
    ) {
        self.end_failsafe();
        match child::fork_detached() {
            Ok((true, _)) => failsafe(deadline, requests),
            Ok((false, pid)) => self.failsafe = Some(pid),
            Err(errno) => reporter.warn("unable to fork", b"", errno),
        }
    }

    /// Ends the failsafe.
    fn end_failsafe(&mut self) {
        if let Some(pid) = self.failsafe.take() {
            // ESRCH: it has ended, with all processes.
            let _gone = signal::kill(pid, Number::KILL).is_err();
            child::wait_detached(pid);
        }
    }

    /// Returns true once a shutdown has been requested.
    pub(super) fn is_armed(&self) -> bool {
        self.deadline.is_some()
    }

    /// Begins with `step`.
    pub(super) fn begin(
        &mut self,
        step: Step,
        requests: &Requests,
        supervisor: &mut Supervisor,
    ) {
        supervisor.stop_scanning();
        let limit = self.arm(requests, supervisor.reporter());
        self.processes = Some(Shutdown::from(step, clock::mono(), limit));
        self.perform(step, requests, supervisor);
    }

    /// Returns the time at which to call [`SystemShutdown::advance`].
    pub(super) fn due(&self) -> Option<Instant> {
        self.media.due().or(self.processes.map(Shutdown::due))
    }

    /// Handles the exit of a child; returns false when it is another one.
    pub(super) fn child_ended(&mut self, pid: u32, end: ExitStatus) -> bool {
        self.media.child_ended(pid, end)
    }

    /// Takes the next step when it is time for it. Does not return from the
    /// last one.
    #[inline(never)]
    pub(super) fn advance(
        &mut self,
        now: Instant,
        requests: &Requests,
        rig: &Rig,
        supervisor: &mut Supervisor,
    ) {
        if self.power_off.is_some() {
            if self.media.advance(now, supervisor) {
                self.end(rig, supervisor.reporter());
            }
            return;
        }
        let Some(processes) = &mut self.processes else {
            return;
        };
        let left = Remaining {
            services: supervisor.is_ending(shutdown::DRAIN, now),
            children: child::has_children(),
        };
        if let Some(step) = processes.step(left, now) {
            self.perform(step, requests, supervisor);
        }
    }

    /// Carries out a step.
    fn perform(
        &mut self,
        step: Step,
        requests: &Requests,
        supervisor: &mut Supervisor,
    ) {
        let reporter = supervisor.reporter();
        let sent = match step {
            Step::StopServices => {
                info(reporter, "stopping services...", b"");
                return supervisor.stop_all(shutdown::STOP_MILLIS);
            }
            Step::NamePending => return self.name_services(supervisor),
            Step::KillServices => {
                supervisor.each_running(&mut |name, _| {
                    let what = "not terminated, sending KILL signal: ";
                    warning(reporter, what, name);
                });
                return supervisor.kill_all();
            }
            Step::TerminateAll => {
                let what = "sending TERM signal to all processes...";
                info(reporter, what, b"");
                // A stopped process ignores TERM.
                signal::kill_all(Number::TERM)
                    .and_then(|()| signal::kill_all(Number::CONT))
            }
            Step::KillAll => {
                let what = "sending KILL signal to all processes...";
                info(reporter, what, b"");
                // Otherwise the supervisor would restart them.
                supervisor.exit_all();
                let sent = signal::kill_all(Number::KILL);
                let reporter = supervisor.reporter();
                let deadline = self.arm(requests, reporter);
                self.fork_failsafe(deadline, requests, reporter);
                sent
            }
            Step::Done => return self.finish(requests, supervisor),
        };
        match sent {
            // ESRCH: there is no other process.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => {
                let what = "unable to signal processes";
                supervisor.reporter().warn(what, b"", errno);
            }
        }
    }

    /// Names the services that have not ended, with the time each has left.
    fn name_services(&self, supervisor: &Supervisor) {
        let now = clock::mono();
        let deadline = self.deadline.unwrap_or(now);
        supervisor.each_running(&mut |name, due| {
            let left = due.map_or(deadline, |due| due.min(deadline)).since(now);
            let mut line = Line::new();
            line.text(PREFIX).text("waiting for ").bytes(name);
            line.text(", for at most ");
            line.number(left.as_secs().saturating_add(1));
            supervisor.reporter().print(line.text(" s more"));
        });
    }

    /// Begins what follows the end of the processes.
    fn finish(&mut self, requests: &Requests, supervisor: &mut Supervisor) {
        if child::has_children() {
            name_hung_processes(supervisor.reporter());
        }
        self.power_off = Some(PowerOff::new(requests.power_action()));
        supervisor.flush_output(LAST_WORDS);
        let reporter = supervisor.reporter();
        if self.contained || file::info(CWD, NO_SYNC).is_ok() {
            return self.media.skip(clock::mono());
        }
        let stay = self.keeps_kernel();
        let deadline = self.arm(requests, reporter);
        self.media.begin(stay, deadline);
    }

    /// Returns true when the kernel stays, and with it all mounts.
    fn keeps_kernel(&self) -> bool {
        self.power_off.as_ref().is_some_and(PowerOff::keeps_kernel)
    }

    /// Ends the machine; does nothing before it is known how.
    fn end(&mut self, rig: &Rig, reporter: &Reporter) {
        if self.keeps_kernel() {
            self.end_failsafe();
        }
        if let Some(power_off) = &self.power_off {
            power_off.run(self.contained, rig, reporter);
        }
    }
}

/// Runs the failsafe: ends the machine [`END`] after `deadline`.
fn failsafe(deadline: Instant, requests: &Requests) -> ! {
    let action = requests.power_action().0;
    let until = deadline.after(END);
    // A failure was reported when PID 1 locked its memory.
    let _swapped = sys::memory::lock().is_err();
    loop {
        let left = until.since(clock::mono());
        if left.is_zero() {
            break;
        }
        poller::sleep(left);
    }
    power::shut_down(action);
    reap_forever("stop", power::shut_down(PowerAction::Halt))
}

/// Names the processes that KILL did not end: they hang in the kernel.
fn name_hung_processes(reporter: &Reporter) {
    let mut last = None;
    while let Some(path) = dir::next(c"/proc", last.as_ref(), b"") {
        let mut text = [0; config::LINE_BYTES];
        let stat = Path::join(&[path.as_bytes(), b"/stat"]).ok();
        let text = stat.and_then(|stat| {
            file::read_whole(CWD, stat.as_c_str(), &mut text).ok()
        });
        let process = text.and_then(ProcStat::parse);
        if let Some(process) = process.filter(|p| p.hangs()) {
            warning(reporter, "hangs in the kernel: ", process.name);
        }
        last = Some(path);
    }
}
