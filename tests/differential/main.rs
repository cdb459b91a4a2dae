//! Whether our programs do what Debian's runit does, script by script.
//!
//! rows/*.toml holds the table: a file a topic, a row a shell script. Each
//! row is played with Debian's programs first in PATH and with ours, each in
//! a fresh directory, and what can be seen of the two is compared ([`play`]).
//! Where they differ on purpose the row says why and what either shows. A row
//! that says `mixed` is played twice more: our `sv` with Debian's supervisor,
//! and the other way round.
//!
//! ```text
//! cargo xtask test --only differential                   # all
//! peers=$PWD/target/xtask/peers/bookworm; RUNT_BIN=FILE \
//! RUNIT_BIN=$peers/runit/usr/bin DAEMONTOOLS_BIN=$peers/daemontools/usr/bin \
//!     cargo test --test differential NAME                # rows by name
//! ```
//!
//! Rows find daemontools' programs, which drive either side, in
//! $DAEMONTOOLS_BIN.
//!
//! `show = true` in a row makes it fail, with what it shows.

#![allow(unreachable_pub, reason = "a test uses all of itself")]

mod play;
mod side;
mod table;
#[path = "../util/mod.rs"]
mod util;

use std::{
    collections::HashMap, io::Write as _, process::Command, sync::Arc, thread,
};

use libtest_mimic::{Arguments, Failed, Trial};
use side::{Side, Sides};
use table::Row;

/// Rows played at a time: Debian's pauses of a second are waits, not work.
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

/// How often a row is played before it counts as different. Debian's programs
/// poll and race with their scripts when the machine is busy; so what they take
/// part in is played again. What we show alone is shown once and stands.
const PLAYS: usize = 3;

/// Plays a row with every side it is for, and compares.
fn compare(sides: &Sides, row: &Row) -> Result<(), Failed> {
    let mut others = match row.mixed {
        true => vec![Side::OurSv, Side::DebiansSv],
        false => Vec::new(),
    };
    others.push(Side::Debian);
    let all = [&others[..], &[Side::Ours]].concat();
    let mut shown = play(sides, &all, row);
    let mut compared = judge(row, &shown);
    for _ in 1..PLAYS {
        if compared.is_ok() {
            break;
        }
        shown.extend(play(sides, &others, row));
        compared = judge(row, &shown);
    }
    compared
}

/// What each side shows of a row.
type Shown = HashMap<Side, String>;

/// Plays a row with some sides at once.
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

/// Whether all sides show what the row says they do.
fn judge(row: &Row, shown: &Shown) -> Result<(), Failed> {
    let debian = &shown[&Side::Debian];
    if debian
        .lines()
        .any(|line| line == "= 99" || line == "= never ended")
    {
        return Err(format!("{}never ends:\n{debian}", row.script).into());
    }
    let name = Side::Debian.name();
    let mut expected = debian;
    if let Some(differs) = &row.differs {
        same(row, ("expected", &differs.debian), (name, debian))?;
        assert_ne!(differs.debian, differs.ours, "{}", differs.because);
        expected = &differs.ours;
    }
    for (side, shown) in shown {
        if *side == Side::Debian {
            continue;
        }
        let name = match row.differs {
            Some(_) => "expected",
            None => name,
        };
        same(row, (name, expected), (side.name(), shown))?;
    }
    match row.show {
        true => Err(debian.as_str().into()),
        false => Ok(()),
    }
}

/// Compares what two sides have shown.
fn same(
    row: &Row,
    (one_name, one): (&str, &str),
    (other_name, other): (&str, &str),
) -> Result<(), Failed> {
    if one == other {
        return Ok(());
    }
    let (script, diff) = (&row.script, diff(one, other));
    Err(format!("{script}--- {one_name}\n+++ {other_name}\n{diff}").into())
}

/// The two texts as `diff -U 99` shows them.
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
