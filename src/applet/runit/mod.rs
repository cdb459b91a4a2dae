//! runit: PID 1. Boots the system, runs its services and shuts it down.
//!
//! # Synopsis
//! Started by the kernel as `/init`, `/sbin/init` or `/sbin/runit`.
//!
//! # Description
//! Runs stage 1 (`/etc/runit/1`) once, stage 2 (`/etc/runit/2`) for as long as
//! the system is up, and stage 3 (`/etc/runit/3`) during shutdown. runit does
//! a stage itself when it has no executable script:
//!
//! 1. It mounts the kernel's file systems on /proc, /sys, /dev, /dev/pts,
//!    /dev/shm, /run and /sys/fs/cgroup; loads the modules of /etc/modules;
//!    sets a clock that is before this program's date to that date; sets the
//!    host name from /etc/hostname and brings the loopback interface up;
//!    checks and mounts the file systems of /etc/fstab and enables its swap;
//!    applies /etc/sysctl.conf and /etc/sysctl.d/*.conf; mixes
//!    /var/lib/random-seed in; and runs each program of /etc/runit/once for at
//!    most 30 seconds. Each step prints one line with its result and time. No
//!    failure is fatal, and a step with nothing to do prints nothing;
//! 2. It supervises the services directory, without another process. A service
//!    that wants a terminal opens it, as `getty` does. Its descriptor 0 is
//!    /dev/null. PID 1 relays to the console what a service without a log
//!    writes to 1 and 2, so that the service neither reads what is typed on
//!    the console nor is killed with its other users by SysRq-k. In a
//!    container 1 and 2 stay those that the engine gave, and a console there
//!    cannot be read;
//! 3. It tells all services to exit, in parallel. Each has the time of its
//!    file `timeout-kill`, or 7 seconds, and so do its `finish`
//!    (`timeout-finish`) and its logger (`log/timeout-kill`). Those that still
//!    run are named every 3 seconds. All other processes get TERM and 5
//!    seconds.
//!
//! Where the board's `rescue` allows it, a stage 1 that fails starts rescue on
//! the console: a program that asks for root's password (`login`; refused when
//! root or another account of uid 0 has none, or when /etc/passwd or
//! /etc/shadow leave this in doubt) or a shell (`shell`). When it ends, stage
//! 2 follows. In rescue `poweroff` and `reboot` work. With `none` PID 1 does
//! what runit does.
//!
//! In an initramfs, with `root=` on the kernel's command line, PID 1 switches
//! to that root. When the modules are loaded it mounts the root, moves the
//! kernel's file systems there, removes the files of the initramfs, and
//! executes the root's `/sbin/init`, `/sbin/runit-init`, `/sbin/runit` or
//! `/init` as process 1. A root that cannot be reached is a failure of stage
//! 1: rescue follows, a second attempt when that ends, and then the services
//! of the initramfs.
//!
//! `root=` is a device, or `LABEL=`, `UUID=` (ext2 to ext4, FAT, swap),
//! `PARTUUID=` or `PARTLABEL=` (as the kernel has it, with `!` for each byte
//! that is not ASCII) and a name, as in the first field of /etc/fstab.
//! `rootfstype=`, `rootflags=`, `ro` (the default) and `rw` mean what they do
//! to the kernel. The device has 10 seconds to appear, with `rootwait` half an
//! hour. With `runt.overlay=tmpfs` the root is read-only and changes go to
//! memory; with `runt.overlay=DEVICE`, named like a root, they go to the
//! directory `upper` of that device. /run/lower and /run/upper show both. The
//! board's file may set the same words; those of the command line take
//! precedence. `root=/dev/ram0` stays in the initramfs.
//!
//! PID 1 locks its code and data in memory, so that it survives the loss of
//! the medium that it was started from and of any swap device.
//!
//! Words of the kernel's command line, outside of containers: `single` or `S`
//! for rescue before a stage 2 that is not a script, `emergency` for rescue
//! before stage 1, `runt.services=DIR` for the services directory,
//! `runt.signals=SIGNAL:MEANING,...` for the meaning of signals,
//! `runt.rig=PROGRAM` for a test rig. Other words that begin with `runt.` are
//! reported and ignored.
//!
//! PROGRAM is run when stage 2 has begun, on the console, with the kernel's
//! words NAME=VALUE in its environment. When it ends PID 1 prints
//! `- runit: rig: exit CODE` or `- runit: rig: signal NUMBER` and switches
//! off. A guest that ends without such a line has not passed.
//!
//! When every service with a file `runt/critical` has been up for the board's
//! `good-seconds`, and stage 2 for as long, /etc/runit/boot-good is run once,
//! to tell the bootloader that this boot needs no fallback. (A script of stage
//! 2 has services of its own: then only stage 2 counts.) The program has 30
//! seconds. If it fails or takes longer, that is reported and everything else
//! continues: a bootloader that counts boot attempts then counts this one.
//!
//! Where the board has a `[watchdog]`, its device is opened as soon as it
//! appears. Only the event loop pings it, twice in each period, and it stays
//! armed at the end. A service with a file `runt/critical`, which may hold a
//! number of seconds (default 30), must not be down or stopped for longer than
//! that; otherwise the watchdog is no longer pinged.
//!
//! After stage 3 all processes are killed and those that do not end are named.
//! The media are written and unmounted, and the machine is switched off or
//! rebooted. From the request on this takes at most the board's
//! `down-seconds`, including the script of stage 3. The last 50 of these
//! seconds are reserved for what follows services and scripts; media have what
//! those leave unused, at most 10 seconds each. When the time is up, a process
//! that does nothing else ends the machine, even if PID 1 hangs.
//!
//! # Signals
//! CONT: shut down if a flag file of `runit-init` is set. INT (ctrl-alt-del):
//! run `/etc/runit/ctrlaltdel` if it is executable, then as CONT; without it
//! and without a script of stage 2, reboot. PWR: set `stopit` and run
//! `/etc/runit/pwrfail` if it is executable, then as CONT, so that a program
//! that clears the flag keeps the system up; without it, power off. RTMIN+3,
//! RTMIN+4: power off; RTMIN+5: reboot (37 to 39, as a container's host sends
//! them). Where runit does stage 2 itself, USR1 and USR2 (busybox's `halt` and
//! `poweroff`): power off; TERM (busybox's `reboot`): reboot, or power off in
//! a container. ALRM: scan the services directory now, or pass the signal on
//! to the script of stage 2. Outside of stage 2 and rescue all of them are
//! refused with a warning.
//!
//! The board's `[signals]`, and with precedence `runt.signals`, give each of
//! these signals another meaning, whether or not stage 2 is a script: `off`,
//! `reboot`, `halt` (stop with the power on) or `none`, as in
//! `runt.signals=TERM:off,INT:none`. If CONT has another meaning, `runit-init`
//! has no effect.
//!
//! # Files
//! `/etc/runit/{1,2,3,ctrlaltdel,pwrfail,nosync,boot-good}`; flags: see
//! `runit-init`.
//!
//! # In a container
//! A PID namespace ends by reboot(2): with the signal HUP to be restarted,
//! else with INT. Where the engine refuses that call, as it does by default,
//! PID 1 exits. Messages go to /dev/console or, without it, to descriptor 2,
//! and never to the kernel's log, which is the host's.
//!
//! # Exit codes
//! 111 when it is not process 1. In a container that may not call reboot(2): 0
//! to switch off or halt, 129 to be restarted (128 and the number of HUP), 111
//! when it cannot start. Otherwise it never exits.

