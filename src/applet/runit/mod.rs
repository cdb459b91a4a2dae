//! runit: PID 1. Takes the system up, keeps its services, takes it down.
//!
//! # Synopsis
//! Started by the kernel as `/init`, `/sbin/init` or `/sbin/runit`.
//!
//! # Description
//! Runs stage 1 (`/etc/runit/1`) once, stage 2 (`/etc/runit/2`) for as long
//! as the system is up, stage 3 (`/etc/runit/3`) on the way down. A stage
//! without an executable script is done by runit itself:
//!
//! 1. what the kernel has in /proc, /sys, /dev, /dev/pts, /dev/shm, /run and
//!    /sys/fs/cgroup is mounted; modules of /etc/modules are loaded; a clock
//!    before this program's date is set to that; the host name is set from
//!    /etc/hostname, loopback brought up; what /etc/fstab says is checked,
//!    mounted, swapped to; settings of /etc/sysctl.conf and
//!    /etc/sysctl.d/*.conf are made; /var/lib/random-seed is mixed in; each
//!    program of /etc/runit/once is run, for at most 30 seconds. Each step
//!    is a line with its result and time; none is fatal, and one for which
//!    there is nothing to do says nothing;
//! 2. the services directory is supervised, without another process. A
//!    service that wants a terminal opens it, as `getty` does: its descriptor
//!    0 is /dev/null, and what it writes to 1 and 2, where it has no log,
//!    comes on the console by way of PID 1, so that it neither reads what is
//!    typed there nor is ended with the rest by SysRq-k. In a container 1 and
//!    2 stay what its engine gave, and a console there cannot be read;
//! 3. services are told to exit, together; each has the time of its file
//!    `timeout-kill` or 7 seconds, and so have its `finish`
//!    (`timeout-finish`) and its logger (`log/timeout-kill`); those that
//!    are still there are named every 3 seconds. What else runs gets TERM
//!    and 5 seconds.
//!
//! Where the board's `rescue` allows it, a stage 1 that fails leads to rescue
//! on the console: a program that asks for root's password (`login`; refused
//! when root or another account of uid 0 has none, or when /etc/passwd or
//! /etc/shadow leave a doubt) or a shell (`shell`). When it ends, stage 2 follows;
//! in it `poweroff` and `reboot` work. With `none` PID 1 does what runit does.
//!
//! In an initramfs, with `root=` on the kernel's command line, it goes on in
//! that root: when the modules are loaded the root is mounted, what the
//! kernel has moves there, the files of the initramfs are removed, and the
//! root's `/sbin/init`, `/sbin/runit-init`, `/sbin/runit` or `/init` becomes
//! process 1. A root that is not to be had is a stage 1 that fails: rescue,
//! and a second try when that ends; then the services of the initramfs.
//!
//! `root=` is a device, or `LABEL=`, `UUID=` (ext2 to ext4, FAT, swap),
//! `PARTUUID=` or `PARTLABEL=` (as the kernel has it: what is not ASCII is a
//! `!`) and a name, as in the first field of /etc/fstab. `rootfstype=`,
//! `rootflags=`, `ro` (when nothing is said) and `rw` are the kernel's; it
//! has 10 seconds to appear, with `rootwait` half an hour. With
//! `runt.overlay=tmpfs` the root is read-only and what is written goes to
//! memory, with `runt.overlay=DEVICE`, named as a root, to the directory
//! `upper` of that: /run/lower and /run/upper show both. The board's file may
//! say such words too; those of the command line count more. `root=/dev/ram0`
//! stays in the initramfs.
//!
//! PID 1 is locked in memory, code and data, so that it outlives the medium it
//! came from and those that it may be swapped to.
//!
//! Words of the kernel's command line, outside of containers: `single` or `S`
//! for rescue before a stage 2 that is no script, `emergency` for rescue
//! before stage 1, `runt.services=DIR` for the services directory,
//! `runt.signals=SIGNAL:MEANING,...` for what signals ask, `runt.rig=PROGRAM`
//! for a test rig. Others that begin with `runt.` are named and ignored.
//!
//! PROGRAM is run when stage 2 has begun, on the console, with the kernel's
//! words NAME=VALUE in its environment. When it ends PID 1 says
//! `- runit: rig: exit CODE` or `- runit: rig: signal NUMBER` and switches
//! off; a guest that ends without such a line has not passed.
//!
//! When every service with a file `runt/critical` has been up for the board's
//! `good-seconds`, and stage 2 for as long, /etc/runit/boot-good is run, once:
//! to tell the bootloader that this boot needs no fall-back. (A script of
//! stage 2 has its own services: then stage 2 alone counts.) It has 30
//! seconds; when it fails or takes longer that is said, and all else goes on:
//! whatever counts starts then counts this one.
//!
//! Where the board has a `[watchdog]` it is opened as soon as its device is
//! there and fed twice in its period, from the loop; nothing else feeds it,
//! and it is left armed at the end. A service with a file `runt/critical`,
//! which may hold seconds (30), must not be down or stopped for longer: then
//! the watchdog is fed no more.
//!
//! Then all processes are killed, those that do not end named, media written
//! and unmounted, and the machine is switched off or started again. From the
//! request on this takes at most the board's `down-seconds`, the script of
//! stage 3 included, of which 50 are kept for what follows services and
//! scripts (media have what those leave, 10 seconds each at most): then a
//! process that does nothing else ends the machine, whatever PID 1 hangs in.
//!
//! # Signals
//! CONT: go down, when a flag file of `runit-init` says so. INT
//! (ctrl-alt-del): run `/etc/runit/ctrlaltdel` when it is executable, then as
//! CONT; without it and without a script of stage 2, start again. PWR: set
//! `stopit` and run `/etc/runit/pwrfail` when it is executable, then as CONT,
//! so that a program that clears the flag keeps the system up; without it,
//! power off. RTMIN+3, RTMIN+4: power off; RTMIN+5: start again (37 to 39, as a
//! container's host sends them). Where runit does stage 2 itself, USR1 and
//! USR2 (busybox's `halt` and `poweroff`): power off; TERM (busybox's
//! `reboot`): start again, or power off in a container. ALRM: scan the
//! services directory now, or passed on to the script of stage 2. Outside of
//! stage 2 and rescue all of them are refused with a warning.
//!
//! The board's `[signals]` and, above it, `runt.signals` give each of these
//! signals another meaning, whoever does stage 2: `off`, `reboot`, `halt`
//! (stop with the power on) or `none`, as in `runt.signals=TERM:off,INT:none`.
//! A CONT that does not mean the flags leaves `runit-init` without effect.
//!
//! # Files
//! `/etc/runit/{1,2,3,ctrlaltdel,pwrfail,nosync,boot-good}`; flags: see
//! `runit-init`.
//!
//! # In a container
//! A PID namespace ends by reboot(2): by the signal HUP when it is to start
//! again, else by INT. Where the engine refuses that call, which it does by
//! default, PID 1 exits. Messages go to /dev/console or, without it, to
//! descriptor 2; never to the kernel's log, which is the host's.
//!
//! # Exit codes
//! 111 when it is not process 1. In a container that may not call reboot(2):
//! 0 to switch off or halt, 129 to start again (128 and the number of HUP), 111
//! when it cannot begin. Else it never ends.

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
    supervisor::{AWAITED, Events, Reporter, Supervisor},
    sys::{
        self, AsFd, CWD, Errno, Fd,
        child::{self, Environ, ExitStatus, Program, Setup},
        clock,
        console::{self, Console},
        environ::Builder,
        file,
        power::{self, Ending},
        signal::{self, Number},
        start::Start,
    },
    text::Line,
    wire::clock::Instant,
};

