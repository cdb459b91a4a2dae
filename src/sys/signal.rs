//! Receives signals from a descriptor, and sends them. Only `fault` has a
//! handler.

use rustix::{
    fd::AsFd,
    process::{Pid, Signal, kill_process},
};

use super::{At, Errno, Fd, error, raw, read};
use crate::wire::control;

pub use rustix::process::Signal as Number;

/// The signal that asks PID 1 to halt: glibc's RTMIN+3, which the host of a
/// container sends (systemd(1)).
pub const HALT: Signal = {
    // SAFETY: there is no C library that uses this number.
    unsafe { Signal::from_raw_unchecked(37) }
};
/// The signal that asks PID 1 to power off: RTMIN+4.
pub const OFF: Signal = {
    // SAFETY: as above.
    unsafe { Signal::from_raw_unchecked(38) }
};
/// The signal that asks PID 1 to restart the machine: RTMIN+5.
pub const RESTART: Signal = {
    // SAFETY: as above.
    unsafe { Signal::from_raw_unchecked(39) }
};

/// The signal that asks PID 1 for a soft reboot: RTMIN+7, as for systemd.
pub const SOFT_REBOOT: Signal = {
    // SAFETY: as above.
    unsafe { Signal::from_raw_unchecked(41) }
};

/// Size of a `struct signalfd_siginfo` in bytes; it begins with the signal's
/// number.
const INFO: usize = 128;

/// A descriptor that collects signals, which then do not interrupt.
#[derive(Debug)]
pub struct Signals(Fd);

impl Signals {
    /// Blocks and collects `wanted`; all other signals have their default
    /// actions.
    ///
    /// All dispositions are reset to their defaults, so that every child
    /// starts with them whatever this process inherited.
    pub fn take(wanted: &[Signal]) -> Result<Self, Errno> {
        for signal in 1..=raw::LAST_SIGNAL {
            // KILL, STOP and the C library's own are refused, which is fine.
            let _refused = raw::default_action(signal.into()).is_err();
        }
        Self::collect(wanted)
    }

    /// Blocks and collects `wanted`, and resets them to their default actions;
    /// all others stay as they were inherited.
    pub fn collect(wanted: &[Signal]) -> Result<Self, Errno> {
        let mut mask = raw::Mask::default();
        for signal in wanted {
            let number = signal.as_raw().cast_unsigned();
            // With CHLD ignored there would be no child to wait for.
            raw::default_action(number)?;
            let bit = number.wrapping_sub(1);
            let word = usize::try_from(bit >> 5).unwrap_or(usize::MAX);
            if let Some(word) = mask.get_mut(word) {
                *word |= 1_u32.wrapping_shl(bit);
            }
        }
        raw::set_mask(&mask)?;
        raw::signalfd(&mask).map(Self)
    }

    /// Returns the next signal that arrived, or `None` when there is none.
    pub fn next(&self) -> Option<Signal> {
        let mut info = [0; INFO];
        match read(self.0.as_fd(), &mut info) {
            Ok(INFO) => {
                let number = info.first_chunk::<4>()?;
                let number = i32::from_ne_bytes(*number);
                let mut unnamed = [HALT, OFF, RESTART, SOFT_REBOOT].into_iter();
                Signal::from_named_raw(number)
                    .or_else(|| unnamed.find(|s| s.as_raw() == number))
            }
            _ => None,
        }
    }

    /// Returns the descriptor that becomes readable when a signal arrives.
    pub fn as_fd(&self) -> At<'_> {
        self.0.as_fd()
    }
}

/// Unblocks all signals: the state in which children start.
pub(super) fn unblock_all() {
    // The call does not fail with a mask of the right size.
    let _refused = raw::set_mask(&raw::Mask::default()).is_err();
}

/// Returns true when no process has the number `pid`.
pub fn is_unused(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| {
        let asked = rustix::process::test_kill_process(pid);
        asked == Err(rustix::io::Errno::SRCH)
    })
}

/// Sends a signal to one process.
pub fn kill(pid: u32, signal: Signal) -> Result<(), Errno> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(Errno::ESRCH)?;
    kill_process(pid, signal).map_err(error::from)
}

/// Sends a signal to the calling thread.
#[cfg(test)]
pub fn kill_thread(signal: Signal) {
    super::raw::tgkill(signal.as_raw().cast_unsigned()).unwrap();
}

/// Sends a signal to the process group that `leader` leads.
pub fn kill_group(leader: u32, signal: Signal) -> Result<(), Errno> {
    let pid = i32::try_from(leader).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(Errno::ESRCH)?;
    rustix::process::kill_process_group(pid, signal).map_err(error::from)
}

/// Sends a signal to the process group that `leader`, a child that has not
/// been waited for, leads or is about to lead.
///
/// ESRCH for the group means that the child has not created it yet. Then the
/// group has no other members either, and the signal is sent to the child
/// alone. So it is delivered once in both cases.
pub fn kill_led(leader: u32, signal: Signal) -> Result<(), Errno> {
    match kill_group(leader, signal) {
        Err(Errno::ESRCH) => kill(leader, signal),
        sent => sent,
    }
}

