//! Implements `cargo xtask test`, which runs every part of the tests and
//! prints one line for each.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use regex::Regex;

use crate::{board, build, peers, powercut, run, scenario, tidy};

/// Numbers of checks by result.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// The result of a part.
struct Outcome {
    count: Count,
    /// The text to show: figures, or what failed.
    text: String,
}

impl Outcome {
    /// Returns the outcome, or a failed one with the error if the part could
    /// not be run.
    fn or(result: Result<Self>) -> Self {
        result.unwrap_or_else(|error| Self::of(Err(error)))
    }

    /// Returns the outcome of a single check.
    fn of(result: Result<String>) -> Self {
        match result {
            Ok(text) => Self {
                count: Count {
                    passed: 1,
                    ..Count::default()
                },
                text,
            },
            Err(error) => Self {
                count: Count {
                    failed: 1,
                    ..Count::default()
                },
                text: format!("{error:#}"),
            },
        }
    }
}

/// Implements `cargo xtask test`. `quick` leaves out slow parts and those that
/// need another architecture; `only` leaves out every part whose name does not
/// contain it.
pub fn run(quick: bool, all_boards: bool, only: Option<&str>) -> Result<()> {
    let mut total = Total {
        began: Instant::now(),
        count: Count::default(),
        only,
        failed: String::new(),
    };
    total.part("format", "as rustfmt has it", || {
        Outcome::of(cargo(&["fmt", "--all", "--check"]))
    })?;
    total.part("tidy", "the rules of the house", || {
        Outcome::of(tidy::check().map(|()| String::new()))
    })?;
    total.part("lints", "as Cargo.toml has them", || Outcome::of(lints()))?;
    total.part("unit", "machines, codecs, arguments, fuzz corpus", || {
        let packages = ["--package", "runt-init", "--package", "runt-fuzz"];
        Outcome::or(tests(&[&packages[..], &["--lib"]].concat(), None, &[]))
    })?;
    total.part("xtask", "boards, scenarios, tidy", || {
        Outcome::or(tests(&["--package", "xtask"], None, &[]))
    })?;
    let file = || build::release(&board::load(board::HOST)?);
    total.part("host", "the release file on this machine", || {
        Outcome::or(file().and_then(|file| host(&file, &[], &[])))
    })?;
    let boards: Vec<board::Board> = board::all()?;
    if quick {
        return total.end();
    }
    total.part("host-4.4", "the same as on Linux 4.4", || {
        Outcome::or(file().and_then(|file| old_host(&file)))
    })?;
    total.part("differential", "as Debian's runit does it", || {
        Outcome::or(file().and_then(|file| differential(&file)))
    })?;
    let audit = "no panic, heap, libc, unsafe code outside of sys";
    total.part("audit", audit, || Outcome::of(subcommand("audit")))?;
    total.part("size", "within budget", || Outcome::of(subcommand("size")))?;
    for board in boards.iter().filter(|board| board.test || all_boards) {
        for scenario in scenario::all()? {
            if !scenario.is_for(board, all_boards) {
                continue;
            }
            let name = format!("{} {}", board.name, scenario.name);
            total.part(&name, &scenario.about, || {
                let played = scenario.play(board);
                Outcome::of(played.map(|figures| figures.join("\n")))
            })?;
        }
        let main = board.name == board::DEFAULT;
        if main || all_boards && board.qemu.disk.is_some() {
            let [few, many] = powercut::CUTS;
            let cuts = if main && all_boards { many } else { few };
            let about = "the power goes while an ext4 is logged to";
            total.part(&format!("{} powercut", board.name), about, || {
                Outcome::of(powercut::play(board, cuts))
            })?;
        }
    }
    total.end()
}

/// The counts so far.
struct Total<'a> {
    began: Instant,
    count: Count,
    only: Option<&'a str>,
    /// Output of the failed parts; printed last, where it is easy to find.
    failed: String,
}

