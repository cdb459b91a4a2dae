//! Builds the release file of a board.
//!
//! `core` is built along with the program (`-Zbuild-std`, which a stable cargo
//! accepts with RUSTC_BOOTSTRAP=1), for three reasons: there is no prebuilt
//! `core` for some of our targets, and none at all where rustup may not
//! download; a program that has no `alloc` crate to link cannot use a heap;
//! and `core` is optimised for size with the rest.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{
    board::{self, Board},
    cargo, run, setup,
    version::version,
};

/// Linker and code generation options, with one reason each: rust-lld is in
/// every toolchain and links every target; the file has fixed addresses; no
/// start files are needed; unwind tables have no use in it; equal functions
/// are linked once (no code compares pointers to functions). src/build.rs adds
/// the arguments of the linker.
pub const FLAGS: &[&str] = &[
    "-Clinker=rust-lld",
    "-Clinker-flavor=ld.lld",
    "-Crelocation-model=static",
    "-Clink-self-contained=no",
    "-Cforce-unwind-tables=no",
    "-Clink-arg=--icf=all",
];

/// Returns the flags for a target's architecture.
fn machine_flags(target: &str) -> &'static [&'static str] {
    match target.split('-').next() {
        // Thumb-2: 30 per cent less code than ARM instructions (measured).
        // ARMv6 has Thumb-1 only, for which `rustix` has no system calls.
        // Of the options of LLVM (4 per cent together) the first makes
        // functions of equal sequences of instructions, as on the other
        // targets; the second puts constants next to their use; the others
        // keep fewer values in registers, which costs less code than to save
        // them. The loops over the bytes of a log are the same with them.
        Some("armv7") => &[
            "-Ctarget-feature=+crt-static,+thumb-mode",
            "-Cllvm-args=-enable-machine-outliner=always",
            "-Cllvm-args=-arm-promote-constant",
            "-Cllvm-args=-disable-machine-licm",
            "-Cllvm-args=-grow-region-complexity-budget=0",
        ],
        // Addresses are low, so two fewer instructions reach them; the linker
        // relaxes the two instructions of a near call into one (8 per cent);
        // and shared routines save the registers that a function must preserve
        // (another 4: src/sys/arch/riscv64.rs).
        Some("riscv64gc") => &[
            "-Ctarget-feature=+crt-static,+relax,+save-restore",
            "-Ccode-model=small",
        ],
        // Without it rustix falls back to libc.
        Some("mipsel") => &[
            "-Ctarget-feature=+crt-static",
            "-Cllvm-args=-disable-machine-licm",
            "-Cllvm-args=-grow-region-complexity-budget=0",
            "--cfg=rustix_use_experimental_asm",
        ],
        // Memory is copied by one instruction instead of three (measured: half
        // the time of svlogd's copies of short lines).
        Some("x86_64") => &["-Ctarget-feature=+crt-static,+ermsb"],
        _ => &["-Ctarget-feature=+crt-static"],
    }
}

/// Returns the names of all programs and their families, from
/// src/applets.txt.
fn table() -> impl Iterator<Item = [&'static str; 2]> {
    board::rows(include_str!("../../src/applets.txt"))
        .map(|row| [row[0], row[1]])
}

/// Returns the names of all programs.
pub fn applets() -> impl Iterator<Item = &'static str> {
    table().map(|[name, _]| name)
}

/// Returns the names of the programs in a board's file.
pub fn applets_of(board: &Board) -> impl Iterator<Item = &'static str> {
    let built = table().filter(|[_, family]| board.has_family(family));
    built.map(|[name, _]| name)
}

/// Differences from the release build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// Keeps symbols and relocations in the file, and adds a section with the
    /// stack frame size of each function.
    pub symbols: bool,
    /// Allows a panic path to link and writes the assembly too, in which the
    /// path can be found.
    pub panics_link: bool,
}

/// Builds the release file of a board, unless it is built already.
pub fn release(board: &Board) -> Result<PathBuf> {
    match &board.prebuilt {
        Some(file) => Ok(file.clone()),
        None => variant(board, Variant::default()),
    }
}

