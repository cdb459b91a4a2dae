//! Starts children with the settings that all of them have in common.

use core::{ffi::CStr, sync::atomic::AtomicU32};

use crate::sys::{
    Errno,
    child::{Environ, Program, Setup},
};

use super::children;

/// Settings that all children have in common.
#[derive(Debug)]
pub(super) struct Spawner {
    environ: Environ,
    /// Set if each child leads a session of its own.
    sessions: bool,
}

impl Spawner {
    /// Returns a spawner of children with this environment.
    pub(super) fn new(environ: Environ, sessions: bool) -> Self {
        Self { environ, sessions }
    }

    /// Starts a child as [`crate::sys::child::spawn`] does.
    pub(super) fn spawn(
        &self,
        path: &CStr,
        arguments: &[&CStr],
        setup: &Setup<'_>,
        cell: &AtomicU32,
    ) -> Result<u32, Errno> {
        let setup = self.complete(setup);
        children::spawn(&self.program(path, arguments), &setup, cell)
    }

    /// Starts a child as [`crate::sys::child::spawn_with`] does.
    pub(super) fn spawn_copy(
        &self,
        path: &CStr,
        arguments: &[&CStr],
        setup: &Setup<'_>,
    ) -> Result<u32, Errno> {
        let program = self.program(path, arguments);
        children::spawn_with(&program, &self.complete(setup), None)
    }

    /// Returns a program that runs in the common environment.
    fn program<'p>(
        &self,
        path: &'p CStr,
        arguments: &'p [&'p CStr],
    ) -> Program<'p> {
        Program {
            path,
            arguments,
            environ: self.environ,
        }
    }

    /// Adds to a setup what is common to all children.
    fn complete<'s>(&self, setup: &Setup<'s>) -> Setup<'s> {
        Setup {
            session: self.sessions,
            ..*setup
        }
    }
}
