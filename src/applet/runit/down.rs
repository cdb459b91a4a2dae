//! Shuts the system down: ends all processes, then the machine (contract
//! §7.5).

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::shutdown::{self, END, LAST_WORDS, Shutdown, Step},
    sys::{
        self, CWD, Errno, child, clock, dir, file, poller,
        power::{self, PowerAction},
        signal::{self, Number},
    },
    text::{Line, Path},
    wire::{clock::Instant, process::ProcStat},
};

use super::{Init, PREFIX, reap_forever};

/// Flag file: the media are not written and unmounted at the end (runit
/// 2.2.0).
const NO_SYNC: &CStr = c"/etc/runit/nosync";
/// Exit code of a container's PID 1 that asks for a restart and may not call
/// reboot(2). A shell reports HUP by this code, and HUP is the signal by which
/// the kernel ends a PID namespace that is to restart.
const RESTART_CODE: u8 = 129;
/// Maximum bytes of an argument for reboot(2).
const ARGUMENT_BYTES: usize = 64;

impl Init {
    /// Sets the deadline of the shutdown and forks the failsafe, unless that
    /// has been done. Returns the time by which scripts and services must have
    /// ended.
    pub(super) fn arm_deadline(&mut self) -> Instant {
        if let Some(deadline) = self.stop_deadline {
            return deadline;
        }
        let whole = u64::try_from(config::DOWN_SECONDS).unwrap_or(u64::MAX);
        let whole = Duration::from_secs(whole).saturating_sub(END);
        let deadline = clock::mono().after(whole);
        self.stop_deadline = Some(deadline);
        self.fork_failsafe(deadline);
        deadline
    }

    /// Forks a process that ends the machine [`END`] after `deadline`, in case
    /// PID 1 hangs then. A KILL to all processes ends it too, so it is forked
    /// again after that.
    fn fork_failsafe(&self, deadline: Instant) {
        let ending = self.requested_ending().0;
        let until = deadline.after(END);
        match child::fork_detached() {
            Ok(false) => {}
            Ok(true) => {
                // A failure was reported when PID 1 locked its memory.
                let _swapped = sys::memory::lock().is_err();
                loop {
                    let left = until.since(clock::mono());
                    if left.is_zero() {
                        break;
                    }
                    poller::sleep(left);
                }
                power::shut_down(ending);
                reap_forever("stop", power::shut_down(PowerAction::Halt))
            }
            Err(errno) => self.warn("unable to fork", b"", errno),
        }
    }

    /// Returns the requested ending of the machine, and the flag file that
    /// asks for it.
    fn requested_ending(&self) -> (PowerAction, Option<&'static CStr>) {
        if let Some(ending) = self.ending {
            return (ending, None);
        }
        let flag = self.requested.reboot();
        (flag.map_or(PowerAction::Off, |_| PowerAction::Reboot), flag)
    }

    /// Begins the shutdown with `step`.
    pub(super) fn begin_shutdown(&mut self, step: Step) {
        self.supervisor.stop_scanning();
        let limit = self.arm_deadline();
        self.shutdown = Some(Shutdown::from(step, clock::mono(), limit));
        self.perform_step(step);
    }

    /// Carries out a step of the shutdown.
    pub(super) fn perform_step(&mut self, step: Step) {
        let sent = match step {
            Step::StopServices => {
                self.info("stopping services...", b"", "");
                self.supervisor.stop_all(shutdown::STOP_MILLIS);
                return;
            }
            Step::NamePending => {
                self.name_services();
                return;
            }
            Step::KillServices => {
                self.supervisor.each_running(&mut |name, _| {
                    let what = "not terminated, sending KILL signal: ";
                    self.warning(what, name);
                });
                self.supervisor.kill_all();
                return;
            }
            Step::TerminateAll => {
                self.info("sending TERM signal to all processes...", b"", "");
                // A stopped process ignores TERM.
                signal::kill_all(Number::TERM)
                    .and_then(|()| signal::kill_all(Number::CONT))
            }
            Step::KillAll => {
                self.info("sending KILL signal to all processes...", b"", "");
                // Otherwise the supervisor would restart them.
                self.supervisor.exit_all();
                let sent = signal::kill_all(Number::KILL);
                let deadline = self.arm_deadline();
                self.fork_failsafe(deadline);
                sent
            }
            Step::Done => self.end(),
        };
        match sent {
            // ESRCH: there is no other process.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => self.warn("unable to signal processes", b"", errno),
        }
    }

    /// Names the services that have not ended, with the time each has left.
    fn name_services(&self) {
        let now = clock::mono();
        let deadline = self.stop_deadline.unwrap_or(now);
        self.supervisor.each_running(&mut |name, due| {
            let left = due.map_or(deadline, |due| due.min(deadline)).since(now);
            let mut line = Line::new();
            line.text(PREFIX).text("waiting for ").bytes(name);
            line.text(", for at most ");
            line.number(left.as_secs().saturating_add(1));
            self.supervisor.reporter().print(line.text(" s more"));
        });
    }

    /// Names the processes that KILL did not end: they hang in the kernel.
    fn name_hung_processes(&self) {
        let mut last = None;
        while let Some(path) = dir::next(c"/proc", last.as_ref(), b"") {
            let mut text = [0; config::LINE_BYTES];
            let stat = Path::join(&[path.as_bytes(), b"/stat"]).ok();
            let text = stat.and_then(|stat| {
                file::read_whole(CWD, stat.as_c_str(), &mut text).ok()
            });
            let process = text.and_then(ProcStat::parse);
            if let Some(process) = process.filter(|p| p.hangs()) {
                self.warning("hangs in the kernel: ", process.name);
            }
            last = Some(path);
        }
    }

    /// Ends the machine.
    fn end(&mut self) -> ! {
        if child::has_children() {
            self.name_hung_processes();
        }
        let (ending, flag) = self.requested_ending();
        // Read before its medium is unmounted.
        let mut text = [0; ARGUMENT_BYTES];
        let argument = match flag {
            Some(flag) => {
                let text = file::read_whole(CWD, flag, &mut text);
                text.map_or(&b""[..], <[u8]>::trim_ascii)
            }
            None => b"",
        };
        let argument = Path::join(&[argument]);
        if let Some(flag) = flag {
            // On a read-only file system it stays, and is stale next time.
            let _stays = file::set_mode(CWD, flag, 0).is_err();
        }
        self.supervisor.flush_output(LAST_WORDS);
        if file::info(CWD, NO_SYNC).is_err() {
            self.sync_and_unmount();
        }
        match ending {
            PowerAction::Reboot => self.info("system reboot.", b"", ""),
            PowerAction::Off => self.info("power off...", b"", ""),
            PowerAction::Halt => self.info("system halt.", b"", ""),
        }
        if let Some(console) = self.supervisor.reporter().console {
            console.flush(LAST_WORDS);
        }
        // Without a power switch, at least halt (contract §7.5).
        let refused = match (&argument, ending) {
            (Ok(argument), PowerAction::Reboot)
                if !argument.as_bytes().is_empty() =>
            {
                power::restart_with(argument.as_c_str())
            }
            _ => power::shut_down(ending),
        };
        if self.params.contained {
            child::exit(match ending {
                PowerAction::Reboot => RESTART_CODE,
                PowerAction::Off | PowerAction::Halt => 0,
            });
        }
        self.warn("unable to end the machine", b"", refused);
        reap_forever("stop", power::shut_down(PowerAction::Halt))
    }
}
