//! What PID 1 does itself when stage 1 has no script: it sets the system up.

use core::ffi::CStr;

use crate::{
    supervisor::Voice,
    sys::{CWD, Errno, file, power},
    text::Path,
};

/// A kernel file system that stage 1 mounts.
struct System {
    kind: &'static CStr,
    target: &'static CStr,
    options: &'static CStr,
    /// Programs may be run from it.
    executable: bool,
}

/// What stage 1 mounts, in this order. What is mounted already stays.
const SYSTEMS: [System; 5] = [
    System {
        kind: c"proc",
        target: c"/proc",
        options: c"",
        executable: false,
    },
    System {
        kind: c"sysfs",
        target: c"/sys",
        options: c"",
        executable: false,
    },
    System {
        kind: c"devtmpfs",
        target: c"/dev",
        options: c"mode=755",
        executable: true,
    },
    System {
        kind: c"devpts",
        target: c"/dev/pts",
        options: c"mode=620,ptmxmode=666,gid=5",
        executable: false,
    },
    System {
        kind: c"tmpfs",
        target: c"/run",
        options: c"mode=755",
        executable: true,
    },
];

/// Names that programs expect in /dev and the kernel does not make.
const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
];

/// Stage 1: kernel file systems, host name, loopback. What fails is said and
/// holds nothing up: a board without /sys still has its services.
pub(super) fn set_up(voice: &Voice) {
    mount_systems(voice);
    let mut text = [0; HOST_NAME];
    match file::read_whole(CWD, c"/etc/hostname", &mut text) {
        Ok(text) => {
            let name = text.trim_ascii();
            if let Err(errno) = power::set_host_name(name) {
                voice.warn("unable to set host name ", name, errno);
            }
        }
        Err(Errno::ENOENT) => {}
        Err(errno) => voice.warn("unable to read ", b"/etc/hostname", errno),
    }
    if let Err(errno) = power::loopback_up() {
        voice.warn("unable to bring up ", b"lo", errno);
    }
}

/// Mounts the kernel's file systems.
pub(super) fn mount_systems(voice: &Voice) {
    for system in &SYSTEMS {
        if let Err(errno) = mount(system) {
            voice.warn("unable to mount ", system.target.to_bytes(), errno);
        }
    }
    for (target, link) in LINKS {
        // A static /dev has them.
        let _there = file::make_link(target, CWD, link).is_err();
    }
}

/// The longest host name and a newline: __NEW_UTS_LEN is 64.
const HOST_NAME: usize = 65;

/// Mounts a file system unless something is mounted there.
fn mount(system: &System) -> Result<(), Errno> {
    match is_mounted(system.target) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(Errno::ENOENT) => file::make_dir(CWD, system.target, 0o755)?,
        Err(errno) => return Err(errno),
    }
    let System {
        kind,
        target,
        options,
        executable,
    } = *system;
    power::mount(kind, target, options, executable)
}

/// Whether `target` is on another device than the directory it is in.
fn is_mounted(target: &CStr) -> Result<bool, Errno> {
    let path = target.to_bytes();
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let parent = path.get(..slash.unwrap_or(0)).unwrap_or(b"");
    let parent =
        Path::join(&[parent, b"/"]).map_err(|_| Errno::ENAMETOOLONG)?;
    let parent = file::info(CWD, parent.as_c_str())?;
    let info = file::info(CWD, target)?;
    Ok(info.identity.device != parent.identity.device)
}
