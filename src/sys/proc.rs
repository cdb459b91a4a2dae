//! What the kernel tells of a process in /proc.

use super::{CWD, Errno, file};
use crate::text::{Line, Path, whole_number};

/// Reads `/proc/PID/NAME`, of which what is longer than the buffer is left.
pub fn read<'b>(
    pid: u32,
    name: &str,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let mut path = Line::new();
    path.text("/proc/").number(pid.into()).text("/").text(name);
    // It is short, and holds no NUL.
    let path = Path::join(&[path.as_bytes()]).map_err(|_| Errno::EINVAL)?;
    file::read_whole(CWD, path.as_c_str(), buffer)
}

/// Whether a process is there and is not just a copy of the one that started
/// it, which has not become a program or cannot. False where /proc is none.
pub fn is_program(pid: u32) -> bool {
    /// PF_FORKNOEXEC.
    const FORKNOEXEC: u64 = 0x40;
    /// Which word behind the program's name has the flags (proc(5)).
    const FLAGS: usize = 7;
    let mut stat = [0; 128];
    let stat = read(pid, "stat", &mut stat).unwrap_or_default();
    let behind = stat.rsplit(|byte| *byte == b')').next();
    let words = behind.map(|b| b.split(|byte| *byte == b' '));
    let flags = words.and_then(|mut words| words.nth(FLAGS));
    let flags = flags.and_then(whole_number);
    flags.is_some_and(|flags| flags & FORKNOEXEC == 0)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn who_became_a_program_is_one() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        // Std waits until it is one.
        assert!(is_program(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_program(child.id()));
        // A thread of the kernel never becomes one.
        let kthreadd = std::fs::read_to_string("/proc/2/comm");
        if kthreadd.is_ok_and(|name| name == "kthreadd\n") {
            assert!(!is_program(2));
        }
    }
}
