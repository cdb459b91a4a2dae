//! Switches PID 1 of an initramfs to the root that the board or the kernel's
//! command line names, in two steps of stage 1:
//!
//! 1. [`mount_root`] mounts it on /newroot as soon as its device appears. With
//!    an overlay the root is mounted on /run/lower and the medium for changes
//!    on /run/upper: as parts of /run both are moved along, so that they are
//!    unmounted at the end;
//! 2. [`exec_init`] moves the kernel's file systems there, removes the files
//!    of the initramfs to free their memory, and executes the new root's init
//!    as PID 1.
//!
//! Neither does anything where the current root is not an initramfs.

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::shutdown::LAST_WORDS,
    supervisor::Reporter,
    sys::{
        self, AsFd, At, CWD, Errno, child,
        child::Program,
        clock, dir,
        file::{self, Identity, path_of},
        power,
    },
    text::Path,
    wire::{
        fstab::{READ_ONLY, SILENT},
        mounts::Mount,
        root::Root,
    },
};

use super::{
    step::{StepResult, each_line, is_free},
    volume,
};

/// Mount point of the new root.
const NEW_ROOT: &CStr = c"/newroot";
/// Mount point of the root below an overlay.
const LOWER: &CStr = c"/run/lower";
/// Mount point of the file system that takes an overlay's changes.
const UPPER: &CStr = c"/run/upper";
/// Options of the overlay. The last two of its directories are created.
const LAYERS: &[u8] =
    b"lowerdir=/run/lower,upperdir=/run/upper/upper,workdir=/run/upper/work";
/// Programs that are tried as the new root's init, relative to it.
const INITS: [&CStr; 4] =
    [c"sbin/init", c"sbin/runit-init", c"sbin/runit", c"init"];
/// Mounts that are moved to the new root, and their targets in it.
const SYSTEMS: [(&CStr, &CStr); 4] = [
    (c"/dev", c"dev"),
    (c"/proc", c"proc"),
    (c"/sys", c"sys"),
    (c"/run", c"run"),
];
/// Time for a device to appear: a card or a stick is found some time after its
/// driver is loaded.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum depth of directories that are removed from an initramfs. Deeper
/// files keep their memory.
const DEPTH: u8 = 32;
/// Interval between two looks for a missing device.
const PAUSE: Duration = Duration::from_millis(100);

/// Returns true when / is the kernel's unpacked initramfs. Needs /proc.
fn is_initramfs() -> bool {
    // A covered mount is not listed, so the first line is the first mount.
    let mut text = [0; 16];
    let mounts = file::read_whole(CWD, c"/proc/self/mounts", &mut text);
    let first = mounts.ok().and_then(Mount::parse);
    first.is_some_and(Mount::is_initial)
}

/// Calls `work` with the configured root, if there is one to switch to.
fn with_root(
    reporter: &Reporter,
    work: fn(&Root<'_>, &Reporter) -> bool,
) -> StepResult {
    let mut text = [0; config::LINE_BYTES];
    let mut root = Root::default();
    if !config::ROOT.is_empty() {
        root.read(config::ROOT.as_bytes());
    }
    // A failure to read was reported with the boot parameters.
    let line = file::read_whole(CWD, c"/proc/cmdline", &mut text);
    root.read(line.unwrap_or(&[]));
    let wanted = root.is_elsewhere() && is_initramfs();
    StepResult::of(wanted, wanted && !work(&root, reporter))
}

/// Mounts the new root: step 1.
pub(super) fn mount_root(reporter: &Reporter) -> StepResult {
    with_root(reporter, |root, reporter| {
        let Root { device, kind, .. } = *root;
        let flags = if root.writable { 0 } else { READ_ONLY };
        let patient = root.wait;
        let mount = |name, target, kind, flags, data| {
            let volume = Volume {
                name,
                kind,
                patient,
            };
            let mounted = mount(&volume, target, flags, data, reporter);
            if let Err(errno) = mounted {
                reporter.warn("unable to mount ", name, errno);
            }
            mounted.is_ok()
        };
        let name = root.overlay;
        if name.is_empty() {
            return mount(device, NEW_ROOT, kind, flags, root.options);
        }
        let tmpfs: &[u8] = b"tmpfs";
        let upper = if name == tmpfs { tmpfs } else { b"" };
        if !mount(device, LOWER, kind, READ_ONLY, root.options)
            || !mount(name, UPPER, upper, 0, b"")
        {
            return false;
        }
        for dir in [c"/run/upper/upper", c"/run/upper/work"] {
            // A failure here makes the mount of the overlay fail too.
            let _there = file::make_dir(CWD, dir, 0o755).is_err();
        }
        mount(b"overlay", NEW_ROOT, b"overlay", 0, LAYERS)
    })
}

/// A volume to be mounted.
struct Volume<'a> {
    name: &'a [u8],
    /// File system type; empty: the first that fits.
    kind: &'a [u8],
    /// True when there is no time limit for it to appear.
    patient: bool,
}

