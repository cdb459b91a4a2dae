//! Stages of PID 1: stage 1, 2, 3 and the end (contract §7.3, §7.4).
//!
//! ```text
//!            1 ended            3 ended, or asked to go down
//!   One ---------------> Two -----------------------------> Three --> Over
//!    ^ \\                 ^ \\__4 crashed or exit 111      ^   ^    5
//!    |  \\ 6 failed       | 7   again                     |   |
//!    |   +-----------> Rescue ---------------------------+   |
//!    |____ 7 ____________|   3                                |
//!    |_________ 2 exit 100, or crashed without rescue _______|
//! ```
//!
//! Edges: 1, 2, 4 to 7 [`Stages::ended`] with the rules of runit 2.3.0, which
//! has no rescue (§16.19); 3 also [`Stages::leave`]. Where rescue is
//! available, a stage 1 that fails or crashes leads to it, and so do the boot
//! parameters `single` (after stage 1) and `emergency` (before it). Only the
//! owner knows if a stage is a script or built in.

/// Conditions under which an operator gets a rescue shell.
#[derive(Clone, Copy, Debug, Default)]
pub struct Policy {
    /// Rescue is available; otherwise the other two have no effect.
    pub rescue: bool,
    /// Enter rescue after stage 1.
    pub single: bool,
    /// Enter rescue before stage 1.
    pub emergency: bool,
}

/// Current stage of PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One-time set-up.
    One,
    /// An operator has a rescue shell.
    Rescue,
    /// Services run.
    Two,
    /// Services stop, the system is shut down.
    Three,
    /// Only the power-off or reboot is left.
    Over,
}

/// All stages, in the order of their numbers.
const STAGES: [Stage; 5] = [
    Stage::One,
    Stage::Rescue,
    Stage::Two,
    Stage::Three,
    Stage::Over,
];

/// Way in which a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageExit {
    /// With this exit code; a built-in stage ends with 0.
    Exited(u8),
    /// By a signal.
    Crashed,
}

/// Request to the owner at the end of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Enter this stage; the flag asks for a warning about the one that ended.
    Enter(Stage, bool),
    /// Kill the remaining processes of stage 2, pause, and enter it again.
    Again,
}

/// The stages of one boot.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    stage: Stage,
    policy: Policy,
    /// Stage that follows rescue.
    next: Stage,
}

impl Stages {
    /// Returns the first stage: stage 1, or rescue in an emergency.
    pub const fn new(policy: Policy) -> Self {
        let (stage, next) = if policy.rescue && policy.emergency {
            (Stage::Rescue, Stage::One)
        } else {
            (Stage::One, Stage::Two)
        };
        Self {
            stage,
            policy,
            next,
        }
    }

    /// Returns the numbers of the current stage and of the one that follows
    /// rescue.
    pub fn save(self) -> [u64; 2] {
        [self.stage, self.next].map(|stage| {
            let found = STAGES.iter().position(|s| *s == stage);
            found.and_then(|at| u64::try_from(at).ok()).unwrap_or(0)
        })
    }

    /// Returns the stages that [`Stages::save`] describes.
    pub fn restore(policy: Policy, saved: [u64; 2]) -> Self {
        let [stage, next] = saved.map(|number| {
            let at = usize::try_from(number).unwrap_or(usize::MAX);
            STAGES.get(at).copied().unwrap_or(Stage::Two)
        });
        Self {
            stage,
            policy,
            next,
        }
    }

    /// Returns the conditions of rescue.
    pub fn policy(self) -> Policy {
        self.policy
    }

    /// Returns the current stage.
    pub fn stage(self) -> Stage {
        self.stage
    }

