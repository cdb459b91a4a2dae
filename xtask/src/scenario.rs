//! Reads, checks and plays a scenario, qemu/scenario/NAME.toml: what a machine
//! is tested with.

mod player;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use player::Player;

use crate::{
    board::{self, Board},
    booted,
    bootloader::{self, Bootloader},
    debian::Packages,
    disk::Disk,
    image,
    qemu::Session,
    rig::{self, RigRun},
    rootfs::Root,
    setup,
};

/// Number of console lines that an error shows.
const SHOWN: usize = 40;

/// A scenario in the form of its file; qemu/README.md explains every key.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawScenario {
    about: String,
    #[serde(default = "default_tree")]
    tree: String,
    #[serde(default)]
    root: Root,
    hook: Option<String>,
    flip: Option<String>,
    #[serde(default)]
    cmdline: String,
    #[serde(default = "default_seconds")]
    seconds: u32,
    #[serde(default)]
    waits: bool,
    #[serde(default)]
    long: bool,
    #[serde(default)]
    boards: Vec<String>,
    #[serde(default)]
    standard: Option<Vec<String>>,
    #[serde(default)]
    board: toml::Table,
    bootloader: Option<Bootloader>,
    debian: Option<Packages>,
    #[serde(default)]
    never: Vec<String>,
    #[serde(default)]
    once: Vec<String>,
    #[serde(rename = "step", default)]
    steps: Vec<RawStep>,
    #[serde(rename = "rig", default)]
    rigs: Vec<RigRun>,
}

/// A step in the form of the file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawStep {
    expect: Option<String>,
    send: Option<String>,
    run: Option<String>,
    power: Option<String>,
    keys: Option<String>,
    sysrq: Option<String>,
    code: Option<i32>,
    within_s: Option<f64>,
    report: Option<String>,
    #[serde(default)]
    new_shell: bool,
}

/// Returns the default tree of a scenario.
fn default_tree() -> String {
    image::DEFAULT.into()
}

/// Returns the default estimate of the time that a scenario takes.
fn default_seconds() -> u32 {
    10
}

/// A scenario.
#[derive(Debug)]
pub struct Scenario {
    /// The file's name without `.toml`.
    pub name: String,
    /// The property that it proves.
    pub about: String,
    /// The trees of its image, joined by `+`.
    pub tree: String,
    /// The kind of its root.
    root: Root,
    /// The trees of the initramfs that switches to it.
    hook: Option<String>,
    /// A text on the disk of which a bit is flipped.
    flip: Option<String>,
    /// Words for the kernel's command line besides the board's.
    cmdline: String,
    /// Estimated time that it takes, in seconds.
    pub seconds: u32,
    /// Set if the machine is idle for most of that time.
    pub waits: bool,
    /// Set if it takes many minutes: it is played with `--long` only.
    long: bool,
    /// The boards that it is for; empty for every board.
    boards: Vec<String>,
    /// The boards among these on which it is always played; `None` for all.
    standard: Option<Vec<String>>,
    /// Values that override those of the board file.
    board: toml::Table,
    /// The images that are tried before the steps, instead of `tree`.
    bootloader: Option<Bootloader>,
    /// The packages of a root of Debian, instead of `tree`.
    pub debian: Option<Packages>,
    /// Patterns that must not appear on the console, from the boot to the end.
    never: Vec<Regex>,
    /// Patterns that must appear on the console exactly once.
    once: Vec<Regex>,
    steps: Vec<Step>,
    /// Runs of `cargo xtask rig` instead of a boot with steps.
    rigs: Vec<RigRun>,
}

/// A step.
#[derive(Debug)]
struct Step {
    act: Act,
    /// Time limit in seconds on the default board.
    within: Option<f64>,
    /// Name of the figure that is reported: the first group of the match.
    report: Option<String>,
    /// Set if another root shell takes the place of this one after the step:
    /// the next command waits for its prompt.
    new_shell: bool,
}

/// The action of a step.
#[derive(Debug)]
enum Act {
    /// Waits for this on the console.
    Expect(Regex),
    /// Types this on the console.
    Send(String),
    /// Runs this in the root shell; the output must match and the exit code
    /// must be equal.
    Run(String, Option<Regex>, i32),
    /// Waits for the machine to end for this reason.
    Power(String),
    /// Presses these keys of the machine's keyboard.
    Keys(String),
    /// Sends a break and then this letter.
    Sysrq(String),
}

/// Reads every scenario, sorted by name.
pub fn all() -> Result<Vec<Scenario>> {
    let dir = dir();
    let mut names: Vec<String> = fs::read_dir(&dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".toml").map(String::from))
        .collect();
    names.sort();
    names.iter().map(|name| load(name)).collect()
}

