//! Contains what the programs of this package share. They have no libc and no
//! heap, like the release.
#![no_std]

pub mod call;
pub mod child;
pub mod entry;
pub mod supervise_files;
