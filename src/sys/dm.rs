//! Calls the device mapper.

use linux_raw_sys::ioctl::{
    DM_DEV_CREATE, DM_DEV_REMOVE, DM_DEV_SUSPEND, DM_TABLE_LOAD,
};

use super::{CWD, Errno, Fd, file, raw};
use crate::wire::dm::Record;

/// A request to the device mapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes a device without a table.
    Create,
    /// Gives it a table, which is not in use yet.
    Load,
    /// Takes the table into use.
    Resume,
    /// Removes the device. ENXIO: there is none; EBUSY: it is in use.
    Remove,
}

/// The device mapper.
#[derive(Debug)]
pub struct DeviceMapper(Fd);

impl DeviceMapper {
    /// Opens it.
    pub fn open() -> Result<Self, Errno> {
        file::open_both(CWD, c"/dev/mapper/control").map(Self)
    }

    /// Makes a request; the kernel's answer overwrites the record.
    pub fn call(
        &self,
        command: Command,
        record: &mut Record,
    ) -> Result<(), Errno> {
        let request = match command {
            Command::Create => DM_DEV_CREATE,
            Command::Load => DM_TABLE_LOAD,
            // Without the flag that asks to suspend it.
            Command::Resume => DM_DEV_SUSPEND,
            Command::Remove => DM_DEV_REMOVE,
        };
        raw::device_mapper(&self.0, request, record)
    }
}
