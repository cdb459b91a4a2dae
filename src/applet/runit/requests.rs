//! Owns a request to shut down: the programs that decide about it, the flag
//! files, and the power action that it ends with (contract §7.4).

use core::ffi::CStr;

use crate::{
    machine::stages::StageExit,
    supervisor::{Reporter, Supervisor},
    sys::power::PowerAction,
    wire::record::{Reader, Writer},
};

use super::{
    super::flag_files::{self, is_set},
    console::ConsoleStreams,
    flags::RequestFlags,
    report::{info, warning},
};

/// A program that PID 1 runs on a request to shut down, and that decides about
/// it by setting or clearing the flags.
struct Program {
    path: &'static CStr,
    /// Message about the request.
    what: &'static str,
}

/// Index of the program of ctrl-alt-del.
pub(super) const CTRL_ALT_DEL: usize = 0;
/// Index of the program of a power failure.
pub(super) const POWER_FAILURE: usize = 1;
/// All of these programs.
const PROGRAMS: [Program; 2] = [
    Program {
        path: c"/etc/runit/ctrlaltdel",
        what: "ctrl-alt-del request...",
    },
    Program {
        path: c"/etc/runit/pwrfail",
        what: "power failure...",
    },
];

/// All power actions, in the order of their numbers.
const ACTIONS: [PowerAction; 4] = [
    PowerAction::Off,
    PowerAction::Reboot,
    PowerAction::Halt,
    PowerAction::SoftReboot,
];

/// State of a request to shut down.
#[derive(Debug)]
pub(super) struct Requests {
    /// Process id of each of [`PROGRAMS`] that runs.
    running: [Option<u32>; PROGRAMS.len()],
    flags: RequestFlags,
    /// True when the flags are to be checked.
    check_due: bool,
    /// True to power off when a program has ended, whatever the flags say,
    /// since none could be set.
    off: bool,
    /// Power action of the request; `None`: the flags decide.
    action: Option<PowerAction>,
}

impl Requests {
    /// Returns the state at the start. Flags that are set now do not count.
    pub(super) fn new() -> Self {
        Self {
            running: [None; PROGRAMS.len()],
            flags: RequestFlags::new(),
            check_due: false,
            off: false,
            action: None,
        }
    }

    /// Writes its state.
    pub(super) fn save(&self, writer: &mut Writer) {
        for running in self.running {
            writer.put_option(running.map(u64::from));
        }
        writer.put_flags(&[self.check_due, self.off]);
        let action = self.action.and_then(|action| {
            ACTIONS.iter().position(|known| *known == action)
        });
        writer.put_option(action.and_then(|at| u64::try_from(at).ok()));
        self.flags.save(writer);
    }

    /// Returns a request in a state that [`Requests::save`] wrote.
    pub(super) fn restore(
        reader: &mut Reader<'_>,
        supervisor: &mut Supervisor,
    ) -> Self {
        let running = core::array::from_fn(|_| reader.take_pid());
        for pid in running.into_iter().flatten() {
            supervisor.await_exit(pid);
        }
        let [check_due, off] = reader.take_flags();
        let action = reader.take_option();
        let action = action.and_then(|at| usize::try_from(at).ok());
        Self {
            running,
            check_due,
            off,
            action: action.and_then(|at| ACTIONS.get(at).copied()),
            flags: RequestFlags::restore(reader),
        }
    }

    /// Runs one of the programs unless it runs already. Returns false when
    /// there is none, or when a power failure must not wait for it.
    pub(super) fn start_program(
        &mut self,
        index: usize,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) -> bool {
        let (Some(program), Some(running @ None)) =
            (PROGRAMS.get(index), self.running.get_mut(index))
        else {
            return true;
        };
        if !is_set(program.path) {
            return false;
        }
        let reporter = supervisor.reporter();
        info(reporter, program.what, b"");
        if index == POWER_FAILURE
            && let Err((what, path, errno)) = flag_files::set(None)
        {
            reporter.warn(what, path.to_bytes(), errno);
            self.off = true;
        }
        let path = program.path.to_bytes();
        info(reporter, "enter stage: ", path);
        *running = console.spawn(program.path, false, supervisor);
        running.is_some() || index != POWER_FAILURE
    }

    /// Handles the exit of a child: one of the programs has decided, so the
    /// flags are to be checked. Returns false when it is another child.
    pub(super) fn child_ended(
        &mut self,
        pid: u32,
        exit: StageExit,
        reporter: &Reporter,
    ) -> bool {
        let mut found = PROGRAMS.iter().zip(&mut self.running);
        let Some((program, running)) =
            found.find(|(_, running)| **running == Some(pid))
        else {
            return false;
        };
        *running = None;
        let path = program.path.to_bytes();
        if exit == StageExit::Crashed {
            warning(reporter, "child crashed: ", path);
        }
        info(reporter, "leave stage: ", path);
        self.check_due = true;
        if core::mem::take(&mut self.off) {
            self.action = Some(PowerAction::Off);
        }
        true
    }

    /// Has the flags checked.
    pub(super) fn check_later(&mut self) {
        self.check_due = true;
    }

    /// Returns true if there is a request to shut down: checks the flags if
    /// that is due. Clears those that are set.
    pub(super) fn take(&mut self, reporter: &Reporter) -> bool {
        if !core::mem::take(&mut self.check_due) {
            return false;
        }
        let asked = self.flags.take(&mut |path, errno| {
            reporter.warn("unable to chmod ", path.to_bytes(), errno);
        });
        asked || self.action.is_some()
    }

    /// Sets the power action of a request that needs no flag.
    pub(super) fn set_action(&mut self, action: PowerAction) {
        self.action = Some(action);
    }

    /// Returns the power action of the request, and the flag file that asks
    /// for it.
    pub(super) fn power_action(&self) -> (PowerAction, Option<&'static CStr>) {
        if let Some(action) = self.action {
            return (action, None);
        }
        let flag = self.flags.reboot();
        (flag.map_or(PowerAction::Off, |_| PowerAction::Reboot), flag)
    }
}
