//! Does stage 1 when it has no script: a table of steps.
//!
//! Each step is one function and prints one line with its result and time. No
//! failure is fatal. A step that has nothing to do prints nothing. A step that
//! may hang (a mount, a module, a program) runs in a child process with a time
//! limit.

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::shutdown::LAST_WORDS,
    supervisor::Reporter,
    sys::{
        AsFd, CWD, Errno, child,
        child::ExitStatus,
        clock, dir, file, power,
        signal::{self, Number},
    },
    text::Line,
    wire::{
        fstab::{DATA_ONLY, NO_DEVICES, NO_EXEC, NO_SUID},
        sysctl::Setting,
    },
};

use super::{
    super::flag_files::is_set,
    Init, PREFIX, fstab, modules, root, seed,
    step::{StepResult, each_line, is_free},
};

/// A step of stage 1.
struct Step {
    name: &'static str,
    /// Time limit in seconds in a child process; 0: cannot hang, runs in PID 1
    /// itself.
    limit: u32,
    /// True if a container takes this step too.
    contained: bool,
    work: fn(&Reporter) -> StepResult,
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

/// The first steps, in their order, up to the root.
const BEFORE_ROOT: [Step; 2] = [
    step(
        "file systems of the kernel",
        IN_PROCESS,
        true,
        mount_systems,
    ),
    step("modules", MEDIUM_SECONDS, false, modules::load),
];

/// The steps from an initramfs to the root.
const TO_ROOT: [Step; 2] = [
    step("root", CHECK_SECONDS, false, root::mount_root),
    step("init", IN_PROCESS, false, root::exec_init),
];

/// The steps in the root.
const IN_ROOT: [Step; 8] = [
    step("clock", IN_PROCESS, false, set_clock),
    step("host name", IN_PROCESS, true, set_host_name),
    step("loopback", IN_PROCESS, true, bring_up_loopback),
    step("check", CHECK_SECONDS, false, fstab::check),
    step("fstab", MEDIUM_SECONDS, false, fstab::mount_all),
    step("swap", MEDIUM_SECONDS, false, fstab::swap_on),
    step("sysctl", MEDIUM_SECONDS, true, set_sysctls),
    step("random seed", MEDIUM_SECONDS, false, seed::load),
];

/// Returns an entry of the table.
const fn step(
    name: &'static str,
    limit: u32,
    contained: bool,
    work: fn(&Reporter) -> StepResult,
) -> Step {
    Step {
        name,
        limit,
        contained,
        work,
    }
}

impl Init {
    /// Does stage 1; returns false when the root cannot be reached.
    pub(super) fn set_up(&mut self) -> bool {
        self.run_steps(&BEFORE_ROOT, false);
        let rooted = self.go_to_root();
        self.run_steps(&IN_ROOT, false);
        self.run_once();
        rooted
    }

    /// Switches to another root, if one is configured. Returns true when there
    /// is none, false on failure, and does not return after a switch.
    pub(super) fn go_to_root(&mut self) -> bool {
        self.run_steps(&TO_ROOT, true)
    }

    /// Takes steps; returns false when one has failed. With `strict` it stops
    /// at the first failure.
    fn run_steps(&mut self, steps: &[Step], strict: bool) -> bool {
        let mut good = true;
        for step in steps {
            if strict && !good {
                break;
            }
            if self.params.contained && !step.contained {
                continue;
            }
            let began = clock::mono();
            let result = match step.limit {
                IN_PROCESS => (step.work)(self.supervisor.reporter()),
                limit => {
                    let limit = Duration::from_secs(limit.into());
                    self.run_in_child(&step.work, limit)
                }
            };
            let _later = self.open_console().is_err();
            self.report_step(step.name.as_bytes(), result, began);
            // The step may have loaded its driver.
            self.open_watchdog(false);
            good &= matches!(result, StepResult::Nothing | StepResult::Done);
        }
        good
    }

    /// Runs the one-time programs.
    fn run_once(&mut self) {
        let mut last = None;
        while let Some(path) = dir::next(ONCE_DIR, last.as_ref(), b"") {
            if is_set(path.as_c_str()) {
                let began = clock::mono();
                let result = match self.spawn(path.as_c_str(), false) {
                    Ok(pid) => self.wait_for(pid, ONCE_TIMEOUT),
                    Err(_) => StepResult::Failed,
                };
                self.report_step(path.as_bytes(), result, began);
            }
            last = Some(path);
        }
    }

