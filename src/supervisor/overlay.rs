//! Selects the overlay of a services directory: a writable directory whose
//! entries hide those of the same name.
//!
//! A link to a service directory adds or replaces a service, a link to
//! /dev/null removes one.

use core::ffi::CStr;

use crate::{config, sys::start};

/// Returns the overlay of a services directory, if it has one:
/// $RUNT_SERVICES_OVERLAY, or for the board's services directory the board's
/// overlay.
pub fn of(services: &CStr) -> Option<&'static CStr> {
    let own = services == config::SERVICES_DIR;
    let overlay = start::variable(b"RUNT_SERVICES_OVERLAY")
        .or(own.then_some(config::SERVICES_OVERLAY));
    overlay.filter(|path| !path.is_empty())
}