/// Returns the signal that a control byte names.
pub fn number(signal: control::Signal) -> Signal {
    match signal {
        control::Signal::Alarm => Signal::ALARM,
        control::Signal::Continue => Signal::CONT,
        control::Signal::Hangup => Signal::HUP,
        control::Signal::Interrupt => Signal::INT,
        control::Signal::Kill => Signal::KILL,
        control::Signal::Quit => Signal::QUIT,
        control::Signal::Stop => Signal::STOP,
        control::Signal::Terminate => Signal::TERM,
        control::Signal::User1 => Signal::USR1,
        control::Signal::User2 => Signal::USR2,
    }
}

/// The names of the signals from number 1 on.
#[cfg(not(target_arch = "mips"))]
const NAMES: &[u8] = b"HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 \
    PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM \
    PROF WINCH IO PWR SYS";
/// The names of the signals from number 1 on.
#[cfg(target_arch = "mips")]
const NAMES: &[u8] = b"HUP INT QUIT ILL TRAP ABRT EMT FPE KILL BUS SEGV SYS \
    PIPE ALRM TERM USR1 USR2 CHLD PWR WINCH URG IO STOP TSTP CONT TTIN TTOU \
    VTALRM PROF XCPU XFSZ";

/// Returns the name of a signal, without `SIG`; `RT` for a real-time signal.
pub fn name(number: u8) -> &'static [u8] {
    let mut names = NAMES.split(|byte| *byte == b' ');
    let index = usize::from(number).checked_sub(1);
    index.and_then(|index| names.nth(index)).unwrap_or(b"RT")
}

/// Sends a signal to every process but this one.
pub fn kill_all(signal: Signal) -> Result<(), Errno> {
    raw::kill_all(signal.as_raw().cast_unsigned())
}

/// Checks when compiling that the names in `NAMES` have the numbers of the
/// kernel's headers.
const _: () = {
    use linux_raw_sys::general as kernel;
    let known: [(&[u8], u32); 30] = [
        (b"HUP", kernel::SIGHUP),
        (b"INT", kernel::SIGINT),
        (b"QUIT", kernel::SIGQUIT),
        (b"ILL", kernel::SIGILL),
        (b"TRAP", kernel::SIGTRAP),
        (b"ABRT", kernel::SIGABRT),
        (b"BUS", kernel::SIGBUS),
        (b"FPE", kernel::SIGFPE),
        (b"KILL", kernel::SIGKILL),
        (b"USR1", kernel::SIGUSR1),
        (b"SEGV", kernel::SIGSEGV),
        (b"USR2", kernel::SIGUSR2),
        (b"PIPE", kernel::SIGPIPE),
        (b"ALRM", kernel::SIGALRM),
        (b"TERM", kernel::SIGTERM),
        (b"CHLD", kernel::SIGCHLD),
        (b"CONT", kernel::SIGCONT),
        (b"STOP", kernel::SIGSTOP),
        (b"TSTP", kernel::SIGTSTP),
        (b"TTIN", kernel::SIGTTIN),
        (b"TTOU", kernel::SIGTTOU),
        (b"URG", kernel::SIGURG),
        (b"XCPU", kernel::SIGXCPU),
        (b"XFSZ", kernel::SIGXFSZ),
        (b"VTALRM", kernel::SIGVTALRM),
        (b"PROF", kernel::SIGPROF),
        (b"WINCH", kernel::SIGWINCH),
        (b"IO", kernel::SIGIO),
        (b"PWR", kernel::SIGPWR),
        (b"SYS", kernel::SIGSYS),
    ];
    let mut rest: &[(&[u8], u32)] = &known;
    while let [(name, number), more @ ..] = rest {
        assert!(is_named(*number, name), "a signal has another number");
        rest = more;
    }
};

/// Returns true when word `number` of `NAMES`, counted from 1, is `name`.
const fn is_named(mut number: u32, name: &[u8]) -> bool {
    let (mut names, mut left) = (NAMES, name);
    while let [byte, rest @ ..] = names {
        names = rest;
        if *byte == b' ' {
            if number == 1 {
                return left.is_empty();
            }
            number = number.saturating_sub(1);
        } else if number == 1 {
            let [first, others @ ..] = left else {
                return false;
            };
            if *first != *byte {
                return false;
            }
            left = others;
        }
    }
    number == 1 && left.is_empty()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn names_are_those_of_the_kernel() {
        for (signal, expected) in [
            (Signal::HUP, &b"HUP"[..]),
            (Signal::SEGV, b"SEGV"),
            (Signal::BUS, b"BUS"),
            (Signal::USR1, b"USR1"),
            (Signal::TERM, b"TERM"),
            (Signal::XFSZ, b"XFSZ"),
            (Signal::SYS, b"SYS"),
        ] {
            let number = u8::try_from(signal.as_raw()).unwrap();
            assert_eq!(name(number), expected);
        }
        assert_eq!((name(0), name(64)), (&b"RT"[..], &b"RT"[..]));
    }
}
