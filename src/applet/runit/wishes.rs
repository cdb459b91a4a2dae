//! What the kernel's command line asks of PID 1, read once before stage 1.

use core::ffi::CStr;

use crate::{
    config,
    supervisor::Voice,
    sys::{CWD, file, once::Once, power},
    text::Path,
    wire::{
        cmdline::{Wish, wishes},
        signals::Meanings,
    },
};

/// Where the command line is.
const COMMAND_LINE: &CStr = c"/proc/cmdline";

/// A path of the command line.
type Kept = Once<Option<Path>>;
/// The services directory.
static SERVICES: Kept = Once::new(None);
/// The program of a test rig.
static RIG: Kept = Once::new(None);

/// What is known before stage 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    /// This is a container's PID 1: mounts, clock and command line are those
    /// of who made it.
    pub(super) contained: bool,
    /// The services directory.
    pub(super) services: &'static CStr,
    /// What signals mean, where board or command line say so.
    pub(super) signals: Meanings,
    /// The program of a test rig.
    pub(super) rig: Option<&'static CStr>,
    /// Rescue after stage 1.
    pub(super) single: bool,
    /// Rescue before stage 1.
    pub(super) emergency: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            contained: false,
            services: config::SERVICES_DIR,
            signals: Meanings::default(),
            rig: None,
            single: false,
            emergency: false,
        }
    }
}

/// Says that a word means nothing.
fn unknown(word: &[u8], voice: &Voice) {
    let what = "unknown on the kernel's command line: ";
    voice.say(voice.head.clone().text(what).bytes(word));
}

/// Reads the command line, for which /proc is mounted when it is not, and
/// unmounted again: a script of stage 1 expects to do that.
pub(super) fn read(voice: &Voice) -> Wishes {
    let mut asked = Wishes::default();
    let mounted = file::info(CWD, COMMAND_LINE).is_err()
        && power::mount(c"proc", c"/proc", c"", false).is_ok();
    asked.contained = power::is_contained();
    let board = config::SIGNALS.as_bytes();
    asked.signals.read(board, &mut |word| unknown(word, voice));
    if !asked.contained {
        obey(&mut asked, voice);
    }
    if mounted && let Err(errno) = power::unmount(c"/proc") {
        voice.warn("unable to unmount ", b"/proc", errno);
    }
    asked
}

/// Takes the wishes of the command line.
fn obey(asked: &mut Wishes, voice: &Voice) {
    let mut text = [0; config::LINE_BYTES];
    let line = match file::read_whole(CWD, COMMAND_LINE, &mut text) {
        Ok(line) => line,
        Err(errno) => {
            voice.warn("unable to read ", COMMAND_LINE.to_bytes(), errno);
            return;
        }
    };
    let full = line.len() == config::LINE_BYTES;
    if full {
        voice.bound(
            "the kernel's command line is cut",
            "line-bytes",
            line.len(),
        );
    }
    let (mut services, mut rig) = (None, None);
    for wish in wishes(line) {
        match wish {
            Wish::Single => asked.single = true,
            Wish::Emergency => asked.emergency = true,
            Wish::Services(path) => services = Some(path),
            Wish::Rig(path) => rig = Some(path),
            Wish::Signals(words) => {
                asked.signals.read(words, &mut |word| unknown(word, voice));
            }
            Wish::Unknown(word) => unknown(word, voice),
        }
    }
    if let Some(path) = keep(&SERVICES, services, voice) {
        asked.services = path;
    }
    asked.rig = keep(&RIG, rig, voice);
}

/// Keeps a path for good; one that is too long is said.
fn keep(
    place: &'static Kept,
    path: Option<&[u8]>,
    voice: &Voice,
) -> Option<&'static CStr> {
    match Path::join(&[path?]) {
        Ok(path) => Some(place.take()?.insert(path).as_c_str()),
        Err(long) => {
            voice.bound(
                "the path of a word under runt. is too long",
                "path-bytes",
                long.limit,
            );
            None
        }
    }
}
