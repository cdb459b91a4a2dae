//! Reads and checks a board file, boards/NAME.toml.

mod keys;
#[cfg(test)]
mod keys_test;
mod tables;
mod value;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use serde::Deserialize;

pub use keys::{described as described_keys, signals, split as split_key};
pub use tables::{capacities, families, lay_over, rows};

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
    /// Name of the directory of the board's builds: a board with other programs
    /// does not replace the builds of the board itself.
    #[serde(skip)]
    pub builds: String,
    /// The release file, if it is another than the one that `build` makes.
    #[serde(skip)]
    pub prebuilt: Option<PathBuf>,
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
    /// The families of programs that are built in; empty for all.
    #[serde(default)]
    pub programs: Vec<String>,
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
    debian: Option<Debian>,
    /// The machine that emulates the board.
    qemu: Option<Qemu>,
    /// Words about the root; those of the kernel's command line override them.
    #[serde(default)]
    pub root: String,
    /// Set if the root may be a dm-verity device.
    #[serde(default)]
    pub verity: bool,
    /// Limits on the size of the release file.
    budget: Option<Budget>,
    /// Buildroot's name of the board, without `_defconfig`; empty for none.
    #[serde(default)]
    pub buildroot: String,
    /// Yocto's name of the machine; empty for none.
    #[serde(default)]
    pub yocto: String,
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
    /// The scenarios that it plays; empty for all.
    #[serde(default)]
    pub scenarios: Vec<String>,
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

/// Reads a board file: boards/NAME.toml, or the file of that path if the name
/// ends with `.toml`.
pub fn load(name: &str) -> Result<Board> {
    load_with(name, &toml::Table::new())
}

/// Reads a board file; the values in `other` override those of the file.
pub fn load_with(name: &str, other: &toml::Table) -> Result<Board> {
    let file = if name.ends_with(".toml") {
        name.into()
    } else {
        format!("boards/{name}.toml")
    };
    // A relative path is relative to the caller's directory; cargo runs this
    // program there.
    let path = if name.ends_with(".toml") {
        PathBuf::from(name)
    } else {
        root().join(&file)
    };
    if !path.exists() {
        let names: Vec<_> = all()?.into_iter().map(|b| b.name).collect();
        bail!("no board `{name}`; boards/ has {}", names.join(", "));
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    parse(&file, &text, other)
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
    /// Returns `[debian]`, without which no image can be made.
    pub fn debian(&self) -> Result<&Debian> {
        self.debian.as_ref().with_context(|| self.lacks("debian"))
    }

    /// Returns `[qemu]`, without which the board cannot be booted here.
    pub fn qemu(&self) -> Result<&Qemu> {
        self.qemu.as_ref().with_context(|| self.lacks("qemu"))
    }

    /// Adds arguments of QEMU.
    pub fn add_arguments(&mut self, arguments: Vec<String>) {
        if let Some(qemu) = &mut self.qemu {
            qemu.extra.extend(arguments);
        }
    }

    /// Returns the message about a table that is needed and missing.
    fn lacks(&self, table: &str) -> String {
        let name = &self.name;
        format!("board {name} has no [{table}]: it cannot be booted in QEMU")
    }

    /// Returns true if the board can be booted in QEMU.
    pub fn boots(&self) -> bool {
        self.debian.is_some() && self.qemu.is_some()
    }

    /// Returns true if its machine in QEMU plays a scenario.
    pub fn plays(&self, scenario: &str) -> bool {
        let is = |name: &String| name == scenario;
        self.qemu.as_ref().is_some_and(|qemu| {
            qemu.scenarios.is_empty() || qemu.scenarios.iter().any(is)
        })
    }

    /// Returns true if it is always audited: its machine in QEMU plays all
    /// scenarios. Any other board only differs from one of these in its values.
    pub fn is_standard(&self) -> bool {
        let all = |qemu: &Qemu| qemu.scenarios.is_empty();
        self.qemu.as_ref().is_some_and(all)
    }

    /// Returns true if it can be booted in QEMU with a disk.
    pub fn has_disk(&self) -> bool {
        self.qemu.as_ref().is_some_and(|qemu| qemu.disk.is_some())
    }

    /// Returns the modules that are in every image.
    pub fn modules(&self) -> &[String] {
        self.debian.as_ref().map_or(&[], |debian| &debian.modules)
    }

    /// Returns the board with these families of programs.
    #[must_use]
    pub fn with_programs(&self, programs: Vec<String>) -> Self {
        let builds = format!("{}+{}", self.name, programs.join("+"));
        Self {
            builds,
            programs,
            ..self.clone()
        }
    }

    /// Returns the board without a family of programs and those that need it;
    /// `None` if that leaves nothing.
    pub fn without(&self, family: &str) -> Option<Self> {
        let mut left = families();
        left.retain(|(name, _)| *name != family && self.has_family(name));
        let names: Vec<_> = left.iter().map(|(name, _)| *name).collect();
        left.retain(|(_, needs)| {
            needs.is_empty() || needs.iter().any(|need| names.contains(need))
        });
        let names = left.iter().map(|(name, _)| name.to_string());
        let programs: Vec<_> = names.collect();
        (!programs.is_empty()).then(|| self.with_programs(programs))
    }

    /// Returns true if the board's file has the programs of a family.
    pub fn has_family(&self, family: &str) -> bool {
        let has = |name: &String| name == family;
        self.programs.is_empty() || self.programs.iter().any(has)
    }

    /// Returns the maximum size of the release file in bytes, if it has one.
    pub fn budget(&self) -> Option<u64> {
        self.budget.as_ref().map(|budget| budget.file)
    }

    /// Returns the message about a release file of that size, if it exceeds the
    /// budget.
    pub fn excess(&self, file: u64) -> Option<String> {
        let over = file.checked_sub(self.budget()?).filter(|over| *over > 0)?;
        let name = &self.name;
        Some(format!("{name}: {file} bytes are {over} over the budget"))
    }

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
            .replace("@MODULES@", &self.modules().join("\n"));
        capacities()
            .into_iter()
            .fold(text, |text, [name, default, ..]| {
                let own = self.capacity.get(name).map(usize::to_string);
                let value = own.unwrap_or_else(|| default.into());
                text.replace(&format!("@{}@", name.to_uppercase()), &value)
            })
    }
}

