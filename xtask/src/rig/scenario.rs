//! Plays the runs of `cargo xtask rig` that a scenario lists, each by this
//! program as a user would call it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use serde::Deserialize;

use crate::{
    board::{self, Board},
    image,
    rootfs::Root,
};

/// A run with its expected result; qemu/README.md explains every key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RigRun {
    arguments: Vec<String>,
    code: i32,
    outcome: String,
    console: Option<String>,
}

impl RigRun {
    /// Checks the patterns.
    pub fn check(&self) -> Result<()> {
        let patterns = [Some(&self.outcome), self.console.as_ref()];
        for pattern in patterns.into_iter().flatten() {
            Regex::new(pattern)?;
        }
        Ok(())
    }

    /// Plays the run; its console output goes to a file.
    fn play(&self, board: &Board, dir: &Path, log: &Path) -> Result<()> {
        let junit = dir.join("junit.xml");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["rig", "--board", &board.name, "--junit"])
            .arg(&junit);
        for word in &self.arguments {
            command.arg(self.fill_in(word, board, dir)?);
        }
        let output = command.stdin(Stdio::null()).output()?;
        let console = String::from_utf8_lossy(&output.stdout);
        fs::write(log, &*console)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or("");
        let code = output.status.code();
        ensure!(
            code == Some(self.code)
                && Regex::new(&self.outcome)?.is_match(last),
            "it ended with {code:?} and `{last}`, not {} and `{}`; the \
             console: {}",
            self.code,
            self.outcome,
            log.display()
        );
        if let Some(pattern) = &self.console
            && !Regex::new(pattern)?.is_match(&console)
        {
            bail!("no match of `{pattern}` in {}", log.display());
        }
        // A wrong command line has no outcome.
        if let Some(outcome) = last.strip_prefix("rig: ") {
            let report = fs::read_to_string(&junit).context("no JUnit file")?;
            let report = report.replace("&apos;", "'").replace("&quot;", "\"");
            let passed = self.code == 0;
            let outcome = outcome.replace('`', "");
            ensure!(
                report.contains("<testcase")
                    && passed != report.contains("message=")
                    && (passed || report.replace('`', "").contains(&outcome)),
                "the JUnit file does not say `{outcome}`:\n{report}"
            );
        }
        Ok(())
    }

    /// Replaces `@INITRD@` by the file of an initramfs, and `@IMAGE@` by that
    /// of a disk, each with the default tree and without a rig.
    fn fill_in(&self, word: &str, board: &Board, dir: &Path) -> Result<String> {
        let word = match word {
            "@INITRD@" => {
                let kind = Root::Initramfs;
                let image = image::make(board, image::DEFAULT, kind, dir)?;
                image.initramfs.display().to_string()
            }
            "@IMAGE@" => {
                let kind = Root::Squashfs;
                let image = image::make(board, image::DEFAULT, kind, dir)?;
                let disk = image.disk.context("no disk")?;
                disk.file.display().to_string()
            }
            _ => word.into(),
        };
        Ok(word)
    }
}

/// Plays the runs of a scenario.
pub fn play(name: &str, runs: &[RigRun], board: &Board) -> Result<Vec<String>> {
    let logs = board::work_dir().join("log");
    fs::create_dir_all(&logs)?;
    let dir = image::own_dir()?;
    for (number, run) in (1..).zip(runs) {
        let log = logs.join(format!("{}-{name}-{number}.txt", board.name));
        run.play(board, dir.path(), &log)
            .with_context(|| format!("run {number} of {name}"))?;
    }
    Ok(Vec::new())
}
