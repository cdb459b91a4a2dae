//! Lets this machine execute programs of another architecture, through
//! binfmt_misc and QEMU's user emulation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{run, tool};

/// The directory of binfmt_misc.
const DIR: &str = "/proc/sys/fs/binfmt_misc";

/// A registered architecture; it is removed again when this is dropped.
pub struct Foreign {
    /// The file of the entry, if it was registered here.
    entry: Option<PathBuf>,
}

impl Foreign {
    /// Registers an architecture by QEMU's name of it, such as `riscv64`; does
    /// nothing if this machine is of that architecture or has an entry already.
    /// Only root can do that.
    pub fn register(arch: &str) -> Result<Self> {
        let entry = Path::new(DIR).join(format!("qemu-{arch}"));
        if arch == std::env::consts::ARCH || entry.exists() {
            return Ok(Self { entry: None });
        }
        let emulator = format!("qemu-{arch}-static");
        tool::program(&emulator, &["qemu-user-static"])?;
        let register = Path::new(DIR).join("register");
        if !register.exists() {
            let mut mount = Command::new("mount");
            mount.args(["-t", "binfmt_misc", "binfmt_misc", DIR]);
            run::quiet(&mut mount)?;
        }
        // The package's line has the flag F: the kernel opens the emulator
        // once, so that it is found inside another root.
        let file = format!("/usr/lib/binfmt.d/qemu-{arch}.conf");
        let line = fs::read_to_string(&file)
            .with_context(|| format!("cannot read {file}"))?;
        // The installation of the package may have registered it.
        if entry.exists() {
            return Ok(Self { entry: None });
        }
        fs::write(&register, line.trim_end()).with_context(|| {
            format!("cannot write {file} to {}", register.display())
        })?;
        Ok(Self { entry: Some(entry) })
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(entry) = &self.entry
            && let Err(error) = fs::write(entry, "-1")
        {
            eprintln!("cannot remove {}: {error}", entry.display());
        }
    }
}
