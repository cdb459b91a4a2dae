//! Fetches Debian's Rust compiler with its prebuilt libraries for other
//! architectures, which are unpacked but not installed, and its cross
//! compilers, which link.

use std::{fs, path::PathBuf};

use anyhow::{Result, bail};

use super::{Build, Variables, environment::upper};
use crate::{apt, board, board::Board, tool};

/// Suite of the compiler: the last one whose programs run with bookworm's libc.
const COMPILER: &str = "bookworm-security";

/// Its packages: program, library of the compiler, LLVM, libraries for build
/// scripts.
const PACKAGES: [&str; 4] = [
    "rustc-web",
    "libstd-rust-web-1.96",
    "libllvm22",
    "libstd-rust-web-dev",
];

/// Suite of the libraries of other architectures, in the same version.
const LIBRARIES: &str = "trixie";

/// Returns the build for a board.
pub(super) fn build(board: &Board) -> Result<Build<'static>> {
    let (name, target, arch, gcc, package) =
        match board.target.split('-').next() {
            Some("armv7") => (
                "debian-armv7",
                "armv7-unknown-linux-gnueabihf",
                "armhf",
                "arm-linux-gnueabihf-gcc",
                "gcc-arm-linux-gnueabihf",
            ),
            Some("riscv64gc") => (
                "debian-riscv64",
                "riscv64gc-unknown-linux-gnu",
                "riscv64",
                "riscv64-linux-gnu-gcc",
                "gcc-riscv64-linux-gnu",
            ),
            _ => bail!("{}: no cross compiler is known", board.target),
        };
    let linker = tool::program(gcc, &[package])?;
    let compiler = compiler(arch)?;
    let linker_of = format!("CARGO_TARGET_{}_LINKER", upper(target));
    let variables = [
        ("RUSTC".into(), compiler.join("bin/rustc")),
        (
            "LD_LIBRARY_PATH".into(),
            compiler.join("lib/x86_64-linux-gnu"),
        ),
        (linker_of, linker),
    ];
    let text = |path: PathBuf| path.display().to_string();
    let variables = variables.map(|(name, path)| (name, text(path)));
    Ok(Build {
        name,
        target,
        variables: Variables::from(variables),
        dir: board::root(),
        sources: board::root(),
    })
}

/// Returns the directory of the compiler, with libraries for an architecture.
fn compiler(arch: &str) -> Result<PathBuf> {
    let dir = board::work_dir().join("debian-rust");
    let packages = PACKAGES.map(|name| (COMPILER, "amd64", name));
    let library = (LIBRARIES, arch, "libstd-rust-web-dev");
    for (suite, arch, name) in packages.into_iter().chain([library]) {
        let ready = dir.join(format!("{name}-{arch}"));
        if !ready.exists() {
            let deb = apt::Root::open(suite, arch)?.fetch(name)?;
            let part = match name {
                "rustc-web" => "./usr/bin/*",
                _ => "./usr/lib/*",
            };
            apt::unpack(&deb, &dir, &[part])?;
            fs::write(ready, "")?;
        }
    }
    Ok(dir.join("usr"))
}
