//! Implements `cargo xtask fuzz`, which runs the targets of tests/fuzz under
//! libFuzzer.
//!
//! The compiler's own coverage pass instruments the code; its flags are stable.
//! libFuzzer's runtime is not part of a Rust toolchain: it comes from Debian's
//! packages of LLVM, together with the C++ library that it needs, and is linked
//! by the crate `libfuzzer-sys`, so that no C++ compiler is needed. Sanitizers are
//! not used: the code under test contains no unsafe code.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;

use crate::{apt, board, run};

/// Directory of the targets' crate.
const CRATE: &str = "tests/fuzz";

/// Maximum length of an input, in bytes: twice the longest text that the
/// readers keep, and the head of a file system.
const INPUT_BYTES: u32 = 2048;

/// Seconds after which an input counts as one that does not end. libFuzzer
/// measures no processor time, and a busy machine may take a while.
const HANG: u32 = 120;

/// Flags of the compiler: libFuzzer's counters for each edge, the table of
/// their addresses, and a call for each comparison.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// Files of libFuzzer's runtime, each after its package in Debian bookworm. The
/// interface between it and the instrumented code has been stable since LLVM 7.
const RUNTIME: [(&str, &str); 2] = [
    ("libclang-rt-19-dev", "libclang_rt.fuzzer-"),
    ("libstdc++-12-dev", "libstdc++"),
];

/// Runs one target, or all one after another, for so many `seconds` each;
/// prints a line for each. With `merge`, adds the inputs that reach code which
/// the corpus does not reach to the corpus.
///
/// Returns an error that names the input if a target fails.
pub fn run(target: Option<&str>, seconds: u32, merge: bool) -> Result<()> {
    let program = build()?;
    let all = run::quiet(Command::new(&program).env(TARGET, "list"))?;
    let targets: Vec<&str> = match target {
        Some(target) => {
            ensure!(
                all.lines().any(|name| name == target),
                "no target `{target}`; there are {}",
                all.lines().collect::<Vec<_>>().join(", ")
            );
            vec![target]
        }
        None => all.lines().collect(),
    };
    let mut findings = Vec::new();
    for name in targets {
        let fuzzer = Fuzzer::new(&program, name)?;
        findings.extend(fuzzer.run(seconds)?);
        if merge {
            fuzzer.merge()?;
        }
    }
    ensure!(
        findings.is_empty(),
        "an input fails:\n  {}\n\
         Once that is fixed, copy it into {CRATE}/corpus/TARGET/ under a \
         descriptive name",
        findings.join("\n  ")
    );
    Ok(())
}

/// Name of the variable from which `libfuzzer-sys` takes the runtime's file.
const RUNTIME_PATH: &str = "CUSTOM_LIBFUZZER_PATH";

/// Name of the variable that tells the program its target.
const TARGET: &str = "RUNT_FUZZ_TARGET";

/// Returns the directory of what is built, fetched and found.
fn fuzz_dir() -> PathBuf {
    board::work_dir().join("fuzz")
}

