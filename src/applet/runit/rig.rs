//! Runs the program of a test rig, once, when stage 2 has begun.

use core::ffi::CStr;

use crate::{
    supervisor::{Reporter, Supervisor},
    sys::child::ExitStatus,
    text::Line,
    wire::record::{Reader, Writer},
};

use super::{
    console::{CANNOT_RUN, ConsoleStreams},
    report::PREFIX,
};

/// The program of a test rig.
#[derive(Debug)]
pub(super) struct Rig {
    /// Its path; `None` when there is none or it has been started.
    path: Option<&'static CStr>,
    /// Its process id.
    pid: Option<u32>,
}

impl Rig {
    /// Returns the rig before its program is run.
    pub(super) fn new(path: Option<&'static CStr>) -> Self {
        Self { path, pid: None }
    }

    /// Writes its state.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.put_option(self.pid.map(u64::from));
        writer.put_flags(&[self.path.is_some()]);
    }

    /// Restores the state that [`Rig::save`] wrote.
    pub(super) fn restore(
        &mut self,
        reader: &mut Reader<'_>,
        supervisor: &mut Supervisor,
    ) {
        self.pid = reader.take_pid();
        self.pid
            .into_iter()
            .for_each(|pid| supervisor.await_exit(pid));
        let [waits] = reader.take_flags();
        self.path.take_if(|_| !waits);
    }

    /// Runs the program, the first time that it is called. Returns true when
    /// that failed and so the machine is to be switched off.
    pub(super) fn start(
        &mut self,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) -> bool {
        let Some(path) = self.path.take() else {
            return false;
        };
        self.pid = console.spawn(path, false, supervisor);
        if self.pid.is_none() {
            report(ExitStatus::Exited(CANNOT_RUN), supervisor.reporter());
        }
        self.pid.is_none()
    }

    /// Handles the exit of a child. Returns true when it was the program,
    /// after which the machine is switched off.
    pub(super) fn child_ended(
        &mut self,
        pid: u32,
        end: ExitStatus,
        reporter: &Reporter,
    ) -> bool {
        let ended = self.pid.take_if(|own| *own == pid).is_some();
        if ended {
            report(end, reporter);
        }
        ended
    }
}

/// Reports the exit of the program.
fn report(end: ExitStatus, reporter: &Reporter) {
    let (what, number) = match end {
        ExitStatus::Exited(code) => ("exit ", code),
        ExitStatus::Killed(signal, _) => ("signal ", signal),
    };
    let mut line = Line::new();
    line.text(PREFIX).text("rig: ").text(what);
    reporter.print(line.number(number.into()));
}