use super::flag_files::is_set;
use boot_params::BootParams;

/// How long the script of stage 2 has after TERM (contract §7.4).
const STAGE_2_TIMEOUT: Duration = Duration::from_secs(5);
/// How long until a stage 2 that failed is entered again (contract §7.3).
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Exit code of a script that the kernel would not run: in stage 2 that of
/// one to be tried again, so that a broken script cannot switch a board off.
const CANNOT_RUN: u8 = 111;
/// Where programs are, when the kernel's command line does not say.
const PATH: &[u8] = b"/sbin:/bin:/usr/sbin:/usr/bin";

/// What stands before every line.
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
    // Refused to who leads a session: then it is its own already.
    let _leads = child::new_session().is_err();
    // Without a console in the image there is one when /dev is mounted.
    let console_missing = console::take(contained).is_err();
    let mut head = Line::new();
    head.text(PREFIX).text("warning: ");
    let reporter = Reporter {
        prefix: head,
        console: Console::get(contained),
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

/// The environment of everything below: the kernel's, which has no $PATH,
/// with one. When it is full already it stays as it is.
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

/// The kernel lacks what PID 1 cannot do without: there is no way to go on,
/// and to end would be a kernel panic. Says so and collects orphans; in a
/// container it ends.
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

/// A stage as a script or not.
const fn script(stage: Stage) -> &'static CStr {
    match stage {
        Stage::One | Stage::Rescue => c"/etc/runit/1",
        Stage::Two => c"/etc/runit/2",
        Stage::Three | Stage::Over => c"/etc/runit/3",
    }
}

