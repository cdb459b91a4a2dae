//! How PID 1 of an initramfs goes on in the root that the board or the
//! kernel's command line names: two steps of stage 1.
//!
//! 1. [`assemble`]: it is mounted on /newroot, as soon as its device is there.
//!    With an overlay the root comes on /run/lower, what is written to it goes
//!    to /run/upper: as parts of /run they go along, so that they come to rest
//!    at the end;
//! 2. [`enter`]: the kernel's file systems move there, the files of the
//!    initramfs are removed, which gives their memory back, and the init that
//!    is there becomes PID 1.
//!
//! Neither does anything where the root is no initramfs.

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

/// Where the root is put together.
const NEW_ROOT: &CStr = c"/newroot";
/// The root below an overlay.
const LOWER: &CStr = c"/run/lower";
/// What keeps that which is written to an overlay.
const UPPER: &CStr = c"/run/upper";
/// The overlay's options: of the three places the last two are made.
const LAYERS: &[u8] =
    b"lowerdir=/run/lower,upperdir=/run/upper/upper,workdir=/run/upper/work";
/// The programs that are tried as the root's init, from the root.
const INITS: [&CStr; 4] =
    [c"sbin/init", c"sbin/runit-init", c"sbin/runit", c"init"];
/// What goes along, and where to.
const SYSTEMS: [(&CStr, &CStr); 4] = [
    (c"/dev", c"dev"),
    (c"/proc", c"proc"),
    (c"/sys", c"sys"),
    (c"/run", c"run"),
];
/// How long a device may take to appear: a card or a stick is found some time
/// after its driver is there.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(10);
/// How deep directories of an initramfs are: what is deeper keeps its memory.
const DEPTH: u8 = 32;
/// The time between two looks at what is not there yet.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether what is mounted at / is what the kernel has unpacked. For this
/// /proc is there.
fn is_initramfs() -> bool {
    // What has another over it is not in the list; what is first was first.
    let mut text = [0; 16];
    let mounts = file::read_whole(CWD, c"/proc/self/mounts", &mut text);
    let first = mounts.ok().and_then(Mount::parse);
    first.is_some_and(Mount::is_initial)
}

/// Does something about the root, if there is another to go on in.
fn with_root(
    reporter: &Reporter,
    work: fn(&Root<'_>, &Reporter) -> bool,
) -> StepResult {
    let mut text = [0; config::LINE_BYTES];
    let mut root = Root::default();
    if !config::ROOT.is_empty() {
        root.read(config::ROOT.as_bytes());
    }
    // That it cannot be read has been said.
    let line = file::read_whole(CWD, c"/proc/cmdline", &mut text);
    root.read(line.unwrap_or(&[]));
    let wanted = root.is_elsewhere() && is_initramfs();
    StepResult::of(wanted, wanted && !work(&root, reporter))
}

/// Step 1.
pub(super) fn mount_root(reporter: &Reporter) -> StepResult {
    with_root(reporter, |root, reporter| {
        let Root { device, kind, .. } = *root;
        let flags = if root.writable { 0 } else { READ_ONLY };
        let patient = root.patient;
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
            // What hinders it hinders the overlay too.
            let _there = file::make_dir(CWD, dir, 0o755).is_err();
        }
        mount(b"overlay", NEW_ROOT, b"overlay", 0, LAYERS)
    })
}

/// What is mounted.
struct Volume<'a> {
    name: &'a [u8],
    /// Its type; empty: whichever fits.
    kind: &'a [u8],
    /// It may take as long as it likes to appear.
    patient: bool,
}

/// Mounts a volume when it is there.
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
        // Types that are on no device begin with `nodev`.
        if let (Err(Errno::EINVAL), Some(kind)) =
            (done, line.strip_prefix(b"\t"))
        {
            let (device, data) = (device.as_c_str(), data.as_c_str());
            let flags = flags | SILENT;
            done = path_of(&[kind]).and_then(|kind| {
                power::mount_as(device, target, kind.as_c_str(), flags, data)
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

/// The device of a name, when it is there.
fn existing_device(name: &[u8]) -> Result<Path, Errno> {
    let device = volume::device(path_of(&[name])?)?;
    // `ubi0:root` and the like are no files.
    if device.as_bytes().starts_with(b"/") {
        file::info(CWD, device.as_c_str())?;
    }
    Ok(device)
}

/// Step 2. Does not come back, when there is a root.
pub(super) fn exec_init(reporter: &Reporter) -> StepResult {
    with_root(reporter, |_, reporter| {
        let gone = switch_root(reporter);
        let errno = gone.err().unwrap_or(Errno::ENOENT);
        reporter.warn("unable to go on in the root", b"", errno);
        false
    })
}

/// Makes the new root the root, if there is an init in it, removes the old
/// one's files and becomes that init.
fn switch_root(reporter: &Reporter) -> Result<(), Errno> {
    let old = file::open_dir(CWD, c"/")?;
    file::change_dir(NEW_ROOT)?;
    // A link may lead to what is only there once this is the root.
    if !INITS
        .iter()
        .any(|path| file::info_of_link(CWD, path).is_ok())
    {
        file::change_dir(c"/")?;
        // So that another may be mounted.
        power::unmount(NEW_ROOT)?;
        return Err(Errno::ENOENT);
    }
    for (from, to) in &SYSTEMS {
        // There it is, mostly.
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
        // The next is tried when it is not there, or cannot be run.
        let _errno = child::exec_unblocked(&Program {
            path,
            arguments: &[],
            environ: sys::start::environ(),
        });
    }
    Ok(())
}

/// Removes what is in a directory, on its own file system only.
///
/// What cannot be removed stays: nobody misses the memory but who counts it.
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
