//! Builds a changed environment for the next program: `chpst -e` and `-U`.

use core::{ffi::c_char, ptr};

use heapless::Vec;

use super::{program::Environ, static_cell::StaticCell};
use crate::{config, text};

/// The error of a full table: name and value of the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapacityExceeded(pub &'static str, pub usize);

/// Pointers to the variables, and the null after them.
type List = Vec<*const c_char, { config::ENVIRON + 1 }>;

/// An environment under construction: inherited variables stay where the
/// kernel put them; new ones are stored here.
pub struct Builder {
    /// All variables.
    list: List,
    /// New variables, each with its NUL. Never moved: the builder is static,
    /// and the bytes in use do not change.
    text: [u8; config::ENVIRON_BYTES],
    /// Number of bytes of `text` in use.
    used: usize,
}

// SAFETY: the pointers lead to memory that is valid as long as the process and
// is not written; any thread could use them.
unsafe impl Send for Builder {}

/// The environment of the program that replaces this one.
static BUILDER: StaticCell<Builder> = StaticCell::new(Builder {
    list: List::new(),
    text: [0; config::ENVIRON_BYTES],
    used: 0,
});

impl Builder {
    /// Returns a builder with the variables of `environ`. `None` the second
    /// time.
    pub fn take(
        environ: Environ,
    ) -> Option<Result<&'static mut Self, CapacityExceeded>> {
        let builder = BUILDER.take()?;
        for variable in environ.iter() {
            if let Err(full) = builder.push(variable.as_ptr()) {
                return Some(Err(full));
            }
        }
        Some(Ok(builder))
    }

    /// Adds a variable to the list, and leaves room for the null.
    fn push(
        &mut self,
        variable: *const c_char,
    ) -> Result<(), CapacityExceeded> {
        let full = CapacityExceeded("environ", config::ENVIRON);
        if self.list.len() >= config::ENVIRON {
            return Err(full);
        }
        self.list.push(variable).map_err(|_| full)
    }

    /// Returns the room for the value of variable `name`, to be filled before
    /// [`Self::set_filled`]. Its last byte is for the NUL: a value that fills
    /// the room is too long.
    pub fn room(&mut self, name: &[u8]) -> &mut [u8] {
        let start = self.value_start(name);
        self.text.get_mut(start..).unwrap_or(&mut [])
    }

    /// Returns the offset of the next variable's value: after its name and a
    /// `=`.
    fn value_start(&self, name: &[u8]) -> usize {
        self.used.saturating_add(name.len()).saturating_add(1)
    }

    /// Sets a variable to `value`; see [`Self::set_filled`].
    pub fn set(
        &mut self,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), CapacityExceeded> {
        // A value without room is refused below.
        let _fits = text::copy(self.room(name), value);
        self.set_filled(name, Some(value.len()))
    }

    /// Sets a variable to the first `length` bytes of its room, or removes it
    /// when there is no length. A NUL in the value becomes a newline
    /// (contract §6.1).
    ///
    /// A name with a `=` is accepted: the variable's name is the part before
    /// that, so that it is set even when there is no length.
    ///
    /// `Err(Full)` leaves the variable unset.
    pub fn set_filled(
        &mut self,
        name: &[u8],
        length: Option<usize>,
    ) -> Result<(), CapacityExceeded> {
        let variable = name.split(|byte| *byte == b'=').next();
        let variable = variable.unwrap_or(name);
        self.list.retain(|known| {
            // SAFETY: every pointer of the list leads to a C string that
            // is valid as long as the process.
            let text = unsafe { core::ffi::CStr::from_ptr(*known) };
            let value = text.to_bytes().strip_prefix(variable);
            !value.is_some_and(|value| value.starts_with(b"="))
        });
        if length.is_none() && variable.len() == name.len() {
            return Ok(());
        }
        let (start, value) = (self.used, self.value_start(name));
        let end = match length {
            Some(length) => value.saturating_add(length),
            None => value.saturating_sub(1),
        };
        let added = self.text.get_mut(start..=end);
        let added = added
            .ok_or(CapacityExceeded("environ-bytes", config::ENVIRON_BYTES));
        let added = added?;
        for (target, byte) in added.iter_mut().zip(name.iter().chain(b"=")) {
            *target = *byte;
        }
        for byte in added.iter_mut().filter(|byte| **byte == 0) {
            *byte = b'\n';
        }
        if let Some(last) = added.last_mut() {
            *last = 0;
        }
        let added = added.as_ptr();
        self.used = end.saturating_add(1);
        self.push(added.cast())
    }

    /// Returns the environment with all changes so far.
    pub fn finish(&mut self) -> Environ {
        // `push` left room for it.
        let _fits = self.list.push(ptr::null()).is_ok();
        Environ(self.list.as_ptr())
    }
}
