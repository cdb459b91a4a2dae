//! Starts a slot's processes (contract §2.4).

use core::ffi::CStr;

use heapless::Vec;
use ufmt::uwrite;

use crate::{
    machine::slot::{Actions, Exit, Role},
    sys::{
        AsFd, At,
        child::{self, Program, Setup},
        clock, error, file,
    },
};

use super::{Supervisor, service_prefix};

/// Exit code of a child that could not execute its program.
const CANNOT_RUN: u8 = 111;

/// Default time limit of a `control` script in milliseconds, without
/// `runt/timeout-control`. runit sets no limit, so this only frees a slot that
/// is stuck.
const SCRIPT_MILLIS: u32 = 300_000;

/// Option file with the time limit of `./finish`.
pub(super) const FINISH_AFTER: &CStr = c"timeout-finish";
/// Option file with the time limit of a `control` script.
pub(super) const SCRIPT_AFTER: &CStr = c"runt/timeout-control";

/// Argument of a child, with its NUL. The longest is `-32768` for `./finish`
/// and 4194304 (the kernel's PID_MAX_LIMIT) for a script.
type Number = Vec<u8, 8>;

impl Supervisor {
    /// Starts `./run` of a role.
    pub(super) fn run(&mut self, index: usize, role: Role) -> Actions {
        if role == Role::Service {
            self.add_log(index);
            self.set_up_cgroup(index);
        }
        self.start(index, role, c"./run", &[])
    }

    /// Starts `./finish CODE SIGNAL`.
    pub(super) fn finish(&mut self, index: usize, exit: Exit) -> Actions {
        let (mut first, mut second) = (Number::new(), Number::new());
        // Eight bytes hold every number of these types and its NUL.
        let _fits = uwrite!(first, "{}\0", exit.code).is_ok();
        let _fits = uwrite!(second, "{}\0", exit.signal).is_ok();
        let arguments = [as_c_str(&first), as_c_str(&second)];
        let actions = self.start(index, Role::Service, c"./finish", &arguments);
        self.set_deadline(index, Role::Service, FINISH_AFTER, 0);
        actions
    }

    /// Starts the script of a control byte, if there is one: `control/C PID`,
    /// where PID is the service's process, or empty if there is none (contract
    /// §18).
    pub(super) fn script(&mut self, index: usize, byte: u8) -> Actions {
        let Some(slot) = self.slot(index) else {
            return Actions::new();
        };
        let path = script_path(byte);
        let path = as_c_str(&path);
        let service = slot.service.as_ref();
        let exists = service.map_or(Ok(false), |s| s.has_script(path));
        if exists != Ok(true) {
            let actions = slot.machine.refused(Role::Script, clock::now());
            if let Err(errno) = exists {
                let mut line = service_prefix(&slot.name, "warning");
                line.text("unable to stat ").bytes(path.to_bytes());
                line.text(": ").text(error::text(errno));
                self.reporter.print(&mut line);
            }
            return actions;
        }
        // The script may read there what the service is to be.
        self.publish_now(index);
        let mut number = Number::new();
        let pid = self.slot(index).and_then(|s| s.machine.pid(Role::Service));
        let _fits = match pid {
            Some(pid) => uwrite!(number, "{}\0", pid).is_ok(),
            None => number.push(0).is_ok(),
        };
        let arguments = [as_c_str(&number)];
        let actions = self.start(index, Role::Script, path, &arguments);
        self.set_deadline(index, Role::Script, SCRIPT_AFTER, SCRIPT_MILLIS);
        actions
    }

    /// Starts a program of a slot and reports the result to the machine.
    fn start(
        &mut self,
        index: usize,
        role: Role,
        path: &CStr,
        arguments: &[&CStr],
    ) -> Actions {
        let program = Program {
            path,
            arguments,
            environ: self.environ,
        };
        let session = self.sessions;
        let is_service = role == Role::Service;
        let group = is_service.then(|| self.group_kill(index)).flatten();
        let Some(slot) = self.slot(index) else {
            return Actions::new();
        };
        let Some(service) = &slot.service else {
            return Actions::new();
        };
        let (is_log, is_script) = (role == Role::Log, role == Role::Script);
        let pipe = service.pipe(role);
        let runs = is_service && path == c"./run";
        let procs = service.cgroup.procs.as_ref().map(AsFd::as_fd);
        let mut prefix = service_prefix(&slot.name, "fatal");
        // runit does not name the script.
        let (verb, shown) = match role {
            Role::Service => ("unable to start ", path),
            Role::Log => ("unable to start log/", path),
            Role::Script => ("unable to run ", c"control/?"),
        };
        prefix.text(verb).bytes(shown.to_bytes());
        let silent = slot.exec_failure_reported && is_service;
        let setup = Setup {
            dir: Some(service.dir()),
            sub: is_log.then_some(c"log"),
            stdin: pipe.filter(|_| is_log),
            stdout: pipe.filter(|_| !is_log),
            stderr: None,
            session,
            group: group.is_some(),
            cgroup: procs.filter(|_| runs),
            terminal: false,
            // A script shares the pipe with its service, which may want the
            // other mode.
            blocking: !is_script,
            error_prefix: (!silent).then_some(&prefix),
            error_code: CANNOT_RUN,
        };
        let spawned = child::spawn(&program, &setup);
        let reported = core::mem::replace(
            &mut slot.fork_failure_reported,
            spawned.is_err(),
        );
        if is_service {
            slot.group = group;
        }
        match spawned {
            Ok(pid) => slot.machine.started(role, pid, clock::now()),
            Err(errno) => {
                let actions = slot.machine.refused(role, clock::now());
                if !reported {
                    let mut line = service_prefix(&slot.name, "warning");
                    line.text("unable to fork, retrying: ");
                    line.text(error::text(errno));
                    self.reporter.print(&mut line);
                }
                actions
            }
        }
    }
}

/// Sets the mode of a pipe that services write to, so that a service of any
/// user can open /dev/stdout and /dev/stderr, which lead to that pipe. If the
/// mode cannot be set, only that does not work.
pub(super) fn allow_services_to_open(pipe: At<'_>) {
    let _refused = file::set_mode_of(pipe, 0o622).is_err();
}

/// Returns `control/` and a byte: the path of a script, relative to the
/// service directory.
pub(super) fn script_path(byte: u8) -> [u8; 10] {
    [b'c', b'o', b'n', b't', b'r', b'o', b'l', b'/', byte, 0]
}

/// Returns the part of a text before its first NUL as a C string.
pub(super) fn as_c_str(text: &[u8]) -> &CStr {
    CStr::from_bytes_until_nul(text).unwrap_or(c"")
}
