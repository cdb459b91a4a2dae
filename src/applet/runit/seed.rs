//! Carries a seed of the kernel's random number generator over a reboot. The
//! seed file is mixed in at the start and rewritten at once, so that none is
//! used twice, and rewritten at the end.

use core::ffi::CStr;

use crate::{
    supervisor::Reporter,
    sys::{self, AsFd, CWD, Errno, file, secure},
};

use super::step::StepResult;

/// The seed file.
pub(super) const SEED: &CStr = c"/var/lib/random-seed";
/// The kernel's random numbers. What is written to it is mixed in without
/// being credited as entropy, since an image may hold the same seed for every
/// board.
const RANDOM: &CStr = c"/dev/urandom";
/// Bytes of a seed, as many as the kernel's pool holds.
const BYTES: usize = 256;

/// Mixes the seed in and writes the next one.
pub(super) fn load(reporter: &Reporter) -> StepResult {
    let mut seed = [0; BYTES];
    let mixed = match file::read_whole(CWD, SEED, &mut seed) {
        Err(Errno::ENOENT) => return StepResult::Nothing,
        Ok(seed) => file::open_write(CWD, RANDOM)
            .and_then(|random| sys::write_all(random.as_fd(), seed)),
        Err(errno) => Err(errno),
    };
    match mixed.and_then(|()| write()) {
        // On a read-only root it is the image's seed at each boot.
        Ok(()) | Err(Errno::EROFS) => StepResult::Done,
        Err(errno) => {
            reporter.warn("unable to use ", SEED.to_bytes(), errno);
            StepResult::Failed
        }
    }
}

/// Saves a seed for the next boot.
pub(super) fn save(reporter: &Reporter) {
    match write() {
        // The board has no directory for one, or a read-only one.
        Ok(()) | Err(Errno::ENOENT | Errno::EROFS) => {}
        Err(errno) => reporter.warn("unable to write ", SEED.to_bytes(), errno),
    }
}

/// Writes a new seed.
fn write() -> Result<(), Errno> {
    let mut seed = [0; BYTES];
    let random = file::open_read(CWD, RANDOM)?;
    sys::read(random.as_fd(), &mut seed)?;
    let file = secure::truncate(CWD, SEED, 0o600)?;
    sys::write_all(file.as_fd(), &seed)?;
    file::sync(file.as_fd())
}
