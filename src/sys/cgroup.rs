//! Finds, writes to and kills control groups of version 2 (cgroups(7), the
//! kernel's cgroup-v2 document).

use core::ffi::CStr;

use rustix::fd::AsFd as _;

use super::{At, CWD, Errno, Fd, file, proc, write_all};
use crate::{config, text::Path};

/// The roots of the tree: alone, or beside version 1.
const TREES: [&CStr; 2] = [c"/sys/fs/cgroup", c"/sys/fs/cgroup/unified"];

/// Opens the root of the tree; `None` where the kernel lacks it.
pub fn tree() -> Option<Fd> {
    TREES.iter().find_map(|path| {
        let tree = file::open_dir(CWD, path).ok()?;
        file::info(tree.as_fd(), c"cgroup.controllers").ok()?;
        Some(tree)
    })
}

/// Writes `text` to a file of a group.
pub fn write_file(
    group: At<'_>,
    name: &CStr,
    text: &[u8],
) -> Result<(), Errno> {
    let file = file::open_write(group, name)?;
    write_all(file.as_fd(), text)
}

/// Returns the group of a process or zombie: its path from the root of the
/// tree, with a `/` at its start. ENOENT: there is no such process, no /proc,
/// or only version 1. ENAMETOOLONG: the path exceeds `config::PATH_BYTES`.
pub fn of(pid: u32) -> Result<Path, Errno> {
    find(proc::path(pid, "cgroup")?.as_c_str())
}

/// Returns the group of version 2 in a file of the form of /proc/PID/cgroup,
/// as [`of`] does. Its line may follow lines of version 1, of any number and
/// length.
fn find(path: &CStr) -> Result<Path, Errno> {
    let mut buffer = [0; config::PATH_BYTES];
    let mut found = Err(Errno::ENOENT);
    file::lines(CWD, path, &mut buffer, |line| {
        match line.map(|line| line.strip_prefix(b"0::")) {
            Some(None) => return true,
            Some(Some(group)) => {
                let group = Path::join(&[group]);
                found = group.map_err(|_| Errno::ENAMETOOLONG);
            }
            None => found = Err(Errno::ENAMETOOLONG),
        }
        found.is_err()
    })?;
    found
}

/// Returns true when a process is in a group, or in one below it, or when that
/// cannot be told since the path of its group is too long.
pub fn may_contain(group: &Path, pid: u32) -> bool {
    match of(pid) {
        Ok(of) => {
            let below = of.as_bytes().strip_prefix(group.as_bytes());
            below.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
        }
        Err(errno) => errno == Errno::ENAMETOOLONG,
    }
}

/// Kills every process of a group. ENOENT: the kernel lacks this (before Linux
/// 5.14), or there is no such group.
pub fn kill(group: &Path) -> Result<(), Errno> {
    let path = file::path_of(&[b".", group.as_bytes(), b"/cgroup.kill"])?;
    let tree = tree().ok_or(Errno::ENOENT)?;
    write_file(tree.as_fd(), path.as_c_str(), b"1")
}

#[cfg(test)]
mod test {
    use std::{ffi::CString, format, string::String, vec::Vec};

    use super::*;
    use crate::sys::child;

    /// Returns what is found in a file with these lines.
    fn found(lines: &[&str]) -> Result<String, Errno> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
        std::fs::write(file.path(), text).unwrap();
        let path = CString::new(file.path().to_str().unwrap()).unwrap();
        let group = find(&path)?;
        Ok(String::from_utf8(group.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn the_group_of_version_2_is_found_behind_any_lines() {
        let long = format!("12:cpuset:/{}", "x".repeat(2 * config::PATH_BYTES));
        let container = format!("/docker/{}", "5a".repeat(32));
        let old: Vec<_> = (1..20)
            .map(|number| format!("{number}:name{number}:{container}"))
            .collect();
        for before in [Vec::new(), old, [long.clone()].into()] {
            let mut lines: Vec<_> = before.iter().map(String::as_str).collect();
            lines.push("0::/a/b");
            assert_eq!(found(&lines).as_deref(), Ok("/a/b"));
        }
        assert_eq!(found(&["1:cpu:/"]), Err(Errno::ENOENT));
        let long = format!("0::/{}", "x".repeat(config::PATH_BYTES));
        assert_eq!(found(&[&long]), Err(Errno::ENAMETOOLONG));
        // Its line may be the one that is too long.
        assert_eq!(found(&[&long, "1:cpu:/"]), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn a_group_contains_its_own_processes() {
        // Both fail where the kernel has no version 2.
        let Ok(own) = of(child::own_pid()) else {
            return;
        };
        assert!(own.as_bytes().starts_with(b"/"));
        assert!(may_contain(&own, child::own_pid()));
        let other = Path::join(&[own.as_bytes(), b"x"]).unwrap();
        assert!(!may_contain(&other, child::own_pid()));
        // There is no process of this number.
        assert!(!may_contain(&own, u32::MAX));
    }
}
