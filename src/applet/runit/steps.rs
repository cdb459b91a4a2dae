//! Does stage 1 when it has no script: a table of steps, then one-time
//! programs. The event loop takes one of them after the other.
//!
//! Each step is one function and prints one line with its result and time. No
//! failure is fatal. A step that has nothing to do prints nothing. A step that
//! may hang (a mount, a module, a program) runs in a child process with a time
//! limit.

use core::{ffi::CStr, time::Duration};

use crate::{
    config::family::ROOT,
    supervisor::{Reporter, Supervisor},
    sys::{CWD, Errno, child::ExitStatus, dir, file},
    text::Path,
    wire::clock::Instant,
};

use super::{
    super::flag_files::is_set,
    boot_params::BootParams,
    console::ConsoleStreams,
    fstab, kernel_fs, modules, report, root,
    root_hook::{self, RootHook},
    seed, settings,
    step::StepResult,
    task::Task,
};

/// A step of stage 1.
struct Step {
    name: &'static str,
    /// Time limit in seconds in a child process; 0: cannot hang, runs in PID 1
    /// itself.
    limit: u32,
    kind: Kind,
    /// Files and directories of the configuration: without any of them there
    /// is nothing to do, and no child process is needed to find that out.
    /// Empty: unknown.
    files: &'static [&'static CStr],
    work: Work,
}

/// The work of a step.
#[derive(Clone, Copy)]
enum Work {
    /// A function.
    Plain(fn(&Reporter) -> StepResult),
    /// A function that takes the answer of the root hook.
    Root(fn(&Reporter, &[u8]) -> StepResult),
    /// The switch to the root.
    Init,
    /// The root hook.
    Hook,
}

/// Circumstances in which a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// In a container too.
    Always,
    /// On a machine.
    Machine,
    /// On a machine, from an initramfs to the root: the first that fails is
    /// the last of them.
    ToRoot,
}

/// Limit of a step that cannot hang.
const IN_PROCESS: u32 = 0;
/// Limit of a step that may be slow on a slow medium and hang on a broken one,
/// in seconds.
const MEDIUM_SECONDS: u32 = 60;
/// Limit of the check of a big file system, in seconds.
const CHECK_SECONDS: u32 = 1800;
/// Time limit of a program of [`ONCE_DIR`].
const ONCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Directory of one-time programs. Each is run once at every boot.
const ONCE_DIR: &CStr = c"/etc/runit/once";

use Kind::{Always, Machine, ToRoot};
use Work::{Hook, Init, Plain, Root};

/// The steps in their order.
const STEPS: [Step; 13] = [
    step(
        "file systems of the kernel",
        Always,
        Plain(kernel_fs::mount_all),
    ),
    step("modules", Machine, Plain(modules::load))
        .in_child(MEDIUM_SECONDS, &[modules::LIST]),
    step(root_hook::NAME, ToRoot, Hook),
    step("root", ToRoot, Root(root::MOUNT_ROOT)).in_child(CHECK_SECONDS, &[]),
    step("init", ToRoot, Init),
    step("clock", Machine, Plain(settings::set_clock)),
    step("host name", Always, Plain(settings::set_host_name)),
    step("loopback", Always, Plain(settings::bring_up_loopback)),
    step("check", Machine, Plain(fstab::check))
        .in_child(CHECK_SECONDS, &[fstab::FSTAB]),
    step("fstab", Machine, Plain(fstab::mount_all))
        .in_child(MEDIUM_SECONDS, &[fstab::FSTAB]),
    step("swap", Machine, Plain(fstab::swap_on))
        .in_child(MEDIUM_SECONDS, &[fstab::FSTAB]),
    step("sysctl", Always, Plain(settings::set_sysctls))
        .in_child(MEDIUM_SECONDS, &settings::SYSCTLS),
    // With a table /var may be on a medium that hangs.
    step("random seed", Machine, Plain(seed::load))
        .in_child(MEDIUM_SECONDS, &[fstab::FSTAB, seed::SEED]),
];

