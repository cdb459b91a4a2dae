//! Bytes of `supervise/control` and their meaning (contract §2.6).

/// Signal that a control byte can send, by its meaning and not its number:
/// numbers differ between architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the signals' own")]
pub enum Signal {
    Alarm,
    Continue,
    Hangup,
    Interrupt,
    Kill,
    Quit,
    Stop,
    Terminate,
    User1,
    User2,
}

/// One request of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// `u`: want up, start when down.
    Up,
    /// `d`: want down, stop when running.
    Down,
    /// `o`: run once: start when down, do not restart.
    Once,
    /// `x`: want exit: stop, and be supervised no more.
    Exit,
    /// `t`: terminate the process; the wanted state does not change.
    Term,
    /// `k`: kill the process.
    Kill,
    /// `p`: stop the process with STOP and set the flag.
    Pause,
    /// `c`: continue the process.
    Cont,
    /// `a h i q 1 2`: send that signal and nothing else.
    Send(Signal),
}

/// Every byte with a meaning, and its request.
const BYTES: [(u8, Control); 14] = [
    (b'u', Control::Up),
    (b'd', Control::Down),
    (b'o', Control::Once),
    (b'x', Control::Exit),
    (b't', Control::Term),
    (b'k', Control::Kill),
    (b'p', Control::Pause),
    (b'c', Control::Cont),
    (b'a', Control::Send(Signal::Alarm)),
    (b'h', Control::Send(Signal::Hangup)),
    (b'i', Control::Send(Signal::Interrupt)),
    (b'q', Control::Send(Signal::Quit)),
    (b'1', Control::Send(Signal::User1)),
    (b'2', Control::Send(Signal::User2)),
];

/// Decodes `byte`; `None` for every byte that runit ignores, including a
/// newline.
pub fn decode(byte: u8) -> Option<Control> {
    let known = BYTES.iter().find(|(known, _)| *known == byte);
    known.map(|(_, control)| *control)
}

/// Returns the byte of `control`, which is also the name of its script.
pub fn encode(control: Control) -> u8 {
    let known = BYTES.iter().find(|(_, known)| *known == control);
    known.map_or(b'\n', |(byte, _)| *byte)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn fourteen_bytes_are_known() {
        let known: Vec<u8> =
            (0..=255).filter(|byte| decode(*byte).is_some()).collect();
        assert_eq!(known, b"12acdhikopqtux");
        for byte in known {
            assert_eq!(decode(byte).map(encode), Some(byte));
        }
    }
}