    /// Prints the line of a step.
    pub(super) fn report_step(
        &self,
        name: &[u8],
        result: StepResult,
        began: crate::wire::clock::Instant,
    ) {
        let what = match result {
            StepResult::Nothing => return,
            StepResult::Done => ": ok, ",
            StepResult::Failed => ": failed, ",
            StepResult::Late => ": not done in time, ",
        };
        let mut line = Line::new();
        let millis = clock::mono().since(began).as_millis();
        line.text(PREFIX).bytes(name).text(what);
        line.number(u64::try_from(millis).unwrap_or(u64::MAX));
        self.supervisor.reporter().print(line.text(" ms"));
    }

    /// Runs `work` in a forked child for at most `limit`, so that a hang in
    /// the kernel does not hold up PID 1. Runs it in PID 1 when fork fails.
    pub(super) fn run_in_child(
        &mut self,
        work: &dyn Fn(&Reporter) -> StepResult,
        limit: Duration,
    ) -> StepResult {
        let reporter = self.supervisor.reporter();
        match child::fork_with(&[], None) {
            Err(errno) => {
                reporter.warn("unable to fork", b"", errno);
                work(reporter)
            }
            Ok((true, _)) => {
                // Leads a session, so that its children are killed with it.
                let _leads = child::new_session().is_err();
                if let Some(console) = reporter.console {
                    console.discard_backlog();
                }
                let result = work(reporter);
                if let Some(console) = reporter.console {
                    console.flush(LAST_WORDS);
                }
                child::exit(match result {
                    StepResult::Done => 0,
                    StepResult::Nothing => NOTHING_CODE,
                    StepResult::Failed | StepResult::Late => 1,
                })
            }
            Ok((false, pid)) => {
                let _room = self.supervisor.awaited.push(pid).is_ok();
                self.wait_for(pid, limit)
            }
        }
    }

    /// Waits for the child `pid` while the supervisor's loop continues. Kills
    /// it and its session when `limit` has passed.
    fn wait_for(&mut self, pid: u32, limit: Duration) -> StepResult {
        let until = clock::mono().after(limit);
        loop {
            let due = self.watchdog_due().map_or(until, |due| due.min(until));
            let events = self.supervisor.iterate(Some(due));
            self.ping_watchdog();
            if !events.signals.is_empty() {
                self.warning("signals only work in stage 2.", b"");
            }
            let mut result = None;
            for (ended, end) in &events.ended {
                if *ended == pid {
                    result = Some(match end {
                        ExitStatus::Exited(0) => StepResult::Done,
                        ExitStatus::Exited(NOTHING_CODE) => StepResult::Nothing,
                        ExitStatus::Exited(_) | ExitStatus::Killed(..) => {
                            StepResult::Failed
                        }
                    });
                } else {
                    // There is room for every awaited child.
                    let _room = self.pending_ends.push((*ended, *end)).is_ok();
                }
            }
            if let Some(result) = result {
                return result;
            }
            if clock::mono() >= until {
                // ESRCH: it has just ended.
                let _gone = signal::kill_led(pid, Number::KILL).is_err();
                // One that hangs in a driver is no longer waited for.
                self.supervisor.stop_awaiting(pid);
                return StepResult::Late;
            }
        }
    }
}

/// Exit code of a forked child that had nothing to do. A program that exits
/// with this code counts as one.
const NOTHING_CODE: u8 = 99;

/// A kernel file system that stage 1 mounts.
struct KernelFs {
    kind: &'static CStr,
    target: &'static CStr,
    options: &'static CStr,
    /// Flags of mount(2).
    flags: u32,
    /// True if some kernels lack it.
    optional: bool,
}

/// Returns an entry of the table.
const fn kernel_fs(
    kind: &'static CStr,
    target: &'static CStr,
    options: &'static CStr,
    flags: u32,
    optional: bool,
) -> KernelFs {
    KernelFs {
        kind,
        target,
        options,
        flags,
        optional,
    }
}

/// File systems that stage 1 mounts, in this order. One that is mounted
/// already is left as it is.
const KERNEL_FS: [KernelFs; 7] = [
    kernel_fs(c"proc", c"/proc", c"", DATA_ONLY, false),
    kernel_fs(c"sysfs", c"/sys", c"", DATA_ONLY, false),
    kernel_fs(c"devtmpfs", c"/dev", c"mode=755", NO_SUID, false),
    kernel_fs(
        c"devpts",
        c"/dev/pts",
        c"mode=620,ptmxmode=666,gid=5",
        NO_SUID | NO_EXEC,
        true,
    ),
    kernel_fs(c"tmpfs", c"/dev/shm", c"mode=1777", DATA_ONLY, true),
    kernel_fs(c"tmpfs", c"/run", c"mode=755", NO_SUID | NO_DEVICES, false),
    kernel_fs(
        c"cgroup2",
        c"/sys/fs/cgroup",
        c"nsdelegate",
        DATA_ONLY,
        true,
    ),
];

/// Links that programs expect in /dev and the kernel does not make.
const LINKS: [(&CStr, &CStr); 4] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
];

