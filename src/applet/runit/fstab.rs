//! What PID 1 does of /etc/fstab: checks, mounts, swap; and the way back.

use core::ffi::CStr;

use crate::{
    supervisor::Reporter,
    sys::{CWD, Errno, file, power},
    text::Path,
    wire::fstab::{BIND, Entry, Options, READ_ONLY, REMOUNT, Short, field},
};

use super::{
    super::flag_files::is_set,
    step::{StepResult, each_line, is_mounted, run},
    volume,
};

/// The table.
const FSTAB: &CStr = c"/etc/fstab";

/// Calls `each` with every entry that is for the boot and its options. A
/// line that cannot be read is named, if `tells`.
fn entries(
    reporter: &Reporter,
    reports: bool,
    each: &mut dyn FnMut(&Entry<'_>, &Options) -> Result<bool, Errno>,
) -> StepResult {
    let (mut some, mut failed) = (false, false);
    each_line(FSTAB, reports.then_some(reporter), &mut |line| {
        let entry = match Entry::parse(line) {
            Ok(Some(entry)) => entry,
            Ok(None) => return,
            Err(Short) => {
                if reports {
                    failed = true;
                    let mut text = reporter.prefix.clone();
                    let text = text.text("fstab: too few fields: ");
                    reporter.print(text.bytes(line));
                }
                return;
            }
        };
        let options = Options::parse(entry.options);
        let done = match options {
            Ok(options) if options.later => return,
            Ok(options) => match each(&entry, &options) {
                // Its medium is not there, and need not be.
                Err(Errno::ENOENT | Errno::ENXIO | Errno::ENODEV)
                    if options.optional =>
                {
                    return;
                }
                done => done,
            },
            Err(_) => Err(Errno::ENAMETOOLONG),
        };
        match done {
            Ok(done) => some |= done,
            Err(errno) => {
                failed = true;
                reporter.warn("fstab: unable to take ", entry.device, errno);
            }
        }
    });
    StepResult::of(some, failed)
}

/// A field as a path. EINVAL: it holds a NUL.
fn path(text: &[u8]) -> Result<Path, Errno> {
    field(text).map_err(|long| match text.len() {
        // An escape is longer than what it stands for.
        length if length < long.limit => Errno::EINVAL,
        _ => Errno::ENAMETOOLONG,
    })
}

/// The device of an entry, looked for when it is named by its volume.
fn device(entry: &Entry<'_>) -> Result<Path, Errno> {
    volume::device(path(entry.device)?)
}

/// Has file systems checked by the program of their type, where there is
/// one. Its codes 0 and 1 say that the file system is in order.
pub(super) fn check(reporter: &Reporter) -> StepResult {
    entries(reporter, false, &mut |entry, _| {
        let path = Path::join(&[b"/sbin/fsck.", entry.kind]);
        let (Ok(path), true) = (path, entry.checked) else {
            return Ok(false);
        };
        if !is_set(path.as_c_str()) {
            return Ok(false);
        }
        let device = device(entry)?;
        file::info(CWD, device.as_c_str())?;
        let good = run(path.as_c_str(), &[c"-p", device.as_c_str()], 2);
        if good { Ok(true) } else { Err(Errno::EIO) }
    })
}

/// Mounts what is to be mounted at boot; the root is mounted anew with its
/// options.
pub(super) fn mount_all(reporter: &Reporter) -> StepResult {
    entries(reporter, true, &mut |entry, options| {
        if entry.kind == b"swap" {
            return Ok(false);
        }
        let target = path(entry.target)?;
        let kind = file::path_of(&[entry.kind])?;
        let mut flags = options.flags;
        if target.as_bytes() == b"/" {
            flags |= REMOUNT;
        } else if is_mounted(target.as_c_str())? && flags & REMOUNT == 0 {
            return Ok(false);
        }
        let device = device(entry)?;
        let data = options.data.as_c_str();
        let mount = |flags| {
            let (device, target) = (device.as_c_str(), target.as_c_str());
            power::mount_as(device, target, kind.as_c_str(), flags, data)
        };
        mount(flags)?;
        // A bind is read-only from its second mount on.
        if flags & (BIND | REMOUNT | READ_ONLY) == BIND | READ_ONLY {
            mount(flags | REMOUNT)?;
        }
        Ok(true)
    })
}

/// Uses the table's swap.
pub(super) fn swap_on(reporter: &Reporter) -> StepResult {
    entries(reporter, false, &mut |entry, _| {
        if entry.kind != b"swap" {
            return Ok(false);
        }
        let device = device(entry)?;
        match power::swap_on(device.as_c_str()) {
            // It is used already.
            Err(Errno::EBUSY) => Ok(false),
            done => done.map(|()| true),
        }
    })
}

/// Uses no swap any more. The table shrinks while it is read: what one pass
/// has missed the next one sees. What cannot be done is reported by the first.
pub(super) fn swap_off(reporter: &Reporter) {
    let mut reports = Some(reporter);
    loop {
        let mut progress = false;
        each_line(c"/proc/swaps", reports, &mut |line| {
            let device = line.split(u8::is_ascii_whitespace).next();
            let device = device.filter(|device| device.starts_with(b"/"));
            let Some(Ok(path)) = device.map(field) else {
                return;
            };
            match (power::swap_off(path.as_c_str()), reports) {
                (Ok(()), _) => progress = true,
                (Err(errno), Some(reporter)) => {
                    let what = "unable to stop swapping to ";
                    reporter.warn(what, path.as_bytes(), errno);
                }
                (Err(_), None) => {}
            }
        });
        if !progress {
            return;
        }
        reports = None;
    }
}