/// Reads a scenario.
pub fn load(name: &str) -> Result<Scenario> {
    let path = dir().join(format!("{name}.toml"));
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    parse(name, &text)
}

/// Returns the directory of the scenarios.
fn dir() -> PathBuf {
    board::root().join("qemu/scenario")
}

/// Parses and checks a scenario file.
fn parse(name: &str, text: &str) -> Result<Scenario> {
    let file = format!("qemu/scenario/{name}.toml");
    let mut raw: RawScenario =
        toml::from_str(text).with_context(|| format!("{file} is not right"))?;
    image::trees(&raw.tree).with_context(|| file.clone())?;
    let tried = raw.bootloader.iter().flat_map(|b| [&b.new, &b.old]);
    for trees in tried.chain(&raw.hook) {
        image::trees(trees).with_context(|| file.clone())?;
    }
    if let Some(debian) = &raw.debian {
        raw.boards = debian.boards();
    }
    // Its own values must suit every board that it names.
    let default = board::DEFAULT.to_string();
    let named = raw.boards.iter().chain(raw.standard.iter().flatten());
    for name in named.chain([&default]) {
        board::load_with(name, &raw.board).with_context(|| file.clone())?;
    }
    let patterns = |texts: &[String]| -> Result<Vec<Regex>> {
        let all = texts.iter().map(|text| pattern(text));
        all.collect::<Result<_>>().context(file.clone())
    };
    let never = patterns(&raw.never)?;
    let once = patterns(&raw.once)?;
    let mut steps = Vec::new();
    for (number, step) in (1..).zip(raw.steps) {
        let step =
            check(step).with_context(|| format!("{file}, step {number}"))?;
        steps.push(step);
    }
    for run in &raw.rigs {
        run.check().with_context(|| file.clone())?;
    }
    let RawScenario {
        about,
        tree,
        root,
        hook,
        flip,
        cmdline,
        seconds,
        waits,
        long,
        boards,
        standard,
        board,
        bootloader,
        debian,
        rigs,
        ..
    } = raw;
    Ok(Scenario {
        name: name.into(),
        about,
        tree,
        root,
        hook,
        flip,
        cmdline,
        seconds,
        waits,
        long,
        boards,
        standard,
        board,
        bootloader,
        debian,
        never,
        once,
        steps,
        rigs,
    })
}

/// Compiles a regular expression in which `^` and `$` match at the ends of
/// lines. A prompt may precede what begins with `^`: a program other than the
/// shell may print at any time.
fn pattern(text: &str) -> Result<Regex> {
    let line = text.strip_prefix('^');
    let line = line.map(|rest| format!("^(?:.{{0,20}}# )?{rest}"));
    RegexBuilder::new(line.as_deref().unwrap_or(text))
        .multi_line(true)
        .build()
        .with_context(|| format!("`{text}` is no regular expression"))
}

/// Checks a step.
fn check(raw: RawStep) -> Result<Step> {
    let RawStep {
        expect,
        send,
        run,
        power,
        keys,
        sysrq,
        code,
        within_s,
        report,
        new_shell,
    } = raw;
    let matched = expect.is_some();
    let expect = expect.as_deref().map(pattern).transpose()?;
    ensure!(
        run.is_some() || code.is_none(),
        "`code` is the exit code of a `run`"
    );
    ensure!(
        report.is_none() || matched,
        "`report` prints the first group of an `expect`"
    );
    let act = match (expect, run) {
        (expect, Some(command)) => {
            Some(Act::Run(command, expect, code.unwrap_or(0)))
        }
        (expect, None) => expect.map(Act::Expect),
    };
    let acts = [
        act,
        send.map(Act::Send),
        power.map(Act::Power),
        keys.map(Act::Keys),
        sysrq.map(Act::Sysrq),
    ];
    let mut acts = acts.into_iter().flatten();
    let (Some(act), None) = (acts.next(), acts.next()) else {
        bail!(
            "a step has one of `expect`, `send`, `run`, `power`, `keys`, \
             `sysrq`, and `run` may have an `expect` too"
        );
    };
    Ok(Step {
        act,
        within: within_s,
        report,
        new_shell,
    })
}

impl Scenario {
    /// Returns every tree that one of its images contains.
    pub fn trees(&self) -> impl Iterator<Item = &str> {
        let tried = self.bootloader.iter();
        let tried = tried.flat_map(|b| [b.new.as_str(), b.old.as_str()]);
        tried
            .chain([self.tree.as_str()])
            .chain(self.hook.as_deref())
            .flat_map(|trees| trees.split('+'))
    }

