//! Implements `cargo xtask test`, which runs every part of the tests and
//! prints one line for each.

mod schedule;
mod suites;

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    board, build, dist, man, powercut, scenario, setup, tidy, toolchain,
};
use schedule::{ALONE, Count, Ended, ONE, Outcome, PROMPT, Part, WAITING};

/// Maximum number of processors that are put to use. Each machine in QEMU also
/// takes memory and disk.
const PROCESSORS: usize = 8;

/// Name of the part that fetches what others need.
const SETUP: &str = "setup";

/// Implements `cargo xtask test`. `quick` leaves out slow parts and those that
/// need another architecture; `long` adds the tests that take minutes each;
/// `only` leaves out every part whose name does not contain it.
pub fn run(
    quick: bool,
    all_boards: bool,
    long: bool,
    only: Option<&str>,
) -> Result<()> {
    let boards = board::all()?;
    let booted: Vec<board::Board> = boards
        .iter()
        .filter(|board| board.boots() && (board.test || all_boards))
        .cloned()
        .collect();
    let mut parts = local();
    if long {
        parts.push(long_host());
    }
    if !quick {
        parts.extend(compared());
        let proved = |board: &&board::Board| all_boards || board.is_standard();
        let mut proved: Vec<_> =
            boards.iter().filter(proved).cloned().collect();
        // Boots wait for the audits of their boards: those of the board with
        // most scenarios begin early, beside what is built for the others.
        proved.sort_by_key(|board| {
            let boots = booted.iter().any(|booted| booted.name == board.name);
            (board.name != board::DEFAULT, !boots)
        });
        parts.extend(proofs(&proved));
        if all_boards {
            parts.extend(toolchains());
            parts.extend(releases());
        }
        parts.extend(boots(&booted, all_boards, long)?);
    }
    if let Some(only) = only {
        let chosen = |part: &Part<'_>| part.name.contains(only);
        parts.retain(chosen);
        if parts.is_empty() {
            bail!(
                "no part's name contains `{only}`; without --only all are \
                 listed"
            );
        }
    }
    // Fetched once, before several parts would do it at a time.
    if parts
        .iter()
        .any(|part| part.after.iter().any(|name| name == SETUP))
    {
        let booted = booted.iter().filter(|board| {
            let boot = format!("{} ", board.name);
            parts.iter().any(|part| part.name.starts_with(&boot))
        });
        let booted: Vec<_> = booted.cloned().collect();
        let about = "what the other parts need";
        parts.insert(
            0,
            Part::new(SETUP, about, WAITING, move || {
                let ready = setup::prepare(&booted);
                Outcome::of(ready.map(|()| String::new()))
            }),
        );
    }
    let processors = thread::available_parallelism()?.get().min(PROCESSORS);
    let processors = u32::try_from(processors)?;
    let mut total = Total::default();
    let began = Instant::now();
    schedule::run(parts, processors, |ended| total.add(ended));
    total.end(began.elapsed(), processors)
}

/// Returns the parts that need neither another architecture nor a peer. Those
/// that compile follow each other: cargo permits only one at a time.
fn local() -> Vec<Part<'static>> {
    vec![
        Part::new("format", "as rustfmt has it", WAITING, || {
            Outcome::of(suites::cargo(&["fmt", "--all", "--check"]))
        }),
        Part::new("tidy", "the rules of the house", WAITING, || {
            Outcome::of(tidy::check().map(|()| String::new()))
        }),
        Part::new("lints", "as Cargo.toml has them", ONE, || {
            Outcome::of(suites::lints())
        }),
        Part::new("unit", "machines, codecs, fuzz corpus", ONE, || {
            let packages = ["--package", "runt-init", "--package", "runt-fuzz"];
            let unit = [&packages[..], &["--lib"]].concat();
            Outcome::or(suites::tests(&unit, None, &[]))
        })
        .after("lints"),
        Part::new("xtask", "boards, scenarios, tidy", ONE, || {
            let xtask = ["--package", "xtask"];
            Outcome::or(suites::tests(&xtask, None, &[]))
        })
        .after("unit")
        // Its tests read the licences of core.
        .after(SETUP),
        Part::new("manuals", "man pages, completion in shells", ONE, || {
            Outcome::of(man::check())
        })
        // Both install packages.
        .after(SETUP),
        Part::new("msrv", "what the crates need", WAITING, || {
            Outcome::of(toolchain::rust_version())
        }),
        Part::new("environments", "as Buildroot and Yocto build", ONE, || {
            Outcome::of(toolchain::environments())
        })
        .after("xtask"),
        Part::new("host", "the release file on this machine", ALONE, || {
            Outcome::or(host_file().and_then(|file| suites::host(&file)))
        })
        .after("xtask")
        .after(SETUP),
    ]
}