    /// Handles the end of the current stage.
    pub fn ended(&mut self, outcome: StageExit) -> Next {
        let failed = outcome != StageExit::Exited(0);
        let next = match (self.stage, outcome) {
            (Stage::One, StageExit::Exited(100)) => Stage::Three,
            (Stage::One, _)
                if self.policy.rescue && (failed || self.policy.single) =>
            {
                self.next = Stage::Two;
                Stage::Rescue
            }
            (Stage::One, StageExit::Crashed) => Stage::Three,
            (Stage::One, StageExit::Exited(_)) => Stage::Two,
            (Stage::Rescue, _) => self.next,
            (Stage::Two, StageExit::Exited(111) | StageExit::Crashed) => {
                return Next::Again;
            }
            (Stage::Two, StageExit::Exited(_)) => Stage::Three,
            (Stage::Three | Stage::Over, _) => Stage::Over,
        };
        self.stage = next;
        Next::Enter(next, failed)
    }

    /// Returns true if a shutdown can be requested now: in stage 2 and in
    /// rescue. In all others runit says that signals only work in stage 2.
    pub fn can_leave(self) -> bool {
        matches!(self.stage, Stage::Two | Stage::Rescue)
    }

    /// Requests a shutdown; returns false when that is not possible now.
    pub fn leave(&mut self) -> bool {
        let can = self.can_leave();
        if can {
            self.stage = Stage::Three;
        }
        can
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Next::{Again, Enter};
    use Stage::{One, Over, Rescue, Three, Two};

    /// Returns the stages with `stage` as the current one.
    fn at(stage: Stage, policy: Policy) -> Stages {
        Stages {
            stage,
            ..Stages::new(policy)
        }
    }

    #[test]
    fn every_stage_with_every_outcome_without_rescue() {
        let policy = Policy {
            rescue: false,
            single: true,
            emergency: true,
        };
        assert_eq!(Stages::new(policy).stage(), One);
        for code in 0..=255 {
            let outcome = StageExit::Exited(code);
            let failed = code != 0;
            let one = if code == 100 { Three } else { Two };
            let two = match code {
                111 => Again,
                _ => Enter(Three, failed),
            };
            let rows = [
                (One, Enter(one, failed)),
                (Two, two),
                (Three, Enter(Over, failed)),
                (Over, Enter(Over, failed)),
            ];
            for (stage, next) in rows {
                assert_eq!(at(stage, policy).ended(outcome), next);
            }
        }
        let rows = [
            (One, Enter(Three, true)),
            (Two, Again),
            (Three, Enter(Over, true)),
        ];
        for (stage, next) in rows {
            assert_eq!(at(stage, policy).ended(StageExit::Crashed), next);
        }
        let can = [One, Rescue, Two, Three, Over]
            .map(|stage| at(stage, policy).leave());
        assert_eq!(can, [false, true, true, false, false]);
    }

    #[test]
    fn saved_stages_are_restored() {
        let policy = Policy::default();
        for (number, stage) in (0..).zip(STAGES) {
            let stages = Stages {
                stage,
                policy,
                next: One,
            };
            assert_eq!(stages.save(), [number, 0]);
            let restored = Stages::restore(policy, stages.save());
            assert_eq!((restored.stage, restored.next), (stage, One));
        }
        assert_eq!(Stages::restore(policy, [9, 9]).stage(), Two);
    }

    #[test]
    fn rescue_is_entered_and_left() {
        let all = (0..=255).map(StageExit::Exited).chain([StageExit::Crashed]);
        for outcome in all {
            for single in [false, true] {
                let policy = Policy {
                    rescue: true,
                    single,
                    emergency: false,
                };
                let mut stages = Stages::new(policy);
                let next = match outcome {
                    StageExit::Exited(0) if !single => Enter(Two, false),
                    StageExit::Exited(0) => Enter(Rescue, false),
                    StageExit::Exited(100) => Enter(Three, true),
                    StageExit::Exited(_) | StageExit::Crashed => {
                        Enter(Rescue, true)
                    }
                };
                assert_eq!(stages.ended(outcome), next);
                if stages.stage() == Rescue {
                    stages.ended(outcome);
                    assert_eq!(stages.stage(), Two);
                }
            }
        }
        let mut stages = Stages::new(Policy {
            rescue: true,
            single: false,
            emergency: true,
        });
        assert_eq!(stages.stage(), Rescue);
        assert_eq!(stages.ended(StageExit::Crashed), Enter(One, true));
        assert_eq!(stages.ended(StageExit::Exited(0)), Enter(Two, false));
    }
}
