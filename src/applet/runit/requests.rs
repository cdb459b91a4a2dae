//! Who asks PID 1 to go down, and how: signals, keys, flag files (contract
//! §7.4, §16.22).

use crate::{
    machine::stages::Stage,
    sys::{
        CWD, clock, file,
        power::Ending,
        signal::{self, Number},
    },
    wire::signals::{self, Meaning},
};

use super::{
    super::runit_init::{FLAGS, is_set},
    Init, KEYS, LEAVE,
};

/// The signals that PID 1 listens to: first those that can be told what to
/// mean, in the order of `wire::signals`.
pub(super) const SIGNALS: [Number; signals::COUNT + 2] = [
    Number::CONT,
    Number::INT,
    Number::POWER,
    Number::ALARM,
    Number::USR1,
    Number::USR2,
    Number::TERM,
    signal::HALT,
    signal::OFF,
    signal::RESTART,
    Number::CHILD,
    Number::PIPE,
];

impl Init {
    /// Obeys a signal.
    pub(super) fn signal(&mut self, signal: Number) {
        if signal == Number::PIPE {
            return;
        }
        if !self.stages.can_leave() {
            self.caution("signals only work in stage 2.", b"");
            return;
        }
        let mut said = SIGNALS.iter().zip(self.wishes.signals.0);
        let said = said.find(|(known, _)| **known == signal);
        if let Some((_, Some(meaning))) = said {
            match meaning {
                Meaning::Nothing => {}
                Meaning::Off => self.go_down(Some(Ending::Off)),
                Meaning::Halt => self.go_down(Some(Ending::Halt)),
                Meaning::Reboot => self.go_down(Some(Ending::Reboot)),
            }
            return;
        }
        match signal {
            Number::CONT => self.obey_flags(),
            Number::POWER => self.go_down(Some(Ending::Off)),
            Number::INT => self.obey_keys(),
            signal::HALT | signal::OFF => self.go_down(Some(Ending::Off)),
            signal::RESTART => self.go_down(Some(Ending::Reboot)),
            // What busybox's halt, poweroff and reboot send. runit ignores
            // them, so a stage 2 script may still count on that.
            Number::USR1 | Number::USR2 if self.is_ours() => {
                self.go_down(Some(Ending::Off));
            }
            // A container's owner has it end with that.
            Number::TERM if self.is_ours() && self.wishes.contained => {
                self.go_down(Some(Ending::Off));
            }
            Number::TERM if self.is_ours() => {
                self.go_down(Some(Ending::Reboot));
            }
            Number::ALARM => match self.script {
                Some(pid) => {
                    // ESRCH: its end is about to be heard of.
                    let _gone = signal::kill(pid, Number::ALARM).is_err();
                }
                None => self.supervisor.rescan(),
            },
            _ => {}
        }
    }

    /// Whether no script decides what a signal means.
    fn is_ours(&self) -> bool {
        self.script.is_none() || self.stages.stage() == Stage::Rescue
    }

    /// Ctrl-alt-del.
    fn obey_keys(&mut self) {
        if self.keys.is_some() {
            return;
        }
        if is_set(KEYS) {
            self.say("ctrl-alt-del request...", b"", "");
            self.say("enter stage: ", KEYS.to_bytes(), "");
            match self.spawn(KEYS, false) {
                Ok(pid) => self.keys = Some(pid),
                Err(errno) => {
                    self.warn("unable to fork for ", KEYS.to_bytes(), errno);
                }
            }
        } else if self.is_ours() && self.pause.is_none() {
            self.say("ctrl-alt-del request...", b"", "");
            self.go_down(Some(Ending::Reboot));
        }
    }

    /// Goes down if a flag of `runit-init` says so.
    pub(super) fn obey_flags(&mut self) {
        let mut asked = false;
        for flags in FLAGS {
            if is_set(flags.stop) {
                asked = true;
                if let Err(errno) = file::set_mode(CWD, flags.stop, 0) {
                    let path = flags.stop.to_bytes();
                    self.warn("unable to chmod ", path, errno);
                }
            }
        }
        if asked {
            self.go_down(None);
        }
    }

    /// Leaves stage 2, if it has not been left: then the programs of
    /// ctrl-alt-del and of a test rig come too late.
    pub(super) fn go_down(&mut self, ending: Option<Ending>) {
        if self.leaving || !self.stages.can_leave() {
            return;
        }
        self.ending = ending;
        self.hasten();
        match self.script {
            Some(pid) => {
                // A shell that somebody types at ends by HUP.
                let signal = if self.stages.stage() == Stage::Rescue {
                    Number::HUP
                } else {
                    Number::TERM
                };
                // ESRCH: its end is about to be heard of.
                let _gone = signal::kill(pid, signal).is_err();
                self.leaving = true;
                self.limit = Some(clock::mono().after(LEAVE));
            }
            None => self.leave(),
        }
    }

    /// Stage 2 is over.
    pub(super) fn leave(&mut self) {
        self.pause = None;
        if self.stages.leave() {
            self.enter(Stage::Three);
        }
    }
}
