//! Reads what the kernel reports of a process in /proc.

use super::{
    AsFd as _, CWD, Errno, Fd, child, dir,
    file::{self, Identity},
};
use crate::{
    text::{Line, Path, whole_number},
    wire::process,
};

/// Reads `/proc/PID/NAME`, at most as much as the buffer holds.
pub fn read<'b>(
    pid: u32,
    name: &str,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    file::read_whole(CWD, path(pid, name)?.as_c_str(), buffer)
}

/// Returns the path `/proc/PID/NAME`.
pub(super) fn path(pid: u32, name: &str) -> Result<Path, Errno> {
    let mut path = Line::new();
    path.text("/proc/").number(pid.into()).text("/").text(name);
    // It is short and holds no NUL.
    Path::join(&[path.as_bytes()]).map_err(|_| Errno::EINVAL)
}

/// Returns the letter of the state of a process and the time of its start, as
/// [`process::start`] does. `None` when there is no such process, or no /proc.
pub fn start(pid: u32) -> Option<(u8, u64)> {
    let mut stat = [0; 384];
    process::start(read(pid, "stat", &mut stat).ok()?)
}

/// Returns the identity of a process's working directory.
pub fn cwd(pid: u32) -> Result<Identity, Errno> {
    let path = path(pid, "cwd")?;
    file::info(CWD, path.as_c_str()).map(|info| info.identity)
}

/// Opens a process's working directory.
pub fn open_cwd(pid: u32) -> Result<Fd, Errno> {
    file::open_dir(CWD, path(pid, "cwd")?.as_c_str())
}

/// Returns the path of a process's working directory, as
/// [`file::link_target`] does.
pub fn cwd_path(pid: u32, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    file::link_target(CWD, path(pid, "cwd")?.as_c_str(), buffer)
}

/// Returns a child of this process that leads a session, works in `dir` and is
/// `wanted`. `None` without /proc.
pub fn find_led(dir: Identity, wanted: &dyn Fn(u32) -> bool) -> Option<u32> {
    let all = file::open_dir(CWD, c"/proc").ok()?;
    let mut found = None;
    // An error ends the search.
    let _part = dir::list(all.as_fd(), |name| {
        let number = whole_number(name.to_bytes());
        let pid = number.and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.filter(|pid| {
            child::is_child(*pid)
                && child::leads_session(*pid)
                && cwd(*pid) == Ok(dir)
                && wanted(*pid)
        });
        found = found.or(pid);
    })
    .is_err();
    found
}

/// Returns true when a process exists and has called `execve`: it is not just
/// a copy of its parent, which has not become a program yet or could not.
/// False where /proc is not mounted.
pub fn is_program(pid: u32) -> bool {
    /// PF_FORKNOEXEC.
    const FORKNOEXEC: u64 = 0x40;
    /// The index of the flags in the words after the program's name (proc(5)).
    const FLAGS: usize = 7;
    let mut stat = [0; 128];
    let stat = read(pid, "stat", &mut stat).unwrap_or_default();
    let after = stat.rsplit(|byte| *byte == b')').next();
    let words = after.map(|b| b.split(|byte| *byte == b' '));
    let flags = words.and_then(|mut words| words.nth(FLAGS));
    let flags = flags.and_then(whole_number);
    flags.is_some_and(|flags| flags & FORKNOEXEC == 0)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_process_is_a_program_after_execve() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        // Std waits until the child has called `execve`.
        assert!(is_program(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_program(child.id()));
        // A kernel thread never calls it.
        let kthreadd = std::fs::read_to_string("/proc/2/comm");
        if kthreadd.is_ok_and(|name| name == "kthreadd\n") {
            assert!(!is_program(2));
        }
    }
}
