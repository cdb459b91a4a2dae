//! Runs cargo's checks and tests and counts their results.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail, ensure};
use regex::Regex;

use super::schedule::{Count, Outcome};
use crate::{audit, board, build, install, peers, run};

/// Runs cargo; its output is shown only when it fails.
pub fn cargo(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("cargo");
    command.current_dir(board::root()).args(arguments);
    run::quiet(&mut command).map(|_| String::new())
}

/// Runs clippy with the lints of Cargo.toml on everything that is compiled
/// here.
pub fn lints() -> Result<String> {
    let common = ["clippy", "--quiet", "--locked", "--package"];
    let strict = ["--", "--deny", "warnings"];
    let program = [&common[..], &["runt-init", "--lib"], &strict].concat();
    cargo(&program)?;
    let others = ["xtask", "--package", "runt-fuzz", "--all-targets"];
    cargo(&[&common[..], &others, &strict].concat())
}

/// Builds a file with few families of programs, audits it, and checks that it
/// has their programs and no others.
pub fn few_programs() -> Result<String> {
    let board = board::load(board::HOST)?;
    let families = ["supervise", "sv", "chpst"].map(String::from);
    let board = board.with_programs(families.to_vec());
    let measured = audit::check(&board)?;
    let dir = tempfile::tempdir()?;
    install::programs(&board, dir.path())?;
    let runt = dir.path().join("runt");
    let list = run::quiet(Command::new(&runt).arg("--list"))?;
    let expected = "runsvdir\nrunsv\nsv\nchpst\n";
    ensure!(list == expected, "`runt --list` prints {list:?}");
    let mut links = vec!["runt".to_string()];
    links.extend(expected.lines().map(String::from));
    links.sort();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir.path())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    ensure!(names == links, "installed are {names:?}");
    let usage = Command::new(&runt).arg("svlogd").output()?;
    ensure!(
        usage.status.code() == Some(1) && usage.stderr.starts_with(b"usage: "),
        "`runt svlogd` ends with {}",
        usage.status
    );
    Ok(measured)
}

/// Runs the host test that moves a supervisor between the release file and one
/// with four slots.
pub fn other_capacities(file: &Path) -> Result<Outcome> {
    let board = board::load(board::HOST)?;
    let families = ["supervise", "recovery", "upgrade"].map(String::from);
    let mut board = board.with_programs(families.to_vec());
    board.capacity.insert("slots".into(), 4);
    let small = build::release(&board)?;
    let test = "upgrade::capacities_may_grow_and_shrink";
    let arguments = ["--package", "runt-init", "--test", "host", test];
    tests(&arguments, Some(file), &[("RUNT_SMALL".into(), small)])
}

/// Runs a subcommand of this program.
pub fn subcommand(words: &[&str]) -> Result<String> {
    let program = std::env::current_exe()?;
    run::quiet(Command::new(program).args(words))
}

/// Runs the tests of the release file. `more` are additional arguments: of
/// cargo and, after a `--`, of the tests.
fn host_with(file: &Path, more: &[&str]) -> Result<Outcome> {
    let host = ["--package", "runt-init", "--test", "host"];
    // The tests report a missing peer themselves.
    let peers = peers::TESTED.iter().filter_map(|peer| located(peer).ok());
    let peers = peers.flatten().collect::<Vec<_>>();
    tests(&[&host[..], more].concat(), Some(file), &peers)
}

/// Host tests that play many lives of supervisors with a failure in each, and
/// keep all processors busy with that.
const INJECTED: [&str; 2] = ["failed_calls::", "killed_anywhere::"];

/// Runs the tests of the release file on this machine but those of
/// [`injected`].
pub fn host(file: &Path) -> Result<Outcome> {
    let skip = INJECTED.iter().flat_map(|name| ["--skip", *name]);
    host_with(file, &["--"].into_iter().chain(skip).collect::<Vec<_>>())
}

/// Runs the tests that inject failures.
pub fn injected(file: &Path) -> Result<Outcome> {
    host_with(file, &[&["--"], &INJECTED[..]].concat())
}

