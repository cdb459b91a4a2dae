//! Boots: process 1 that mounts the kernel's file systems, keeps services and
//! their loggers alive, and switches off.

use core::ffi::{CStr, c_char};

use floor::{
    call::{CWD, O_CLOEXEC, SIGHUP, Sysno, call, kill, mkdir, mount},
    child::{Fork, Program},
};

use crate::supervise::{Manner, supervise};

/// The file systems that PID 1 of runt mounts too: kind, target, options.
const MOUNTS: [[&CStr; 3]; 7] = [
    [c"proc", c"/proc", c""],
    [c"sysfs", c"/sys", c""],
    [c"devtmpfs", c"/dev", c"mode=755"],
    [c"devpts", c"/dev/pts", c"mode=620,ptmxmode=666,gid=5"],
    [c"tmpfs", c"/dev/shm", c"mode=1777"],
    [c"tmpfs", c"/run", c"mode=755"],
    [c"cgroup2", c"/sys/fs/cgroup", c"nsdelegate"],
];

/// Returns a new pipe: its ends to read from and to write to.
fn pipe() -> [isize; 2] {
    let mut ends = [0_i32; 2];
    call(
        Sysno::pipe2,
        [ends.as_mut_ptr() as usize, O_CLOEXEC, 0, 0, 0],
    );
    ends.map(|end| end as isize)
}

/// Runs the services in `dirs`, each with its logger, until HUP, and switches
/// off. Without a service it mounts nothing either.
pub fn boot(
    files: bool,
    dirs: &[*const c_char],
    environ: *const *const c_char,
) -> usize {
    for [kind, target, options] in MOUNTS {
        if dirs.is_empty() {
            break;
        }
        if target.to_bytes().starts_with(b"/dev/") {
            mkdir(CWD, target, 0o755);
        }
        mount(kind, target, options);
    }
    let pairs = dirs.iter().flat_map(|dir| {
        let [from, to] = pipe();
        let service = Program {
            streams: [None, Some(to)],
            session: true,
            ..Program::run(*dir, environ)
        };
        let logger = Program {
            below: Some(c"log"),
            streams: [Some(from), None],
            ..service
        };
        [service, logger]
    });
    let fork = Fork::Vfork;
    supervise(Manner { fork, files }, pairs);
    // The meter is a child too.
    while call(Sysno::wait4, [usize::MAX, 0, 0, 0, 0]) > 0 {}
    const MAGIC: [usize; 2] = [0xfee1_dead, 672_274_793];
    const POWER_OFF: usize = 0x4321_fedc;
    call(Sysno::sync, [0; 5]);
    call(Sysno::reboot, [MAGIC[0], MAGIC[1], POWER_OFF, 0, 0]);
    1
}

/// Asks this process 1 to switch off.
pub fn down() -> usize {
    kill(1, SIGHUP);
    0
}
