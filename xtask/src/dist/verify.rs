//! Implements `cargo xtask dist --verify`: builds a release again from its source
//! archive, in another folder, as another user, at another date, and with
//! settings that would change it; every file must have the same bytes.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{SUMS, hash, sbom, source};
use crate::{
    board::{self, Board},
    build, run, setup, tool,
    version::{self, version},
};

/// The user of the second build, and by how much its clock differs.
const USER: &str = "54321";
const CLOCK: &str = "+400d";

/// Settings that would change the files if they reached the compiler.
const VARIABLES: [(&str, &str); 11] = [
    ("CARGO_BUILD_RUSTFLAGS", "-Copt-level=1"),
    ("CARGO_ENCODED_RUSTFLAGS", "-Copt-level=1"),
    ("CARGO_INCREMENTAL", "1"),
    ("CARGO_PROFILE_BOARD_DEBUG", "true"),
    ("CARGO_PROFILE_BOARD_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_BOARD_STRIP", "none"),
    ("CARGO_TARGET_DIR", "/nonexistent"),
    ("RUNT_SLOTS", "7"),
    ("RUSTC", "/bin/false"),
    ("RUSTC_WRAPPER", "/bin/false"),
    ("RUSTFLAGS", "-Copt-level=1"),
];

/// The same for a configuration of cargo.
const CONFIG: &str = "\
[build]
rustc = '/bin/false'
rustc-wrapper = '/bin/false'
rustflags = ['-Copt-level=1']
target-dir = '/nonexistent'
[env]
RUNT_SLOTS = { value = '7', force = true }
[profile.board]
debug = true
opt-level = 3
strip = false
[target.'cfg(all())']
linker = '/bin/false'
rustflags = ['-Copt-level=1']
[unstable]
build-std = ['std']
";

/// Builds the release in `first` again, and compares. Prints the hashes of the
/// boards' files in both.
pub(super) fn run(
    boards: &[Board],
    name: Option<&str>,
    first: &Path,
) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("runt other ").tempdir()?;
    let archive = dir.path().join("source.tar.gz");
    source::write(&archive)?;
    let mut tar = Command::new("tar");
    run::quiet(tar.arg("-C").arg(dir.path()).arg("-xf").arg(&archive))?;
    let root = dir.path().join(source::title());
    let second = dir.path().join("dist");
    build_again(dir.path(), &root, name, &second)?;
    let mut differ = false;
    for board in boards {
        let file = build::release(board)?;
        let other = root.join(file.strip_prefix(board::root())?);
        let [one, two] = [hash(&file)?, hash(&other)?];
        println!("{:<18} {one}\n{:<18} {two}", board.name, "");
        differ |= one != two;
        sbom::compare(board, &libraries(&root, board)?)?;
    }
    let [one, two] =
        [first, &second].map(|dir| fs::read_to_string(dir.join(SUMS)));
    let (one, two) = (one?, two?);
    let lines = one.lines().filter(|line| !two.contains(line));
    let lines: Vec<_> = lines.collect();
    ensure!(!differ && one == two, "these differ:\n{}", lines.join("\n"));
    println!("{} files are the same in both", one.lines().count());
    Ok(())
}

/// Builds the sources in `root`, and writes the release to `out`.
fn build_again(
    dir: &Path,
    root: &Path,
    name: Option<&str>,
    out: &Path,
) -> Result<()> {
    let home = dir.join("home");
    fs::create_dir_all(home.join(".cargo"))?;
    let mut path = wrappers(&dir.join("bin"))?.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let library = dir.join("library");
    let mut copy = Command::new("cp");
    copy.arg("-R").arg(setup::core_source()?).arg(&library);
    run::quiet(&mut copy)?;
    let variables = [
        ("PATH", path),
        ("HOME", home.clone().into()),
        ("RUNT_RUST_SRC", library.into()),
    ];
    // How cargo builds xtask is not what is tested.
    let mut xtask = Command::new("cargo");
    xtask
        .args(["build", "--quiet", "--locked", "--offline"])
        .args(["--package", "xtask"])
        .env_clear()
        .envs(variables.clone())
        .current_dir(root);
    run::quiet(&mut xtask)?;
    fs::write(home.join(".cargo/config.toml"), CONFIG)?;
    let built = version()?;
    let mut again = Command::new("unshare");
    again
        .args(["--user", "--map-user", USER, "--map-group", USER])
        .arg(faketime()?)
        .args(["-f", CLOCK])
        .arg(root.join("target/debug/xtask"))
        .arg("dist")
        .args(name.map(|name| ["--board", name]).into_iter().flatten())
        .arg("--out")
        .arg(out)
        .env_clear()
        .envs(variables)
        .envs(VARIABLES)
        .env("TZ", "Asia/Kathmandu")
        // `cargo xtask` takes them from the archive's configuration.
        .env(version::TIME, &built.time)
        .env(version::COMMIT, &built.commit)
        .current_dir(root);
    run::quiet(&mut again).map(drop)
}

/// Returns the program that runs another one at another date.
fn faketime() -> Result<PathBuf> {
    tool::program("faketime", &["faketime"])
}

/// Makes a directory with a cargo that runs at the other date, and a rustc that
/// does not: its allocator needs the clock before faketime is ready. It records
/// no date.
fn wrappers(dir: &Path) -> Result<PathBuf> {
    let sysroot =
        run::quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
    let bin = Path::new(sysroot.trim()).join("bin");
    let faketime = faketime()?;
    let faked = format!("exec {} -f {CLOCK}", faketime.display());
    fs::create_dir_all(dir)?;
    for (name, start) in [
        ("cargo", faked.as_str()),
        ("rustc", "unset LD_PRELOAD\nexec"),
    ] {
        let program = bin.join(name);
        let program = program.display();
        let text = format!("#!/bin/sh\n{start} '{program}' \"$@\"\n");
        fs::write(dir.join(name), text)?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.join(name), mode)?;
    }
    Ok(dir.into())
}

/// Returns the names of the libraries that were compiled for a board's file in
/// the work tree `root`, sorted.
fn libraries(root: &Path, board: &Board) -> Result<Vec<String>> {
    let dir = build::libraries(board);
    let dir = root.join(dir.strip_prefix(board::root())?);
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let name = name.strip_prefix("lib").and_then(|name| {
            Some(name.strip_suffix(".rlib")?.rsplit_once('-')?.0.to_string())
        });
        names.extend(name);
    }
    names.sort();
    names.dedup();
    Ok(names)
}