/// Mounts the kernel's file systems. A failure does not stop the others: a
/// board without /sys still runs its services.
pub(super) fn mount_systems(reporter: &Reporter) -> StepResult {
    let mut failed = false;
    for kernel_fs in &KERNEL_FS {
        match mount(kernel_fs) {
            Ok(()) => {}
            Err(Errno::ENODEV | Errno::ENOENT | Errno::EINVAL)
                if kernel_fs.optional => {}
            Err(errno) => {
                failed = true;
                reporter.warn(
                    "unable to mount ",
                    kernel_fs.target.to_bytes(),
                    errno,
                );
            }
        }
    }
    for (target, link) in LINKS {
        // A static /dev has them already.
        let _there = file::make_link(target, CWD, link).is_err();
    }
    StepResult::of(true, failed)
}

/// Mounts a file system unless one is mounted at its target.
fn mount(kernel_fs: &KernelFs) -> Result<(), Errno> {
    if !is_free(kernel_fs.target)? {
        return Ok(());
    }
    let KernelFs {
        kind,
        target,
        options,
        flags,
        ..
    } = *kernel_fs;
    power::mount(kind, target, kind, flags, options)
}

/// Sets the clock to the build time of the program if it is earlier, since a
/// board without a clock battery starts in 1970.
fn set_clock(reporter: &Reporter) -> StepResult {
    if config::BUILT.saturating_sub(clock::wall().secs) == 0 {
        return StepResult::Nothing;
    }
    match clock::set_wall(config::BUILT) {
        Ok(()) => StepResult::Done,
        Err(errno) => {
            reporter.warn("unable to set the clock", b"", errno);
            StepResult::Failed
        }
    }
}

/// Bytes of the longest host name and a newline: __NEW_UTS_LEN is 64.
const HOST_NAME: usize = 65;

/// Sets the host's name from /etc/hostname.
fn set_host_name(reporter: &Reporter) -> StepResult {
    let mut text = [0; HOST_NAME];
    let name = match file::read_whole(CWD, c"/etc/hostname", &mut text) {
        Ok(text) => text.trim_ascii(),
        Err(Errno::ENOENT) => return StepResult::Nothing,
        Err(errno) => {
            reporter.warn("unable to read ", b"/etc/hostname", errno);
            return StepResult::Failed;
        }
    };
    match power::set_host_name(name) {
        Ok(()) => StepResult::Done,
        Err(errno) => {
            reporter.warn("unable to set host name ", name, errno);
            StepResult::Failed
        }
    }
}

/// Brings the loopback interface up.
fn bring_up_loopback(reporter: &Reporter) -> StepResult {
    match power::loopback_up() {
        Ok(()) => StepResult::Done,
        Err(errno) => {
            reporter.warn("unable to bring up ", b"lo", errno);
            StepResult::Failed
        }
    }
}

/// Applies the kernel settings of /etc/sysctl.conf and /etc/sysctl.d/*.conf.
fn set_sysctls(reporter: &Reporter) -> StepResult {
    let mut some = set_sysctls_of(c"/etc/sysctl.conf", reporter);
    let mut last = None;
    while let Some(path) = dir::next(c"/etc/sysctl.d", last.as_ref(), b".conf")
    {
        let more = set_sysctls_of(path.as_c_str(), reporter);
        some = StepResult::of(
            some != StepResult::Nothing || more != StepResult::Nothing,
            some == StepResult::Failed || more == StepResult::Failed,
        );
        last = Some(path);
    }
    some
}

/// Applies the settings of one file.
fn set_sysctls_of(path: &CStr, reporter: &Reporter) -> StepResult {
    let (mut some, mut failed) = (false, false);
    each_line(path, Some(reporter), &mut |line| {
        let Some(setting) = Setting::parse(line) else {
            return;
        };
        some = true;
        let made = setting.path().map_err(|_| Errno::ENAMETOOLONG);
        let made = made.and_then(|path| {
            let file = file::open_write(CWD, path.as_c_str())?;
            crate::sys::write_all(file.as_fd(), setting.value)
        });
        if let Err(errno) = made
            && !setting.optional
        {
            failed = true;
            reporter.warn("unable to set ", line, errno);
        }
    });
    StepResult::of(some, failed)
}
