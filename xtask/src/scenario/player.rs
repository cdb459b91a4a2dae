//! Performs the steps of a scenario on a running machine.

use anyhow::{Result, bail, ensure};
use regex::Regex;

use crate::{board::Board, qemu::Session};

use super::{Act, Step, pattern};

/// Default time limit of a step, in seconds.
const WITHIN: f64 = 30.0;
/// Time limit until the machine's shell shows a prompt, in seconds.
const TO_PROMPT: f64 = 90.0;

/// A machine while a scenario is played.
pub(super) struct Player<'a> {
    pub(super) session: Session,
    /// The board that is booted.
    pub(super) board: &'a Board,
    /// Set if the root shell reads commands as a script, without echo or
    /// prompt.
    pub(super) shell: bool,
    /// Number of commands run so far; distinguishes their outputs.
    pub(super) runs: u32,
}

impl Player<'_> {
    /// Performs a step; returns its figure, if it has one.
    pub(super) fn step(&mut self, step: &Step) -> Result<Option<String>> {
        let within = step.within.unwrap_or(WITHIN);
        let groups = match &step.act {
            Act::Expect(pattern) => self.session.expect(pattern, within)?,
            Act::Send(text) => {
                self.session.send(text)?;
                Vec::new()
            }
            Act::Run(command, pattern, code) => {
                let command = self.board.fill_in(command);
                self.obtain(&command, pattern.as_ref(), *code, step.within)?
            }
            Act::Keys(keys) => {
                self.session.press(keys)?;
                Vec::new()
            }
            Act::Sysrq(letter) => {
                self.session.sysrq(letter)?;
                Vec::new()
            }
            Act::Power(reason) => {
                let ended = self.session.end(within)?;
                ensure!(ended == *reason, "the machine ended by {ended}");
                Vec::new()
            }
        };
        if step.new_shell {
            self.shell = false;
        }
        let figure = groups.get(1).or(groups.first());
        let report = step.report.as_ref().zip(figure);
        Ok(report.map(|(label, figure)| format!("{label}{figure}")))
    }

    /// Repeats a command until it gives the wanted result or `within` has
    /// passed; returns the groups of the match.
    fn obtain(
        &mut self,
        command: &str,
        pattern: Option<&Regex>,
        code: i32,
        within: Option<f64>,
    ) -> Result<Vec<String>> {
        let limit = self.session.deadline(within.unwrap_or(0.0));
        loop {
            let (ended, output) = self.run(command)?;
            let groups = match pattern {
                Some(pattern) => pattern.captures(&output).map(|found| {
                    let text = |group: Option<regex::Match<'_>>| {
                        group.map_or(String::new(), |g| g.as_str().into())
                    };
                    found.iter().map(text).collect()
                }),
                None => Some(Vec::new()),
            };
            match groups {
                Some(groups) if ended == code => return Ok(groups),
                _ if std::time::Instant::now() < limit => {}
                None => {
                    let pattern = pattern.map_or("", Regex::as_str);
                    bail!("no match of `{pattern}` in its output:\n{output}");
                }
                Some(_) => bail!("exit code {ended}, not {code}:\n{output}"),
            }
        }
    }

    /// Runs a command in the guest's root shell; returns its exit code and its
    /// output.
    fn run(&mut self, command: &str) -> Result<(i32, String)> {
        if !self.shell {
            // A step may have matched past the prompt: output of other
            // programs may precede or follow it.
            self.session.look_again();
            let prompt = r"(?:^runt:~# |# $)";
            self.session.expect(&pattern(prompt)?, TO_PROMPT)?;
            // A shell that reads a script neither echoes nor edits lines.
            let open = "stty -echo; echo rea''dy; exec sh /dev/tty\n";
            self.session.send(open)?;
            // The first shell would consume and lose what is typed before
            // that.
            self.session.expect(&pattern("^ready$")?, WITHIN)?;
            self.shell = true;
        }
        self.runs += 1;
        let number = self.runs;
        // The output is collected and then printed at once, so that lines that
        // PID 1 prints meanwhile come before it.
        self.session.send(&format!(
            "{{\n{command}\n}} > /run/said 2>&1 < /dev/null\n\
             echo \"<$?;{number};\"; cat /run/said; echo \";{number};>\"\n"
        ))?;
        let frame = format!(r"<(\d+);{number};\n((?s:.*?));{number};>");
        let groups = self.session.expect(&pattern(&frame)?, WITHIN)?;
        let [_, code, output] = groups.as_slice() else {
            bail!("the shell's answer has no code");
        };
        Ok((code.parse()?, output.clone()))
    }
}
