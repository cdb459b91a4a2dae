//! Decides what became of a rig's program, from the console output and the end
//! of the machine.

use std::{fmt, time::Duration};

use anyhow::Result;
use regex::Regex;

use crate::qemu::End;

/// QEMU's exit code by which PID 1 confirms that the program exited with 0.
const SUCCESS: i32 = 33;
/// Those for any other result: `isa-debug-exit` has only odd ones.
const FAILURE: [i32; 2] = [34, 35];
/// Exit codes that mean something else than the program's own.
const RESERVED: std::ops::RangeInclusive<u8> = 120..=124;
/// Exit code for a program's own code in [`RESERVED`].
const OWN_RESERVED: u8 = 119;

/// The outcome of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program exited with this code.
    Exited(u8),
    /// This signal ended the program.
    Killed(u8),
    /// The kernel panicked.
    Panic,
    /// The machine was reset.
    Reset,
    /// The machine did not end within this time.
    Hang(Duration),
    /// The machine ended without a verdict, for this reason.
    NoVerdict(String),
    /// The program is missing or not executable.
    NotStarted,
}

impl Outcome {
    /// Returns the exit code of the rig.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exited(code) if RESERVED.contains(code) => OWN_RESERVED,
            Self::Exited(code) => *code,
            Self::Killed(signal) => signal.saturating_add(128),
            Self::Panic => 120,
            Self::Reset => 121,
            Self::Hang(_) => 122,
            Self::NoVerdict(_) => 123,
            Self::NotStarted => 124,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(to, "exit code {code}"),
            Self::Killed(signal) => write!(to, "killed by signal {signal}"),
            Self::Panic => write!(to, "kernel panic"),
            Self::Reset => write!(to, "the machine was reset"),
            Self::Hang(limit) => {
                write!(to, "no end within {} s", limit.as_secs())
            }
            Self::NoVerdict(reason) => write!(to, "no verdict: {reason}"),
            Self::NotStarted => {
                write!(to, "the program is missing or not executable")
            }
        }
    }
}

/// Returns the outcome of a run with this nonce, console output and end.
pub fn judge(
    nonce: &str,
    console: &str,
    end: &End,
    limit: Duration,
) -> Result<Outcome> {
    let panicked = console.contains("Kernel panic - not syncing");
    let reason = match &end.reason {
        _ if panicked && end.code.is_none() => return Ok(Outcome::Panic),
        None => return Ok(Outcome::Hang(limit)),
        Some(reason) if reason == "guest-reset" => {
            let outcome = if panicked {
                Outcome::Panic
            } else {
                Outcome::Reset
            };
            return Ok(outcome);
        }
        Some(reason) => reason,
    };
    let line = format!(
        r"(?m)- runit: rig: {}: (exit \d+|signal \d+|not started|no result)(, confirmed)?$",
        regex::escape(nonce)
    );
    let Some(verdict) = Regex::new(&line)?.captures_iter(console).last() else {
        let reason = format!("the machine ended ({reason})");
        return Ok(Outcome::NoVerdict(reason));
    };
    let confirmed = verdict.get(2).is_some();
    let outcome = match verdict[1].split_once(' ') {
        Some(("exit", code)) => Outcome::Exited(code.parse()?),
        Some(("signal", signal)) => Outcome::Killed(signal.parse()?),
        Some(("not", _)) => Outcome::NotStarted,
        _ => {
            let reason = "the system was shut down before the program ended";
            return Ok(Outcome::NoVerdict(reason.into()));
        }
    };
    let passed = outcome == Outcome::Exited(0);
    let agrees = |code: i32| match passed {
        true => code == SUCCESS,
        false => FAILURE.contains(&code),
    };
    if confirmed {
        if !end.code.is_some_and(agrees) {
            let code = end.code.map_or("none".into(), |code| code.to_string());
            let reason =
                format!("the exit device does not confirm `{outcome}`: {code}");
            return Ok(Outcome::NoVerdict(reason));
        }
    } else if reason != "guest-shutdown" {
        let reason = format!("the machine ended ({reason}) after `{outcome}`");
        return Ok(Outcome::NoVerdict(reason));
    }
    Ok(outcome)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn outcomes() {
        use Outcome::{Exited, Hang, Killed, NotStarted, Panic, Reset};
        let limit = Duration::from_secs(9);
        let none = |reason: &str| Outcome::NoVerdict(reason.into());
        let off = Some("guest-shutdown");
        let reset = Some("guest-reset");
        let gone = Some("QEMU is gone, exit status: 1");
        let panic = "[ 1.0] Kernel panic - not syncing: sysrq\n";
        let rows = [
            ("- runit: rig: N: exit 3\n", off, Some(0), Exited(3)),
            (
                "x- runit: rig: N: signal 9\n[ 1] off\n",
                off,
                None,
                Killed(9),
            ),
            ("- runit: rig: N: not started\n", off, Some(0), NotStarted),
            (
                "- runit: rig: N: no result\n",
                off,
                Some(0),
                none("the system was shut down before the program ended"),
            ),
            // Those of the program; the last is PID 1's.
            (
                "- runit: rig: M: exit 0\n- runit: rig: exit 0\n\
                 - runit: rig: N: exit 0x\n- runit: rig: N: exit 1\n",
                off,
                Some(0),
                Exited(1),
            ),
            (
                "- runit: rig: exit 0\n",
                off,
                Some(0),
                none("the machine ended (guest-shutdown)"),
            ),
            ("- runit: rig: N: exit 0\n", reset, Some(0), Reset),
            ("- runit: rig: N: exit 0\n", None, None, Hang(limit)),
            (panic, reset, Some(0), Panic),
            (panic, None, None, Panic),
            // Printed by a program.
            (
                "Kernel panic - not syncing\n- runit: rig: N: exit 0\n",
                off,
                Some(0),
                Exited(0),
            ),
            (
                "",
                gone,
                Some(1),
                none("the machine ended (QEMU is gone, exit status: 1)"),
            ),
            (
                "- runit: rig: N: exit 0, confirmed",
                gone,
                Some(33),
                Exited(0),
            ),
            (
                "- runit: rig: N: exit 2, confirmed",
                off,
                Some(34),
                Exited(2),
            ),
            (
                "- runit: rig: N: exit 2, confirmed",
                gone,
                Some(35),
                Exited(2),
            ),
            (
                "- runit: rig: N: exit 0, confirmed",
                off,
                Some(0),
                none("the exit device does not confirm `exit code 0`: 0"),
            ),
            (
                "- runit: rig: N: exit 3, confirmed",
                gone,
                Some(33),
                none("the exit device does not confirm `exit code 3`: 33"),
            ),
        ];
        for (console, reason, code, outcome) in rows {
            let reason = reason.map(String::from);
            let end = End { reason, code };
            let judged = judge("N", console, &end, limit).unwrap();
            assert_eq!(judged, outcome, "{console:?} {end:?}");
        }
    }

    #[test]
    fn codes() {
        let code = |outcome: Outcome| outcome.code();
        for own in 0..=255 {
            let expected = if (120..=124).contains(&own) { 119 } else { own };
            assert_eq!(code(Outcome::Exited(own)), expected);
        }
        assert_eq!(code(Outcome::Killed(9)), 137);
        let others = [
            Outcome::Panic,
            Outcome::Reset,
            Outcome::Hang(Duration::ZERO),
            Outcome::NoVerdict(String::new()),
            Outcome::NotStarted,
        ];
        assert_eq!(others.map(code), [120, 121, 122, 123, 124]);
    }
}
