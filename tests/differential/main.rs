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
//! cargo xtask test --quick                               # all, among others
//! RUNT_BIN=FILE DEBIAN_BIN=target/xtask/peers \
//!     cargo test --test differential NAME                # rows by name
//! ```
//!
//! `show = true` in a row makes it fail, with what it shows.

#![allow(unreachable_pub, reason = "a test uses all of itself")]

mod play;
mod side;
mod table;
#[path = "../util/mod.rs"]
mod util;

use std::{io::Write as _, process::Command, sync::Arc};

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

/// Plays a row with every side it is for.
fn compare(sides: &Sides, row: &Row) -> Result<(), Failed> {
    let debian = play::play(sides, Side::Debian, &row.script);
    let ours = play::play(sides, Side::Ours, &row.script);
    if row.show {
        return Err(format!("{}\n{debian}", row.script).into());
    }
    let Some(differs) = &row.differs else {
        same(row, "Debian's", &debian, "ours", &ours)?;
        if row.mixed {
            for (side, name) in [
                (Side::OurSv, "our sv, Debian's runsv"),
                (Side::DebiansSv, "Debian's sv, our runsv"),
            ] {
                let shown = play::play(sides, side, &row.script);
                same(row, "Debian's", &debian, name, &shown)?;
            }
        }
        return Ok(());
    };
    same(
        row,
        "Debian's, expected",
        &differs.debian,
        "Debian's",
        &debian,
    )?;
    same(row, "ours, expected", &differs.ours, "ours", &ours)?;
    assert_ne!(debian, ours, "no longer differs: {}", differs.because);
    Ok(())
}

/// Compares what two sides have shown.
fn same(
    row: &Row,
    one_name: &str,
    one: &str,
    other_name: &str,
    other: &str,
) -> Result<(), Failed> {
    if one == other {
        return Ok(());
    }
    let diff = diff(one, other);
    let script = &row.script;
    let text = format!("{script}--- {one_name}\n+++ {other_name}\n{diff}");
    Err(text.into())
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
