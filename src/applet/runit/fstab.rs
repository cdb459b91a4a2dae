//! Checks and mounts the file systems of /etc/fstab, and enables and disables
//! swap.

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

/// The file system table.
pub(super) const FSTAB: &CStr = c"/etc/fstab";

/// Calls `each` with every entry for the boot and its options. Reports
/// malformed lines if `reports` is set.
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
            Ok(options) if options.not_at_boot => return,
            Ok(options) => match each(&entry, &options) {
                // Its medium is missing, and is optional.
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
                reporter.warn("fstab: unable to use ", entry.device, errno);
            }
        }
    });
    StepResult::of(some, failed)
}

/// Returns a field as a path. EINVAL: it contains a NUL.
fn path(text: &[u8]) -> Result<Path, Errno> {
    field(text).map_err(|long| match text.len() {
        // An escape is longer than the byte that it stands for.
        length if length < long.limit => Errno::EINVAL,
        _ => Errno::ENAMETOOLONG,
    })
}

/// Returns the device of an entry, which may be named by its volume.
fn device(entry: &Entry<'_>) -> Result<Path, Errno> {
    volume::device(path(entry.device)?)
}

/// Checks each file system with the program of its type, if there is one. Its
/// exit codes 0 and 1 mean that the file system is in order. One that is
/// mounted for writing, as after a soft reboot, is in use and left alone.
pub(super) fn check(reporter: &Reporter) -> StepResult {
    entries(reporter, false, &mut |entry, _| {
        let path = Path::join(&[b"/sbin/fsck.", entry.kind]);
        let (Ok(path), true) = (path, entry.checked) else {
            return Ok(false);
        };
        if !is_set(path.as_c_str()) || is_in_use(entry.target) {
            return Ok(false);
        }
        let device = device(entry)?;
        file::info(CWD, device.as_c_str())?;
        let good = run(path.as_c_str(), &[c"-p", device.as_c_str()], 2);
        if good { Ok(true) } else { Err(Errno::EIO) }
    })
}

/// Returns true when a file system is mounted at `target` for writing.
fn is_in_use(target: &[u8]) -> bool {
    path(target).is_ok_and(|target| {
        let path = target.as_c_str();
        let mounted = target.as_bytes() == b"/" || is_mounted(path) == Ok(true);
        mounted && file::is_writable(CWD, path)
    })
}

/// Mounts the file systems for the boot. The root is remounted with its
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
            power::mount(device, target, kind.as_c_str(), flags, data)
        };
        mount(flags)?;
        // A bind mount becomes read-only only by a remount.
        if flags & (BIND | REMOUNT | READ_ONLY) == BIND | READ_ONLY {
            mount(flags | REMOUNT)?;
        }
        Ok(true)
    })
}

/// Enables the swap of the table.
pub(super) fn swap_on(reporter: &Reporter) -> StepResult {
    entries(reporter, false, &mut |entry, _| {
        if entry.kind != b"swap" {
            return Ok(false);
        }
        let device = device(entry)?;
        match power::swap_on(device.as_c_str()) {
            // It is enabled already.
            Err(Errno::EBUSY) => Ok(false),
            done => done.map(|()| true),
        }
    })
}

/// Disables all swap. The table shrinks while it is read, so passes are
/// repeated until one disables nothing. Only the first reports failures.
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
