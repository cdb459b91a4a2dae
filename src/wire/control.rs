//! What a byte written to `supervise/control` asks for (contract §2.6).

/// A signal that a control byte can send, by its meaning and not its number:
/// numbers differ between machines.
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
    /// `t`: stop the process; what is wanted stays as it is.
    Term,
    /// `k`: kill the process.
    Kill,
    /// `p`: stop the process with STOP and remember it.
    Pause,
    /// `c`: let it go on.
    Cont,
    /// `a h i q 1 2`: send that signal and nothing else.
    Send(Signal),
}

/// What `byte` asks for; `None` for every byte that runit ignores, a newline
/// among them.
pub fn decode(byte: u8) -> Option<Control> {
    match byte {
        b'u' => Some(Control::Up),
        b'd' => Some(Control::Down),
        b'o' => Some(Control::Once),
        b'x' => Some(Control::Exit),
        b't' => Some(Control::Term),
        b'k' => Some(Control::Kill),
        b'p' => Some(Control::Pause),
        b'c' => Some(Control::Cont),
        b'a' => Some(Control::Send(Signal::Alarm)),
        b'h' => Some(Control::Send(Signal::Hangup)),
        b'i' => Some(Control::Send(Signal::Interrupt)),
        b'q' => Some(Control::Send(Signal::Quit)),
        b'1' => Some(Control::Send(Signal::User1)),
        b'2' => Some(Control::Send(Signal::User2)),
        _ => None,
    }
}

/// The signal that a file `down-signal` names: with `SIG` or without, or by
/// its number where that is the same on every machine (s6-supervise).
///
/// `None` for what cannot stop a process.
pub fn down_signal(text: &[u8]) -> Option<Signal> {
    let name = text.trim_ascii();
    let name = name.strip_prefix(b"SIG").unwrap_or(name);
    match name {
        b"HUP" | b"1" => Some(Signal::Hangup),
        b"INT" | b"2" => Some(Signal::Interrupt),
        b"QUIT" | b"3" => Some(Signal::Quit),
        b"KILL" | b"9" => Some(Signal::Kill),
        b"ALRM" | b"14" => Some(Signal::Alarm),
        b"TERM" | b"15" => Some(Signal::Terminate),
        b"USR1" => Some(Signal::User1),
        b"USR2" => Some(Signal::User2),
        _ => None,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn signals_that_stop() {
        assert_eq!(down_signal(b"HUP\n"), Some(Signal::Hangup));
        assert_eq!(down_signal(b"SIGQUIT"), Some(Signal::Quit));
        assert_eq!(down_signal(b"15"), Some(Signal::Terminate));
        assert_eq!(down_signal(b"CONT"), None);
        assert_eq!(down_signal(b""), None);
    }

    #[test]
    fn fourteen_bytes_mean_something() {
        let known: Vec<u8> =
            (0..=255).filter(|byte| decode(*byte).is_some()).collect();
        assert_eq!(known, b"12acdhikopqtux");
    }
}