/// Returns an entry of the table: a step that cannot hang.
const fn step(name: &'static str, kind: Kind, work: Work) -> Step {
    Step {
        name,
        limit: IN_PROCESS,
        kind,
        files: &[],
        work,
    }
}

impl Step {
    /// Returns the step in a child process with this limit, when one of
    /// `files` exists.
    const fn in_child(
        self,
        limit: u32,
        files: &'static [&'static CStr],
    ) -> Self {
        Self {
            limit,
            files,
            ..self
        }
    }

    /// Returns true when there is certainly nothing to do.
    fn is_idle(&self, answer: &[u8]) -> bool {
        let is_absent = |path: &&CStr| {
            file::info(CWD, path).is_err_and(|errno| errno == Errno::ENOENT)
        };
        match self.work {
            Root(_) => !root::is_configured(answer),
            Plain(_) | Init | Hook => {
                !self.files.is_empty() && self.files.iter().all(is_absent)
            }
        }
    }
}

/// Part of the steps that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All steps, and the one-time programs.
    All,
    /// The steps to the root.
    ToRoot,
}

/// Progress of the steps.
#[derive(Debug)]
pub(super) struct Steps {
    contained: bool,
    scope: Scope,
    /// True while steps are taken.
    active: bool,
    /// Index of the step that runs or comes next; after the last one the
    /// one-time programs are run.
    index: usize,
    /// The last one-time program.
    program: Option<Path>,
    /// The step or program that runs.
    task: Task,
    hook: RootHook,
    /// Command of a test rig for the PID 1 of the root; may be empty.
    rig: &'static [u8],
    /// True when another root is configured and could not be reached.
    root_missing: bool,
}

/// Result of [`Steps::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// No step is being taken, or one runs.
    Waiting,
    /// One has been taken.
    Taken,
    /// The last has been taken.
    Finished,
}

impl Steps {
    /// Returns the state before the first step.
    pub(super) fn new(params: &BootParams) -> Self {
        Self {
            contained: params.contained,
            rig: params.rig.map_or(b"", |rig| rig.text),
            scope: Scope::All,
            active: false,
            index: 0,
            program: None,
            task: Task::default(),
            hook: RootHook::new(),
            root_missing: false,
        }
    }

    /// Begins to take the steps of `scope`.
    pub(super) fn begin(&mut self, scope: Scope) {
        self.scope = scope;
        self.active = true;
        self.index = 0;
        self.root_missing = false;
    }

    /// Returns true while steps are taken.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    /// Returns true when another root is configured and could not be reached.
    pub(super) fn is_root_missing(&self) -> bool {
        self.root_missing
    }

    /// Returns the time at which to call [`Steps::advance`].
    pub(super) fn due(&self) -> Option<Instant> {
        let now = self.active.then_some(Instant::AT_ONCE);
        self.task.due().or(now)
    }

    /// Handles the exit of a child; returns false when it is not the step that
    /// runs.
    pub(super) fn child_ended(&mut self, pid: u32, end: ExitStatus) -> bool {
        self.task.child_ended(pid, end)
    }

    /// Reports the step that has ended, if one has. Otherwise begins the next
    /// one, unless one runs.
    #[inline(never)]
    pub(super) fn advance(
        &mut self,
        now: Instant,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) -> Progress {
        if !self.active {
            return Progress::Waiting;
        }
        if self.task.due().is_none() {
            self.active = self.start_next(now, console, supervisor);
            if !self.active {
                return Progress::Finished;
            }
        }
        let Some((result, began)) = self.task.take_result(now, supervisor)
        else {
            return Progress::Waiting;
        };
        let result = self.hook.end(result, supervisor.reporter());
        let _later = console.retry().is_err();
        let step = STEPS.get(self.index);
        let name = match (step, &self.program) {
            (Some(step), _) => step.name.as_bytes(),
            (None, program) => {
                program.as_ref().map_or(&b""[..], Path::as_bytes)
            }
        };
        report::step(supervisor.reporter(), name, result, began);
        if let Some(step) = step {
            self.index = self.index.saturating_add(1);
            self.root_missing |= step.kind == ToRoot
                && matches!(result, StepResult::Failed | StepResult::Late);
        }
        Progress::Taken
    }