/// Everything that PID 1 is besides its services.
struct Init {
    supervisor: Supervisor,
    environ: Environ,
    /// When PID 1 began.
    boot_start: Instant,
    /// The standard streams are not the console yet.
    console_missing: bool,
    /// The console, once the standard streams are those of services.
    console: Option<Fd>,
    stages: Stages,
    /// What is known before stage 1.
    params: BootParams,
    /// The process of the stage's script; `None` when runit does it itself.
    script: Option<u32>,
    /// The script or program that `script` is or was.
    path: &'static CStr,
    /// The programs of ctrl-alt-del and of a power failure.
    request_programs: requests::RequestPrograms,
    /// What the flag files ask for.
    requested: flags::Requested,
    /// Children that ended while another was waited for.
    pending_ends: Vec<(u32, ExitStatus), AWAITED>,
    /// Somebody asked to go down while a script runs.
    leaving: bool,
    /// That script was killed, and should have ended.
    killed: bool,
    /// The way down has begun: when scripts and services must have ended.
    stop_deadline: Option<Instant>,
    /// What runs once while services are up.
    oneshots: oneshot::Oneshots,
    /// There is a root that could not be reached.
    root_missing: bool,
    /// The board's watchdog.
    watchdog: Option<watchdog::OpenWatchdog>,
    /// Until when the script of the stage may run.
    script_deadline: Option<Instant>,
    /// Stage 2 has failed: when it is entered again.
    restart_at: Option<Instant>,
    /// The order in which what runs is ended.
    shutdown: Option<Shutdown>,
    /// How the machine ends, when whoever asked said so; else a flag tells.
    ending: Option<Ending>,
}

impl Init {
    /// Before stage 1.
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

