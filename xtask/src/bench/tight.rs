//! Makes memory tight with a control group whose limit is always reached,
//! because one of its processes reads a large file forever.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context as _, Result};

use super::process::Pid;

/// Memory limit of the group in bytes. 64 services and their supervisor need
/// half of it, most of that in the kernel.
const LIMIT: u64 = 16 << 20;

/// Size of the file in bytes: four times the limit.
const FILE: u64 = 4 * LIMIT;

/// Possible directories of the memory controller, and the name of the limit in
/// each.
const TREES: [(&str, &str); 3] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    ("/sys/fs/cgroup/unified", "memory.max"),
    ("/sys/fs/cgroup", "memory.max"),
];

/// The group and the process that fills it.
pub struct Tight {
    group: PathBuf,
    churn: Child,
}

impl Tight {
    /// Creates the group, moves the processes into it and waits until it is
    /// full.
    pub fn new(floor: &Path, pids: &[Pid]) -> Result<Self> {
        let file = super::output_dir()?.join("churn");
        let name = format!("runt-bench-{}", std::process::id());
        let (group, limit) = TREES
            .iter()
            .find_map(|(tree, limit)| {
                let group = Path::new(tree).join(&name);
                fs::create_dir(&group).ok()?;
                let limit = group.join(limit);
                if limit.exists() {
                    return Some((group, limit));
                }
                let _none = fs::remove_dir(&group);
                None
            })
            .context("cannot make a memory control group")?;
        File::create(&file)?.set_len(FILE)?;
        let churn = Command::new(floor).arg("churn").arg(&file).spawn()?;
        // From here on a failure removes the group.
        let tight = Self { group, churn };
        fs::write(&limit, LIMIT.to_string())?;
        for pid in pids.iter().chain([&tight.churn.id()]) {
            // One by one: the file accepts a single number per write.
            fs::write(tight.group.join("cgroup.procs"), pid.to_string())?;
        }
        // What was read before would never count for the group.
        File::create(&file)?.set_len(FILE)?;
        while tight.used()? < LIMIT - LIMIT / 8 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(tight)
    }

    /// Returns the memory use of the group in bytes.
    fn used(&self) -> Result<u64> {
        let names = ["memory.usage_in_bytes", "memory.current"];
        let text = names
            .iter()
            .find_map(|name| fs::read_to_string(self.group.join(name)).ok());
        Ok(text
            .context("the group has no memory usage")?
            .trim()
            .parse()?)
    }
}

impl Drop for Tight {
    /// Kills the reader and moves the group's processes back to the root
    /// group.
    fn drop(&mut self) {
        let _ended = self.churn.kill();
        let _reaped = self.churn.wait();
        let procs = "cgroup.procs";
        let left = fs::read_to_string(self.group.join(procs));
        for pid in left.unwrap_or_default().lines() {
            let root = self.group.parent().map(|root| root.join(procs));
            let _moved = root.map(|root| fs::write(root, pid));
        }
        let _removed = fs::remove_dir(&self.group);
    }
}
