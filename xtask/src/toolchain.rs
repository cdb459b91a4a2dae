//! Builds the program as others do: with a toolchain's own prebuilt `core`, in
//! the environments of Buildroot and Yocto, and with Debian's compiler for
//! other architectures.

mod debian;
mod environment;

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{
    audit,
    board::{self, Board},
    build, cargo, run, scenario,
};

/// The target of the toolchain at hand: rustup's stable toolchain has `core`
/// for the machine that it runs on.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Variables of a build by name.
type Variables = BTreeMap<String, String>;

/// A build by cargo without `-Zbuild-std`.
struct Build<'a> {
    /// The directory of its results, below target/xtask/build.
    name: &'static str,
    target: &'a str,
    /// Variables besides those of the board.
    variables: Variables,
    /// The current directory; cargo reads its configuration from there.
    dir: PathBuf,
    /// The directory of the sources.
    sources: PathBuf,
}

impl Build<'_> {
    /// Builds the file with a board's values. Returns an error if it is
    /// dynamic or needs an executable stack.
    fn make(&self, board: &Board) -> Result<PathBuf> {
        let results = board::work_dir().join("build").join(self.name);
        let mut cargo = cargo::command_in(&self.sources, "build")?;
        cargo
            .current_dir(&self.dir)
            .args(["--quiet", "--locked", "--offline"])
            .args(["--profile", build::PROFILE, "--target", self.target])
            .args(["--package", "runt-init", "--bin", "runt"])
            .args(["--features", "freestanding,nopanic"])
            .arg("--target-dir")
            .arg(&results)
            .envs(&self.variables)
            .envs(build::variables(board)?);
        run::quiet(&mut cargo)?;
        let file = results.join(self.target).join(build::PROFILE).join("runt");
        audit::plain(&file)?;
        Ok(file)
    }
}

/// Builds in the environments of Buildroot and Yocto, with the toolchain at
/// hand. Returns a line with the sizes.
pub fn environments() -> Result<String> {
    let buildroot = on_host(&environment::buildroot(HOST)?)?;
    let yocto = on_host(&environment::yocto(HOST)?)?;
    let sizes = format!("bytes: buildroot {buildroot}, yocto {yocto}");
    // A key of the profile that one of them replaced would show: without LTO
    // the file is half as large again.
    ensure!(
        buildroot.abs_diff(yocto) * 20 < yocto,
        "an environment changes the file: {sizes}"
    );
    Ok(sizes)
}

/// Builds as a user does, with the linker that the toolchain at hand prefers
/// and with GNU ld. Returns a line with the sizes.
pub fn linkers() -> Result<String> {
    let mut build = environment::none();
    let preferred = on_host(&build)?;
    let flag = "-Clinker-features=-lld".into();
    build.variables.insert("RUSTFLAGS".into(), flag);
    let ld = on_host(&build)?;
    Ok(format!(
        "bytes: toolchain's linker {preferred}, GNU ld {ld}"
    ))
}

/// Builds from the sources in a directory, which may be a part of ours.
pub fn from_sources(sources: PathBuf) -> Result<()> {
    let build = Build {
        name: "package",
        sources,
        ..environment::none()
    };
    on_host(&build).map(drop)
}

/// Builds for this machine, and checks that the file runs and has the board's
/// values. Returns its size.
fn on_host(build: &Build<'_>) -> Result<u64> {
    let name = build.name;
    let file = build.make(&board::load(board::HOST)?).context(name)?;
    let limits = run::quiet(Command::new(&file).arg("limits"))?;
    ensure!(
        limits.contains("slots 512\n"),
        "{name}: it does not have the board's values:\n{limits}"
    );
    Ok(file.metadata()?.len())
}

/// Builds for a board with Debian's compiler and linker, and boots the result.
pub fn debian(board: &str) -> Result<String> {
    let mut board = board::load(board)?;
    let file = debian::build(&board)?.make(&board)?;
    let size = file.metadata()?.len();
    board.prebuilt = Some(file);
    for scenario in scenario::all()? {
        if scenario.name == "kill" {
            scenario.play(&board)?;
        }
    }
    Ok(format!("bytes: {size}"))
}

