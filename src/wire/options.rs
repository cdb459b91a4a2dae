//! Reads the optional files of a service directory: s6's names and units where
//! s6 has them, otherwise files in `runt/`.
//!
//! | file | content |
//! |---|---|
//! | `down-signal` | signal that stops the service instead of TERM |
//! | `timeout-kill` | milliseconds from that signal to KILL; 0: never |
//! | `log/timeout-kill` | milliseconds from the end of its input to KILL for the logger; 0: never |
//! | `timeout-finish` | milliseconds that `./finish` may take; 0: no limit |
//! | `max-death-tally` | short runs in a row until the service is parked |
//! | `runt/backoff` | FIRST CAP RESET-AFTER JITTER, see [`Backoff`] |
//! | `runt/timeout-control` | milliseconds that a script of `control` may take |
//! | `runt/log-ring` | bytes of the service's output that are kept if there is no `log/` |
//! | `runt/log-console` | empty, or a device: the service's lines are shown there |
//! | `runt/group-kill` | its process group is stopped ([`GroupKill`]), its own cgroup killed |

use super::control::Signal;
use crate::text::whole_number;

/// Growth of the delay between the starts of a service that keeps failing.
///
/// The file has up to four numbers; trailing ones may be omitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Milliseconds to wait after the first short run; doubled by each further
    /// one.
    pub first: u32,
    /// Maximum delay in milliseconds, without jitter.
    pub cap: u32,
    /// Run time in milliseconds after which the service counts as working
    /// again.
    pub reset_after: u32,
    /// Maximum random addition to the delay in per cent, so that services that
    /// failed together are not restarted together.
    pub jitter: u32,
}

impl Backoff {
    /// Values for an empty file.
    pub const DEFAULT: Self = Self {
        first: 1000,
        cap: 60_000,
        reset_after: 60_000,
        jitter: 10,
    };

    /// Minimum of any delay in milliseconds: less would be a busy loop.
    pub const LEAST: u32 = 100;
}

/// Signals that are sent to the whole process group of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKill {
    /// An empty file: all that stop it, `down-signal`, CONT and KILL.
    All,
    /// `mixed`: KILL only; the others are sent to the main process (as
    /// `KillMode=mixed` of systemd).
    Mixed,
}

/// Reads `runt/group-kill`; `None` for an unknown word.
pub fn group_kill(text: &[u8]) -> Option<GroupKill> {
    match text.trim_ascii() {
        b"" => Some(GroupKill::All),
        b"mixed" => Some(GroupKill::Mixed),
        _ => None,
    }
}

/// Reads a file with one number; `None` if it is malformed.
pub fn number(text: &[u8]) -> Option<u32> {
    u32::try_from(whole_number(text.trim_ascii())?).ok()
}

/// Reads `runt/backoff`; `None` if a word is no number or there are more than
/// four.
pub fn backoff(text: &[u8]) -> Option<Backoff> {
    let d = Backoff::DEFAULT;
    let mut fields = [d.first, d.cap, d.reset_after, d.jitter];
    let mut places = fields.iter_mut();
    let words = text.split(u8::is_ascii_whitespace);
    for word in words.filter(|word| !word.is_empty()) {
        *places.next()? = number(word)?;
    }
    let [first, cap, reset_after, jitter] = fields;
    Some(Backoff {
        first,
        cap,
        reset_after,
        jitter,
    })
}

/// Reads `down-signal`: a name with or without `SIG`, or a number if that is
/// the same on every machine (as in s6-supervise).
///
/// Returns `None` for a signal that cannot stop a process.
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
        // A signal without a number has another one on MIPS.
        let rows = [
            ("HUP", "1", Signal::Hangup),
            ("INT", "2", Signal::Interrupt),
            ("QUIT", "3", Signal::Quit),
            ("KILL", "9", Signal::Kill),
            ("ALRM", "14", Signal::Alarm),
            ("TERM", "15", Signal::Terminate),
            ("USR1", "USR1", Signal::User1),
            ("USR2", "USR2", Signal::User2),
        ];
        for (name, number, signal) in rows {
            let long = format!("SIG{name}\n");
            for text in [name, number, &long] {
                let read = down_signal(text.as_bytes());
                assert_eq!(read, Some(signal), "{text}");
            }
        }
        for text in ["", "CONT", "STOP", "SIGSTOP", "10", "12", "SIG"] {
            assert_eq!(down_signal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn group_kill_is_empty_or_mixed() {
        for text in ["", "\n", " \n"] {
            assert_eq!(group_kill(text.as_bytes()), Some(GroupKill::All));
        }
        assert_eq!(group_kill(b"mixed\n"), Some(GroupKill::Mixed));
        assert_eq!(group_kill(b"mix"), None);
    }

    #[test]
    fn numbers_and_malformed_numbers() {
        assert_eq!(number(b"300\n"), Some(300));
        assert_eq!(number(b" 0 "), Some(0));
        for wrong in ["", "\n", "1s", "-1", "4294967296"] {
            assert_eq!(number(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn the_last_numbers_of_a_backoff_may_be_left_out() {
        let rows: &[(&str, [u32; 4])] = &[
            ("", [1000, 60_000, 60_000, 10]),
            ("500\n", [500, 60_000, 60_000, 10]),
            ("1 2000\t3000\n", [1, 2000, 3000, 10]),
            ("200 400 600 0", [200, 400, 600, 0]),
        ];
        for (text, [first, cap, reset_after, jitter]) in rows {
            let expected = Backoff {
                first: *first,
                cap: *cap,
                reset_after: *reset_after,
                jitter: *jitter,
            };
            assert_eq!(backoff(text.as_bytes()), Some(expected), "{text}");
        }
        assert_eq!(backoff(b"1 2 3 4 5"), None);
        assert_eq!(backoff(b"1000 never"), None);
    }
}
