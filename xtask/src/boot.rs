//! How a board is booted for a person: QEMU with its serial console in the
//! terminal.

use anyhow::Result;

use crate::{board, image, qemu, run, setup};

/// `cargo xtask boot`.
pub fn run(name: &str, tree: &str) -> Result<()> {
    let board = board::load(name)?;
    let kit = setup::ensure(&board)?;
    let image = image::make(&board, tree)?;
    println!(
        "booting {name}. Ctrl-A x leaves QEMU; `poweroff` ends the board."
    );
    let mut command = qemu::command(&board, &kit, &image);
    command.args(["-display", "none", "-serial", "mon:stdio"]);
    run::loud(&mut command)
}
