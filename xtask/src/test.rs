//! Whether everything holds: each part of the proof, one line each.

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

/// How many checks did what.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
}

/// What came of a part.
struct Outcome {
    count: Count,
    /// What is shown: figures, or what failed.
    text: String,
}

impl Outcome {
    /// What came of a part, or why it could not be tried.
    fn or(result: Result<Self>) -> Self {
        result.unwrap_or_else(|error| Self::of(Err(error)))
    }

    /// One check.
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

/// `cargo xtask test`; `quick` leaves out what needs another architecture or
/// takes its time, `only` every part whose name does not contain it.
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
    total.part("unit", "machines, codecs, arguments", || {
        Outcome::or(tests(&["--package", "runt-init", "--lib"], None, &[]))
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
    total.part("audit", audit, || Outcome::of(own("audit")))?;
    total.part("size", "within budget", || Outcome::of(own("size")))?;
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

/// What has been counted so far.
struct Total<'a> {
    began: Instant,
    count: Count,
    only: Option<&'a str>,
    /// What the parts said that failed: shown last, where it is looked for.
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
        // The sum is the last line: who fails says no more.
        if failed > 0 {
            std::process::exit(1);
        }
        Ok(())
    }
}

/// A time in seconds.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Runs cargo; what it says is shown only when it fails.
fn cargo(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("cargo");
    command.current_dir(board::root()).args(arguments);
    run::quiet(&mut command).map(|_| String::new())
}

/// All lints, as Cargo.toml has them, on everything that is compiled here.
fn lints() -> Result<String> {
    let common = ["clippy", "--quiet", "--locked", "--package"];
    let strict = ["--", "--deny", "warnings"];
    let program = [&common[..], &["runt-init", "--lib"], &strict].concat();
    cargo(&program)?;
    cargo(&[&common[..], &["xtask", "--all-targets"], &strict].concat())
}

/// Runs a verb of this program.
fn own(verb: &str) -> Result<String> {
    let program = std::env::current_exe()?;
    run::quiet(Command::new(program).arg(verb))
}

/// The tests of the release file: every file of tests/ but those of `without`.
/// `more` are cargo's own arguments and, behind a `--`, those of the tests.
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
    // Their tests say so when they cannot be had.
    let peers = peers::TESTED.iter().filter_map(|peer| located(peer).ok());
    tests(&arguments, Some(file), &peers.flatten().collect::<Vec<_>>())
}

/// Files of tests/ that an old kernel is no news to: neither svlogd nor
/// svlogger makes a call that has a newer form.
const OLD_ENOUGH: [&str; 7] = [
    "loggers",
    "svlogd",
    "svlogd_files",
    "svlogd_harm",
    "svlogd_loss",
    "svlogd_media",
    "svlogger",
];

/// As [`host`], each test without the system calls that came after Linux 4.4.
///
/// Left out besides are the random bytes, which take as long as the rest, and
/// a test that looks for the flag which the filter itself sets.
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

/// The scripts that are played with Debian's programs and with ours.
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

/// Runs cargo's tests and counts them.
fn tests(
    arguments: &[impl AsRef<std::ffi::OsStr>],
    program: Option<&Path>,
    peers: &[(String, PathBuf)],
) -> Result<Outcome> {
    // Who started us may have had signals ignored, as nohup does: a shell
    // cannot trap those, and rows would wait for what never comes.
    let mut command = Command::new("env");
    command
        .current_dir(board::root())
        .args(["--default-signal", "cargo"])
        .args(["test", "--quiet", "--locked", "--no-fail-fast"])
        .args(arguments)
        // Where a test failed its message says.
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

/// Whether a line of the test harness says no more than that all is well.
fn is_success(line: &str) -> bool {
    let dots = |c: char| matches!(c, '.' | '/' | ' ') || c.is_ascii_digit();
    line.ends_with("... ok")
        || line.starts_with("test result: ok")
        || line.starts_with("running ")
        || line.chars().all(dots)
}
