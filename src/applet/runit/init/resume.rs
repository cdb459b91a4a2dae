//! Passes the state of PID 1 to its next execution after a fault, and goes on
//! with it.

use crate::{
    config::family::{self, RECOVERY},
    machine::{
        shutdown::Step,
        stages::{Stage, StageExit, Stages},
    },
    supervisor::{Supervisor, rundir},
    sys::{AsFd as _, CWD, child::Environ, fault, file},
    wire::{
        clock::Instant,
        record::{Numbers, Reader, Writer},
    },
};

use super::{
    super::{
        boot_params::BootParams,
        console::ConsoleStreams,
        requests::Requests,
        stage_script::{self, StageScript},
    },
    Init,
};

impl Init {
    /// Records the state that a fault passes on.
    pub(super) fn save(&self) {
        if !RECOVERY {
            return;
        }
        let mut writer = Writer::default();
        // The first number is all that is read after too many faults.
        writer.put_option(self.supervisor.output().map(u64::from));
        writer.put(self.boot_start.nanos());
        for number in self.stages.save() {
            writer.put(number);
        }
        writer.put_flags(&[self.faulted_in_stage_3]);
        self.console.save(&mut writer);
        self.script.save(&mut writer);
        self.requests.save(&mut writer);
        self.rig.save(&mut writer);
        self.boot_good.save(&mut writer);
        self.shutdown.save(&mut writer);
        fault::record(&writer.0);
    }

    /// Returns the state that [`Init::save`] recorded.
    pub(in super::super) fn restore(
        supervisor: Supervisor,
        environ: Environ,
        params: BootParams,
        saved: &Numbers,
    ) -> Self {
        let reader = &mut Reader(saved);
        let output = reader.take_pid();
        let boot_start = Instant::at(reader.take());
        let stages = [reader.take(), reader.take()];
        let [faulted] = reader.take_flags();
        let console =
            ConsoleStreams::restore(params.contained, environ, reader);
        let mut init = Self::new(supervisor, console, boot_start, params);
        init.stages = Stages::restore(init.stages.policy(), stages);
        let path = match init.stages.stage() {
            Stage::Rescue => c"rescue",
            stage @ (Stage::One | Stage::Two | Stage::Three | Stage::Over) => {
                stage_script::script(stage)
            }
        };
        init.script = StageScript::restore(path, reader, &mut init.supervisor);
        let serves = init.serves();
        let supervisor = &mut init.supervisor;
        if serves {
            supervisor.keep_own_state(init.params.services, false);
        }
        supervisor.resume(output);
        init.requests = Requests::restore(reader, supervisor);
        init.rig.restore(reader, supervisor);
        init.boot_good.restore(reader);
        init.shutdown.restore(reader);
        init.faulted_in_stage_3 = faulted;
        init
    }

    /// Counts a fault where `runt limits` finds it.
    fn count_fault(&self) {
        if let Ok(dir) = rundir::open_for(self.params.services) {
            rundir::count_fault(dir.as_fd());
        }
    }

    /// Takes requests to move to another file, in the state directory of the
    /// root. Without a run directory it takes none.
    pub(super) fn accept_upgrades(&mut self) {
        if !family::UPGRADE {
            return;
        }
        let root = file::open_dir(CWD, c"/");
        let state = root.and_then(|root| rundir::create(root.as_fd(), b""));
        if let Ok(state) = state {
            self.supervisor.accept_upgrades(state);
        }
    }

    /// Returns true if PID 1 does stage 2 itself.
    fn serves(&self) -> bool {
        self.stages.stage() == Stage::Two
            && !self.script.is_running()
            && !self.script.awaits_restart()
    }

    /// Supervises the services directory.
    pub(super) fn supervise(&mut self) {
        self.save();
        self.supervisor.supervise_dir(self.params.services);
    }

    /// Goes on with the stage that a fault has interrupted.
    pub(super) fn continue_stage(&mut self) {
        let in_stage_2 = self.stages.stage() == Stage::Two;
        if in_stage_2 && fault::last().signal != 0 {
            self.count_fault();
        }
        let has_output = self.supervisor.output().is_some();
        let scripted = self.script.is_running() || self.script.awaits_restart();
        if in_stage_2 && (scripted || has_output) {
            self.accept_upgrades();
        }
        if scripted {
            return;
        }
        match self.stages.stage() {
            // Its steps are not taken again.
            Stage::One => self.leave(StageExit::Exited(1), None),
            Stage::Two if has_output => self.supervise(),
            Stage::Two => self.enter(Stage::Two),
            // Its program is gone, or was not started yet.
            Stage::Rescue => self.enter(Stage::Rescue),
            Stage::Three | Stage::Over => {
                let again = self.faulted_in_stage_3;
                self.faulted_in_stage_3 = true;
                self.shutdown.begin(
                    if again {
                        Step::KillAll
                    } else {
                        Step::TerminateAll
                    },
                    &self.requests,
                    &mut self.supervisor,
                );
            }
        }
    }
}
