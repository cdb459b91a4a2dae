//! Sets the variables of an environment file (`--env-file`).

use core::ffi::CStr;

use crate::{
    args::chpst::long::EnvFile,
    config,
    sys::{
        self, CWD, Errno,
        environ::{Builder, CapacityExceeded},
        file,
    },
    text::Line,
    wire::envfile,
};

use super::{Stop, failed_at, number, too_many};

/// Sets the variables that the lines of a file assign, in their order. Stops
/// at the first line that is wrong or too long.
pub(super) fn read(
    file: EnvFile<'_>,
    builder: &mut Builder,
) -> Result<(), Stop> {
    let EnvFile { path, optional } = file;
    let mut buffer = [0; config::LINE_BYTES];
    let mut count = 0_u64;
    let mut result = Ok(());
    let mut each = |line: Option<&[u8]>| {
        count = count.saturating_add(1);
        result = match line {
            Some(line) => set(path, count, line, builder),
            None => Err(refuse(path, count, |line| {
                line.text("too many line-bytes (the bound is ");
                line.number(number(config::LINE_BYTES)).text(")");
            })),
        };
        result.is_ok()
    };
    match file::lines(CWD, path, &mut buffer, &mut each) {
        Err(Errno::ENOENT) if optional => Ok(()),
        Err(errno) => Err(failed_at("read", path)(errno)),
        Ok(()) => result,
    }
}

/// Sets the variable that a line assigns.
fn set(
    path: &CStr,
    count: u64,
    line: &[u8],
    builder: &mut Builder,
) -> Result<(), Stop> {
    let wrong = |what: &str| {
        refuse(path, count, |line| {
            line.text(what);
        })
    };
    let Some((name, value)) = envfile::assignment(line).map_err(wrong)? else {
        return Ok(());
    };
    let full = CapacityExceeded("environ-bytes", config::ENVIRON_BYTES);
    let length = value.write(builder.room(name));
    let length = length.ok_or(full).map_err(too_many)?;
    builder.set_filled(name, Some(length)).map_err(too_many)
}

/// Reports what is wrong with a line.
fn refuse(path: &CStr, count: u64, what: impl FnOnce(&mut Line)) -> Stop {
    let mut line = Line::new();
    line.text("chpst: fatal: unable to read ")
        .bytes(path.to_bytes());
    line.text(": line ").number(count).text(": ");
    what(&mut line);
    sys::print_error(line.finish());
    Stop
}
