//! What a board is: boards/NAME.toml, read and checked.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// The board of `cargo xtask boot`.
pub const DEFAULT: &str = "qemu-riscv64";

/// The board whose release file runs on a PC: what the host tests use.
pub const HOST: &str = "qemu-x86_64";

/// A board file; boards/README.md explains every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Board {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// Where what is fetched for it is kept: boards with the same name may
    /// have other kernels.
    #[serde(skip)]
    pub shelf: String,
    /// Target triple.
    pub target: String,
    /// The services directory.
    #[serde(default = "etc_service")]
    pub services: String,
    /// Where state is kept that its own directory cannot hold.
    #[serde(default = "run_runt")]
    pub run: String,
    /// A writable directory whose entries hide and add to those of
    /// `services`; none when it is empty.
    #[serde(default)]
    pub services_overlay: String,
    /// `UID:GID` of the shared loggers; the supervisor's when it is empty.
    #[serde(default)]
    pub logger_user: String,
    /// Which files of `supervise/` are written: `all`, or `binary` for
    /// `status` alone.
    #[serde(default = "all_files")]
    pub status_files: String,
    /// Who is let in when something fails: `none`, `login` or `shell`.
    #[serde(default = "login")]
    pub rescue: String,
    /// The program that is told of a good boot.
    #[serde(default = "boot_good")]
    pub boot_good: String,
    /// What signals ask PID 1, where it is not the usual.
    #[serde(default)]
    pub signals: BTreeMap<String, String>,
    /// Bounds that differ from src/capacities.txt.
    #[serde(default)]
    pub capacity: BTreeMap<String, usize>,
    /// The serial console.
    pub console: Console,
    /// The hardware watchdog.
    pub watchdog: Option<Watchdog>,
    /// Where kernel and userland of the boot images come from.
    pub debian: Debian,
    /// The machine that stands in for the board.
    pub qemu: Qemu,
    /// What is said of the root before the kernel's command line.
    #[serde(default)]
    pub root: String,
    /// What the release file may weigh.
    pub budget: Budget,
    /// Whether `cargo xtask test` boots it.
    #[serde(default)]
    pub test: bool,
}

/// The serial console.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Console {
    /// Its device in /dev.
    pub device: String,
    /// Its speed.
    pub baud: u32,
    /// What the kernel's command line says besides `console=`.
    #[serde(default)]
    pub cmdline: String,
}

/// The hardware watchdog.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Watchdog {
    /// Its device in /dev.
    pub device: String,
    /// Seconds after its last meal when it bites.
    pub period_s: u32,
}

/// Where kernel and userland of the boot images come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Debian {
    /// The suites, in the order in which they are tried: a mirror that is
    /// being updated lacks one or the other.
    pub suites: Vec<String>,
    /// The architecture.
    pub arch: String,
    /// The kernel's package; a meta package is followed to the image.
    pub kernel: String,
    /// The device tree in it, for machines that need one.
    pub dtb: Option<String>,
    /// Modules of its package that are in every image.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Modules of it that an initramfs loads to reach a root on a disk.
    #[serde(default)]
    pub disk_modules: Vec<String>,
}

/// A QEMU machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Qemu {
    /// The part of the program's name behind `qemu-system-`.
    pub system: String,
    /// `-M`.
    pub machine: String,
    /// `-cpu`.
    pub cpu: Option<String>,
    /// `-m`.
    pub memory_mib: u32,
    /// The device that is a disk, when it can have one.
    pub disk: Option<String>,
    /// Further arguments.
    #[serde(default)]
    pub extra: Vec<String>,
    /// How much longer than on the default board things may take.
    #[serde(default = "one")]
    pub slow: f64,
}

/// What the release file may weigh.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Budget {
    /// Bytes of the stripped file.
    pub file: u64,
}

/// The services directory when a board names none.
fn etc_service() -> String {
    "/etc/service".into()
}

/// The run directory when a board names none.
fn run_runt() -> String {
    "/run/runt".into()
}

/// The program of a good boot when a board names none.
fn boot_good() -> String {
    "/etc/runit/boot-good".into()
}

/// The files of `supervise/` when a board names none.
fn all_files() -> String {
    "all".into()
}

/// The rescue when a board names none.
fn login() -> String {
    "login".into()
}

/// The factor when a board names none.
fn one() -> f64 {
    1.0
}

/// The repository's top directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .into()
}

/// Where xtask keeps what it fetches and makes.
pub fn workshop() -> PathBuf {
    root().join("target/xtask")
}

/// Reads a board file.
pub fn load(name: &str) -> Result<Board> {
    load_with(name, &toml::Table::new())
}

/// Reads a board file of which `other` says some things otherwise.
pub fn load_with(name: &str, other: &toml::Table) -> Result<Board> {
    let path = root().join("boards").join(format!("{name}.toml"));
    if !path.exists() {
        let names: Vec<_> = all()?.into_iter().map(|b| b.name).collect();
        bail!(
            "there is no board `{name}`; boards/ has {}",
            names.join(", ")
        );
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    parse(name, &text, other)
}

/// Every board, by name.
pub fn all() -> Result<Vec<Board>> {
    let dir = root().join("boards");
    let mut names: Vec<String> = std::fs::read_dir(&dir)
        .with_context(|| format!("cannot list {}", dir.display()))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".toml").map(String::from))
        .collect();
    names.sort();
    names.iter().map(|name| load(name)).collect()
}

