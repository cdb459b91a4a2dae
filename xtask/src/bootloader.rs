//! Boots a board by U-Boot in QEMU, from a disk with two images: U-Boot boots
//! the new image a given number of times, then the old one, until the guest
//! resets its count of boots. Each boot is a QEMU of its own on the same disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;
use serde::Deserialize;

use crate::{
    apt,
    board::{self, Board},
    disk, image,
    qemu::{self, Session},
    rootfs::Root,
    run,
    setup::{self, Fetched},
    tool,
};

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

/// A machine whose boot was confirmed as good.
pub struct GoodBoot {
    /// The machine.
    pub session: Session,
    /// A record of the attempts.
    pub boots: String,
    /// The disk.
    pub disk: PathBuf,
}

/// Debian's builds of U-Boot: QEMU's system, the option that starts it, and
/// the directory of the file.
const BUILDS: [[&str; 3]; 2] = [
    ["riscv64", "-kernel", "qemu-riscv64_smode"],
    ["aarch64", "-bios", "qemu_arm64"],
];
/// Suite of the package with these builds.
const SUITE: &str = "bookworm";
/// The boot script.
const SCRIPT: &str = include_str!("../../qemu/uboot.cmd");
/// Name of the file with the count of boots.
const COUNT: &str = "bootcount";
/// Space on the boot partition besides the kernel and the images, in bytes.
const ROOM: u64 = 8 << 20;
/// Time limit until a boot is good or has ended, in seconds.
const WITHIN: f64 = 120.0;
/// Number of console lines that an error shows.
const SHOWN: usize = 40;

impl Bootloader {
    /// Boots repeatedly until a boot is good. A machine that hangs forever is
    /// an error: a watchdog should have reset it.
    pub fn boot(&self, board: &Board, dir: &Path) -> Result<GoodBoot> {
        let kit = setup::ensure(board)?;
        let [option, firmware] = firmware(board)?;
        let disk = self.disk(board, &kit, dir)?;
        let chosen = Regex::new(r"bootloader: boot \d+, image (\w+)\s")?;
        let good = Regex::new("bootcount 0")?;
        let mut boots = Vec::new();
        let mut last = String::new();
        for _ in 0..=self.tries {
            let mut command = qemu::machine(board, &kit)?;
            command.args([&option, &firmware]);
            qemu::add_disk(&mut command, board, &disk, disk::WRITTEN)?;
            let mut session = Session::run(board, command)?;
            let groups =
                session.expect(&chosen, WITHIN).with_context(|| {
                    format!("no boot script:\n{}", session.tail(SHOWN))
                })?;
            let name = groups.last().map_or("", String::as_str);
            if session.expect(&good, WITHIN).is_ok() {
                boots.push(format!("{name} good"));
                return Ok(GoodBoot {
                    session,
                    boots: boots.join(", "),
                    disk,
                });
            }
            let ended = session.end(0.0).with_context(|| {
                format!("the boot hangs:\n{}", session.tail(SHOWN))
            })?;
            boots.push(format!("{name} {ended}"));
            last = session.tail(SHOWN);
        }
        let boots = boots.join(", ");
        bail!("no boot was confirmed as good: {boots}; the last one:\n{last}")
    }

    /// Makes the disk: a FAT with the kernel, both images and the boot script.
    fn disk(
        &self,
        board: &Board,
        kit: &Fetched,
        dir: &Path,
    ) -> Result<PathBuf> {
        let parameters = qemu::parameters(board);
        let script = SCRIPT
            .replace("@TRIES@", &self.tries.to_string())
            .replace("@PARAMETERS@", &parameters);
        let text = dir.join("boot.cmd");
        fs::write(&text, script)?;
        let packed = dir.join("boot.scr");
        let mkimage = tool::program("mkimage", &["u-boot-tools"])?;
        let mut command = Command::new(mkimage);
        command.args(["-T", "script", "-C", "none", "-d"]);
        run::quiet(command.arg(&text).arg(&packed))?;
        let mut files =
            vec![("boot.scr", packed), ("kernel", kit.kernel.clone())];
        for (name, trees) in [("new", &self.new), ("old", &self.old)] {
            let image = image::make(board, trees, Root::Initramfs, dir)?;
            files.push((name, image.initramfs));
        }
        disk::boot_partition(&files, ROOM, dir.join("boot.img"))
    }
}

/// Checks that U-Boot's count of boots, on this disk, was reset.
pub fn check(disk: &Path) -> Result<()> {
    let count = disk::read_boot_file(disk, COUNT)?;
    let reset = count.trim_end() == "bootcount=0";
    ensure!(reset, "the count of boots was not reset: {count:?}");
    Ok(())
}

/// Returns the U-Boot of a board: QEMU's option and the file.
fn firmware(board: &Board) -> Result<[String; 2]> {
    let system = &board.qemu()?.system;
    let build = BUILDS.iter().find(|[its, ..]| its == system);
    let [_, option, name] = build
        .with_context(|| format!("Debian has no U-Boot for {}", board.name))?;
    let dir = board::work_dir().join("u-boot");
    let file = dir.join(format!("usr/lib/u-boot/{name}/u-boot.bin"));
    if !file.exists() {
        let deb = apt::Root::open(SUITE, "amd64")?.fetch("u-boot-qemu")?;
        apt::unpack(&deb, &dir, &[&format!("*/{name}/u-boot.bin")])?;
    }
    Ok([option.to_string(), file.display().to_string()])
}
