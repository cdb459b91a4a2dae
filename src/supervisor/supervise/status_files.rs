//! Writes the files that a supervise directory publishes.

use core::ffi::CStr;

use crate::{
    config,
    sys::{At, file},
    wire::status::{self, Status},
};

use super::{Failure, FileNames, failure, fifo::open_ok};

/// Writes `pid` and `stat` where two states differ. They are replaced by
/// rename, except a `pid` that is or becomes empty: no reader can see a part
/// of it, and overwriting it needs no new file.
///
/// A board may omit both: `status-files = "binary"`.
pub(super) fn write_texts(
    at: At<'_>,
    names: &FileNames,
    last: Option<&Status>,
    status: &Status,
) -> Result<(), Failure> {
    if !config::STATUS_TEXTS {
        return Ok(());
    }
    let mut written = Ok(());
    let old = last.map(|last| last.pid);
    if old != Some(status.pid) {
        let text = status::pid(status.pid);
        let [path, _] = names.pid;
        let near = status.pid == 0 || old == Some(0);
        if !near || file::fill(at, path, &text).is_err() {
            written = replace(at, names.pid, &text);
        }
    }
    let stat = status::stat(status);
    if last.map(status::stat).as_ref() != Some(&stat) {
        written = written.and(replace(at, names.stat, &stat));
    }
    written
}

/// Writes the record, and makes processes that watch the directory notice.
pub(super) fn write_record(
    at: At<'_>,
    names: &FileNames,
    status: &Status,
) -> Result<(), Failure> {
    let [path, new] = names.status;
    let record = status::pack(status);
    let Err(failed) = file::replace(at, path, new, &record) else {
        return Ok(());
    };
    overwrite(at, names.status, &record, failed)?;
    // `sv` waits for a renamed file, or for a reader of `ok` that closes it.
    let _notified = open_ok(at, names).is_ok();
    Ok(())
}

/// Replaces a file by its `.new` one, or overwrites it on a full file system.
pub(in super::super) fn replace(
    at: At<'_>,
    paths: [&'static CStr; 2],
    content: &[u8],
) -> Result<(), Failure> {
    let [path, new] = paths;
    let replaced = file::replace(at, path, new, content);
    replaced.or_else(|failed| overwrite(at, paths, content, failed))
}

/// Overwrites a file that could not be replaced, if that can help; otherwise
/// returns why it could not be replaced.
fn overwrite(
    at: At<'_>,
    [path, new]: [&'static CStr; 2],
    content: &[u8],
    failed: file::Replace,
) -> Result<(), Failure> {
    let failed = failure(failed.verb, new)(failed.errno);
    if failed.is_unwritable() && file::overwrite(at, path, content).is_ok() {
        return Ok(());
    }
    Err(failed)
}