/// Returns the part with the host tests that inject failures.
fn injected() -> Part<'static> {
    let about = "failed system calls, kills anywhere";
    Part::new("injected", about, ALONE, || {
        Outcome::or(host_file().and_then(|file| suites::injected(&file)))
    })
    .after("host")
    .after(SETUP)
}

/// Returns the part with the host tests that take minutes each.
fn long_host() -> Part<'static> {
    Part::new("host-long", "many kills, each failed call", ALONE, || {
        Outcome::or(host_file().and_then(|file| suites::long_host(&file)))
    })
    .after("host")
    .after(SETUP)
}

/// Returns the parts that run the release file of this machine in other ways.
/// The host tests follow each other, as they use the same directories of the
/// system.
fn compared() -> Vec<Part<'static>> {
    vec![
        injected(),
        Part::new("host-4.4", "the same as on Linux 4.4", ALONE, || {
            Outcome::or(host_file().and_then(|file| suites::old_host(&file)))
        })
        .after("injected")
        .after(SETUP),
        Part::new("differential", "as Debian's runit does it", PROMPT, || {
            Outcome::or(
                host_file().and_then(|file| suites::differential(&file)),
            )
        })
        // What it compiles: the tests, and the release file.
        .after("xtask")
        .after(&audit_of(board::HOST))
        .after(SETUP),
    ]
}

/// Returns the parts that build with other compilers and linkers than the
/// release file's, and boot the result.
fn toolchains() -> Vec<Part<'static>> {
    let linkers = Part::new("linkers", "a stable toolchain", ONE, || {
        Outcome::of(toolchain::linkers())
    });
    let debian = |board: &'static str| {
        let name = format!("{board} debian-rust");
        let about = "Debian's compiler and linker, booted";
        Part::new(&name, about, ONE, move || {
            Outcome::of(toolchain::debian(board))
        })
        .after(SETUP)
    };
    // Both fetch the compiler.
    let [first, second] = ["qemu-armv7", "qemu-riscv64"].map(debian);
    let second = second.after(&first.name);
    vec![linkers, first, second]
}

/// Returns the parts that check what a release consists of.
fn releases() -> Vec<Part<'static>> {
    let licences = Part::new("licences", "as REUSE has them", WAITING, || {
        Outcome::of(dist::check::licences())
    });
    let crate_ = Part::new("crate", "cargo packs it", ONE, || {
        Outcome::of(dist::check::package())
    });
    let release = Part::new("release", "bills and an apk", ONE, || {
        Outcome::of(dist::check::release())
    });
    let dpkg = Part::new(
        "dpkg",
        "our package in place of Debian's runit",
        ONE,
        || Outcome::of(deb()),
    );
    let scenario = format!("{} debian", board::HOST);
    vec![
        licences,
        crate_,
        // Both use the programs of PyPI that the first installs.
        release.after("licences").after(SETUP),
        // Both use the root that the first makes.
        dpkg.after(&scenario).after(SETUP),
    ]
}

/// Checks the package of Debian in the root of the scenario `debian`.
fn deb() -> Result<String> {
    let packages = scenario::load("debian")?.debian;
    let packages = packages.context("the scenario has no packages")?;
    packages.check(&board::load(board::HOST)?)
}

/// Builds the release file of this machine.
fn host_file() -> Result<std::path::PathBuf> {
    build::release(&board::load(board::HOST)?)
}

/// Returns the parts that examine the release files.
fn proofs(boards: &[board::Board]) -> Vec<Part<'static>> {
    let mut parts = Vec::new();
    let sized: Vec<_> = boards.iter().map(|b| b.name.clone()).collect();
    let mut size = Part::new("size", "within budget", WAITING, move || {
        let each = sized
            .iter()
            .map(|board| suites::subcommand(&["size", "--board", board]));
        let all: Result<Vec<String>> = each.collect();
        Outcome::of(all.map(|_| String::new()))
    });
    for board in boards {
        let name = audit_of(&board.name);
        size = size.after(&name);
        let about = "no panic, heap, libc, unsafe code outside of sys";
        let board = board.name.clone();
        let audit = move || {
            Outcome::of(suites::subcommand(&["audit", "--board", &board]))
        };
        parts.push(Part::new(&name, about, ONE, audit).after(SETUP));
    }
    parts.push(size);
    let about = "a file with few programs: links, their list, as above";
    let families = Part::new("families", about, ONE, || {
        Outcome::of(suites::few_programs())
    });
    parts.push(families.after(SETUP));
    let about = "upgrade to a file with fewer slots, and back";
    let capacities = Part::new("capacities", about, ONE, || {
        Outcome::or(
            host_file().and_then(|file| suites::other_capacities(&file)),
        )
    });
    parts.push(capacities.after(SETUP));
    parts
}

