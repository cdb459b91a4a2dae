//! Finds the device of a volume that is named by `LABEL=`, `UUID=`,
//! `PARTUUID=` or `PARTLABEL=`, in /etc/fstab or on the kernel's command line,
//! and waits for it.

use core::time::Duration;

use crate::{
    config,
    supervisor::Reporter,
    sys::{
        self, AsFd, CWD, Errno, Fd, clock,
        file::{self, path_of},
    },
    text::Path,
    wire::volume::{HEAD, Key, Tag, entry_place, partition_number},
};

/// Time for a device to appear: a card or a stick is found some time after its
/// driver is loaded.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(10);
/// Interval between two looks for a missing device.
const PAUSE: Duration = Duration::from_millis(100);

/// Returns the device of a volume as soon as it has appeared; with `patient`
/// there is no time limit for that.
pub(super) fn await_device(
    name: &[u8],
    patient: bool,
    reporter: &Reporter,
) -> Result<Path, Errno> {
    let until = clock::mono().after(DEVICE_TIMEOUT);
    let mut warned = false;
    loop {
        let errno = match existing_device(name) {
            Err(errno) => errno,
            found => return found,
        };
        let late = clock::mono() >= until && !patient;
        if late || errno != Errno::ENOENT {
            return Err(errno);
        }
        if !core::mem::replace(&mut warned, true) {
            reporter.warn("waiting for ", name, errno);
        }
        sys::poller::sleep(PAUSE);
    }
}

/// Returns the device of a name. ENOENT: it has not appeared yet.
fn existing_device(name: &[u8]) -> Result<Path, Errno> {
    let device = device(path_of(&[name])?)?;
    // Names such as `ubi0:root` are not files.
    if device.as_bytes().starts_with(b"/") {
        file::info(CWD, device.as_c_str())?;
    }
    Ok(device)
}

/// Returns the device of a volume. A name that is a device already is returned
/// unchanged. ENOENT: no device present has the name. EINVAL: none can ever
/// have it.
pub(super) fn device(name: Path) -> Result<Path, Errno> {
    let Some(tag) = Tag::parse(name.as_bytes()) else {
        return Ok(name);
    };
    if !tag.is_possible() {
        return Err(Errno::EINVAL);
    }
    // This list names a disk before its partitions.
    let (mut disk, mut found) = (None::<(Path, Fd)>, None);
    let mut buffer = [0; config::PATH_BYTES];
    file::lines(CWD, c"/proc/partitions", &mut buffer, |line| {
        let words = line.unwrap_or(&[]).rsplit(|byte| *byte == b' ');
        let name = { words }.next().unwrap_or(&[]);
        let Ok(path) = Path::join(&[b"/dev/", name]) else {
            return true;
        };
        let number = disk.as_ref().and_then(|(disk, _)| {
            partition_number(disk.as_bytes(), path.as_bytes())
        });
        // A device that cannot be opened or read, such as a reader without a
        // card, has no name.
        let own = file::open_read(CWD, path.as_c_str());
        let matches = match (&own, &disk, number) {
            _ if tag.key == Key::PartitionName => has_kernel_name(name, tag),
            (_, Some((_, disk)), Some(number)) if tag.key == Key::Partition => {
                has_name(disk, number, tag)
            }
            (Ok(own), ..) => has_name(own, 0, tag),
            (Err(errno), ..) => Err(*errno),
        };
        if matches == Ok(true) {
            found = Some(path);
            return false;
        }
        if let (None, Ok(own)) = (number, own) {
            disk = Some((path, own));
        }
        true
    })?;
    found.ok_or(Errno::ENOENT)
}

/// Returns true when the kernel reports this name for the partition `name`.
fn has_kernel_name(name: &[u8], tag: Tag<'_>) -> Result<bool, Errno> {
    let path = path_of(&[b"/sys/class/block/", name, b"/uevent"])?;
    let (mut buffer, mut found) = ([0; config::PATH_BYTES], false);
    file::lines(CWD, path.as_c_str(), &mut buffer, |line| {
        found |= line.is_some_and(|line| tag.names_partition(line));
        true
    })?;
    Ok(found)
}

/// Returns true when a volume, or partition `number` of a disk, has this name.
fn has_name(file: &Fd, number: u8, tag: Tag<'_>) -> Result<bool, Errno> {
    let mut head = [0; HEAD];
    file::read_at(file.as_fd(), &mut head, 0)?;
    match entry_place(&head, number) {
        Some(offset) if tag.key == Key::Partition => {
            let mut uuid = [0; 16];
            file::read_at(file.as_fd(), &mut uuid, offset)?;
            Ok(tag.names_entry(&uuid))
        }
        _ => Ok(tag.names(&head, number)),
    }
}
