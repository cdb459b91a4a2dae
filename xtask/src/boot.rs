//! Boots a board with its serial console in the terminal.

use anyhow::Result;

use crate::{board, image, qemu, rootfs::Root, run, setup};

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