/// Returns the name of the part that audits a board's release file, and builds
/// it first.
fn audit_of(board: &str) -> String {
    format!("audit {board}")
}

/// Returns the parts that boot these boards, the longest first, so that none
/// of them is left to run alone at the end.
fn boots(
    booted: &[board::Board],
    all: bool,
    long: bool,
) -> Result<Vec<Part<'static>>> {
    let mut parts = Vec::new();
    for board in booted {
        let mut add = |name: &str, about: &str, seconds, load, run| {
            let name = format!("{} {name}", board.name);
            let part = Part {
                run,
                ..Part::new(&name, about, load, || {
                    Outcome::of(Ok(String::new()))
                })
            };
            let part = part.after(SETUP).after(&audit_of(&board.name));
            parts.push((seconds, part));
        };
        for scenario in scenario::all()? {
            if !scenario.is_for(board, all, long) {
                continue;
            }
            let (name, about) = (scenario.name.clone(), scenario.about.clone());
            let (seconds, board) = (scenario.seconds, board.clone());
            let load = if scenario.waits { WAITING } else { ONE };
            let play = move || {
                let played = scenario.play(&board);
                Outcome::of(played.map(|figures| figures.join("\n")))
            };
            add(&name, &about, seconds, load, Box::new(play));
        }
        let main = board.name == board::DEFAULT;
        if main || all && board.has_disk() {
            let [few, many] = powercut::CUTS;
            let cuts = if main && all { many } else { few };
            let about = "the power goes while an ext4 is logged to";
            let board = board.clone();
            let play = move || Outcome::of(powercut::play(&board, cuts));
            // It measures how long a flush takes: nothing that writes much
            // runs beside it.
            let seconds = powercut::SECONDS * cuts;
            add("powercut", about, seconds, 2 * ONE, Box::new(play));
        }
    }
    parts.sort_by_key(|(seconds, _)| std::cmp::Reverse(*seconds));
    Ok(parts.into_iter().map(|(_, part)| part).collect())
}

/// Returns the processor time of this process and of all its descendants that
/// have ended and were waited for.
fn processor_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may contain any character.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    // utime, stime, cutime and cstime: fields 14 to 17; `rest` begins with 3.
    let mut ticks = 0;
    for word in rest.split(' ').skip(11).take(4) {
        ticks += word.parse::<u64>()?;
    }
    let each = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs(ticks).div_f64(each as f64))
}

/// The results so far.
#[derive(Default)]
struct Total {
    count: Count,
    /// Output of the failed parts; printed last, where it is easy to find.
    failed: String,
}

impl Total {
    /// Prints the line of a part that has ended and counts its checks.
    fn add(&mut self, ended: Ended) {
        let Ended {
            name,
            about,
            outcome: Outcome { count, text },
            took,
        } = ended;
        let verdict = match count {
            Count { failed: 1.., .. } => "FAILED",
            Count { passed: 0, .. } => "skipped",
            Count { .. } => "ok",
        };
        println!(
            "{name:<24} {:>7.1} s  {verdict:<8} {:>4}  {about}",
            took.as_secs_f64(),
            count.passed
        );
        let text: String =
            text.lines().map(|line| format!("    {line}\n")).collect();
        if count.failed == 0 {
            print!("{text}");
        } else {
            self.failed += &format!("\n{name} failed:\n{text}");
        }
        self.count.passed += count.passed;
        self.count.failed += count.failed;
        self.count.skipped += count.skipped;
    }

    /// Prints the sum, last.
    fn end(self, took: Duration, processors: u32) -> Result<()> {
        let Count {
            passed,
            failed,
            skipped,
        } = self.count;
        print!("{}", self.failed);
        let busy = processor_time()?.div_duration_f64(took * processors);
        println!(
            "{:<24} {:>7.1} s  processors busy: {:.0} %",
            "all",
            took.as_secs_f64(),
            busy * 100.0
        );
        let mut sum = format!("{passed} passed, {failed} failed");
        if skipped > 0 {
            write!(sum, ", {skipped} skipped")?;
        }
        println!("{sum}");
        // The sum is the last line: a failure adds no message after it.
        if failed > 0 {
            std::process::exit(1);
        }
        Ok(())
    }
}
