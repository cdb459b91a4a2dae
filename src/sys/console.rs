//! How PID 1 speaks to /dev/console without ever waiting for it.

use core::time::Duration;

use rustix::fd::AsFd;

use super::{CWD, Errno, child, file, wait, write_once};

/// The console's device file.
const CONSOLE: &core::ffi::CStr = c"/dev/console";

/// Makes the console descriptors 0, 1 and 2, for this process and its
/// children. When it cannot be opened the streams stay as they are.
///
/// The descriptors wait for the console, since children share them; `say`
/// opens it anew and does not.
pub fn take() -> Result<(), Errno> {
    let console = file::open_both(CWD, CONSOLE)?;
    file::set_blocking(console.as_fd())?;
    for number in 0..3 {
        child::set_standard(&console, number)?;
    }
    Ok(())
}

/// Writes a line to the console, opened for this line: so it works after the
/// terminal was hung up, and a console that takes nothing costs the line and
/// no time. False when there is no console.
pub fn say(line: &[u8]) -> bool {
    let Ok(console) = file::open_write(CWD, CONSOLE) else {
        return false;
    };
    let mut rest = line;
    while !rest.is_empty() && wait::writable(console.as_fd(), Duration::ZERO) {
        match write_once(console.as_fd(), rest) {
            Ok(0) | Err(_) => break,
            Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
        }
    }
    true
}