    /// Returns true when a step is to be taken.
    fn is_wanted(&self, kind: Kind) -> bool {
        match kind {
            ToRoot => !self.contained && !self.root_missing,
            Machine if self.contained => false,
            Always | Machine => self.scope == Scope::All,
        }
    }

    /// Begins a step.
    fn start(
        &mut self,
        step: &Step,
        now: Instant,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) {
        let Self {
            task, hook, rig, ..
        } = self;
        if ROOT && matches!(step.work, Hook) {
            return hook.start(task, now, console, supervisor);
        }
        let answer = hook.answer();
        let work = |reporter: &Reporter| match step.work {
            Plain(work) => work(reporter),
            Root(work) => work(reporter, answer),
            Init if ROOT => root::exec_init(reporter, answer, rig),
            Init | Hook => StepResult::Nothing,
        };
        if step.is_idle(answer) {
            task.finish(StepResult::Nothing, now);
        } else if step.limit == IN_PROCESS {
            task.finish(work(supervisor.reporter()), now);
        } else {
            let limit = Duration::from_secs(step.limit.into());
            task.run(&work, limit, now, supervisor);
        }
    }

    /// Begins the next step or program; returns false when there is none.
    fn start_next(
        &mut self,
        now: Instant,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) -> bool {
        while let Some(step) = STEPS.get(self.index) {
            if self.is_wanted(step.kind) {
                self.start(step, now, console, supervisor);
                return true;
            }
            self.index = self.index.saturating_add(1);
        }
        if self.scope == Scope::ToRoot {
            return false;
        }
        self.program = dir::next(ONCE_DIR, self.program.as_ref(), b"");
        let Some(path) = &self.program else {
            return false;
        };
        if !is_set(path.as_c_str()) {
            self.task.finish(StepResult::Nothing, now);
            return true;
        }
        match console.spawn(path.as_c_str(), false, supervisor) {
            Some(pid) => self.task.watch(pid, ONCE_TIMEOUT, now),
            None => self.task.finish(StepResult::Failed, now),
        }
        true
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn steps_depend_on_scope_container_and_root() {
        let wanted = |scope, contained, root_missing| {
            let mut steps = Steps::new(&BootParams::new(contained));
            steps.begin(scope);
            steps.root_missing = root_missing;
            let wanted = STEPS.iter().filter(|s| steps.is_wanted(s.kind));
            wanted.map(|step| step.name).collect::<Vec<_>>()
        };
        let in_container = [
            "file systems of the kernel",
            "host name",
            "loopback",
            "sysctl",
        ];
        for root_missing in [false, true] {
            let all = wanted(Scope::All, true, root_missing);
            assert_eq!(all, in_container);
            assert_eq!(wanted(Scope::ToRoot, true, root_missing), [""; 0]);
        }
        let all = STEPS.map(|step| step.name);
        assert_eq!(wanted(Scope::All, false, false), all);
        let to_root = [root_hook::NAME, "root", "init"];
        assert_eq!(wanted(Scope::ToRoot, false, false), to_root);
        // A root that could not be mounted is not switched to.
        assert_eq!(wanted(Scope::ToRoot, false, true), [""; 0]);
        let rest: Vec<_> = all
            .into_iter()
            .filter(|name| !to_root.contains(name))
            .collect();
        assert_eq!(wanted(Scope::All, false, true), rest);
    }

    #[test]
    fn a_step_is_idle_without_any_of_its_files() {
        let idle = |files| {
            let step = step("x", Always, Plain(settings::set_clock));
            step.in_child(MEDIUM_SECONDS, files).is_idle(b"")
        };
        assert!(idle(&[c"/none-such", c"/none/such"]));
        assert!(!idle(&[c"/none-such", c"/"]));
        // ENOTDIR is no proof.
        assert!(!idle(&[c"/proc/self/comm/file"]));
        assert!(!idle(&[]));
    }
}