mod boot_params;
mod down;
mod flags;
mod fstab;
mod media;
mod modules;
mod oneshot;
mod requests;
mod rescue;
mod root;
mod seed;
mod step;
mod steps;
mod volume;
mod watchdog;

use core::{ffi::CStr, time::Duration};

use heapless::Vec;

use crate::{
    config,
    machine::{
        shutdown::{self, Remaining, Shutdown, Step},
        stages::{Next, Policy, Stage, StageExit, Stages},
    },
    supervisor::{AWAITED, Events, Reporter, Supervisor, dropped_lines},
    sys::{
        self, AsFd, CWD, Errno, Fd,
        child::{self, Environ, ExitStatus, Program, Setup},
        clock,
        console::{self, Console},
        environ::Builder,
        file,
        power::{self, PowerAction},
        signal::{self, Number},
        start::Start,
    },
    text::Line,
    wire::clock::Instant,
};

use super::flag_files::is_set;
use boot_params::BootParams;

/// Time from TERM to KILL for the script of stage 2 (contract §7.4).
const STAGE_2_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay before a failed stage 2 is entered again (contract §7.3).
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Exit code of a script that the kernel cannot execute. In stage 2 this code
/// asks for a restart, so that a broken script cannot switch a board off.
const CANNOT_RUN: u8 = 111;
/// Default `$PATH`, for when the kernel's command line sets none.
const PATH: &[u8] = b"/sbin:/bin:/usr/sbin:/usr/bin";

