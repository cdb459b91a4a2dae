//! Describes the root file system of a machine: its kind and its files.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Deserialize;

/// The kind of root that a machine has.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// All of it is in the initramfs.
    #[default]
    Initramfs,
    /// A squashfs; only tmpfs is writable.
    Squashfs,
    /// A squashfs below an ext4 overlay, on partitions of one disk.
    Overlay,
    /// An ext4.
    Ext4,
    /// An ext4 that is only read, with its dm-verity hashes on another
    /// partition of the disk.
    Verity,
}

/// A file of a root.
#[derive(Clone)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A file: permission bits, content.
    File(u32, Vec<u8>),
    /// A symbolic link to this.
    Link(String),
    /// A character device: permission bits, major, minor.
    Device(u32, u32, u32),
}

/// The files of a root by their paths, parents before children.
pub type Entries = BTreeMap<String, Entry>;
