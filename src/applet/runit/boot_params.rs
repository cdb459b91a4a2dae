//! Reads what the kernel's command line asks of PID 1, once before stage 1.

use core::ffi::CStr;

use crate::{
    config,
    supervisor::Reporter,
    sys::{CWD, Errno, file, power, static_cell::StaticCell},
    text::Path,
    wire::{
        cmdline::{BootParam, boot_params},
        fstab::DATA_ONLY,
        rig::RigCommand,
        signals::SignalRequests,
    },
};

use super::rig::{self, RigParams};

/// The kernel's command line.
const COMMAND_LINE: &CStr = c"/proc/cmdline";

/// A path of the command line, kept for the life of the process.
type StaticPath = StaticCell<Option<Path>>;
/// The services directory.
static SERVICES: StaticPath = StaticCell::new(None);

/// Boot parameters, read before stage 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct BootParams {
    /// True in a container: mounts, clock and command line are its owner's.
    pub(super) contained: bool,
    /// The services directory.
    pub(super) services: &'static CStr,
    /// Requests that signals make, from the board or the command line.
    pub(super) signals: SignalRequests,
    /// The program of a test rig.
    pub(super) rig: Option<RigCommand<'static>>,
    /// True for rescue after stage 1.
    pub(super) single: bool,
    /// True for rescue before stage 1.
    pub(super) emergency: bool,
}

impl BootParams {
    /// Returns the defaults.
    pub(super) fn new(contained: bool) -> Self {
        Self {
            contained,
            services: config::SERVICES_DIR,
            signals: SignalRequests::default(),
            rig: None,
            single: false,
            emergency: false,
        }
    }
}

/// Reports an unknown word.
fn unknown(word: &[u8], reporter: &Reporter) {
    let what = "unknown kernel parameter: ";
    reporter.print(reporter.prefix.clone().text(what).bytes(word));
}

/// Calls `work` with /proc mounted. If it was not, unmounts it again, since a
/// script of stage 1 expects to mount it. Returns the error of that unmount.
fn with_proc(work: &mut dyn FnMut()) -> Result<(), Errno> {
    let mounted = file::info(CWD, COMMAND_LINE).is_err()
        && power::mount(c"proc", c"/proc", c"proc", DATA_ONLY, c"").is_ok();
    work();
    if mounted {
        power::unmount(c"/proc")
    } else {
        Ok(())
    }
}

/// Returns true when PID 1 runs in a container.
pub(super) fn is_contained() -> bool {
    let mut contained = false;
    // A failure is reported by `read`, which mounts it again.
    let _stays = with_proc(&mut || contained = power::is_contained()).is_err();
    contained
}

/// Reads the settings of the board and, outside of containers, those of the
/// command line.
pub(super) fn read(params: &mut BootParams, reporter: &Reporter) {
    let board = config::SIGNALS.as_bytes();
    params
        .signals
        .read(board, &mut |word| unknown(word, reporter));
    if params.contained {
        return;
    }
    if let Err(errno) = with_proc(&mut || take_params(params, reporter)) {
        reporter.warn("unable to unmount ", b"/proc", errno);
    }
}

/// Applies the parameters of the command line.
fn take_params(params: &mut BootParams, reporter: &Reporter) {
    let mut text = [0; config::LINE_BYTES];
    let line = match file::read_whole(CWD, COMMAND_LINE, &mut text) {
        Ok(line) => line,
        Err(errno) => {
            reporter.warn("unable to read ", COMMAND_LINE.to_bytes(), errno);
            return;
        }
    };
    let full = line.len() == config::LINE_BYTES;
    if full {
        reporter.capacity_reached(
            "the kernel's command line is truncated",
            "line-bytes",
            line.len(),
        );
    }
    let (mut services, mut rig) = (None, RigParams::default());
    for param in boot_params(line) {
        match param {
            BootParam::Single => params.single = true,
            BootParam::Emergency => params.emergency = true,
            BootParam::Services(path) => services = Some(path),
            BootParam::Rig(path) => rig.program = Some(path),
            BootParam::RigNonce(nonce) => rig.nonce = nonce,
            BootParam::RigExit => rig.exit_device = true,
            BootParam::Signals(words) => {
                params
                    .signals
                    .read(words, &mut |word| unknown(word, reporter));
            }
            BootParam::Unknown(word) => unknown(word, reporter),
        }
    }
    if let Some(path) = keep_path(&SERVICES, services, reporter) {
        params.services = path;
    }
    params.rig = rig::read(&rig, reporter);
}

/// Stores a path for the life of the process. Reports one that is too long.
fn keep_path(
    cell: &'static StaticPath,
    path: Option<&[u8]>,
    reporter: &Reporter,
) -> Option<&'static CStr> {
    match Path::join(&[path?]) {
        Ok(path) => Some(cell.take()?.insert(path).as_c_str()),
        Err(long) => {
            reporter.capacity_reached(
                "the path in a runt. parameter is too long",
                "path-bytes",
                long.limit,
            );
            None
        }
    }
}