/// Prefix of every line.
const PREFIX: &str = "- runit: ";

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    if child::own_pid() != 1 {
        let line = b"- runit: fatal: must be run as process no 1.\n";
        sys::print_error(line);
        return super::FATAL;
    }
    let boot_start = clock::mono();
    let contained = boot_params::is_contained();
    // Refused to a session leader, which has its own session already.
    let _leads = child::new_session().is_err();
    // Without a console in the image there may be one when /dev is mounted.
    let console_missing = console::attach_standard(contained).is_err();
    let mut head = Line::new();
    head.text(PREFIX).text("warning: ");
    let reporter = Reporter {
        prefix: head,
        console: Console::get(contained, |count, to_stderr| {
            dropped_lines("- runit", count, to_stderr)
        }),
    };
    let environ = environ(start.environ);
    let supervisor = Supervisor::new(
        config::SLOTS,
        &requests::SIGNALS,
        reporter,
        environ,
        true,
    );
    match supervisor {
        Ok(supervisor) => {
            let params = BootParams::new(contained);
            Init::new(supervisor, environ, boot_start, console_missing, params)
                .run()
        }
        Err(errno) => reap_forever("wait for events", errno),
    }
}

/// Returns the kernel's environment with a `$PATH`, for every program that PID
/// 1 starts. An environment that has one, or has no room for one, is returned
/// unchanged.
fn environ(given: Environ) -> Environ {
    if given.get(b"PATH").is_some() {
        return given;
    }
    let Some(Ok(builder)) = Builder::take(given) else {
        return given;
    };
    let _full = builder.set(b"PATH", PATH).is_err();
    builder.finish()
}

/// Reports that the kernel refuses what PID 1 cannot do without, and reaps
/// orphans for ever, since an exit would be a kernel panic. In a container it
/// exits with 111.
fn reap_forever(what: &str, errno: Errno) -> ! {
    let mut line = Line::new();
    line.text(PREFIX)
        .text("fatal: unable to ")
        .text(what)
        .text(": ");
    sys::print_error(line.text(sys::error::text(errno)).finish());
    if power::is_contained() {
        child::exit(super::FATAL);
    }
    loop {
        while child::reap().is_some() {}
        sys::poller::sleep(RETRY_DELAY);
    }
}

/// Returns the path of a stage's script.
const fn script(stage: Stage) -> &'static CStr {
    match stage {
        Stage::One | Stage::Rescue => c"/etc/runit/1",
        Stage::Two => c"/etc/runit/2",
        Stage::Three | Stage::Over => c"/etc/runit/3",
    }
}

/// State of PID 1 beyond the supervisor.
struct Init {
    supervisor: Supervisor,
    environ: Environ,
    /// Time at which PID 1 was started.
    boot_start: Instant,
    /// True until the standard streams are the console.
    console_missing: bool,
    /// The console, for PID 1's own programs; `None` until the standard
    /// streams are those of services.
    console: Option<Fd>,
    stages: Stages,
    /// Boot parameters, read before stage 1.
    params: BootParams,
    /// Process id of the stage's script; `None` when runit does the stage
    /// itself.
    script: Option<u32>,
    /// Path of the current or last script or program of `script`.
    path: &'static CStr,
    /// The programs of ctrl-alt-del and of a power failure.
    request_programs: requests::RequestPrograms,
    /// Flag files of the shutdown request.
    requested: flags::Requested,
    /// Exits of children that were reaped during the wait for another.
    pending_ends: Vec<(u32, ExitStatus), AWAITED>,
    /// True when a shutdown is requested and the script has not yet ended.
    leaving: bool,
    /// True when that script was sent KILL.
    killed: bool,
    /// Time by which scripts and services must have ended; `None` before a
    /// shutdown is requested.
    stop_deadline: Option<Instant>,
    /// Programs that are run once while services are up.
    oneshots: oneshot::Oneshots,
    /// True when another root is configured and could not be reached.
    root_missing: bool,
    /// The board's watchdog, once it is open.
    watchdog: Option<watchdog::OpenWatchdog>,
    /// Time by which the script of the stage must have ended.
    script_deadline: Option<Instant>,
    /// Time at which a failed stage 2 is entered again.
    restart_at: Option<Instant>,
    /// Progress of the shutdown, once it has begun.
    shutdown: Option<Shutdown>,
    /// Ending that a signal asked for; `None`: the flag files decide.
    ending: Option<PowerAction>,
}

