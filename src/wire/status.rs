//! Files that a supervisor publishes: the 20-byte `status` record, the line of
//! `stat` and the text of `pid` (contract §1).

use heapless::Vec;
use ufmt::uwrite;

use super::{clock::Wall, tai};

/// Length of `supervise/status`; readers require it.
pub const BYTES: usize = 20;

/// Longest line of `stat`: `finish, paused, got TERM, want down`, newline.
pub const STAT_BYTES: usize = 48;

/// State of a service's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No process.
    Down,
    /// `./run` is running.
    Run,
    /// `./run` has ended, `./finish` is running or about to.
    Finish,
}

/// State that the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Keep it running.
    Up,
    /// Keep it down.
    Down,
    /// Take it down and end its supervision.
    Exit,
}

/// Contents of the three files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Time at which `./run` was started, or the state last became down.
    pub since: Wall,
    /// Process ID, 0 if there is no process. While down: that of a process
    /// that may be this service's, left by an earlier supervisor.
    pub pid: u32,
    /// A pause was requested and not revoked.
    pub paused: bool,
    /// TERM was sent and the process has not ended.
    pub term: bool,
    /// Wanted state. The record cannot represent `Exit`: it is read back as
    /// `Down`.
    pub want: Want,
    /// State of the process.
    pub state: State,
}

/// Encodes the 20-byte record: TAI64N, pid little endian, four flag bytes.
pub fn pack(status: &Status) -> [u8; BYTES] {
    let want = match status.want {
        Want::Up => b'u',
        Want::Down | Want::Exit => b'd',
    };
    let state = match status.state {
        State::Down => 0,
        State::Run => 1,
        State::Finish => 2,
    };
    let flags = [u8::from(status.paused), want, u8::from(status.term), state];
    let bytes = tai::pack(status.since)
        .into_iter()
        .chain(status.pid.to_le_bytes())
        .chain(flags);
    let mut record = [0; BYTES];
    for (place, byte) in record.iter_mut().zip(bytes) {
        *place = byte;
    }
    record
}

/// Decodes a record; `None` unless it is exactly 20 bytes.
///
/// An unknown state byte is read as down: no supervisor writes one.
pub fn unpack(bytes: &[u8]) -> Option<Status> {
    let (stamp, rest) = bytes.split_first_chunk::<{ tai::BYTES }>()?;
    let (pid, rest) = rest.split_first_chunk::<4>()?;
    let [paused, want, term, state] = *rest else {
        return None;
    };
    Some(Status {
        since: tai::unpack(*stamp),
        pid: u32::from_le_bytes(*pid),
        paused: paused != 0,
        term: term != 0,
        want: if want == b'u' { Want::Up } else { Want::Down },
        state: match state {
            1 => State::Run,
            2 => State::Finish,
            _ => State::Down,
        },
    })
}

/// Returns the line of `supervise/stat`, newline included.
pub fn stat(status: &Status) -> Vec<u8, STAT_BYTES> {
    let down = status.state == State::Down;
    let parts = [
        match status.state {
            State::Down => "down",
            State::Run => "run",
            State::Finish => "finish",
        },
        if status.paused { ", paused" } else { "" },
        if status.term { ", got TERM" } else { "" },
        match status.want {
            Want::Down if !down => ", want down",
            Want::Exit if !down => ", want exit",
            Want::Up | Want::Down | Want::Exit => "",
        },
        "\n",
    ];
    let mut line = Vec::new();
    for byte in parts.iter().flat_map(|part| part.bytes()) {
        // STAT_BYTES holds the longest combination: the test below tries all.
        if line.push(byte).is_err() {
            break;
        }
    }
    line
}

/// Returns the text of `supervise/pid`: decimal and newline, or nothing.
pub fn pid(pid: u32) -> Vec<u8, 11> {
    let mut text = Vec::new();
    // The longest text is ten digits and a newline.
    if pid != 0 && uwrite!(text, "{}\n", pid).is_err() {
        text.clear();
    }
    text
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    fn status() -> impl Strategy<Value = Status> {
        let states = [State::Down, State::Run, State::Finish];
        let wants = [Want::Up, Want::Down, Want::Exit];
        (
            0..1u64 << 40,
            0..1_000_000_000u32,
            any::<u32>(),
            any::<[bool; 2]>(),
            0..3usize,
            0..3usize,
        )
            .prop_map(
                move |(secs, nanos, pid, [paused, term], want, state)| Status {
                    since: Wall { secs, nanos },
                    pid,
                    paused,
                    term,
                    want: wants[want],
                    state: states[state],
                },
            )
    }

    #[test]
    fn the_record_of_the_contract() {
        let status = Status {
            since: Wall {
                secs: 0x6b02_866e - 10,
                nanos: 0x0696_12c4,
            },
            pid: 0x4644,
            paused: false,
            term: false,
            want: Want::Up,
            state: State::Run,
        };
        let sample =
            b"\x40\0\0\0\x6b\x02\x86\x6e\x06\x96\x12\xc4\x44\x46\0\0\0u\0\x01";
        assert_eq!(&pack(&status), sample);
        assert_eq!(stat(&status), b"run\n");
        assert_eq!(pid(status.pid), b"17988\n");
        assert_eq!(pid(0), b"");
        assert_eq!(pid(u32::MAX), b"4294967295\n");
        assert_eq!(unpack(&sample[..19]), None);
        assert_eq!(unpack(&[&sample[..], b"x"].concat()), None);
    }

    /// Contract §1.2.
    #[test]
    fn every_line_of_stat() {
        let states = [
            (State::Down, "down"),
            (State::Run, "run"),
            (State::Finish, "finish"),
        ];
        let wants = [
            (Want::Up, ""),
            (Want::Down, ", want down"),
            (Want::Exit, ", want exit"),
        ];
        for (state, name) in states {
            for (want, wanted) in wants {
                for (paused, term) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    let status = Status {
                        since: Wall { secs: 0, nanos: 0 },
                        pid: 1,
                        paused,
                        term,
                        want,
                        state,
                    };
                    let line = [
                        name,
                        if paused { ", paused" } else { "" },
                        if term { ", got TERM" } else { "" },
                        if state == State::Down { "" } else { wanted },
                        "\n",
                    ];
                    assert_eq!(stat(&status), line.concat().as_bytes());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn unpack_undoes_pack_but_for_exit(status in status()) {
            let want = if status.want == Want::Up { Want::Up } else { Want::Down };
            prop_assert_eq!(unpack(&pack(&status)), Some(Status { want, ..status }));
        }
    }
}