/// Returns the compiler flags for a board's release file.
pub fn flags(board: &Board) -> Vec<String> {
    let fixed = FLAGS.iter().chain(machine_flags(&board.target));
    fixed.map(|flag| flag.to_string()).collect()
}

/// The profile of Cargo.toml that builds the release file.
pub const PROFILE: &str = "board";

/// Passes a board's flags to cargo and permits unstable ones.
fn tell(command: &mut Command, flags: &[String]) {
    command
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("RUSTC_BOOTSTRAP", "1");
}

/// Returns the crates of a board's release file, as `cargo tree` lists them.
pub fn crates(board: &Board) -> Result<String> {
    let mut tree = cargo::command("tree")?;
    tree.args(["--locked", "--package", "runt-init"])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "none"])
        .args(["--features", "freestanding", "--target", &board.target])
        .args(["--format", "{p}"]);
    // The set of crates depends on the flags: rustix examines them.
    tell(&mut tree, &flags(board));
    run::quiet(&mut tree)
}

/// Returns the packages of the workspace and all that they depend on, as `cargo
/// metadata` describes them.
pub fn packages() -> Result<Vec<Value>> {
    let mut cargo = cargo::command("metadata")?;
    cargo.args(["--locked", "--format-version", "1"]);
    let mut data: Value = serde_json::from_str(&run::quiet(&mut cargo)?)?;
    match data["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => bail!("cargo metadata lists no packages"),
    }
}

/// Returns the directory of a variant's builds for one board.
fn dir_of(board: &Board, variant: Variant) -> PathBuf {
    let kind = match variant {
        Variant {
            panics_link: true, ..
        } => "panics",
        Variant { symbols: true, .. } => "symbols",
        Variant { .. } => "release",
    };
    board::work_dir()
        .join("build")
        .join(&board.builds)
        .join(kind)
}

/// Returns the directory of what the boards of one target share, in every
/// variant.
fn shared_dir(board: &Board) -> PathBuf {
    board::work_dir().join("build").join(&board.target)
}

/// Returns the directory of the libraries that are linked into a board's release
/// file.
pub fn libraries(board: &Board) -> PathBuf {
    let dir = shared_dir(board).join(&board.target);
    dir.join(PROFILE).join("deps")
}

/// Returns the assembly that the compiler wrote along with the file of a
/// variant that has symbols.
pub fn assembly(board: &Board, file: &Path) -> Result<String> {
    let deps = libraries(board);
    let content = fs::read(file)?;
    for entry in fs::read_dir(&deps)? {
        let path = entry?.path();
        let text = path.with_extension("s");
        // Programs have no extension. There is one for each board.
        let named = path.extension().is_none() && text.exists();
        if named && fs::read(&path)? == content {
            return Ok(fs::read_to_string(text)?);
        }
    }
    bail!("no assembly of {} in {}", file.display(), deps.display())
}

/// Returns a command that builds a package and `core` for a target: `verb` is
/// `build`, or `rustc` when flags for the program alone follow.
fn build_command(
    verb: &str,
    package: &str,
    target: &str,
    dir: &Path,
) -> Result<Command> {
    let mut command = cargo::command(verb)?;
    command
        .args(["--quiet", "--locked", "--profile", PROFILE])
        .args(["--package", package, "--target", target])
        .args(["-Zbuild-std=core,compiler_builtins"])
        .arg("--target-dir")
        .arg(dir);
    Ok(command)
}

/// Builds the programs of xtask/floor for a target, like the release; returns
/// their directory.
pub fn floor(target: &str) -> Result<PathBuf> {
    let dir = board::work_dir().join("build/floor");
    let mut flags = FLAGS.to_vec();
    flags.extend([
        "-Ctarget-feature=+crt-static",
        "-Clink-args=-nostdlib -e_start -O2 -znorelro --build-id=none",
        "-Clink-arg=--no-eh-frame-hdr",
    ]);
    let mut command = build_command("build", "runt-floor", target, &dir)?;
    command.args(["--bins", "--features", "freestanding", "--config"]);
    command.arg(format!("profile.{PROFILE}.opt-level='s'"));
    let flags: Vec<_> = flags.into_iter().map(String::from).collect();
    tell(&mut command, &flags);
    command.env("__CARGO_TESTS_ONLY_SRC_ROOT", setup::core_source()?);
    run::quiet(&mut command).context("cannot build xtask/floor")?;
    Ok(dir.join(target).join(PROFILE))
}

