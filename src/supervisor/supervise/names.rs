//! Names the files of a supervise directory.

use core::ffi::CStr;

/// Names in a supervise directory, relative to the service directory.
#[derive(Debug)]
pub(in super::super) struct FileNames {
    pub(in super::super) dir: &'static CStr,
    pub(in super::super) lock: &'static CStr,
    pub(in super::super) control: &'static CStr,
    pub(in super::super) ok: &'static CStr,
    pub(in super::super) status: [&'static CStr; 2],
    pub(in super::super) stat: [&'static CStr; 2],
    pub(in super::super) pid: [&'static CStr; 2],
}

/// Names for the service.
pub(in super::super) const SERVICE: FileNames = FileNames {
    dir: c"supervise",
    lock: c"supervise/lock",
    control: c"supervise/control",
    ok: c"supervise/ok",
    status: [c"supervise/status", c"supervise/status.new"],
    stat: [c"supervise/stat", c"supervise/stat.new"],
    pid: [c"supervise/pid", c"supervise/pid.new"],
};

/// Lock of the log service.
pub(in super::super) const LOG_LOCK: &CStr = c"log/supervise/lock";

/// Names for the log service.
pub(in super::super) const LOG: FileNames = FileNames {
    dir: c"log/supervise",
    lock: LOG_LOCK,
    control: c"log/supervise/control",
    ok: c"log/supervise/ok",
    status: [c"log/supervise/status", c"log/supervise/status.new"],
    stat: [c"log/supervise/stat", c"log/supervise/stat.new"],
    pid: [c"log/supervise/pid", c"log/supervise/pid.new"],
};

/// FIFO between service and log service. It has a name, so that a supervisor
/// that takes over can open the same one.
pub(in super::super) const PIPE: &CStr = c"supervise/log";