/// Mounts a volume, after it has appeared.
fn mount(
    volume: &Volume<'_>,
    target: &CStr,
    flags: u32,
    data: &[u8],
    reporter: &Reporter,
) -> Result<(), Errno> {
    if !is_free(target)? {
        return Ok(());
    }
    let until = clock::mono().after(DEVICE_TIMEOUT);
    let mut warned = false;
    let device = loop {
        let errno = match existing_device(volume.name) {
            Ok(device) => break device,
            Err(errno) => errno,
        };
        let late = clock::mono() >= until && !volume.patient;
        if late || errno != Errno::ENOENT {
            return Err(errno);
        }
        if !core::mem::replace(&mut warned, true) {
            reporter.warn("waiting for ", volume.name, errno);
        }
        sys::poller::sleep(PAUSE);
    };
    let data = path_of(&[data])?;
    // EINVAL: it is of another type.
    let mut done = Err(Errno::EINVAL);
    let mut attempt = |line: &[u8]| {
        // Types that need no device begin with `nodev`.
        if let (Err(Errno::EINVAL), Some(kind)) =
            (done, line.strip_prefix(b"\t"))
        {
            let (device, data) = (device.as_c_str(), data.as_c_str());
            let flags = flags | SILENT;
            done = path_of(&[kind]).and_then(|kind| {
                power::mount(device, target, kind.as_c_str(), flags, data)
            });
        }
    };
    if volume.kind.is_empty() {
        each_line(c"/proc/filesystems", Some(reporter), &mut attempt);
    } else {
        attempt(path_of(&[b"\t", volume.kind])?.as_bytes());
    }
    done
}

/// Returns the device of a name. ENOENT: it has not appeared yet.
fn existing_device(name: &[u8]) -> Result<Path, Errno> {
    let device = volume::device(path_of(&[name])?)?;
    // Names such as `ubi0:root` are not files.
    if device.as_bytes().starts_with(b"/") {
        file::info(CWD, device.as_c_str())?;
    }
    Ok(device)
}

/// Switches to the new root and executes its init: step 2. Returns only when
/// there is no other root or on failure.
pub(super) fn exec_init(reporter: &Reporter) -> StepResult {
    with_root(reporter, |_, reporter| {
        let gone = switch_root(reporter);
        let errno = gone.err().unwrap_or(Errno::ENOENT);
        reporter.warn("unable to start the init of the root", b"", errno);
        false
    })
}

/// Makes the new root the root if there is an init in it, removes the old
/// root's files and executes that init.
fn switch_root(reporter: &Reporter) -> Result<(), Errno> {
    let old = file::open_dir(CWD, c"/")?;
    file::change_dir(NEW_ROOT)?;
    // A link may lead to a path that exists only after the switch.
    if !INITS
        .iter()
        .any(|path| file::info_of_link(CWD, path).is_ok())
    {
        file::change_dir(c"/")?;
        // So that another root may be mounted.
        power::unmount(NEW_ROOT)?;
        return Err(Errno::ENOENT);
    }
    for (from, to) in &SYSTEMS {
        // It exists in most roots.
        let _there = file::make_dir(CWD, to, 0o755).is_err();
        if let Err(errno) = power::move_mount(from, to) {
            reporter.warn("unable to move ", from.to_bytes(), errno);
        }
    }
    power::move_mount(c".", c"/")?;
    file::change_root(c".")?;
    remove_all(old.as_fd(), file::info_of(old.as_fd())?.identity, DEPTH);
    if let Some(console) = reporter.console {
        console.flush(LAST_WORDS);
    }
    for path in &INITS {
        // On failure the next one is tried.
        let _errno = child::exec_unblocked(&Program {
            path,
            arguments: &[],
            environ: sys::start::environ(),
        });
    }
    Ok(())
}

/// Removes the contents of a directory, on its own file system only.
///
/// Leaves what cannot be removed: it costs only memory.
fn remove_all(dir: At<'_>, of: Identity, depth: u8) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    let listed = dir::list(dir, |name| {
        if file::remove(dir, name).is_ok() {
            return;
        }
        let sub = file::open_dir(dir, name).and_then(|sub| {
            let identity = file::info_of(sub.as_fd())?.identity;
            Ok((sub, identity))
        });
        if let Ok((sub, identity)) = sub
            && identity.device == of.device
        {
            remove_all(sub.as_fd(), of, depth);
            let _stays = file::remove_dir(dir, name).is_err();
        }
    });
    let _part = listed.is_err();
}
