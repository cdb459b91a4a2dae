//! How PID 1 takes the system down: processes, media, the machine's end
//! (contract §7.5).

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::descent::{Descent, Order},
    supervisor::Voice,
    sys::{
        CWD, Errno, clock, file,
        power::{self, Ending},
        signal::{self, Number},
    },
    text::Path,
    wire::mounts::Mount,
};

use super::{
    super::runit_init::{FLAGS, is_set},
    Init, fstab, seed,
    steps::Outcome,
    stranded,
};

/// With this file nothing is written back at the end (runit 2.2.0).
const NO_SYNC: &CStr = c"/etc/runit/nosync";
/// How long the console has at the end for what it was told.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);
/// Most bytes of an argument for reboot(2).
const ARGUMENT: usize = 64;

impl Init {
    /// Begins to end processes.
    pub(super) fn descend(&mut self, order: Order) {
        self.supervisor.serve_no_more();
        self.descent = Some(Descent::from(order, clock::mono()));
        self.carry_out(order);
    }

    /// Carries out an order of the descent.
    pub(super) fn carry_out(&mut self, order: Order) {
        let sent = match order {
            Order::StopServices => {
                self.say("stopping services...", b"", "");
                self.supervisor.exit_all();
                return;
            }
            Order::KillServices => {
                let supervisor = &self.supervisor;
                supervisor.names(|name| {
                    let what = "not terminated, sending KILL signal: ";
                    self.caution(what, name);
                });
                self.supervisor.kill_all();
                return;
            }
            Order::TerminateAll => {
                self.say("sending TERM signal to all processes...", b"", "");
                // A stopped process takes no TERM.
                signal::kill_all(Number::TERM)
                    .and_then(|()| signal::kill_all(Number::CONT))
            }
            Order::KillAll => {
                self.say("sending KILL signal to all processes...", b"", "");
                // So that none of them is started again.
                self.supervisor.exit_all();
                signal::kill_all(Number::KILL)
            }
            Order::Done => self.end(),
        };
        match sent {
            // ESRCH: there is no other process.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => self.warn("unable to signal processes", b"", errno),
        }
    }

    /// The machine's end.
    fn end(&mut self) -> ! {
        let flag = FLAGS.iter().find(|flags| is_set(flags.reboot));
        let flagged = flag.map_or(Ending::Off, |_| Ending::Reboot);
        let ending = self.ending.unwrap_or(flagged);
        // Read before its medium is gone.
        let mut text = [0; ARGUMENT];
        let argument = match (flag, self.ending) {
            (Some(flag), None) => {
                let text = file::read_whole(CWD, flag.reboot, &mut text);
                text.map_or(&b""[..], <[u8]>::trim_ascii)
            }
            _ => b"",
        };
        let argument = Path::join(&[argument]);
        if file::info(CWD, NO_SYNC).is_err() {
            self.rest();
        }
        match ending {
            Ending::Reboot => self.say("system reboot.", b"", ""),
            Ending::Off | Ending::Halt => self.say("power off...", b"", ""),
        }
        if let Some(console) = self.supervisor.voice().console {
            console.flush(LAST_WORDS);
        }
        // Where there is no power switch, stop at least (contract §7.5).
        let refused = match (&argument, ending) {
            (Ok(argument), Ending::Reboot)
                if !argument.as_bytes().is_empty() =>
            {
                power::restart_with(argument.as_c_str())
            }
            _ => power::end(ending),
        };
        self.warn("unable to end the machine", b"", refused);
        stranded("stop", power::end(Ending::Halt))
    }

    /// Puts the media to rest; in a container they are those of its owner.
    fn rest(&mut self) {
        for work in MEDIA {
            if self.wishes.contained {
                return;
            }
            if self.apart(work, REST) == Outcome::Late {
                self.caution("a medium takes too long to come to rest", b"");
            }
        }
    }
}

/// What puts the media to rest, each in a process of its own that may hang
/// for as long as [`REST`].
const MEDIA: [fn(&Voice) -> Outcome; 4] = [
    |voice| {
        seed::save(voice);
        power::sync();
        Outcome::Done
    },
    |voice| {
        fstab::swap_off(voice);
        Outcome::Done
    },
    rest_media,
    |_| {
        power::sync();
        Outcome::Done
    },
];

/// How long a part of that may take: then the machine's end comes without it.
const REST: Duration = Duration::from_secs(10);

/// Every medium is unmounted or, when it is in use (the root always is), made
/// read-only.
fn rest_media(voice: &Voice) -> Outcome {
    let mut text = [0; config::FILE_BYTES];
    let text = match file::read_whole(CWD, c"/proc/self/mounts", &mut text) {
        Ok(text) => text,
        Err(errno) => {
            voice.warn("unable to read ", b"/proc/self/mounts", errno);
            &[]
        }
    };
    if text.len() == config::FILE_BYTES {
        voice.bound("some stay mounted", "file-bytes", text.len());
    }
    // Last mounted, first unmounted: what is mounted inside another comes
    // after it in the list.
    for line in text.rsplit(|byte| *byte == b'\n') {
        let Some(mount) = Mount::parse(line) else {
            continue;
        };
        let Ok(target) = mount.target() else { continue };
        if !mount.has_medium() {
            continue;
        }
        let rested = power::unmount(target.as_c_str())
            .or_else(|_| power::make_read_only(target.as_c_str()));
        if let Err(errno) = rested {
            voice.warn("unable to unmount ", target.as_bytes(), errno);
        }
    }
    Outcome::Done
}
