//! Keeps programs alive, and does nothing else.

use core::ffi::{CStr, c_char};

use floor::{
    call::{
        SIGCHLD, SIGHUP, SIGTERM, Sysno, call, kill, mask, set, wait_signal,
    },
    child::{Fork, Program},
    supervise_files::{publish, take},
};

/// Maximum number of programs: the services of runit's own runsvdir.
const PROGRAMS: usize = 1000;

/// A program with its process, and a descriptor of its directory where files
/// are written.
#[derive(Clone, Copy)]
struct Slot {
    pid: isize,
    program: Option<Program>,
    open: usize,
}

/// The table.
static mut SLOTS: [Slot; PROGRAMS] = [Slot {
    pid: 0,
    program: None,
    open: 0,
}; PROGRAMS];

/// The way in which programs are kept alive.
#[derive(Clone, Copy)]
pub struct Manner {
    /// The start of a child.
    pub fork: Fork,
    /// Set if the files of `supervise/` are written.
    pub files: bool,
}

impl Slot {
    /// Starts the program.
    fn start(&mut self, manner: Manner) {
        if let Some(program) = &self.program {
            self.pid = program.start(manner.fork);
        }
        if manner.files {
            publish(self.open, true);
        }
    }
}

/// Keeps the programs alive until HUP, and ends them.
pub fn supervise(manner: Manner, programs: impl Iterator<Item = Program>) {
    let wanted = const { set(&[SIGHUP, SIGCHLD]) };
    mask(wanted);
    // SAFETY: this is the only reference.
    let slots = unsafe { &mut *(&raw mut SLOTS) };
    let mut count = 0;
    for (slot, program) in slots.iter_mut().zip(programs) {
        slot.program = Some(program);
        if manner.files {
            // SAFETY: it is an argument of the program.
            let dir: &CStr = unsafe { CStr::from_ptr(program.dir) };
            slot.open = take(dir, program.below);
        }
        slot.start(manner);
        count += 1;
    }
    let mut ends = false;
    let mut left = count;
    while left > 0 || !ends {
        if wait_signal(wanted) == SIGHUP as isize {
            ends = true;
            for slot in slots.iter().take(count) {
                kill(slot.pid, SIGTERM);
            }
        }
        loop {
            const NOHANG: usize = 1;
            let pid = call(Sysno::wait4, [usize::MAX, 0, NOHANG, 0, 0]);
            if pid <= 0 {
                break;
            }
            let mut running = slots.iter_mut().take(count);
            let Some(slot) = running.find(|slot| slot.pid == pid) else {
                continue;
            };
            if ends {
                left -= 1;
                if manner.files {
                    publish(slot.open, false);
                }
            } else {
                slot.start(manner);
            }
        }
    }
}

/// Keeps ./run in each directory alive.
pub fn run(
    fork: Fork,
    files: bool,
    dirs: &[*const c_char],
    environ: *const *const c_char,
) -> usize {
    let programs = dirs.iter().map(|dir| Program::run(*dir, environ));
    supervise(Manner { fork, files }, programs);
    0
}
