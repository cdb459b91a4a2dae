//! Capacities of this build: those of the board, or small ones for unit tests.
//!
//! `src/capacities.txt` names and explains them; `src/build.rs` turns the
//! board's numbers into constants. Unit tests use the small ones below, so
//! that every limit is reached in a test.

#[cfg(not(test))]
include!(concat!(env!("OUT_DIR"), "/capacities.rs"));

#[cfg(test)]
mod small {
    //! Capacities of the unit tests.
    #![allow(missing_docs, reason = "src/capacities.txt explains each")]
    pub const SLOTS: usize = 3;
    pub const LIMITS: &[(&str, usize)] = &[("slots", SLOTS)];
    pub const NAME_BYTES: usize = 8;
    pub const PATH_BYTES: usize = 64;
    pub const MESSAGE_BYTES: usize = 128;
    pub const CONSOLE_BYTES: usize = 256;
    pub const WATCHES: usize = 4;
    pub const ENVIRON: usize = 4;
    pub const ENVIRON_BYTES: usize = 64;
    pub const FILE_BYTES: usize = 256;
    pub const LINE_BYTES: usize = 256;
    pub const GROUPS: usize = 3;
    pub const SERVICES: usize = 3;
    pub const LOG_DIRS: usize = 2;
    pub const LOG_READ_BYTES: usize = 32;
    pub const GOOD_SECONDS: usize = 5;
    pub const ROOT_SECONDS: usize = 0;
    pub const FAULTS: usize = 3;
    pub const FAULT_SECONDS: usize = 60;
    pub const PRIORITY: usize = 10;
    pub const DOWN_SECONDS: usize = 60;
    pub const LOG_LINE_BYTES: usize = 16;
    pub const LOGGERS: usize = 2;
    pub const LOG_CONFIG_BYTES: usize = 256;
    pub const LOG_SIZE: usize = 1000;
    pub const LOG_KEEP: usize = 2;
    pub const LOG_STAMP: usize = 0;
    pub const LOG_RING: usize = 0;
    pub const LOG_CONSOLE: usize = 100;
    pub const STATUS_TEXTS: bool = true;
    pub const SERVICES_DIR: &core::ffi::CStr = c"/etc/service";
    pub const RUN_DIR: &core::ffi::CStr = c"/run/runt";
    pub const SERVICES_OVERLAY: &core::ffi::CStr = c"";
    pub const BOOT_GOOD: &core::ffi::CStr = c"/etc/runit/boot-good";
    pub const WATCHDOG: &core::ffi::CStr = c"/dev/watchdog0";
    pub const WATCHDOG_SECONDS: u32 = 10;
    pub const BUILT: u64 = 0;
    pub const SIGNALS: &str = "";
    pub const ROOT: &str = "";
    pub const VERITY: bool = true;
    pub const RESCUE: &str = "login";
    pub const LOGGER_USER: [u32; 2] = [0, 0];
    pub const BOARD: &str = "test";
}
#[cfg(test)]
pub use small::*;

/// The families of programs that are built in, from the board's `programs`:
/// code that calls another family asks here, so that one that is left out is
/// not linked. `src/families.txt` names and explains them.
pub mod family {
    include!(concat!(env!("OUT_DIR"), "/families.rs"));
}

/// Version of the program, from Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Most descriptors of a slot: the service directory, both ends of the log
/// pipe, `cgroup.procs`, and for each of service and log two locks, the
/// control FIFO, `ok` and the directory that holds these, when that is
/// elsewhere.
const SLOT_DESCRIPTORS: usize = 14;

/// Most descriptors of a supervisor besides those of its slots and loggers:
/// the standard streams, those that its loop polls, its directories, console,
/// watchdog and front, those of an upgrade, and those open for a moment.
const OTHER_DESCRIPTORS: usize = 42;

/// Returns the most descriptors that a supervisor with `slots` slots has. The
/// kernel assigns the lowest free number: every number is below that. No
/// process of this program has more than a supervisor with [`SLOTS`].
#[must_use]
pub fn descriptors(slots: usize) -> u32 {
    let of_slots = slots.saturating_mul(SLOT_DESCRIPTORS);
    let all = of_slots
        .saturating_add(OTHER_DESCRIPTORS)
        .saturating_add(LOGGERS);
    u32::try_from(all).unwrap_or(u32::MAX)
}