    /// Returns true if the scenario is to be played on this board in this run;
    /// `all` includes the slow ones, `long` those that take many minutes.
    pub fn is_for(&self, board: &Board, all: bool, long: bool) -> bool {
        let named = |names: &Vec<String>| names.contains(&board.name);
        let runs = self.boards.is_empty() || named(&self.boards);
        let has = self.root == Root::Initramfs || board.has_disk();
        let due = all || self.standard.as_ref().is_none_or(named);
        runs && has && due && (long || !self.long) && board.plays(&self.name)
    }

    /// Boots the board, performs every step and returns the figures.
    ///
    /// The whole console output is kept in target/xtask/log.
    pub fn play(&self, board: &Board) -> Result<Vec<String>> {
        if !self.rigs.is_empty() {
            return rig::play(&self.name, &self.rigs, board);
        }
        let prebuilt = board.prebuilt.clone();
        let mut board = board::load_with(&board.name, &self.board)?;
        board.prebuilt = prebuilt;
        board.console.cmdline += &format!(" {}", self.cmdline);
        let board = &board;
        let mut figures = Vec::new();
        let dir = image::own_dir()?;
        // Checks the disk when the machine has ended.
        let check: Box<dyn Fn() -> Result<()>>;
        let session = if let Some(bootloader) = &self.bootloader {
            let good = bootloader.boot(board, dir.path())?;
            figures.push(format!("boots: {}", good.boots));
            check = Box::new(move || bootloader::check(&good.disk));
            good.session
        } else {
            let kit = setup::ensure(board)?;
            let hook = self.hook.as_deref();
            let image = match &self.debian {
                Some(packages) => {
                    image::make_debian(board, packages, dir.path())
                }
                None => image::make_with(
                    board,
                    &self.tree,
                    self.root,
                    hook,
                    dir.path(),
                ),
            }?;
            if let (Some(disk), Some(text)) = (&image.disk, &self.flip) {
                disk.flip(text)?;
            }
            let session = Session::start(board, &kit, &image)?;
            let disk = image.disk;
            check = Box::new(move || disk.iter().try_for_each(Disk::check));
            session
        };
        let mut player = Player {
            session,
            board,
            shell: false,
            runs: 0,
        };
        let played = self.steps.iter().enumerate().try_for_each(|(i, step)| {
            figures.extend(player.step(step).with_context(|| {
                format!("step {} of {}: {}", i + 1, self.steps.len(), step.act)
            })?);
            Ok(())
        });
        let played = played.and_then(|()| {
            let ended = player.session.has_ended();
            if ended { check() } else { Ok(()) }
        });
        let session = &player.session;
        let logs = board::work_dir().join("log");
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("{}-{}.txt", board.name, self.name));
        fs::write(&log, session.text())?;
        if let Err(error) = played.and_then(|()| self.heed(session)) {
            bail!(
                "qemu/scenario/{}.toml on {}, {error:#}\n\
                 the console's last lines (all of them: {}):\n{}",
                self.name,
                board.name,
                log.display(),
                session.tail(SHOWN)
            );
        }
        booted::record(&board.name, &self.name)?;
        Ok(figures)
    }

    /// Checks that the patterns of `never` did not match the console output
    /// and that those of `once` matched exactly once.
    fn heed(&self, session: &Session) -> Result<()> {
        for never in &self.never {
            if let Some(found) = never.find(session.text()) {
                bail!("the console said `{}`", found.as_str());
            }
        }
        for once in &self.once {
            let count = once.find_iter(session.text()).count();
            ensure!(
                count == 1,
                "the console said {count} times, not once: `{once}`"
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Act {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expect(pattern) => write!(to, "expect `{pattern}`"),
            Self::Send(text) => write!(to, "send {text:?}"),
            Self::Run(command, ..) => write!(to, "run `{}`", command.trim()),
            Self::Power(reason) => write!(to, "power `{reason}`"),
            Self::Keys(keys) => write!(to, "keys `{keys}`"),
            Self::Sysrq(letter) => write!(to, "sysrq `{letter}`"),
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_scenario_file_is_right() {
        assert!(!all().unwrap().is_empty());
    }

    #[test]
    fn a_line_may_stand_behind_a_prompt() {
        let pattern = pattern("^- runit: .* up$").unwrap();
        for text in ["- runit: 9 up", "x\n~ # - runit: 9 up\n"] {
            assert!(pattern.is_match(text), "{text}");
        }
        assert!(!pattern.is_match("x - runit: 9 up"));
    }

    #[test]
    fn a_wrong_step_is_named_with_its_file() {
        let head = "about = \"x\"\n[[step]]\nsend = \"\"\n[[step]]\n";
        for step in [
            "send = \"\"\nrun = \"\"",
            "keys = \"\"\nexpect = \"\"",
            "expect = \"(\"",
            "sned = \"\"",
        ] {
            let error = parse("x", &format!("{head}{step}\n")).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains("qemu/scenario/x.toml"), "{error}");
        }
    }
}