/// Reads the board of that name, or every board.
pub fn chosen(name: Option<&str>) -> Result<Vec<Board>> {
    match name {
        Some(name) => Ok(vec![load(name)?]),
        None => all(),
    }
}

/// Parses and checks a board file. The error has one line for each fault.
fn parse(file: &str, text: &str, other: &toml::Table) -> Result<Board> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
        let what = error.message().replace('\n', "; ");
        anyhow!("{file}:{line}: {what}")
    })?;
    lay_over(&mut table, other);
    let faults = keys::faults(file, &table);
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let mut board: Board = table
        .try_into()
        .with_context(|| format!("{file} is not right"))?;
    let name = Path::new(file).file_stem().unwrap_or_default();
    board.name = name.to_string_lossy().into_owned();
    board.shelf = board.name.clone();
    board.builds = board.name.clone();
    if let Some(kernel) = other.get("debian").and_then(|d| d.get("kernel"))
        && let Some(kernel) = kernel.as_str()
    {
        board.shelf += &format!("-{kernel}");
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

    /// Parses a file with that text; returns the board or the error's text.
    fn read(text: &str) -> Result<Board, String> {
        parse("boards/x.toml", text, &toml::Table::new())
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_target_and_a_console_are_enough() {
        let board = read(
            "target = 'aarch64-unknown-linux-musl'\n\
             console = { device = 'ttyS0', baud = 115200 }\n",
        )
        .unwrap();
        assert_eq!(board.name, "x");
        assert_eq!(board.rescue, "login");
        assert!(!board.boots() && !board.has_disk());
        assert!(board.budget().is_none() && board.modules().is_empty());
        let error = format!("{:#}", board.qemu().unwrap_err());
        assert!(error.contains("board x has no [qemu]"), "{error}");
    }

    #[test]
    fn a_board_without_a_family_is_without_what_needs_it() {
        let least = "target = 'aarch64-unknown-linux-musl'\n\
                     console = { device = 'ttyS0', baud = 115200 }\n";
        let board = read(least).unwrap();
        let left = |board: &Board, family| {
            board.without(family).map(|board| board.programs.join(" "))
        };
        let without = left(&board, "init").unwrap();
        assert!(without.starts_with("supervise sv svlogd shared-logs"));
        assert!(!without.contains("root"));
        let few = board.with_programs(vec!["init".into(), "root".into()]);
        assert_ne!(few.builds, board.builds);
        assert_eq!(left(&few, "root").unwrap(), "init");
        assert_eq!(left(&few, "init"), None);
    }

    #[test]
    fn a_fault_of_the_syntax_is_named_with_its_line() {
        let error = read("test = true\ntarget = armv7\n").unwrap_err();
        assert!(error.starts_with("boards/x.toml:2: "), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn every_fault_has_its_line() {
        let error = read("rescue = 'x'\nrun = 'x'\n").unwrap_err();
        let line = |part| error.lines().filter(|l| l.contains(part)).count();
        assert_eq!(error.lines().count(), 5, "{error}");
        assert_eq!(line("boards/x.toml: "), 5);
        assert_eq!([line("rescue"), line("run"), line("target")], [1, 1, 1]);
    }
}
