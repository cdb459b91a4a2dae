//! What PID 1 does next: stage 1, 2, 3 and the end (contract §7.3, §7.4).
//!
//! ```text
//!            1 ended            3 ended, or asked to go down
//!   One ---------------> Two -----------------------------> Three --> Over
//!    |                    |  ^                                ^    5
//!    |  2 exit 100        |  | 4 crashed or exit 111          |
//!    |     or crashed     +--+                                |
//!    +--------------------------------------------------------+
//! ```
//!
//! Edges: 1 to 4 [`Stages::ended`] with the rules of runit 2.3.0 (§16.19);
//! 3 also [`Stages::leave`]; 5 `ended`. Whether a stage is a script or the
//! program's own steps, its owner knows.

/// Where PID 1 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One-time set-up.
    One,
    /// Services run.
    Two,
    /// Services stop, the system comes down.
    Three,
    /// Nothing is left but the machine's end.
    Over,
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this exit code; a stage of our own ends with 0.
    Exited(u8),
    /// By a signal.
    Crashed,
}

/// What the owner does about the end of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on to this stage; the flag says to warn about the one that ended.
    Enter(Stage, bool),
    /// Kill what is left of stage 2, pause, and enter it again.
    Again,
}

/// The stages of one boot.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    stage: Stage,
}

impl Stages {
    /// Before anything: stage 1.
    pub const fn new() -> Self {
        Self { stage: Stage::One }
    }

    /// Where PID 1 is.
    pub fn stage(self) -> Stage {
        self.stage
    }

    /// The stage has ended.
    pub fn ended(&mut self, outcome: Outcome) -> Next {
        let failed = outcome != Outcome::Exited(0);
        let next = match (self.stage, outcome) {
            (Stage::One, Outcome::Exited(100) | Outcome::Crashed) => {
                Stage::Three
            }
            (Stage::One, Outcome::Exited(_)) => Stage::Two,
            (Stage::Two, Outcome::Exited(111) | Outcome::Crashed) => {
                return Next::Again;
            }
            (Stage::Two, Outcome::Exited(_)) => Stage::Three,
            (Stage::Three | Stage::Over, _) => Stage::Over,
        };
        self.stage = next;
        Next::Enter(next, failed)
    }

    /// Somebody asks to go down. Only stage 2 can be left like that; false
    /// in all others, where runit says that signals only work in stage 2.
    pub fn leave(&mut self) -> bool {
        let can = self.stage == Stage::Two;
        if can {
            self.stage = Stage::Three;
        }
        can
    }
}

impl Default for Stages {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_stage_with_every_outcome() {
        use Next::{Again, Enter};
        use Stage::{One, Over, Three, Two};
        for code in 0..=255 {
            let outcome = Outcome::Exited(code);
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
                assert_eq!(Stages { stage }.ended(outcome), next);
            }
        }
        let rows = [
            (One, Enter(Three, true)),
            (Two, Again),
            (Three, Enter(Over, true)),
        ];
        for (stage, next) in rows {
            assert_eq!(Stages { stage }.ended(Outcome::Crashed), next);
        }
        let can: Vec<bool> = [One, Two, Three, Over]
            .map(|stage| Stages { stage }.leave())
            .to_vec();
        assert_eq!(can, [false, true, false, false]);
    }
}