impl Init {
    /// Returns the state before stage 1.
    fn new(
        supervisor: Supervisor,
        environ: Environ,
        boot_start: Instant,
        console_missing: bool,
        params: BootParams,
    ) -> Self {
        Self {
            supervisor,
            environ,
            boot_start,
            console_missing,
            console: None,
            stages: Stages::new(Policy::default()),
            params,
            script: None,
            path: c"",
            request_programs: requests::RequestPrograms::default(),
            requested: flags::Requested::new(),
            pending_ends: Vec::new(),
            leaving: false,
            killed: false,
            stop_deadline: None,
            oneshots: oneshot::Oneshots::default(),
            root_missing: false,
            watchdog: None,
            script_deadline: None,
            restart_at: None,
            shutdown: None,
            ending: None,
        }
    }

    /// Runs the stages and the event loop.
    fn run(mut self) -> ! {
        self.info("runt ", config::VERSION.as_bytes(), ": booting.");
        boot_params::read(&mut self.params, self.supervisor.reporter());
        if let Err(errno) = power::take_ctrl_alt_del() {
            // A container has no keyboard.
            if !self.params.contained {
                self.warn("unable to catch ctrl-alt-del", b"", errno);
            }
        }
        if !self.params.contained
            && let Err(errno) = sys::memory::lock()
        {
            self.warn("unable to lock the program in memory", b"", errno);
        }
        self.open_watchdog(false);
        self.stages = Stages::new(Policy {
            rescue: rescue::ALLOWED,
            // A distribution's script of stage 2 handles it in its own way.
            single: self.params.single && !is_set(script(Stage::Two)),
            emergency: self.params.emergency,
        });
        self.enter(self.stages.stage());
        if let Err(errno) = self.open_console() {
            self.warn("unable to open ", b"/dev/console", errno);
        }
        loop {
            let events = self.supervisor.iterate(self.due());
            self.handle(&events);
            let pending_ends = core::mem::take(&mut self.pending_ends);
            for (pid, end) in &pending_ends {
                self.child_ended(*pid, *end);
            }
            self.check_deadlines();
        }
    }

