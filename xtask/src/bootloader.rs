//! Emulates a bootloader with two images and a boot counter in QEMU: it tries
//! the new image a given number of times, then boots the old one.
//!
//! Here the counter is a file. It is incremented before each boot of the new
//! image; when the guest prints `bootcount 0` on its console, that stands for
//! writing the bootloader's environment on a board. When the machine ends, by
//! a watchdog or by itself, the next boot follows.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use regex::Regex;
use serde::Deserialize;

use crate::{board::Board, image, qemu::Session, rootfs::Root, setup};

/// Two images and the number of tries for the first, as given by a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bootloader {
    /// The trees of the new image.
    pub new: String,
    /// The trees of the old image, which is known to work.
    pub old: String,
    /// Number of times that the new image is booted without being confirmed as
    /// good.
    pub tries: u32,
}

/// Time limit until a boot is good or has ended, in seconds.
const WITHIN: f64 = 120.0;
/// Number of console lines that an error shows.
const SHOWN: usize = 40;

impl Bootloader {
    /// Boots repeatedly until a boot is good; returns its machine and a record
    /// of the attempts. A machine that hangs forever is an error: a watchdog
    /// should have reset it.
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
            let image =
                image::make(board, tree, Root::Initramfs, place.path())?;
            let mut session = Session::start(board, &kit, &image)?;
            match session.expect(&good, WITHIN) {
                Ok(_) => {
                    fs::write(&counter, "0")?;
                    boots.push(format!("{name} good"));
                    return Ok((session, boots.join(", ")));
                }
                Err(error) if name == "old" => {
                    let said = session.tail(SHOWN);
                    return Err(error.context(format!(
                        "the boot was not confirmed as good:\n{said}"
                    )));
                }
                Err(_) => {
                    let ended = session.end(0.0).with_context(|| {
                        format!("the boot hangs:\n{}", session.tail(SHOWN))
                    })?;
                    boots.push(format!("{name} {ended}"));
                }
            }
        }
    }
}

/// Reads the counter; a missing file means 0.
fn count(counter: &Path) -> Result<u32> {
    if !counter.exists() {
        return Ok(0);
    }
    let text = fs::read_to_string(counter)?;
    text.parse().context("the boot counter is not a number")
}
