//! Reads the kernel's information on processes: memory, time, wake-ups,
//! descendants.

use std::{collections::BTreeMap, fs};

/// A process ID.
pub type Pid = u32;

/// Memory of a set of processes, in kB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Proportional share of all pages.
    pub pss: f64,
    /// Private pages that were written.
    pub dirty: f64,
}

/// Scheduling counts and processor time of a set of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Number of times that one was put on a processor.
    pub turns: u64,
    /// Processor time in nanoseconds.
    pub nanos: u64,
    /// Number of times that one went to sleep voluntarily.
    pub sleeps: u64,
}

/// Returns the monotonic time in nanoseconds, the clock that the services use.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the text of a file below /proc; empty for a process that has ended.
fn text(pid: Pid, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the number after a heading.
fn number(text: &str, heading: &str) -> u64 {
    let mut lines = text.lines();
    let rest = lines.find_map(|line| line.strip_prefix(heading));
    let word = rest.and_then(|rest| rest.split_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Returns the memory of a set of processes.
pub fn memory(pids: &[Pid]) -> Memory {
    let mut memory = Memory::default();
    for pid in pids {
        let rollup = text(*pid, "smaps_rollup");
        memory.pss += number(&rollup, "Pss:") as f64;
        memory.dirty += number(&rollup, "Private_Dirty:") as f64;
    }
    memory
}

/// Returns the activity of a set of processes since they began.
pub fn activity(pids: &[Pid]) -> Activity {
    let mut activity = Activity::default();
    for pid in pids {
        let times = text(*pid, "schedstat");
        let mut words =
            times.split_whitespace().map(|w| w.parse().unwrap_or(0));
        activity.nanos += words.next().unwrap_or(0);
        activity.turns += words.nth(1).unwrap_or(0);
        let status = text(*pid, "status");
        activity.sleeps += number(&status, "voluntary_ctxt_switches:");
    }
    activity
}

/// Returns every running process with its parent.
fn parents() -> BTreeMap<Pid, Pid> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let stat = text(pid, "stat");
        // The name in parentheses may contain any character.
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut words = rest.split(' ');
        if words.next().is_some_and(|state| state != "Z")
            && let Some(parent) = words.next().and_then(|w| w.parse().ok())
        {
            parents.insert(pid, parent);
        }
    }
    parents
}

/// Returns those of the given processes and their descendants that still run.
pub fn family(roots: &[Pid]) -> Vec<Pid> {
    let parents = parents();
    let mut family: Vec<Pid> = roots.to_vec();
    let mut next = 0;
    while let Some(pid) = family.get(next).copied() {
        next += 1;
        for (child, parent) in &parents {
            if *parent == pid && !family.contains(child) {
                family.push(*child);
            }
        }
    }
    family.retain(|pid| parents.contains_key(pid));
    family
}

/// Returns the file that a process executes.
pub fn program(pid: Pid) -> Option<std::path::PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}
