//! Reads and checks a board file, boards/NAME.toml.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// The board of `cargo xtask boot`.
pub const DEFAULT: &str = "qemu-riscv64";

/// The board whose release file runs on a PC; the host tests use it.
pub const HOST: &str = "qemu-x86_64";

/// A board, as read from its file; boards/README.md explains every key.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Board {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// Name of the directory that keeps what is fetched for the board: boards
    /// with the same name may use different kernels.
    #[serde(skip)]
    pub shelf: String,
    /// Target triple.
    pub target: String,
    /// The services directory.
    #[serde(default = "etc_service")]
    pub services: String,
    /// The run directory: state that a service's own directory cannot hold.
    #[serde(default = "run_runt")]
    pub run: String,
    /// A writable directory whose entries hide and extend those of `services`;
    /// empty for none.
    #[serde(default)]
    pub services_overlay: String,
    /// `UID:GID` of the shared loggers; empty for that of the supervisor.
    #[serde(default)]
    pub logger_user: String,
    /// The files of `supervise/` that are written: `all`, or `binary` for
    /// `status` alone.
    #[serde(default = "all_files")]
    pub status_files: String,
    /// Access to the machine when something fails: `none`, `login` or `shell`.
    #[serde(default = "login")]
    pub rescue: String,
    /// The program that is run when a boot is considered good.
    #[serde(default = "boot_good")]
    pub boot_good: String,
    /// Requests that signals make of PID 1, where they differ from the
    /// defaults.
    #[serde(default)]
    pub signals: BTreeMap<String, String>,
    /// Capacities that differ from src/capacities.txt.
    #[serde(default)]
    pub capacity: BTreeMap<String, usize>,
    /// The serial console.
    pub console: Console,
    /// The hardware watchdog.
    pub watchdog: Option<Watchdog>,
    /// Source of the kernel and userland of the boot images.
    pub debian: Debian,
    /// The machine that emulates the board.
    pub qemu: Qemu,
    /// Words about the root; those of the kernel's command line override them.
    #[serde(default)]
    pub root: String,
    /// Limits on the size of the release file.
    pub budget: Budget,
    /// Set if `cargo xtask test` boots the board.
    #[serde(default)]
    pub test: bool,
}

/// The serial console.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Console {
    /// The device in /dev.
    pub device: String,
    /// The speed in baud.
    pub baud: u32,
    /// Words for the kernel's command line besides `console=`.
    #[serde(default)]
    pub cmdline: String,
}

/// The hardware watchdog.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Watchdog {
    /// The device in /dev.
    pub device: String,
    /// The timeout in seconds.
    pub period_s: u32,
}

/// Source of the kernel and userland of the boot images.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Debian {
    /// The suites in the order in which they are tried: a mirror that is being
    /// updated may lack one of them.
    pub suites: Vec<String>,
    /// The architecture.
    pub arch: String,
    /// The kernel's package; a meta package is followed to the image package.
    pub kernel: String,
    /// The device tree in that package, for machines that need one.
    pub dtb: Option<String>,
    /// Modules of that package that are in every image.
    #[serde(default)]
    pub modules: Vec<String>,
    /// Modules of that package that an initramfs loads to reach a root on a
    /// disk.
    #[serde(default)]
    pub disk_modules: Vec<String>,
}

/// A QEMU machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Qemu {
    /// The part of the program's name after `qemu-system-`.
    pub system: String,
    /// `-M`.
    pub machine: String,
    /// `-cpu`.
    pub cpu: Option<String>,
    /// `-m`.
    pub memory_mib: u32,
    /// The disk device; `None` if the machine cannot have a disk.
    pub disk: Option<String>,
    /// Further arguments.
    #[serde(default)]
    pub extra: Vec<String>,
    /// Factor by which time limits are longer than on the default board.
    #[serde(default = "one")]
    pub slow: f64,
}

/// Limits on the size of the release file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Budget {
    /// Size of the stripped file, in bytes.
    pub file: u64,
}

/// Returns the default services directory.
fn etc_service() -> String {
    "/etc/service".into()
}

/// Returns the default run directory.
fn run_runt() -> String {
    "/run/runt".into()
}

/// Returns the default program for a good boot.
fn boot_good() -> String {
    "/etc/runit/boot-good".into()
}

/// Returns the default choice of files in `supervise/`.
fn all_files() -> String {
    "all".into()
}

/// Returns the default kind of rescue.
fn login() -> String {
    "login".into()
}

/// Returns the default factor for time limits.
fn one() -> f64 {
    1.0
}

/// Returns the top directory of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .into()
}

/// Returns the directory that keeps everything xtask fetches and builds.
pub fn work_dir() -> PathBuf {
    root().join("target/xtask")
}

/// Reads a board file.
pub fn load(name: &str) -> Result<Board> {
    load_with(name, &toml::Table::new())
}

/// Reads a board file; the values in `other` override those of the file.
pub fn load_with(name: &str, other: &toml::Table) -> Result<Board> {
    let path = root().join("boards").join(format!("{name}.toml"));
    if !path.exists() {
        let names: Vec<_> = all()?.into_iter().map(|b| b.name).collect();
        bail!("no board `{name}`; boards/ has {}", names.join(", "));
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    parse(name, &text, other)
}

/// Reads every board, sorted by name.
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
    /// Returns `[signals]` in the form that the program reads:
    /// `TERM:off,INT:none`.
    pub fn signal_words(&self) -> String {
        let words = self.signals.iter();
        let words = words.map(|(name, meaning)| format!("{name}:{meaning}"));
        words.collect::<Vec<_>>().join(",")
    }

    /// Replaces the placeholders in a text by the board's values: `@CONSOLE@`,
    /// `@BAUD@`, `@MODULES@` (one a line), and `@NAME-BYTES@` for each
    /// capacity.
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

/// The signals whose meaning a board can change.
const SIGNALS: [&str; 10] = [
    "CONT", "INT", "PWR", "ALRM", "USR1", "USR2", "TERM", "RTMIN+3", "RTMIN+4",
    "RTMIN+5",
];
/// The meanings that a signal can have.
const MEANINGS: [&str; 4] = ["none", "off", "reboot", "halt"];

/// Reads the board of that name, or every board.
pub fn chosen(name: Option<&str>) -> Result<Vec<Board>> {
    match name {
        Some(name) => Ok(vec![load(name)?]),
        None => all(),
    }
}

/// Returns the lines of src/capacities.txt: name, default, minimum, maximum,
/// meaning.
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

/// Merges `other` into a table; nested tables are merged key by key.
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

/// Parses and checks a board file.
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
                "{file}: [capacity] `{key}` is not a capacity; src/capacities.txt lists all"
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
        assert!(unknown.contains("`slot` is not a capacity"), "{unknown}");
        let beyond = say(format!("{good}\n[capacity]\nslots = 100000\n"));
        assert!(
            beyond.contains("slots = 100000 is not in 1..=999"),
            "{beyond}"
        );
    }
}
