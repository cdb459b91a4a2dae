//! Sets the variables of an environment directory (`-e`, contract §6.1).

use core::ffi::CStr;

use crate::{
    config,
    sys::{self, AsFd, CWD, Errno, dir, environ::Builder, error, file},
    text::Line,
    wire::envdir,
};

use super::{Stop, failed_at, number, too_many};

/// Sets the variables of the files in `dir`. Each file is read directly into
/// the buffer of its value, so `environ-bytes` is the only bound.
///
/// A file that is gone when it is read, or a dangling link, counts as an empty
/// file. A directory is skipped, or an error if `strict`. With `verbose`
/// prints a warning for both.
pub(super) fn read(
    dir: &CStr,
    strict: bool,
    verbose: bool,
    builder: &mut Builder,
) -> Result<(), Stop> {
    let opened = file::open_dir(CWD, dir)
        .map_err(failed_at("switch to directory", dir))?;
    let at = opened.as_fd();
    let mut wrong = None;
    let listed = dir::list(at, |name| {
        let bytes = name.to_bytes();
        if wrong.is_some() || bytes.starts_with(b".") {
            return;
        }
        let report = |level: &str, cause: &[u8]| {
            let mut line = Line::new();
            line.text("chpst: ").text(level).text(": unable to read ");
            line.bytes(dir.to_bytes()).text("/").bytes(bytes);
            sys::print_error(line.text(": ").bytes(cause).finish());
        };
        let room = builder.room(bytes);
        let most = room.len();
        let length = match file::read_whole(at, name, room) {
            Ok(text) => {
                if text.len() == most && !text.contains(&b'\n') {
                    let mut line = Line::new();
                    line.text("too many environ-bytes (the bound is ");
                    line.number(number(config::ENVIRON_BYTES)).text(")");
                    report("fatal", line.as_bytes());
                    wrong = Some(Stop);
                    return;
                }
                (!text.is_empty()).then(|| envdir::value(text).len())
            }
            Err(errno) => {
                let skips = match errno {
                    Errno::EISDIR => !strict,
                    errno => errno == Errno::ENOENT,
                };
                if !skips {
                    report("fatal", error::text(errno).as_bytes());
                    wrong = Some(Stop);
                    return;
                }
                if verbose {
                    report("warning", error::text(errno).as_bytes());
                }
                if errno == Errno::EISDIR {
                    return;
                }
                None
            }
        };
        wrong = builder.set_filled(bytes, length).err().map(too_many);
    });
    listed.map_err(failed_at("read directory", dir))?;
    wrong.map_or(Ok(()), Err)
}