impl Total<'_> {
    /// Runs a part and prints its line.
    fn part(
        &mut self,
        name: &str,
        about: &str,
        part: impl FnOnce() -> Outcome,
    ) -> Result<()> {
        if self.only.is_some_and(|only| !name.contains(only)) {
            return Ok(());
        }
        print!("{name:<24} ");
        std::io::stdout().flush()?;
        let began = Instant::now();
        let Outcome { count, text } = part();
        let verdict = match count {
            Count { failed: 1.., .. } => "FAILED",
            Count { passed: 0, .. } => "skipped",
            Count { .. } => "ok",
        };
        let took = seconds(began.elapsed());
        println!("{took:>7.1} s  {verdict:<8} {about}");
        let text: String =
            text.lines().map(|line| format!("    {line}\n")).collect();
        match count.failed {
            0 => print!("{text}"),
            _ => self.failed += &format!("\n{name} failed:\n{text}"),
        }
        self.count.passed += count.passed;
        self.count.failed += count.failed;
        self.count.skipped += count.skipped;
        Ok(())
    }

    /// Prints the sum, last.
    fn end(self) -> Result<()> {
        let Count {
            passed,
            failed,
            skipped,
        } = self.count;
        if let Some(only) = self.only.filter(|_| passed + failed + skipped == 0)
        {
            bail!(
                "no part's name contains `{only}`; without --only all are listed"
            );
        }
        print!("{}", self.failed);
        println!("{:<24} {:>7.1} s", "all", seconds(self.began.elapsed()));
        let skipped = match skipped {
            0 => String::new(),
            _ => format!(", {skipped} skipped"),
        };
        println!("{passed} passed, {failed} failed{skipped}");
        // The sum is the last line: a failure adds no message after it.
        if failed > 0 {
            std::process::exit(1);
        }
        Ok(())
    }
}

/// Returns a duration in seconds.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Runs cargo; its output is shown only when it fails.
fn cargo(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("cargo");
    command.current_dir(board::root()).args(arguments);
    run::quiet(&mut command).map(|_| String::new())
}

/// Runs clippy with the lints of Cargo.toml on everything that is compiled
/// here.
fn lints() -> Result<String> {
    let common = ["clippy", "--quiet", "--locked", "--package"];
    let strict = ["--", "--deny", "warnings"];
    let program = [&common[..], &["runt-init", "--lib"], &strict].concat();
    cargo(&program)?;
    let others = ["xtask", "--package", "runt-fuzz", "--all-targets"];
    cargo(&[&common[..], &others, &strict].concat())
}

/// Runs a subcommand of this program.
fn subcommand(verb: &str) -> Result<String> {
    let program = std::env::current_exe()?;
    run::quiet(Command::new(program).arg(verb))
}

/// Runs the tests of the release file: every file of tests/ except those in
/// `without`. `more` are additional arguments of cargo and, after a `--`, of
/// the tests.
fn host(file: &Path, without: &[&str], more: &[&str]) -> Result<Outcome> {
    let mut arguments = vec!["--package".to_string(), "runt-init".to_string()];
    for entry in fs::read_dir(board::root().join("tests"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|e| e == "rs")
            && !without.contains(&&*name)
        {
            arguments.push("--test".to_string());
            arguments.push(name.into_owned());
        }
    }
    arguments.extend(more.iter().map(ToString::to_string));
    // The tests report a missing peer themselves.
    let peers = peers::TESTED.iter().filter_map(|peer| located(peer).ok());
    tests(&arguments, Some(file), &peers.flatten().collect::<Vec<_>>())
}

/// Files of tests/ to which an old kernel makes no difference: neither svlogd
/// nor svlogger makes a call that has a newer form.
const OLD_ENOUGH: [&str; 7] = [
    "loggers",
    "svlogd",
    "svlogd_files",
    "svlogd_harm",
    "svlogd_loss",
    "svlogd_media",
    "svlogger",
];

/// Runs the tests as [`host`] does, without the system calls added after Linux
/// 4.4.
///
/// The tests with random bytes are left out too, as they take as long as all
/// the rest, and so is a test that checks a flag which the filter itself sets.
fn old_host(file: &Path) -> Result<Outcome> {
    let program = std::env::current_exe()?;
    let runner = format!(
        "target.'cfg(all())'.runner = ['{}', 'old-kernel']",
        program.display()
    );
    let more = [
        "--config",
        &runner,
        "--",
        "--skip=a_million_random_bytes",
        "--skip=no_new_privs",
    ];
    host(file, &OLD_ENOUGH, &more)
}

/// Runs the scripts of the differential test with Debian's programs and with
/// ours.
fn differential(file: &Path) -> Result<Outcome> {
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
fn tests(
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
        .envs(peers.iter().map(|(key, path)| (key, path)))
        .stdin(Stdio::null());
    let shown = run::shown(&command);
    let output = command.output().context(format!("cannot run `{shown}`"))?;
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
