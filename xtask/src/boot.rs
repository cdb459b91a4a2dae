//! Boots a board, either interactively, with its serial console in the
//! terminal, or for a test rig, to run one program and return its exit code.

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;

use crate::{
    board::{self, Board},
    image, qemu,
    rootfs::Root,
    run, setup,
};

/// Implements `cargo xtask boot`.
pub fn run(name: &str, tree: &str, root: Root) -> Result<()> {
    let board = board::load(name)?;
    let kit = setup::ensure(&board)?;
    let image = image::make(&board, tree, root, &image::dir()?)?;
    println!(
        "booting {name}; type Ctrl-A x to leave QEMU, `poweroff` to shut the board down"
    );
    let mut command = qemu::command(&board, &kit, &image)?;
    command.args(["-display", "none", "-serial", "mon:stdio"]);
    run::loud(&mut command)
}

/// Time limit for the machine to power off after the program has ended, in
/// seconds.
const TO_END: f64 = 60.0;
/// Exit code when the guest did not report the result of its program: after a
/// panic, a reset or the time limit. `git bisect run` takes it as "cannot be
/// tested".
const NO_RESULT: u8 = 125;

/// Implements `cargo xtask boot --rig PROGRAM`. Returns the program's exit
/// code, 128 plus the signal number when a signal ended it, or [`NO_RESULT`]
/// when the guest does not report it.
pub fn rig(
    name: &str,
    tree: &str,
    root: Root,
    program: &str,
    within: f64,
) -> u8 {
    judge(name, tree, root, program, within).unwrap_or_else(|error| {
        eprintln!("{program} reported no result: {error:#}");
        NO_RESULT
    })
}

/// Boots, and waits for PID 1's report on the program and for the end of the
/// machine.
fn judge(
    name: &str,
    tree: &str,
    root: Root,
    program: &str,
    within: f64,
) -> Result<u8> {
    let mut board: Board = board::load(name)?;
    board.console.cmdline += &format!(" \"runt.rig={program}\"");
    let kit = setup::ensure(&board)?;
    let image = image::make(&board, tree, root, &image::dir()?)?;
    let mut session = qemu::Session::start(&board, &kit, &image)?;
    session.echo = true;
    let line = Regex::new(r"(?m)- runit: rig: (exit|signal) (\d+)$")?;
    let groups = session.expect(&line, within)?;
    let [_, how, number] = groups.as_slice() else {
        bail!("the report has no number");
    };
    let ended = session.end(TO_END)?;
    ensure!(
        ended == "guest-shutdown",
        "then the machine ended with {ended}"
    );
    let number: u8 = number.parse().context("the exit code is not a number")?;
    Ok(if how == "signal" {
        number.saturating_add(128)
    } else {
        number
    })
}