/// Builds the program that contains all targets.
fn build() -> Result<PathBuf> {
    let host = run::quiet(Command::new("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    let runtime = runtime()?;
    let search = runtime.parent().unwrap_or(Path::new("/"));
    let search = format!("-Lnative={}", search.display());
    let flags = [&FLAGS[..], &[search.as_str()]].concat();
    let dir = fuzz_dir().join("build");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(board::root())
        .args(["build", "--quiet", "--locked", "--package", "runt-fuzz"])
        .args(["--features", "libfuzzer", "--profile", "fuzz"])
        // Only with a target are build scripts left without the flags.
        .args(["--target", host, "--target-dir"])
        .arg(&dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env(RUNTIME_PATH, &runtime);
    run::loud(&mut cargo)?;
    Ok(dir.join(host).join("fuzz/runt-fuzz"))
}

/// Returns the file of libFuzzer's runtime: the one that the user names, or the
/// one fetched from Debian.
fn runtime() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(RUNTIME_PATH) {
        return Ok(given.into());
    }
    fetch().with_context(|| {
        format!(
            "cannot fetch libFuzzer. With clang installed, type:\n  \
             {RUNTIME_PATH}=$(clang -print-file-name=libclang_rt.fuzzer.a) \
             cargo xtask fuzz\n\
             (the file may be called libclang_rt.fuzzer-{}.a)",
            std::env::consts::ARCH
        )
    })
}

/// Fetches libFuzzer's runtime; returns its file. The C++ library is beside it.
fn fetch() -> Result<PathBuf> {
    let (arch, debian) = match std::env::consts::ARCH {
        "aarch64" => ("aarch64", "arm64"),
        "x86_64" => ("x86_64", "amd64"),
        other => bail!("Debian has no libFuzzer for {other}"),
    };
    let dir = fuzz_dir().join("runtime");
    let fuzzer = dir.join(format!("libclang_rt.fuzzer-{arch}.a"));
    if fuzzer.exists() {
        return Ok(fuzzer);
    }
    let root = apt::Root::open("bookworm", debian)?;
    fs::create_dir_all(&dir)?;
    let unpacked = tempfile::tempdir_in(fuzz_dir())?;
    // The last file that appears is the one that is looked for above.
    for (package, file) in RUNTIME.iter().rev() {
        let name = match file.strip_suffix('-') {
            Some(_) => format!("{file}{arch}.a"),
            None => format!("{file}.a"),
        };
        let deb = root.fetch(package)?;
        apt::unpack(&deb, unpacked.path(), &[&format!("*/{name}")])?;
        let found = walkdir::WalkDir::new(unpacked.path())
            .into_iter()
            .filter_map(Result::ok)
            .find(|entry| entry.file_name().to_str() == Some(&name))
            .with_context(|| format!("{package} has no {name}"))?;
        fs::rename(found.path(), dir.join(&name))?;
    }
    Ok(fuzzer)
}

/// One target.
struct Fuzzer<'a> {
    program: &'a Path,
    name: &'a str,
    /// Inputs found so far on this machine.
    found: PathBuf,
    /// Inputs in the repository.
    corpus: PathBuf,
}

impl<'a> Fuzzer<'a> {
    /// Creates the directories of a target.
    fn new(program: &'a Path, name: &'a str) -> Result<Self> {
        let fuzzer = Self {
            program,
            name,
            found: fuzz_dir().join("corpus").join(name),
            corpus: board::root().join(CRATE).join("corpus").join(name),
        };
        for dir in [&fuzzer.found, &fuzzer.corpus, &fuzzer.findings()] {
            fs::create_dir_all(dir)
                .with_context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(fuzzer)
    }

    /// Returns the directory of inputs that fail.
    fn findings(&self) -> PathBuf {
        fuzz_dir().join("findings")
    }

    /// Returns the command that runs the target.
    fn command(&self) -> Command {
        let prefix = self.findings().join(self.name);
        let mut command = Command::new(self.program);
        command
            .env(TARGET, self.name)
            .env("RUST_BACKTRACE", "0")
            .arg(format!("-artifact_prefix={}-", prefix.display()))
            .arg(format!("-max_len={INPUT_BYTES}"))
            .arg(format!("-timeout={HANG}"))
            .arg(format!("-report_slow_units={HANG}"))
            .arg("-print_final_stats=1")
            .stdin(Stdio::null());
        command
    }

    /// Runs the target and prints its line; returns the path of an input that
    /// fails, with the reason.
    fn run(&self, seconds: u32) -> Result<Option<String>> {
        let mut command = self.command();
        command
            .arg(format!("-max_total_time={seconds}"))
            .args([&self.found, &self.corpus]);
        let output = command.output().context("cannot run the targets")?;
        let text = String::from_utf8_lossy(&output.stderr);
        let number = |pattern: &str| -> Result<String> {
            let pattern = Regex::new(pattern)?;
            let last = pattern.captures_iter(&text).last();
            Ok(last.map_or("0".to_string(), |found| found[1].to_string()))
        };
        let runs = number(r"stat::number_of_executed_units: (\d+)")?;
        let inputs = number(r" corp: (\d+)/")?;
        let edges = number(r" cov: (\d+) ")?;
        let failed = Regex::new(r"Test unit written to (.*)")?;
        let failed = failed.captures(&text).map(|found| found[1].to_string());
        let count = usize::from(failed.is_some());
        println!(
            "{:<12} {runs:>10} executions, {edges:>4} edges, corpus of \
             {inputs:>4} inputs, {count} findings",
            self.name
        );
        ensure!(
            output.status.success() || failed.is_some(),
            "{} ended ({}):\n{text}",
            self.name,
            output.status
        );
        let reason = text
            .lines()
            .skip_while(|line| !line.contains(" panicked at "))
            .take_while(|line| !line.starts_with("note: run with"))
            .map(|line| format!("\n    {line}"));
        let reason: String = reason.collect();
        Ok(failed.map(|path| path + &reason))
    }

    /// Adds found inputs to those in the repository, as few as possible.
    fn merge(&self) -> Result<()> {
        let mut command = self.command();
        command
            .args(["-set_cover_merge=1", "-use_counters=0"])
            .args([&self.corpus, &self.found]);
        run::quiet(&mut command).map(drop)
    }
}
