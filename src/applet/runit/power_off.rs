//! Ends the machine, or the container (contract §7.5).

use core::{ffi::CStr, time::Duration};

use heapless::Vec;

use crate::{
    machine::shutdown::LAST_WORDS,
    supervisor::Reporter,
    sys::{
        self, CWD, Errno, child, file,
        power::{self, PowerAction},
    },
    text::{Line, Path},
};

use super::{
    report::{PREFIX, info},
    rig::Rig,
};

/// Exit code of a container's PID 1 that asks for a restart and may not call
/// reboot(2). A shell reports HUP by this code, and HUP is the signal by which
/// the kernel ends a PID namespace that is to restart.
const RESTART_CODE: u8 = 129;
/// Maximum bytes of an argument for reboot(2).
const ARGUMENT_BYTES: usize = 64;
/// Interval at which orphans are reaped when PID 1 can do nothing else.
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// The end of the machine.
#[derive(Debug)]
pub(super) struct PowerOff {
    action: PowerAction,
    /// Argument for reboot(2), or nothing.
    argument: Vec<u8, ARGUMENT_BYTES>,
}

impl PowerOff {
    /// Returns the end that a request asks for. `flag` is the flag file of a
    /// reboot: it is read, before its medium is unmounted, and cleared.
    pub(super) fn new((action, flag): (PowerAction, Option<&CStr>)) -> Self {
        let mut argument = Vec::new();
        if let Some(flag) = flag {
            let mut text = [0; ARGUMENT_BYTES];
            let text = file::read_whole(CWD, flag, &mut text);
            let text = text.map_or(&b""[..], <[u8]>::trim_ascii);
            // There is room for the whole text.
            let _room = argument.extend_from_slice(text).is_ok();
            // On a read-only file system it stays, and is stale next time.
            let _stays = file::set_mode(CWD, flag, 0).is_err();
        }
        Self { action, argument }
    }

    /// Returns true when the kernel stays, and with it all mounts.
    pub(super) fn keeps_kernel(&self) -> bool {
        self.action == PowerAction::SoftReboot
    }

    /// Reports the result of the rig and ends the machine. In a container that
    /// may not call reboot(2), exits.
    pub(super) fn run(
        &self,
        contained: bool,
        rig: &Rig,
        reporter: &Reporter,
    ) -> ! {
        let action = self.action;
        let what = match action {
            PowerAction::Reboot => "system reboot.",
            PowerAction::Off => "power off...",
            PowerAction::Halt => "system halt.",
            PowerAction::SoftReboot => "soft reboot.",
        };
        info(reporter, what, b"");
        if let Some(console) = reporter.console {
            console.flush(LAST_WORDS);
        }
        if self.keeps_kernel() {
            let what = "unable to start again, rebooting";
            reporter.warn(what, b"", child::exec_again());
        }
        rig.report(action == PowerAction::Off, reporter);
        // Without a power switch, at least halt (contract §7.5).
        // A NUL in the argument is none.
        let refused = match Path::join(&[&self.argument]) {
            Ok(argument)
                if action == PowerAction::Reboot
                    && !self.argument.is_empty() =>
            {
                power::restart_with(argument.as_c_str())
            }
            _ => power::shut_down(action),
        };
        if contained {
            child::exit(match action {
                PowerAction::Reboot | PowerAction::SoftReboot => RESTART_CODE,
                PowerAction::Off | PowerAction::Halt => 0,
            });
        }
        reporter.warn("unable to end the machine", b"", refused);
        reap_forever("stop", power::shut_down(PowerAction::Halt))
    }
}

/// Reports that the kernel refuses what PID 1 cannot do without, and reaps
/// orphans for ever, since an exit would be a kernel panic. In a container it
/// exits with 111.
pub(super) fn reap_forever(what: &str, errno: Errno) -> ! {
    let mut line = Line::new();
    line.text(PREFIX)
        .text("fatal: unable to ")
        .text(what)
        .text(": ");
    sys::print_error(line.text(sys::error::text(errno)).finish());
    if power::is_contained() {
        child::exit(super::super::FATAL);
    }
    loop {
        while child::reap().is_some() {}
        sys::poller::sleep(REAP_INTERVAL);
    }
}
