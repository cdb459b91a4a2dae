//! Sets the clock, the host's name, the loopback interface and the kernel's
//! settings.

use core::ffi::CStr;

use crate::{
    config,
    supervisor::Reporter,
    sys::{AsFd, CWD, Errno, clock, dir, file, power, write_all},
    wire::sysctl::Setting,
};

use super::step::{StepResult, each_line};

/// Sets the clock to the build time of the program if it is earlier, since a
/// board without a clock battery starts in 1970.
pub(super) fn set_clock(reporter: &Reporter) -> StepResult {
    if config::BUILT.saturating_sub(clock::wall().secs) == 0 {
        return StepResult::Nothing;
    }
    match clock::set_wall(config::BUILT) {
        Ok(()) => StepResult::Done,
        Err(errno) => {
            reporter.warn("unable to set the clock", b"", errno);
            StepResult::Failed
        }
    }
}

/// Bytes of the longest host name and a newline: __NEW_UTS_LEN is 64.
const HOST_NAME: usize = 65;

/// Sets the host's name from /etc/hostname.
pub(super) fn set_host_name(reporter: &Reporter) -> StepResult {
    let mut text = [0; HOST_NAME];
    let name = match file::read_whole(CWD, c"/etc/hostname", &mut text) {
        Ok(text) => text.trim_ascii(),
        Err(Errno::ENOENT) => return StepResult::Nothing,
        Err(errno) => {
            reporter.warn("unable to read ", b"/etc/hostname", errno);
            return StepResult::Failed;
        }
    };
    match power::set_host_name(name) {
        Ok(()) => StepResult::Done,
        Err(errno) => {
            reporter.warn("unable to set host name ", name, errno);
            StepResult::Failed
        }
    }
}

/// Brings the loopback interface up.
pub(super) fn bring_up_loopback(reporter: &Reporter) -> StepResult {
    match power::loopback_up() {
        Ok(()) => StepResult::Done,
        Err(errno) => {
            reporter.warn("unable to bring up ", b"lo", errno);
            StepResult::Failed
        }
    }
}

/// The file of the kernel's settings, and the directory of more such files.
pub(super) const SYSCTLS: [&CStr; 2] = [c"/etc/sysctl.conf", c"/etc/sysctl.d"];

/// Applies the kernel settings of /etc/sysctl.conf and /etc/sysctl.d/*.conf.
pub(super) fn set_sysctls(reporter: &Reporter) -> StepResult {
    let [first, more] = SYSCTLS;
    let mut some = set_sysctls_of(first, reporter);
    let mut last = None;
    while let Some(path) = dir::next(more, last.as_ref(), b".conf") {
        let next = set_sysctls_of(path.as_c_str(), reporter);
        some = StepResult::of(
            some != StepResult::Nothing || next != StepResult::Nothing,
            some == StepResult::Failed || next == StepResult::Failed,
        );
        last = Some(path);
    }
    some
}

/// Applies the settings of one file.
fn set_sysctls_of(path: &CStr, reporter: &Reporter) -> StepResult {
    let (mut some, mut failed) = (false, false);
    each_line(path, Some(reporter), &mut |line| {
        let Some(setting) = Setting::parse(line) else {
            return;
        };
        some = true;
        let made = setting.path().map_err(|_| Errno::ENAMETOOLONG);
        let made = made.and_then(|path| {
            let file = file::open_write(CWD, path.as_c_str())?;
            write_all(file.as_fd(), setting.value)
        });
        if let Err(errno) = made
            && !setting.optional
        {
            failed = true;
            reporter.warn("unable to set ", line, errno);
        }
    });
    StepResult::of(some, failed)
}
