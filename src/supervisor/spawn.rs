//! How a slot's processes are started (contract §2.4).

use core::ffi::CStr;

use heapless::Vec;
use ufmt::uwrite;

use crate::{
    machine::slot::{Actions, Role},
    sys::{
        child::{self, Program, Setup},
        clock,
    },
};

use super::{Supervisor, heading};

/// Exit code of a child that could not become its program.
const CANNOT_RUN: u8 = 111;

/// Longest argument of `./finish`: `-32768`, and a NUL.
type Number = Vec<u8, 8>;

impl Supervisor {
    /// Starts `./run` of a role.
    pub(super) fn run(&mut self, index: usize, role: Role) -> Actions {
        let shown = match role {
            Role::Service => "unable to start ./run",
            Role::Log => "unable to start log/./run",
        };
        self.start(index, role, c"./run", &[], shown)
    }

    /// Starts `./finish CODE SIGNAL`.
    pub(super) fn finish(
        &mut self,
        index: usize,
        code: i16,
        signal: u8,
    ) -> Actions {
        let (mut first, mut second) = (Number::new(), Number::new());
        // Eight bytes hold every number of these types and its NUL.
        let _fits = uwrite!(first, "{}\0", code).is_ok();
        let _fits = uwrite!(second, "{}\0", signal).is_ok();
        let arguments = [as_c_str(&first), as_c_str(&second)];
        let shown = "unable to start ./finish";
        self.start(index, Role::Service, c"./finish", &arguments, shown)
    }

    /// Starts a program of a slot and tells the machine what came of it.
    fn start(
        &mut self,
        index: usize,
        role: Role,
        path: &CStr,
        arguments: &[&CStr],
        shown: &str,
    ) -> Actions {
        let program = Program {
            path,
            arguments,
            environ: self.environ,
        };
        let (files, session) = (self.files, self.sessions);
        let Some(slot) = self.slot(index) else {
            return Actions::new();
        };
        let Some(service) = &slot.service else {
            return Actions::new();
        };
        let pipe = service.pipe(role);
        let mut complaint = heading(&slot.name, "fatal");
        complaint.text(shown);
        let silent = slot.told && role == Role::Service;
        let setup = Setup {
            dir: Some(service.dir()),
            sub: (role == Role::Log).then_some(c"log"),
            stdin: pipe.filter(|_| role == Role::Log),
            stdout: pipe.filter(|_| role == Role::Service),
            session,
            terminal: false,
            files: Some(files),
            complaint: (!silent).then_some(&complaint),
            code: CANNOT_RUN,
        };
        match child::spawn(&program, &setup) {
            Ok(pid) => slot.machine.started(role, pid, clock::now()),
            Err(errno) => {
                let actions = slot.machine.refused(role, clock::now());
                let mut line = heading(&slot.name, "warning");
                line.text("unable to fork, retrying: ");
                line.text(crate::sys::error::text(errno));
                self.voice.say(&mut line);
                actions
            }
        }
    }
}

/// A text that ends in a NUL as the kernel takes it.
fn as_c_str(text: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(text).unwrap_or(c"")
}
