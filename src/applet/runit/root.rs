//! Switches PID 1 of an initramfs to the root that the board, the kernel's
//! command line or the root hook names, in two steps of stage 1:
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

use core::ffi::CStr;

use crate::{
    config::{self, family::ROOT},
    machine::shutdown::LAST_WORDS,
    supervisor::Reporter,
    sys::{
        self, AsFd, At, CWD, Errno, child,
        child::Program,
        dir,
        file::{self, path_of},
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
    report, rig,
    step::{StepResult, each_line, is_free},
    verity::{self, Mapping},
    volume,
};

/// Mount point of the new root.
const NEW_ROOT: &CStr = c"/newroot";
/// Mount point of the root below an overlay.
const LOWER: &CStr = c"/run/lower";
/// Mount point of the file system that takes an overlay's changes.
const UPPER: &CStr = c"/run/upper";
/// Directory of the initramfs with files for the root: a layer of the overlay.
const FILES: &CStr = c"/etc/runit/overlay";
/// Options of the overlay. The last two of its directories are created.
const LAYERS: &[u8] =
    b"lowerdir=/run/lower,upperdir=/run/upper/upper,workdir=/run/upper/work";
/// Options of the overlay with [`FILES`].
const LAYERS_WITH_FILES: &[u8] = b"lowerdir=/etc/runit/overlay:/run/lower,\
    upperdir=/run/upper/upper,workdir=/run/upper/work";
/// Programs that are tried as the new root's init, relative to it.
const INITS: [&CStr; 4] =
    [c"/sbin/init", c"/sbin/runit-init", c"/sbin/runit", c"/init"];
/// Mounts that are moved to the new root, and their targets in it.
const SYSTEMS: [(&CStr, &CStr); 4] = [
    (c"/dev", c"dev"),
    (c"/proc", c"proc"),
    (c"/sys", c"sys"),
    (c"/run", c"run"),
];
/// Step 1 of the switch. A build without the family `root` fails where a root is configured.
pub(super) const MOUNT_ROOT: fn(&Reporter, &[u8]) -> StepResult =
    if ROOT { mount_root } else { refuse };

/// Returns true when / is the kernel's unpacked initramfs. Needs /proc.
fn is_initramfs() -> bool {
    // A covered mount is not listed, so the first line is the first mount.
    let mut text = [0; 16];
    let mounts = file::read_whole(CWD, c"/proc/self/mounts", &mut text);
    let first = mounts.ok().and_then(Mount::parse);
    first.is_some_and(Mount::is_initial)
}

/// Calls `work` with the root that the board, the kernel's command line and
/// `answer`, the root hook's, configure.
fn with_words<T>(answer: &[u8], work: impl FnOnce(&Root<'_>) -> T) -> T {
    let mut text = [0; config::LINE_BYTES];
    let mut root = Root::default();
    if !config::ROOT.is_empty() {
        root.read(config::ROOT.as_bytes());
    }
    // A failure to read was reported with the boot parameters.
    let line = file::read_whole(CWD, c"/proc/cmdline", &mut text);
    root.read(line.unwrap_or(&[]));
    root.read(answer);
    work(&root)
}

/// Returns true when the root hook may choose a root: in an initramfs, unless
/// the configured root is the initramfs itself.
pub(super) fn is_open() -> bool {
    is_initramfs() && with_words(b"", |root| !root.is_here())
}

/// Returns true when there is a root to switch to.
pub(super) fn is_configured(answer: &[u8]) -> bool {
    with_words(answer, is_wanted)
}

/// Returns true when a configured root is another than the current one, which
/// can be left.
fn is_wanted(root: &Root<'_>) -> bool {
    root.is_elsewhere() && is_initramfs()
}

/// Calls `work` with the configured root, if there is one to switch to.
fn with_root(
    reporter: &Reporter,
    answer: &[u8],
    work: &dyn Fn(&Root<'_>, &Reporter) -> bool,
) -> StepResult {
    with_words(answer, |root| {
        let wanted = is_wanted(root);
        StepResult::of(wanted, wanted && !work(root, reporter))
    })
}

/// Reports that this build cannot switch to the configured root.
fn refuse(reporter: &Reporter, answer: &[u8]) -> StepResult {
    with_root(reporter, answer, &|root, reporter| {
        let what =
            "the programs of this build (root) do not include a switch to ";
        report::warning(reporter, what, root.device);
        false
    })
}

/// Mounts the new root: step 1.
fn mount_root(reporter: &Reporter, answer: &[u8]) -> StepResult {
    with_root(reporter, answer, &|root, reporter| {
        if root.verity.is_empty() {
            return mount_layers(root, root.device, reporter);
        }
        if !config::VERITY {
            let what = "no support on this board: runt.verity=";
            report::warning(reporter, what, root.verity);
            return false;
        }
        // An earlier attempt may have left the device in use.
        for target in [NEW_ROOT, LOWER] {
            let _free = power::unmount(target).is_err();
        }
        let Some(mapping) = Mapping::new(root, reporter) else {
            return false;
        };
        let mounted = mount_layers(root, verity::NODE.to_bytes(), reporter);
        if !mounted {
            mapping.remove();
        }
        mounted
    })
}

/// Mounts the root on `device` and, if it has one, its overlay. Returns true
/// on success.
fn mount_layers(root: &Root<'_>, device: &[u8], reporter: &Reporter) -> bool {
    let Root { kind, .. } = *root;
    let flags = if root.writable && root.verity.is_empty() {
        0
    } else {
        READ_ONLY
    };
    let patient = root.wait;
    let mount = |name, target, kind, flags, data| {
        let volume = Volume {
            name,
            kind,
            patient,
            // Another one would be taken for the verified root.
            fresh: !root.verity.is_empty() && target != UPPER,
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
    let files = file::info(CWD, FILES).is_ok();
    let layers = if files { LAYERS_WITH_FILES } else { LAYERS };
    mount(b"overlay", NEW_ROOT, b"overlay", 0, layers)
}

/// A volume to be mounted.
struct Volume<'a> {
    name: &'a [u8],
    /// File system type; empty: the first that fits.
    kind: &'a [u8],
    /// True when there is no time limit for it to appear.
    patient: bool,
    /// True when nothing may be mounted there yet; otherwise what is mounted
    /// counts as the volume.
    fresh: bool,
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
        return if volume.fresh {
            Err(Errno::EBUSY)
        } else {
            Ok(())
        };
    }
    let device = volume::await_device(volume.name, volume.patient, reporter)?;
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

/// Switches to the new root and executes its init, which runs `rig` for a test
/// rig: step 2. Returns only when there is no other root or on failure.
pub(super) fn exec_init(
    reporter: &Reporter,
    answer: &[u8],
    rig: &[u8],
) -> StepResult {
    with_root(reporter, answer, &|_, reporter| {
        let gone = switch_root(reporter, rig);
        let errno = gone.err().unwrap_or(Errno::ENOENT);
        reporter.warn("unable to start the init of the root", b"", errno);
        false
    })
}

/// Makes the new root the root if there is an init in it, removes the old
/// root's files and executes that init. `rig` is what to run for a test rig.
fn switch_root(reporter: &Reporter, rig: &[u8]) -> Result<(), Errno> {
    let old = file::open_dir(CWD, c"/")?;
    file::change_dir(NEW_ROOT)?;
    // A link may lead to a path that exists only after the switch.
    if !INITS.iter().any(|path| {
        // Relative to the new root.
        let path = path.to_bytes_with_nul().get(1..).unwrap_or_default();
        CStr::from_bytes_with_nul(path)
            .is_ok_and(|path| file::info_of_link(CWD, path).is_ok())
    }) {
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
    if let Err(errno) = rig::pass_on(rig) {
        reporter.warn("unable to pass on the rig", b"", errno);
    }
    remove_all(old.as_fd())?;
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

/// Removes the contents of a directory, on its own file system only, except
/// for [`FILES`], which the new root may use.
///
/// Leaves what cannot be removed, or has a path longer than `path-bytes`: it
/// costs only memory. Directories are visited in the order of their names, so
/// that those that stay are visited once.
fn remove_all(root: At<'_>) -> Result<(), Errno> {
    let device = file::info_of(root)?.identity.device;
    let mut here = path_of(&[b"."])?;
    let mut last: Option<Path> = None;
    loop {
        let mut next: Option<Path> = None;
        let open = file::open_dir(root, here.as_c_str()).and_then(|dir| {
            let info = file::info_of(dir.as_fd())?;
            Ok((dir, info.identity.device))
        });
        if let Ok((dir, own)) = open
            && own == device
        {
            let listed = dir::list(dir.as_fd(), |name| {
                let path = [here.as_bytes(), b"/", name.to_bytes()];
                let path = Path::join(&path).ok();
                let kept = path.as_ref().map(Path::as_bytes);
                let kept = kept.and_then(|path| path.strip_prefix(b"."));
                if kept == Some(FILES.to_bytes()) {
                    return;
                }
                if file::remove(dir.as_fd(), name).is_ok()
                    || file::remove_dir(dir.as_fd(), name).is_ok()
                {
                    return;
                }
                let Some(path) = path else { return };
                let path_is_after =
                    |other: &Path| path.as_bytes() > other.as_bytes();
                if last.as_ref().is_none_or(path_is_after)
                    && !next.as_ref().is_some_and(path_is_after)
                {
                    next = Some(path);
                }
            });
            let _part = listed.is_err();
        }
        if let Some(sub) = next {
            (here, last) = (sub, None);
            continue;
        }
        let slash = here.as_bytes().iter().rposition(|byte| *byte == b'/');
        let Some(parent) = slash.and_then(|at| here.as_bytes().get(..at))
        else {
            return Ok(());
        };
        let parent = path_of(&[parent])?;
        let _stays = file::remove_dir(root, here.as_c_str()).is_err();
        last = Some(core::mem::replace(&mut here, parent));
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn all_files_are_removed_except_below_paths_that_are_too_long() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let at = |name: &str| root.path().join(name);
        let kept = "etc/runit/overlay";
        for dir in ["a/b/c", "a/.b/c", ".hidden/a", "z", "a0/b", kept] {
            fs::create_dir_all(at(dir)).unwrap();
            for name in ["file", ".file", "-file"] {
                fs::write(at(dir).join(name), "").unwrap();
            }
        }
        symlink(outside.path(), at("a/link")).unwrap();
        let long = "d".repeat(config::PATH_BYTES / 2);
        fs::create_dir_all(at("a").join(&long).join(&long)).unwrap();
        let deep = "e/".repeat(config::PATH_BYTES / 2 - 2);
        fs::create_dir_all(at(&deep)).unwrap();
        let open = fs::File::open(root.path()).unwrap();
        remove_all(std::os::fd::AsFd::as_fd(&open)).unwrap();
        let left = |dir: &std::path::Path| {
            let names = fs::read_dir(dir).unwrap();
            names.map(|n| n.unwrap().file_name()).collect::<Vec<_>>()
        };
        // An empty directory is removed by its name alone.
        assert_eq!(left(root.path()), ["etc"]);
        assert_eq!(left(&at("etc/runit")), ["overlay"]);
        assert_eq!(left(&at(kept)).len(), 3);
        fs::remove_dir_all(at("etc")).unwrap();
        assert_eq!(left(outside.path()), ["kept"]);
        fs::create_dir_all(at("a").join(&long).join(&long).join("x")).unwrap();
        fs::create_dir_all(at("b/c")).unwrap();
        remove_all(std::os::fd::AsFd::as_fd(&open)).unwrap();
        assert_eq!(left(root.path()), ["a"]);
    }
}