    /// Lives.
    fn run(mut self) -> ! {
        self.info("runt ", config::VERSION.as_bytes(), ": booting.");
        boot_params::read(&mut self.params, self.supervisor.reporter());
        if let Err(errno) = power::take_ctrl_alt_del() {
            // In a container there are no keys.
            if !self.params.contained {
                self.warn("unable to take ctrl-alt-del", b"", errno);
            }
        }
        if !self.params.contained
            && let Err(errno) = sys::memory::lock()
        {
            self.warn("unable to lock myself in memory", b"", errno);
        }
        self.open_watchdog(false);
        self.stages = Stages::new(Policy {
            rescue: rescue::ALLOWED,
            // A distribution's script of stage 2 does it in its own way.
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

    /// When the loop has to look at the clock.
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

    /// Says something that is no warning.
    fn info(&self, what: &str, subject: &[u8], end: &str) {
        let mut line = Line::new();
        line.text(PREFIX).text(what).bytes(subject).text(end);
        self.supervisor.reporter().print(&mut line);
    }

    /// Says a warning that has no errno.
    fn warning(&self, what: &str, subject: &[u8]) {
        let reporter = self.supervisor.reporter();
        reporter.print(reporter.prefix.clone().text(what).bytes(subject));
    }

    /// Says a warning about a call that failed.
    fn warn(&self, what: &str, subject: &[u8], errno: Errno) {
        self.supervisor.reporter().warn(what, subject, errno);
    }

    /// Makes the console the standard streams, if that was not to be done so
    /// far: it may be there now that /dev is mounted.
    ///
    /// From then on nobody who closes a serial console is the last to, and
    /// kept by the kernel for 30 seconds where the line takes nothing.
    fn open_console(&mut self) -> Result<(), Errno> {
        if self.console_missing {
            console::take(self.params.contained)?;
            self.console_missing = false;
        }
        Ok(())
    }

    /// Enters a stage: starts its script or does it here.
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

    /// Lets an operator in, if the board lets anybody; else goes on.
    fn rescue(&mut self) {
        if self.params.emergency {
            // Nothing is there yet, maybe not even a console.
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

    /// Stage 2 of our own.
    fn serve(&mut self) {
        if let Err(errno) = self.detach_console() {
            self.warn("unable to keep services from the console", b"", errno);
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

    /// Makes the standard streams, which services have, such that none can
    /// read what is typed on the console, nor holds it when the kernel ends
    /// all that do. The programs of PID 1's own still get it.
    fn detach_console(&mut self) -> Result<(), Errno> {
        let contained = self.params.contained;
        if !self.console_missing {
            // It stays open: what closes a terminal as the last may have to
            // wait until that has taken everything.
            self.console = Some(console::open_blocking(contained)?);
        }
        if contained {
            // Its owner tells the streams apart.
            console::leave(!self.console_missing)
        } else {
            self.supervisor.relay_output()
        }
    }

    /// Starts a stage's script, in a session of its own; stage 1 has the
    /// console as its terminal, so that a rescue shell has job control.
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

    /// Starts a program of PID 1's own and awaits its end.
    fn spawn(&mut self, path: &CStr, terminal: bool) -> Result<u32, Errno> {
        let _later = self.open_console().is_err();
        // Services have something else: see `serve`.
        let console = self.console.as_ref().map(AsFd::as_fd);
        let program = Program {
            path,
            arguments: &[],
            environ: self.environ,
        };
        let mut complaint = Line::new();
        complaint
            .text(PREFIX)
            .text("fatal: unable to start child: ");
        complaint.bytes(path.to_bytes());
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
            complaint: Some(&complaint),
            code: CANNOT_RUN,
        };
        let pid = child::spawn(&program, &setup)?;
        // There is room for a stage and the keys.
        let _room = self.supervisor.awaited.push(pid).is_ok();
        Ok(pid)
    }

    /// Takes what a turn of the loop has brought.
    fn handle(&mut self, events: &Events) {
        for signal in &events.signals {
            self.signal(*signal);
        }
        for (pid, end) in &events.ended {
            self.child_ended(*pid, *end);
        }
    }

    /// Takes the end of a child of PID 1's own.
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

    /// The script of the stage has ended.
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

    /// The script of the stage has had its time.
    fn script_timed_out(&mut self, now: Instant) {
        self.script_deadline = None;
        let Some(pid) = self.script else { return };
        if self.leaving && !self.killed {
            self.warning("stage 2 not terminated, sending sigkill...", b"");
            // ESRCH: its end is about to be heard of.
            let _gone = signal::kill(pid, Number::KILL).is_err();
            self.killed = true;
            self.script_deadline = Some(now.after(STAGE_2_TIMEOUT));
            return;
        }
        self.warning("not ended in time: ", self.path.to_bytes());
        // Its end, when it comes, is nobody's affair.
        self.supervisor.stop_awaiting(pid);
        self.script_ended(StageExit::Crashed);
    }

    /// A stage has ended, that of the script `leader` if it had one: enters
    /// the next.
    fn ended(&mut self, outcome: StageExit, leader: Option<u32>) {
        let stage = self.stages.stage();
        let next = self.stages.ended(outcome);
        if let (Some(leader), Next::Again) = (leader, next) {
            let all = "killing all processes in stage 2...";
            self.warning(all, b"");
            // ESRCH: none is left.
            let _none = signal::kill_group(leader, Number::KILL).is_err();
        } else if leader.is_some() {
            self.info("leave stage: ", self.path.to_bytes(), "");
        }
        if stage == Stage::Rescue && leader.is_some() && self.root_missing {
            // Who was let in may have mended it.
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

    /// Does what has become due.
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
