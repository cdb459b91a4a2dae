//! How an environment is changed for a program to come: `chpst -e` and `-U`.

use core::{ffi::c_char, ptr};

use heapless::Vec;

use super::{child::Environ, once::Once};
use crate::config;

/// A capacity was reached: its name and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full(pub &'static str, pub usize);

/// Pointers to the variables, and the null behind them.
type List = Vec<*const c_char, { config::ENVIRON + 1 }>;

/// An environment being put together: what was inherited stays where the
/// kernel put it; what is new is kept here.
pub struct Builder {
    list: List,
    /// New variables, each with its NUL. Never moved: the builder is static
    /// and this only grows.
    text: Vec<u8, { config::ENVIRON_BYTES }>,
}

// SAFETY: the pointers lead to memory that lives as long as the process and
// is not written; a thread could use them as well as any.
unsafe impl Send for Builder {}

/// The environment of this process's successor.
static BUILDER: Once<Builder> = Once::new(Builder {
    list: List::new(),
    text: Vec::new(),
});

impl Builder {
    /// A builder with the variables of `environ`. `None` the second time.
    pub fn take(environ: Environ) -> Option<Result<&'static mut Self, Full>> {
        let builder = BUILDER.take()?;
        for variable in environ.iter() {
            if let Err(full) = builder.push(variable.as_ptr()) {
                return Some(Err(full));
            }
        }
        Some(Ok(builder))
    }

    /// Adds a variable to the list, leaving room for the null.
    fn push(&mut self, variable: *const c_char) -> Result<(), Full> {
        let full = Full("environ", config::ENVIRON);
        if self.list.len() >= config::ENVIRON {
            return Err(full);
        }
        self.list.push(variable).map_err(|_| full)
    }

    /// Sets a variable, or removes it when it has no value. A NUL in the
    /// value becomes a newline (contract §6.1).
    ///
    /// A name with a `=` is odd but taken: the variable is what stands before
    /// that, so that even without a value there is one to set.
    ///
    /// `Err(Full)` leaves the variable unset.
    pub fn set(
        &mut self,
        name: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Full> {
        let variable = name.split(|byte| *byte == b'=').next();
        let variable = variable.unwrap_or(name);
        self.list.retain(|known| {
            // SAFETY: every pointer of the list leads to a C string that
            // lives as long as the process.
            let text = unsafe { core::ffi::CStr::from_ptr(*known) };
            let value = text.to_bytes().strip_prefix(variable);
            !value.is_some_and(|value| value.starts_with(b"="))
        });
        if value.is_none() && variable.len() == name.len() {
            return Ok(());
        }
        let full = Full("environ-bytes", config::ENVIRON_BYTES);
        let start = self.text.len();
        let sign = if value.is_some() { &b"="[..] } else { b"" };
        let parts = name.iter().chain(sign).chain(value.unwrap_or(b""));
        let bytes = parts.map(|byte| match byte {
            0 => b'\n',
            byte => *byte,
        });
        for byte in bytes.chain([0]) {
            if self.text.push(byte).is_err() {
                self.text.truncate(start);
                return Err(full);
            }
        }
        let added = self.text.get(start..).unwrap_or(&[]).as_ptr();
        self.push(added.cast())
    }

    /// The environment as it is now.
    pub fn finish(&mut self) -> Environ {
        // `push` left room for it.
        let _fits = self.list.push(ptr::null()).is_ok();
        Environ(self.list.as_ptr())
    }
}