/// Runs those tests of the release file that are ignored otherwise, because
/// each takes minutes. They follow each other: each uses all processors.
pub fn long_host(file: &Path) -> Result<Outcome> {
    host_with(file, &["--", "--ignored", "--test-threads=1"])
}

/// Host tests that an old kernel does not affect. Neither svlogd nor svlogger
/// makes a call that has a newer form; the filter itself sets no-new-privs;
/// and the random bytes take long.
const OLD_ENOUGH: [&str; 11] = [
    "foreign_loggers::",
    "log_ring::",
    "svlogd::",
    "svlogd_files::",
    "svlogd_faults::",
    "svlogd_loss::",
    "svlogd_media::",
    "svlogger::",
    "svlogger_kills::",
    "random_control_bytes",
    "no_new_privs",
];

/// Runs the tests as [`host`] does, without the system calls added after Linux
/// 4.4.
pub fn old_host(file: &Path) -> Result<Outcome> {
    let program = std::env::current_exe()?;
    let runner = format!(
        "target.'cfg(all())'.runner = ['{}', 'old-kernel']",
        program.display()
    );
    let skip = OLD_ENOUGH.iter().chain(&INJECTED);
    let skip = skip.flat_map(|name| ["--skip", *name]);
    let more = ["--config", &runner, "--"].into_iter().chain(skip);
    host_with(file, &more.collect::<Vec<_>>())
}

/// Runs the scripts of the differential test with Debian's programs and with
/// ours.
pub fn differential(file: &Path) -> Result<Outcome> {
    let mut all = Vec::new();
    for peer in &peers::TESTED {
        all.extend(located(peer)?);
    }
    tests(
        &["--package", "runt-init", "--test", "differential"],
        Some(file),
        &all,
    )
}

/// Returns the variables that tell the tests where a peer is: `NAME_BIN` and
/// `NAME_LIB`.
fn located(tested: &peers::Tested) -> Result<[(String, PathBuf); 2]> {
    let peers::Tested {
        name,
        suite,
        packages,
    } = tested;
    let peer = peers::fetch(suite, packages)?;
    Ok([
        (format!("{name}_BIN"), peer.programs),
        (format!("{name}_LIB"), peer.libraries),
    ])
}

/// Runs cargo's tests and counts the results.
pub fn tests(
    arguments: &[impl AsRef<std::ffi::OsStr>],
    program: Option<&Path>,
    peers: &[(String, PathBuf)],
) -> Result<Outcome> {
    // The parent may have set signals to be ignored, as nohup does: a shell
    // cannot trap those, and rows would wait for something that never happens.
    let mut command = Command::new("env");
    command
        .current_dir(board::root())
        .args(["--default-signal", "cargo"])
        .args(["test", "--quiet", "--locked", "--no-fail-fast"])
        .args(arguments)
        // The message of a failed test contains its location.
        .env("RUST_BACKTRACE", "0")
        .envs(program.map(|program| ("RUNT_BIN", program)))
        .envs(peers.iter().map(|(key, path)| (key, path)));
    let output = run::output(&mut command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut count = Count::default();
    let sums = Regex::new(
        r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored",
    )?;
    for sum in sums.captures_iter(&text) {
        let [passed, failed, skipped] = sum.extract().1;
        count.passed += passed.parse::<u32>()?;
        count.failed += failed.parse::<u32>()?;
        count.skipped += skipped.parse::<u32>()?;
    }
    if output.status.success() {
        return Ok(Outcome {
            count,
            text: String::new(),
        });
    }
    if count.failed == 0 {
        let shown = run::shown(&command);
        bail!("`{shown}` failed ({}):\n{text}{errors}", output.status);
    }
    let said = format!("{text}{errors}");
    let said = said.lines().filter(|line| !is_success(line));
    Ok(Outcome {
        count,
        text: said.map(|line| format!("{line}\n")).collect(),
    })
}

/// Returns true if a line of the test harness reports only success.
fn is_success(line: &str) -> bool {
    let dots = |c: char| matches!(c, '.' | '/' | ' ') || c.is_ascii_digit();
    line.ends_with("... ok")
        || line.starts_with("test result: ok")
        || line.starts_with("running ")
        || line.chars().all(dots)
}
