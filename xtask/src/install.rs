//! Implements `cargo xtask build`: builds the release files, and installs them
//! with a link for each program, their manuals and their completion.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    board::{self, Board},
    build, man,
};

/// Implements `cargo xtask build`. With `strict` a file that exceeds its
/// board's budget is an error, after all have been built.
pub fn run(name: Option<&str>, out: Option<&Path>, strict: bool) -> Result<()> {
    let mut over = Vec::new();
    for board in &board::chosen(name)? {
        let file = build::release(board)?;
        let size = file.metadata()?.len();
        println!("{:<18} {size:>7} bytes  {}", board.name, file.display());
        if let Some(excess) = board.excess(size) {
            println!("warning: {excess}");
            over.push(excess);
        }
        if let Some(out) = out {
            let dir = if name.is_some() {
                out.into()
            } else {
                out.join(&board.name)
            };
            programs(board, &dir)?;
            man::install(board, &dir)?;
            println!("{:<18} installed in {}", "", dir.display());
        }
    }
    ensure!(!strict || over.is_empty(), "{}", over.join("\n"));
    Ok(())
}

/// Installs the file and a link for every program into a directory, so that
/// `PATH=DIR:$PATH` gives runit.
pub fn programs(board: &Board, dir: &Path) -> Result<()> {
    let file = build::release(board)?;
    fs::create_dir_all(dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    let to = dir.join("runt");
    // The file of a running program cannot be written, but it can be replaced.
    let new = dir.join("runt.new");
    fs::copy(&file, &new)
        .with_context(|| format!("cannot write {}", new.display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
    fs::rename(&new, &to)?;
    for applet in build::applets_of(board) {
        let link = dir.join(applet);
        if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).with_context(|| {
                format!("cannot replace {}", link.display())
            })?;
        }
        symlink("runt", &link)
            .with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}