impl Board {
    /// `[signals]` as the program reads it: `TERM:off,INT:none`.
    pub fn signal_words(&self) -> String {
        let words = self.signals.iter();
        let words = words.map(|(name, meaning)| format!("{name}:{meaning}"));
        words.collect::<Vec<_>>().join(",")
    }

    /// The text with the words replaced that stand for what a board has:
    /// `@CONSOLE@`, `@BAUD@`, `@MODULES@`, one a line, and one for each
    /// capacity, as `@NAME-BYTES@`.
    pub fn fill_in(&self, text: &str) -> String {
        let text = text
            .replace("@CONSOLE@", &self.console.device)
            .replace("@BAUD@", &self.console.baud.to_string())
            .replace("@MODULES@", &self.debian.modules.join("\n"));
        capacities()
            .into_iter()
            .fold(text, |text, [name, default, ..]| {
                let own = self.capacity.get(name).map(usize::to_string);
                let value = own.unwrap_or_else(|| default.into());
                text.replace(&format!("@{}@", name.to_uppercase()), &value)
            })
    }
}

/// The signals that can mean something else.
const SIGNALS: [&str; 10] = [
    "CONT", "INT", "PWR", "ALRM", "USR1", "USR2", "TERM", "RTMIN+3", "RTMIN+4",
    "RTMIN+5",
];
/// What they can mean.
const MEANINGS: [&str; 4] = ["none", "off", "reboot", "halt"];

/// The board of that name, or every board.
pub fn chosen(name: Option<&str>) -> Result<Vec<Board>> {
    match name {
        Some(name) => Ok(vec![load(name)?]),
        None => all(),
    }
}

/// The lines of src/capacities.txt: name, default, least, most, meaning.
pub fn capacities() -> Vec<[&'static str; 5]> {
    include_str!("../../src/capacities.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut rest = line;
            let mut word = || {
                rest = rest.trim_start();
                let end = rest.find(' ')?;
                let (word, tail) = rest.split_at(end);
                rest = tail;
                Some(word)
            };
            let words = [word()?, word()?, word()?, word()?];
            Some([words[0], words[1], words[2], words[3], rest.trim()])
        })
        .collect()
}

/// Lays a table over another: tables in it key by key.
fn lay_over(table: &mut toml::Table, other: &toml::Table) {
    for (key, value) in other {
        match (table.get_mut(key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => {
                lay_over(below, above);
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Checks what a board file says.
fn parse(name: &str, text: &str, other: &toml::Table) -> Result<Board> {
    let file = format!("boards/{name}.toml");
    let wrong = || format!("{file} is not right");
    let mut table: toml::Table = toml::from_str(text).with_context(wrong)?;
    lay_over(&mut table, other);
    let mut board: Board = table.try_into().with_context(wrong)?;
    board.name = name.into();
    board.shelf = name.into();
    if other
        .get("debian")
        .is_some_and(|d| d.get("kernel").is_some())
    {
        board.shelf += &format!("-{}", board.debian.kernel);
    }
    for (name, meaning) in &board.signals {
        ensure!(
            SIGNALS.contains(&name.as_str())
                && MEANINGS.contains(&meaning.as_str()),
            "{file}: [signals] {name} = {meaning:?}: known are {SIGNALS:?} \
             with one of {MEANINGS:?}"
        );
    }
    let known = capacities();
    for (key, value) in &board.capacity {
        let Some([_, _, least, most, _]) =
            known.iter().find(|row| row[0] == key)
        else {
            bail!(
                "{file}: [capacity] `{key}` is no capacity; src/capacities.txt lists them"
            );
        };
        let range = least.parse()?..=most.parse()?;
        ensure!(
            range.contains(value),
            "{file}: [capacity] {key} = {value} is not in {least}..={most}"
        );
    }
    Ok(board)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_board_file_is_right() {
        assert!(all().unwrap().iter().any(|board| board.name == DEFAULT));
    }

    #[test]
    fn a_wrong_key_is_named_with_its_file() {
        let good =
            std::fs::read_to_string(root().join("boards/qemu-armv7.toml"))
                .unwrap();
        let say = |text: String| {
            let none = toml::Table::new();
            format!("{:#}", parse("x", &text, &none).unwrap_err())
        };
        let unknown = say(format!("colour = 1\n{good}"));
        assert!(
            unknown.contains("boards/x.toml") && unknown.contains("colour"),
            "{unknown}"
        );
        let unknown = say(format!("{good}\n[signals]\nHUP = \"off\"\n"));
        assert!(unknown.contains("HUP"), "{unknown}");
        let unknown = say(format!("{good}\n[capacity]\nslot = 1\n"));
        assert!(unknown.contains("`slot` is no capacity"), "{unknown}");
        let beyond = say(format!("{good}\n[capacity]\nslots = 100000\n"));
        assert!(
            beyond.contains("slots = 100000 is not in 1..=999"),
            "{beyond}"
        );
    }
}