/// Checks that no crate of the program needs a newer compiler than the
/// program says it does. Clippy checks what the program itself uses
/// (`incompatible_msrv`).
pub fn rust_version() -> Result<String> {
    let packages = build::packages()?;
    let version = |name: &str| {
        packages
            .iter()
            .filter(|package| package["name"] == name)
            .filter_map(|package| package["rust_version"].as_str())
            .filter_map(number)
            .max()
    };
    let ours = version("runt-init").context("no rust-version")?;
    let linked = build::crates(&board::load(board::HOST)?)?;
    for line in linked.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        ensure!(
            version(name).is_none_or(|needed| needed <= ours),
            "{name} needs a newer compiler than Cargo.toml says"
        );
    }
    Ok(String::new())
}

/// Converts `1.88` or `1.88.0` to its two first numbers.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::link_args::{Flavor, arguments};

    /// A program with the sections that the linker script names, and as little
    /// as ours of what a linker expects.
    const PROGRAM: &str = "#![no_std]\n#![no_main]\n\
        use core::sync::atomic::{AtomicU8, Ordering};\n\
        static CONSTANT: [u8; 8] = *b\"runit in\";\n\
        static VARIABLE: AtomicU8 = AtomicU8::new(0);\n\
        #[panic_handler]\n\
        fn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n\
        #[unsafe(no_mangle)]\n\
        extern \"C\" fn runt_entry() -> ! {\n\
            let at = usize::from(VARIABLE.load(Ordering::Relaxed)) % 8;\n\
            VARIABLE.store(CONSTANT[at], Ordering::Relaxed);\n\
            loop {}\n\
        }\n";

    /// Links it by the toolchain's linker and by GNU ld, with `more`
    /// arguments; returns the two results.
    fn links(more: &[&str]) -> [Result<String>; 2] {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("main.rs");
        std::fs::write(&source, PROGRAM).unwrap();
        let script = board::root().join("src/build/link.ld");
        let script = script.to_str().unwrap();
        let ours = arguments(Flavor::Compiler, script);
        [None, Some("-Clink-arg=-fuse-ld=bfd")].map(|linker| {
            let mut rustc = Command::new("rustc");
            rustc
                .args(["--edition=2024", "-Cpanic=abort", "-Copt-level=s"])
                .args(ours.iter().map(|word| format!("-Clink-arg={word}")))
                .args(more.iter().map(|word| format!("-Clink-arg={word}")))
                .args(linker)
                .arg("-o")
                .arg(dir.path().join("linked"))
                .arg(&source);
            run::quiet(&mut rustc)?;
            audit::plain(&dir.path().join("linked"))?;
            Ok(String::new())
        })
    }

    /// Returns the path of a file of gcc or the libc.
    fn library(name: &str) -> String {
        let mut gcc = Command::new("gcc");
        gcc.arg(format!("-print-file-name={name}"));
        run::quiet(&mut gcc).unwrap().trim().into()
    }

    #[test]
    fn the_start_files_of_a_libc_are_dropped() {
        let files = ["crt1.o", "crti.o", "crtbeginT.o", "crtend.o", "crtn.o"];
        let files = files.map(library);
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        for more in [&[][..], &files] {
            for linked in links(more) {
                linked.unwrap();
            }
        }
    }

    #[test]
    fn a_libc_does_not_link() {
        let archive = library("libc.a");
        for linked in links(&["-Wl,-u,swab", &archive]) {
            let error = format!("{:#}", linked.unwrap_err());
            assert!(error.contains("runt: a libc is linked"), "{error}");
        }
        let shared = library("libc.so.6");
        for linked in links(&["-Wl,-u,swab", "-Wl,-Bdynamic", &shared]) {
            let error = format!("{:#}", linked.unwrap_err());
            // GNU ld refuses it before it comes to the script.
            let refused = error.contains("runt: the file is dynamic")
                || error.contains("static link of dynamic object");
            assert!(refused, "{error}");
        }
    }
}
