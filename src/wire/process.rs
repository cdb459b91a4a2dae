//! State of a process: the start of /proc/PID/stat (proc(5)).

use crate::text::{leading_number, whole_number};

/// Bit of the kernel's flags: the process is a copy of its parent and has not
/// become another program (PF_FORKNOEXEC).
const NOT_EXECED: u64 = 0x40;

/// The first fields: `PID (NAME) STATE PARENT GROUP SESSION TTY TTY-GROUP
/// FLAGS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStat<'a> {
    /// Name of the program, at most 15 bytes of any value.
    pub name: &'a [u8],
    /// Letter of the state.
    pub state: u8,
    /// The parent is PID 1, which is never the parent of a kernel thread.
    pub orphan: bool,
    /// It has become another program since it was forked.
    pub execed: bool,
}

impl<'a> ProcStat<'a> {
    /// Reads the line; `None` if it is malformed.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let start = line.iter().position(|byte| *byte == b'(')?;
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let name = line.get(start.checked_add(1)?..end)?;
        let mut words = line.get(end..)?.split(|byte| *byte == b' ').skip(1);
        let state = *words.next()?.first()?;
        let orphan = words.next()? == b"1";
        let flags = words.nth(4).map_or(0, |word| leading_number(word).0);
        Some(Self {
            name,
            state,
            orphan,
            execed: flags & NOT_EXECED == 0,
        })
    }

    /// Returns true if a signal has stopped the process.
    pub fn is_stopped(self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// Returns true for a child that has ended and was not reaped.
    pub fn is_zombie(self) -> bool {
        self.state == b'Z'
    }

    /// Returns true for an orphan that hangs in the kernel, where KILL cannot
    /// end it.
    pub fn hangs(self) -> bool {
        self.orphan && self.state == b'D'
    }
}

/// Returns the letter of a process's state and the time of its start, in ticks
/// of the clock since boot (USER_HZ, 100 a second); `None` if the line is
/// malformed or cut.
pub fn start(line: &[u8]) -> Option<(u8, u64)> {
    let end = line.iter().rposition(|byte| *byte == b')')?;
    let mut words = line.get(end..)?.split(|byte| *byte == b' ').skip(1);
    let state = *words.next()?.first()?;
    let ticks = words.nth(18)?;
    // A number that ends the line may be cut.
    words.next()?;
    Some((state, whole_number(ticks)?))
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_byte_may_be_in_a_name() {
        let rows: [(&[u8], &[u8], u8, bool, bool); 5] = [
            (b"7 (sh) S 1 7 7 0 -1", b"sh", b'S', true, true),
            (b"12 (a) R 1) D 11 7", b"a) R 1", b'D', false, true),
            (b"1 (init) S 0 1 1", b"init", b'S', false, true),
            (b"9 (x (y) z) T 1\n", b"x (y) z", b'T', false, true),
            (
                b"8 (runsv) Z 3 8 8 0 -1 4228172 0",
                b"runsv",
                b'Z',
                false,
                false,
            ),
        ];
        for (line, name, state, orphan, execed) in rows {
            let process = ProcStat {
                name,
                state,
                orphan,
                execed,
            };
            assert_eq!(ProcStat::parse(line), Some(process));
        }
        for line in ["", "7", "7 (sh", "7 sh)", "7 (sh)", "7 (sh) S", ") ("] {
            assert_eq!(ProcStat::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn states_and_their_meaning() {
        for state in "RSDZTtXI".chars() {
            for parent in [1, 7] {
                let line = format!("9 (sh) {state} {parent} 9 9 0 -1");
                let process = ProcStat::parse(line.as_bytes()).unwrap();
                let stopped = matches!(state, 'T' | 't');
                assert_eq!(process.is_stopped(), stopped, "{line}");
                let hangs = state == 'D' && parent == 1;
                assert_eq!(process.hangs(), hangs, "{line}");
            }
        }
    }

    #[test]
    fn start_of_a_process() {
        let line = b"7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 \
            8812 3 4\n";
        assert_eq!(start(line), Some((b'S', 8812)));
        let cut = line.iter().rposition(|byte| *byte == b'3').unwrap() - 1;
        assert_eq!(start(&line[..cut]), None);
        assert_eq!(start(b"7 (a) S 1 7"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read(line: Vec<u8>) {
            let _process = ProcStat::parse(&line);
            let _start = start(&line);
        }
    }
}