    /// Returns the earliest time at which something becomes due.
    fn due(&self) -> Option<Instant> {
        let shutdown = self.shutdown.map(Shutdown::due);
        let oneshots = self.oneshots.due();
        let pending_ends =
            (!self.pending_ends.is_empty()).then_some(Instant::at(0));
        [
            self.script_deadline,
            self.restart_at,
            shutdown,
            self.watchdog_due(),
            oneshots,
            pending_ends,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Prints a message that is not a warning.
    fn info(&self, what: &str, subject: &[u8], end: &str) {
        let mut line = Line::new();
        line.text(PREFIX).text(what).bytes(subject).text(end);
        self.supervisor.reporter().print(&mut line);
    }

    /// Prints a warning that has no errno.
    fn warning(&self, what: &str, subject: &[u8]) {
        let reporter = self.supervisor.reporter();
        reporter.print(reporter.prefix.clone().text(what).bytes(subject));
    }

    /// Prints a warning about a system call that failed.
    fn warn(&self, what: &str, subject: &[u8], errno: Errno) {
        self.supervisor.reporter().warn(what, subject, errno);
    }

    /// Makes the console the standard streams if it was missing so far: it may
    /// have appeared with the mount of /dev.
    ///
    /// From then on PID 1 holds it open, so that no other process is the last
    /// to close a serial console. The kernel delays that close for up to 30
    /// seconds while the line takes no output.
    fn open_console(&mut self) -> Result<(), Errno> {
        if self.console_missing {
            console::attach_standard(self.params.contained)?;
            self.console_missing = false;
        }
        Ok(())
    }

    /// Enters a stage: starts its script, or does the stage without one.
    fn enter(&mut self, stage: Stage) {
        if stage == Stage::Rescue {
            self.rescue();
            return;
        }
        self.open_watchdog(stage == Stage::Two);
        let down = matches!(stage, Stage::Three).then(|| self.arm_deadline());
        let path = script(stage);
        let text = path.to_bytes();
        match file::info(CWD, path) {
            Ok(_) if is_set(path) => match self.start(stage, path) {
                Ok(pid) => {
                    self.script = Some(pid);
                    self.script_deadline = down;
                    if stage == Stage::Two {
                        self.start_oneshots();
                    }
                    return;
                }
                Err(errno) => self.warn("unable to fork for ", text, errno),
            },
            Ok(_) => self.warning("not executable: ", text),
            Err(Errno::ENOENT) => {}
            Err(errno) => self.warn("unable to stat ", text, errno),
        }
        match stage {
            Stage::One => {
                self.root_missing = !self.set_up();
                self.ended(StageExit::Exited(self.root_missing.into()), None);
            }
            Stage::Two => {
                self.serve();
                self.start_oneshots();
            }
            Stage::Three => self.begin_shutdown(Step::StopServices),
            Stage::Over | Stage::Rescue => {}
        }
    }

    /// Starts the rescue program where the board allows one; else ends the
    /// stage at once.
    fn rescue(&mut self) {
        if self.params.emergency {
            // No step has been taken yet, so there may be no console.
            steps::mount_systems(self.supervisor.reporter());
        }
        let started = match rescue::program(self.supervisor.reporter()) {
            Some(path) => self.start(Stage::Rescue, path).map_err(|errno| {
                self.warn("unable to fork for ", path.to_bytes(), errno);
            }),
            None => Err(()),
        };
        match started {
            Ok(pid) => self.script = Some(pid),
            Err(()) => self.ended(StageExit::Exited(0), None),
        }
    }

    /// Does stage 2 without a script.
    fn serve(&mut self) {
        if let Err(errno) = self.detach_console() {
            self.warn("unable to detach services from the console", b"", errno);
        }
        self.supervisor.supervise_dir(self.params.services);
        let millis = clock::mono().since(self.boot_start).as_millis();
        let mut line = Line::new();
        line.text(PREFIX);
        line.number(u64::try_from(self.supervisor.live()).unwrap_or(0));
        line.text(" services up, ");
        line.number(u64::try_from(millis).unwrap_or(u64::MAX));
        line.text(" ms after the start.");
        self.supervisor.reporter().print(&mut line);
    }

    /// Replaces the standard streams, which services inherit, so that no
    /// service can read what is typed on the console, or holds it open when
    /// SysRq-k kills all its users. PID 1's own programs still get the
    /// console.
    fn detach_console(&mut self) -> Result<(), Errno> {
        let contained = self.params.contained;
        if !self.console_missing {
            // Stays open, because the last close of a terminal may wait until
            // its output has drained.
            self.console = Some(console::open_blocking(contained)?);
        }
        if contained {
            // The container's owner distinguishes the two streams.
            console::detach_standard(!self.console_missing)
        } else {
            self.supervisor.relay_output()
        }
    }

    /// Starts a stage's script in a session of its own. Stage 1 and rescue
    /// have the console as their terminal, so that a rescue shell has job
    /// control.
    fn start(
        &mut self,
        stage: Stage,
        path: &'static CStr,
    ) -> Result<u32, Errno> {
        self.path = path;
        let rescue = stage == Stage::Rescue;
        let what = if rescue { "rescue: " } else { "enter stage: " };
        self.info(what, path.to_bytes(), "");
        self.spawn(path, rescue || stage == Stage::One)
    }

    /// Starts a program of PID 1's own and has the supervisor report its end.
    fn spawn(&mut self, path: &CStr, terminal: bool) -> Result<u32, Errno> {
        let _later = self.open_console().is_err();
        // Services have other streams: see `detach_console`.
        let console = self.console.as_ref().map(AsFd::as_fd);
        let program = Program {
            path,
            arguments: &[],
            environ: self.environ,
        };
        let mut prefix = Line::new();
        prefix.text(PREFIX).text("fatal: unable to start child: ");
        prefix.bytes(path.to_bytes());
        let setup = Setup {
            dir: None,
            sub: None,
            stdin: console,
            stdout: console,
            stderr: console,
            session: true,
            group: false,
            cgroup: None,
            terminal,
            blocking: true,
            error_prefix: Some(&prefix),
            error_code: CANNOT_RUN,
        };
        let pid = child::spawn(&program, &setup)?;
        // There is room for a script and the programs of both requests.
        let _room = self.supervisor.awaited.push(pid).is_ok();
        Ok(pid)
    }

    /// Handles the signals and exits of one iteration of the loop.
    fn handle(&mut self, events: &Events) {
        for signal in &events.signals {
            self.signal(*signal);
        }
        for (pid, end) in &events.ended {
            self.child_ended(*pid, *end);
        }
    }

    /// Handles the exit of one of PID 1's own children.
    fn child_ended(&mut self, pid: u32, end: ExitStatus) {
        let outcome = match end {
            ExitStatus::Exited(code) => StageExit::Exited(code),
            ExitStatus::Killed(..) => StageExit::Crashed,
        };
        if self.request_program_ended(pid, outcome) {
            return;
        }
        if self.script == Some(pid) {
            self.script_ended(outcome);
        } else {
            self.oneshot_ended(pid, end);
        }
    }

    /// Handles the exit of the stage's script.
    fn script_ended(&mut self, outcome: StageExit) {
        let leader = self.script.take();
        self.script_deadline = None;
        self.killed = false;
        let path = self.path.to_bytes();
        match outcome {
            StageExit::Exited(0) => {}
            StageExit::Exited(_) => self.warning("child failed: ", path),
            StageExit::Crashed => self.warning("child crashed: ", path),
        }
        if core::mem::take(&mut self.leaving) {
            self.info("leave stage: ", path, "");
            self.leave_stage_2();
            return;
        }
        self.ended(outcome, leader);
    }

    /// Handles a script that exceeds its time: kills that of stage 2, and
    /// stops waiting for any other.
    fn script_timed_out(&mut self, now: Instant) {
        self.script_deadline = None;
        let Some(pid) = self.script else { return };
        if self.leaving && !self.killed {
            self.warning("stage 2 not terminated, sending sigkill...", b"");
            // ESRCH: it has ended and will be reaped shortly.
            let _gone = signal::kill(pid, Number::KILL).is_err();
            self.killed = true;
            self.script_deadline = Some(now.after(STAGE_2_TIMEOUT));
            return;
        }
        self.warning("not ended in time: ", self.path.to_bytes());
        // From now on its exit does not matter.
        self.supervisor.stop_awaiting(pid);
        self.script_ended(StageExit::Crashed);
    }

    /// Ends a stage and enters the next. `leader` is the process of its
    /// script, if it had one.
    fn ended(&mut self, outcome: StageExit, leader: Option<u32>) {
        let stage = self.stages.stage();
        let next = self.stages.ended(outcome);
        if let (Some(leader), Next::Again) = (leader, next) {
            let all = "killing all processes in stage 2...";
            self.warning(all, b"");
            // ESRCH: no process is left.
            let _none = signal::kill_group(leader, Number::KILL).is_err();
        } else if leader.is_some() {
            self.info("leave stage: ", self.path.to_bytes(), "");
        }
        if stage == Stage::Rescue && leader.is_some() && self.root_missing {
            // The operator may have repaired it.
            self.root_missing = !self.go_to_root();
        }
        match next {
            Next::Again => {
                self.restart_at = Some(clock::mono().after(RETRY_DELAY));
            }
            Next::Enter(Stage::Over, _) => self.begin_shutdown(Step::KillAll),
            Next::Enter(next, _) => {
                if stage == Stage::One && next == Stage::Three {
                    self.warning("skipping stage 2...", b"");
                }
                self.enter(next);
            }
        }
    }

    /// Handles everything that has become due.
    fn check_deadlines(&mut self) {
        self.ping_watchdog();
        let now = clock::mono();
        self.check_oneshots(now);
        if self.script_deadline.is_some_and(|until| until <= now) {
            self.script_timed_out(now);
        }
        if self.restart_at.is_some_and(|until| until <= now) {
            self.restart_at = None;
            self.warning("restarting.", b"");
            self.enter(Stage::Two);
        }
        let left = Remaining {
            services: self.supervisor.is_ending(shutdown::DRAIN, now),
            children: child::has_children(),
        };
        let next = self.shutdown.as_mut().and_then(|d| d.step(left, now));
        if let Some(order) = next {
            self.perform_step(order);
        }
    }
}
