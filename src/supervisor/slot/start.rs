//! Starts a slot's processes (contract §2.4).

use core::{ffi::CStr, sync::atomic::AtomicU32};

use heapless::Vec;
use ufmt::uwrite;

use crate::{
    machine::slot::{Actions, Exit, Role},
    sys::{child::Setup, clock, error},
};

use super::{
    super::{context::Context, reaper::CANNOT_RUN, warned::Warning},
    FINISH_AFTER, SCRIPT_AFTER, Slot, service_prefix,
};

/// Default time limit of a `control` script in milliseconds, without
/// `runt/timeout-control`. runit sets no limit, so this only frees a slot that
/// is stuck.
const SCRIPT_MILLIS: u32 = 300_000;

/// Argument of a child, with its NUL. The longest is `-32768` for `./finish`
/// and 4194304 (the kernel's PID_MAX_LIMIT) for a script.
type Number = Vec<u8, 8>;

impl Slot {
    /// Starts `./run` of a role.
    pub(super) fn run(&mut self, role: Role, context: &mut Context) -> Actions {
        if role == Role::Service {
            self.add_log(context);
            self.set_up_cgroup(context);
        }
        self.start(role, c"./run", &[], context)
    }

    /// Starts `./finish CODE SIGNAL`.
    pub(super) fn finish(
        &mut self,
        exit: Exit,
        context: &mut Context,
    ) -> Actions {
        self.publish_now(context);
        let (mut first, mut second) = (Number::new(), Number::new());
        // Eight bytes hold every number of these types and its NUL.
        let _fits = uwrite!(first, "{}\0", exit.code).is_ok();
        let _fits = uwrite!(second, "{}\0", exit.signal).is_ok();
        let arguments = [as_c_str(&first), as_c_str(&second)];
        let actions =
            self.start(Role::Service, c"./finish", &arguments, context);
        self.set_deadline(Role::Service, FINISH_AFTER, 0, context);
        actions
    }

    /// Starts the script of a control byte, if there is one: `control/C PID`,
    /// where PID is the service's process, or empty if there is none (contract
    /// §18).
    pub(super) fn script(
        &mut self,
        byte: u8,
        context: &mut Context,
    ) -> Actions {
        let path = script_path(byte);
        let path = as_c_str(&path);
        let service = self.open.as_ref();
        let exists = service.map_or(Ok(false), |s| s.has_script(path));
        if exists != Ok(true) {
            let actions = self.data.machine.refused(Role::Script, clock::now());
            if let Err(errno) = exists {
                let mut line = service_prefix(&self.key.name, "warning");
                line.text("unable to stat ").bytes(path.to_bytes());
                line.text(": ").text(error::text(errno));
                context.reporter.print(&mut line);
            }
            return actions;
        }
        // The script may read there what the service is to be.
        self.publish_now(context);
        let mut number = Number::new();
        let _fits = match self.pid(Role::Service) {
            Some(pid) => uwrite!(number, "{}\0", pid).is_ok(),
            None => number.push(0).is_ok(),
        };
        let arguments = [as_c_str(&number)];
        let actions = self.start(Role::Script, path, &arguments, context);
        self.set_deadline(Role::Script, SCRIPT_AFTER, SCRIPT_MILLIS, context);
        actions
    }

    /// Sets up the control group that the next `./run` joins. Failures are
    /// reported once as long as each start has some.
    fn set_up_cgroup(&mut self, context: &Context) {
        let Some(service) = &mut self.open else {
            return;
        };
        let (name, mut failed) = (&self.key.name, false);
        let reported = self.warned.has(Warning::CGROUP);
        service.join_cgroup(name, &mut |verb, file, cause| {
            failed = true;
            if !reported {
                let mut line = service_prefix(name, "warning");
                line.text("unable to ").text(verb).text(" cgroup/");
                line.bytes(file).text(": ").text(cause);
                context.reporter.print(&mut line);
            }
        });
        self.warned.note(Warning::CGROUP, failed);
    }

    /// Starts a program of the slot and reports the result to the machine.
    fn start(
        &mut self,
        role: Role,
        path: &CStr,
        arguments: &[&CStr],
        context: &Context,
    ) -> Actions {
        let is_service = role == Role::Service;
        if is_service {
            self.data.spawned.group = self.group_kill(&context.reporter);
        }
        let Some(service) = &self.open else {
            return Actions::new();
        };
        let (is_log, is_script) = (role == Role::Log, role == Role::Script);
        let pipe = service.pipe(role);
        let runs = is_service && path == c"./run";
        let mut prefix = service_prefix(&self.key.name, "fatal");
        // runit does not name the script.
        let (verb, shown) = match role {
            Role::Service => ("unable to start ", path),
            Role::Log => ("unable to start log/", path),
            Role::Script => ("unable to run ", c"control/?"),
        };
        prefix.text(verb).bytes(shown.to_bytes());
        let silent = self.warned.has(Warning::EXEC) && is_service;
        let setup = Setup {
            dir: Some(service.dir()),
            sub: is_log.then_some(c"log"),
            stdin: pipe.filter(|_| is_log),
            stdout: pipe.filter(|_| !is_log),
            stderr: None,
            session: false,
            group: is_service && self.data.spawned.group.is_some(),
            cgroup: service.cgroup().filter(|_| runs),
            terminal: false,
            // A script shares the pipe with its service, which may want the
            // other mode.
            blocking: !is_script,
            error_prefix: (!silent).then_some(&prefix),
            error_code: CANNOT_RUN,
        };
        let unused = AtomicU32::new(0);
        let cell = self.cell(context).unwrap_or(&unused);
        let spawned = context.spawner.spawn(path, arguments, &setup, cell);
        self.data.spawned.note_start(role, true);
        let reports = self.warned.note(Warning::FORK, spawned.is_err());
        let now = clock::now();
        match spawned {
            Ok(pid) => self.data.machine.started(role, pid, now),
            Err(errno) => {
                if reports {
                    let what = "unable to fork, retrying: ";
                    let cause = error::text(errno);
                    let name = &self.key.name;
                    context.reporter.warn_service(name, what, cause);
                }
                self.data.machine.refused(role, now)
            }
        }
    }
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
