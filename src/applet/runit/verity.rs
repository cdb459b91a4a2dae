//! Makes the dm-verity device of a root: a device that is only read, and on
//! which the kernel compares every block that it reads with the hashes on
//! another device, up to the root hash.

use core::ffi::CStr;

use crate::{
    supervisor::Reporter,
    sys::{
        AsFd, CWD, Errno, Fd,
        dm::{Command, DeviceMapper},
        file,
    },
    wire::{
        dm::{self, Device, READ_ONLY, Record, Target},
        root::Root,
        verity::{SUPERBLOCK, Superblock, Verity},
    },
};

use super::{report, volume};

/// The mapping's name for the device mapper.
const NAME: &[u8] = b"root";
/// The mapping's device, made with the number that the kernel returns.
pub(super) const NODE: &CStr = c"/dev/mapper/root";

/// The mapping.
pub(super) struct Mapping(DeviceMapper);

impl Mapping {
    /// Makes the mapping for a root with `runt.verity=` and its device.
    /// Reports a failure and returns `None` then.
    pub(super) fn new(root: &Root<'_>, reporter: &Reporter) -> Option<Self> {
        let Some(verity) = Verity::parse(root.verity) else {
            report::warning(reporter, "invalid runt.verity=", root.verity);
            return None;
        };
        let open = |name| {
            open(name, root.wait, reporter)
                .inspect_err(|errno| {
                    reporter.warn("unable to open ", name, *errno);
                })
                .ok()
        };
        let (_data_file, data) = open(verity.data)?;
        let (hash_file, hash) = open(verity.hash)?;
        let mut bytes = [0; SUPERBLOCK];
        if let Err(errno) = file::read_at(hash_file.as_fd(), &mut bytes, 0) {
            reporter.warn("unable to read ", verity.hash, errno);
            return None;
        }
        let superblock = Superblock::parse(&bytes)
            .inspect_err(|field| {
                let what = "invalid dm-verity superblock: ";
                report::warning(reporter, what, field.as_bytes());
            })
            .ok()?;
        let line = superblock.table(&verity, data, hash);
        let target = Target {
            sectors: superblock.sectors(),
            kind: b"verity",
            line: &line,
        };
        let mapper = DeviceMapper::open();
        let made = mapper.and_then(|mapper| {
            let mapping = Self(mapper);
            let made = mapping.set_up(&target);
            if made.is_err() {
                mapping.remove();
            }
            made.map(|()| mapping)
        });
        made.inspect_err(|errno| {
            reporter.warn("unable to make ", NODE.to_bytes(), *errno);
        })
        .ok()
    }

    /// Makes the device with a table of one target, and its node.
    fn set_up(&self, target: &Target<'_>) -> Result<(), Errno> {
        self.remove();
        let mut created = dm::record(NAME, 0, None);
        self.0.call(Command::Create, &mut created)?;
        let mut loaded = dm::record(NAME, READ_ONLY, Some(target));
        self.0.call(Command::Load, &mut loaded)?;
        self.call(Command::Resume)?;
        file::make_node(CWD, NODE, dm::device(&created))
    }

    /// Removes the device and its node.
    pub(super) fn remove(&self) {
        // There may be none.
        let _none = self.call(Command::Remove).is_err();
        let _none = file::remove(CWD, NODE).is_err();
    }

    /// Makes a request that is only about the name.
    fn call(&self, command: Command) -> Result<(), Errno> {
        let mut record: Record = dm::record(NAME, 0, None);
        self.0.call(command, &mut record)
    }
}

/// Opens a block device when it has appeared; returns its number too.
fn open(
    name: &[u8],
    patient: bool,
    reporter: &Reporter,
) -> Result<(Fd, Device), Errno> {
    let path = volume::await_device(name, patient, reporter)?;
    let file = file::open_read(CWD, path.as_c_str())?;
    let number = file::block_device(file.as_fd())?;
    Ok((file, Device::decode(number)))
}
