//! Compares our programs with Debian's runit 2.1.2 and 2.3.1, script by script.
//!
//! rows/*.toml holds the table: one file per topic, one row per shell script.
//! Each row runs with the programs of each release first in PATH and with
//! ours, each time in a fresh directory, and all visible results are compared
//! ([`play`]). Where they differ on purpose, `[row.differs]` states the
//! reason, what `ours` shows, and what `debian` shows or, where only one
//! release differs or the releases differ from each other, `"2.1.2"` and
//! `"2.3.1"`. A row marked `mixed` also runs with our `sv` and the supervisor
//! of each release, and the other way round.
//!
//! ```text
//! cargo xtask test --only differential                   # all
//! peers=$PWD/target/xtask/peers; RUNT_BIN=FILE \
//! RUNIT_BIN=$peers/bookworm/runit/usr/bin \
//! RUNIT_231_BIN=$peers/forky/runit/usr/bin \
//! DAEMONTOOLS_BIN=$peers/bookworm/daemontools/usr/bin \
//!     cargo test --test differential NAME                # rows by name
//! ```
//!
//! Rows find daemontools' programs, which control either supervisor, in
//! $DAEMONTOOLS_BIN.
//!
//! `show = true` in a row makes it fail and print its output.

#![allow(unreachable_pub, reason = "nothing leaves a test crate")]

mod play;
mod side;
mod table;
#[path = "../util/test_dir.rs"]
mod test_dir;

use std::{
    collections::HashMap, io::Write as _, process::Command, sync::Arc, thread,
};

use libtest_mimic::{Arguments, Failed, Trial};
use side::{Release, Side, Sides};
use table::Row;

/// Rows run at a time: Debian's pauses of a second are waits, not work.
const AT_A_TIME: usize = 4;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_A_TIME);
    let sides = Arc::new(Sides::new());
    let mut trials = Vec::new();
    for row in table::all() {
        let sides = Arc::clone(&sides);
        let name = row.name.clone();
        trials.push(Trial::test(name, move || compare(&sides, &row)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Number of runs before a row counts as different. Debian's programs poll,
/// and race with their scripts on a busy machine; so every result that
/// involves them may be repeated. A result of our programs alone is final.
const PLAYS: usize = 3;

/// Runs a row with every side it applies to and compares the results.
fn compare(sides: &Sides, row: &Row) -> Result<(), Failed> {
    let mut others = Vec::new();
    for release in Release::ALL {
        others.push(Side::Debian(release));
        if row.mixed {
            others.extend([Side::OurSv(release), Side::DebiansSv(release)]);
        }
    }
    let mut shown = play(sides, &[&others[..], &[Side::Ours]].concat(), row);
    let mut differing = judge(row, &shown);
    for _ in 1..PLAYS {
        others.retain(|side| differing.iter().any(|(it, _)| it == side));
        if others.is_empty() {
            break;
        }
        shown.extend(play(sides, &others, row));
        differing = judge(row, &shown);
    }
    let said: Vec<_> = differing.into_iter().map(|(_, said)| said).collect();
    match said.is_empty() {
        true if row.show => Err(shown[&Side::Ours].as_str().into()),
        true => Ok(()),
        false => Err(format!("{}{}", row.script, said.concat()).into()),
    }
}

/// The result of a row for each side.
type Shown = HashMap<Side, String>;

/// Runs a row with some sides at the same time.
fn play(sides: &Sides, all: &[Side], row: &Row) -> Shown {
    thread::scope(|scope| {
        let play = |side| {
            let played =
                scope.spawn(move || play::play(sides, side, &row.script));
            (side, played)
        };
        let played: Vec<_> = all.iter().copied().map(play).collect();
        let played = played.into_iter();
        played
            .map(|(side, it)| (side, it.join().unwrap()))
            .collect()
    })
}

/// Returns the sides whose result is not the expected one, each with the
/// reason.
///
/// Without `differs`, ours is compared with each release. The sides that mix
/// our `sv` or supervisor with that release's must then show the same.
fn judge(row: &Row, shown: &Shown) -> Vec<(Side, String)> {
    let mut differing = Vec::new();
    for (side, text) in shown {
        let ends = |line| ["= 99", "= never ended"].contains(&line);
        let expected = match (&row.differs, side) {
            (Some(differs), Side::Debian(release)) => differs.of(*release),
            (Some(differs), _) => &differs.ours,
            (None, _) => &shown[&Side::Ours],
        };
        if matches!(side, Side::Debian(_)) && text.lines().any(ends) {
            differing.push((*side, format!("never ends:\n{text}")));
        } else if expected != text {
            let name = side.name();
            let expectation = match (&row.differs, side) {
                (None, _) => "ours",
                (Some(_), Side::Debian(_)) => "expected of it",
                (Some(_), _) => "expected of ours",
            };
            let diff = diff(expected, text);
            let said = format!("--- {expectation}\n+++ {name}\n{diff}");
            differing.push((*side, said));
        }
    }
    differing
}

/// Returns the two texts as `diff -U 99` shows them.
fn diff(one: &str, other: &str) -> String {
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let (one, other) = (file(one), file(other));
    let output = Command::new("diff")
        .args(["-U", "99"])
        .args([one.path(), other.path()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .skip(3)
        .map(|line| format!("{line}\n"))
        .collect()
}
