//! How a bootloader with two images and a boot counter does it, in QEMU: the
//! new image is tried so often, then the old one is booted.
//!
//! The counter is a file here. It is counted up before each boot of the new
//! image; what a guest says of it on its console, `bootcount 0`, stands for
//! the bootloader's environment that it would write on a board. That the
//! machine ends, by a watchdog or by itself, leads to the next boot.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use regex::Regex;
use serde::Deserialize;

use crate::{board::Board, image, qemu::Session, rootfs::Root, setup};

/// Two images and how often the first is tried, as a scenario has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bootloader {
    /// The trees of the new image.
    pub new: String,
    /// Those of the old one, which is known to work.
    pub old: String,
    /// How often the new one is booted without being told that it is good.
    pub tries: u32,
}

/// How long a boot may take until it is good, or over.
const WITHIN: f64 = 120.0;
/// How many lines of the console an error shows.
const SHOWN: usize = 40;

impl Bootloader {
    /// Boots, again and again, until a boot is good; answers its machine and
    /// what has been done. A machine that hangs for good is an error: that
    /// is what a watchdog is for.
    pub fn boot(&self, board: &Board) -> Result<(Session, String)> {
        let kit = setup::ensure(board)?;
        let place = tempfile::tempdir()?;
        let counter = place.path().join("bootcount");
        let good = Regex::new("bootcount 0")?;
        let mut boots = Vec::new();
        loop {
            let (name, tree) = match count(&counter)? {
                tried if tried < self.tries => {
                    fs::write(&counter, (tried + 1).to_string())?;
                    ("new", &self.new)
                }
                _ => ("old", &self.old),
            };
            let image = image::make(board, tree, Root::Initramfs)?;
            let mut session = Session::start(board, &kit, &image)?;
            match session.expect(&good, WITHIN) {
                Ok(_) => {
                    fs::write(&counter, "0")?;
                    boots.push(format!("{name} good"));
                    return Ok((session, boots.join(", ")));
                }
                Err(error) if name == "old" => {
                    let said = session.tail(SHOWN);
                    return Err(error.context(format!("not good:\n{said}")));
                }
                Err(_) => {
                    let ended = session.end(0.0).with_context(|| {
                        format!("it hangs:\n{}", session.tail(SHOWN))
                    })?;
                    boots.push(format!("{name} {ended}"));
                }
            }
        }
    }
}

/// What the counter says; nothing yet is 0.
fn count(counter: &Path) -> Result<u32> {
    if !counter.exists() {
        return Ok(0);
    }
    let text = fs::read_to_string(counter)?;
    text.parse().context("the counter is no number")
}