/// Returns a link to the source of `core` that is the same on every machine: the
/// order of functions in a file depends on its path.
fn core_link(source: &Path) -> Result<PathBuf> {
    let link = PathBuf::from("/tmp")
        .join(format!("runt-rust-{}", setup::rustc_version()?));
    // A link that works stays: other builds may use it now.
    if !link.join("core/src/lib.rs").exists() {
        let new = link.with_extension(std::process::id().to_string());
        symlink(source, &new)
            .with_context(|| format!("cannot make {}", new.display()))?;
        fs::rename(&new, &link)
            .with_context(|| format!("cannot make {}", link.display()))?;
    }
    let owner = link.symlink_metadata()?.uid();
    ensure!(
        owner == rustix::process::geteuid().as_raw(),
        "{} belongs to another user: remove it",
        link.display()
    );
    Ok(link)
}

/// Builds a variant of the release file of a board.
pub fn variant(board: &Board, variant: Variant) -> Result<PathBuf> {
    let source = core_link(&setup::core_source()?)?;
    // Each board and variant has its own directory for the result; those of
    // one target share all else, so that `core` is compiled once. What differs
    // between variants are therefore flags of the program alone, in which all
    // code is generated.
    let dir = dir_of(board, variant);
    let shared = shared_dir(board);
    let mut own = Vec::new();
    if variant.symbols {
        own.extend(["-Zemit-stack-sizes", "-Clink-arg=--emit-relocs"]);
    }
    if variant.panics_link {
        own.push("-Clink-arg=--warn-unresolved-symbols");
    }
    // Cargo ignores the profile's `strip` when a package has flags of its own.
    if variant == Variant::default() {
        own.push("-Cstrip=symbols");
    } else {
        own.extend(["-Cstrip=none", "--emit=asm,link"]);
    }
    let mut command = build_command("rustc", "runt-init", &board.target, &dir)?;
    command
        .args(["--bin", "runt", "--features", "freestanding,nopanic"])
        // A flag that has no effect: without a difference that cargo knows of,
        // the build of each board would replace that of the last one.
        .arg("-Zprofile-rustflags")
        .arg("--config")
        .arg(format!(
            "profile.{PROFILE}.package.runt-init.rustflags=['--cfg=board=\"{}\"']",
            board.builds
        ))
        .arg("--")
        .args(own);
    tell(&mut command, &flags(board));
    command
        .env("CARGO_BUILD_BUILD_DIR", &shared)
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &source)
        .envs(variables(board)?);
    run::quiet(&mut command).with_context(|| {
        format!(
            "cannot build for {}; if `runt_reached_a_panic` is undefined, \
             `cargo xtask audit --board {}` names the panic path",
            board.name, board.name
        )
    })?;
    Ok(dir.join(&board.target).join(PROFILE).join("runt"))
}

/// Returns the variables that pass a board's values to src/build.rs, sorted.
pub fn variables(board: &Board) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        variables.insert(format!("RUNT_{name}"), value.to_string());
    };
    set("BOARD", &board.name);
    set("SERVICES_DIR", &board.services);
    set("RUN", &board.run);
    set("SERVICES_OVERLAY", &board.services_overlay);
    set("LOGGER_USER", &board.logger_user);
    set("STATUS_FILES", &board.status_files);
    set("BOOT_GOOD", &board.boot_good);
    set("ROOT", &board.root);
    set("VERITY", &board.verity.to_string());
    set("RESCUE", &board.rescue);
    set("SIGNALS", &board.signal_words());
    set("PROGRAMS", &board.programs.join(" "));
    set("BUILT", &version()?.time);
    if let Some(watchdog) = &board.watchdog {
        set("WATCHDOG", &format!("/dev/{}", watchdog.device));
        set("WATCHDOG_SECONDS", &watchdog.period_s.to_string());
    }
    for (key, value) in &board.capacity {
        let key = key.replace('-', "_").to_uppercase();
        set(&key, &value.to_string());
    }
    Ok(variables)
}
