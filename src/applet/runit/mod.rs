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
//! directory `upper` of that device. /run/lower and /run/upper show both. In
//! such a root the files below /etc/runit/overlay of the initramfs appear too.
//! The board's file may set the same words; those of the command line take
//! precedence. `root=/dev/ram0` stays in the initramfs.
//!
//! With `runt.verity=DATA:HASH:ROOTHASH` the root is the dm-verity device
//! /dev/mapper/root instead, and `root=` is not needed. DATA and HASH are two
//! devices, named like a root; `veritysetup format DATA HASH` has written HASH
//! and printed the root hash. The modules dm_mod, dm_bufio, reed_solomon and
//! dm_verity must be loaded or built in. Such a root is read-only, and the
//! kernel checks each block when it is read: a wrong root hash fails the
//! mount, a damaged file later gives an input/output error. Whatever fails,
//! DATA is never mounted itself. The board's `verity` must be set; otherwise
//! such a root cannot be reached.
//!
//! An initramfs may have an executable `/etc/runit/root`, the root hook: to
//! ask for a passphrase, or to choose one of two roots. It is run on the
//! console when the modules are loaded. What it writes to descriptor 3 are
//! further words about the root, as those of the command line, over which they
//! take precedence: `echo root=/dev/mapper/root >&3`. It has the board's
//! `root-seconds`. If it fails, takes longer, or writes a word that is not
//! about the root or more than `line-bytes`, that is reported, and the root
//! counts as one that cannot be reached. `root=/dev/ram0` on the command line
//! skips it.
//!
//! PID 1 locks its code and data in memory, so that it survives the loss of
//! the medium that it was started from and of any swap device.
//!
//! Words of the kernel's command line, outside of containers: `single` or `S`
//! for rescue before a stage 2 that is not a script, `emergency` for rescue
//! before stage 1, `runt.services=DIR` for the services directory,
//! `runt.signals=SIGNAL:MEANING,...` for the meaning of signals,
//! `runt.rig=PROGRAM`, `runt.rig-nonce=TEXT` and `runt.rig-exit` for a test
//! rig. Other words that begin with `runt.` are reported and ignored.
//!
//! PROGRAM is run when stage 2 has begun, on the console, with the kernel's
//! words NAME=VALUE in its environment. When it ends PID 1 switches off. Its
//! last line, when the media are unmounted, is the verdict:
//! `- runit: rig: TEXT: ` and `exit CODE`, `signal NUMBER`, `not started`
//! (PROGRAM cannot be executed) or `no result` (something else began to switch
//! off before). A guest that ends without a verdict has not passed. There is
//! no rescue.
//!
//! With `runt.rig-exit` the machine is one of QEMU with `isa-debug-exit` or
//! `sifive_test`, which only root can use. The verdict then ends in
//! `, confirmed`, and QEMU's exit code is 33 after `exit 0`, and otherwise 34
//! (`isa-debug-exit`: 35).
//!
//! The file /run/runt-rig of an initramfs takes precedence over these words:
//! TEXT, `exit` or nothing, PROGRAM and its arguments, each ended by a NUL, in
//! less than `line-bytes`. PID 1 removes it before any other process exists,
//! so that TEXT is a secret, and passes it on to the PID 1 of another root.
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
//! A soft reboot (`reboot --soft`) stops the services and runs stage 3 in the
//! same way, and then writes the media instead of unmounting them. PID 1 then
//! executes its file again, by the path that the kernel was given or, if that
//! fails, as the file that is running, and begins with stage 1. Only what the
//! kernel holds remains: mounts, network addresses, modules. A file system
//! that is mounted for writing is not checked again. If PID 1 cannot be
//! executed again, the machine is rebooted.
//!
//! # Signals
//! CONT: shut down if a flag file of runit-init(8) is set. INT (ctrl-alt-del):
//! run `/etc/runit/ctrlaltdel` if it is executable, then as CONT; without it
//! and without a script of stage 2, reboot. PWR: set `stopit` and run
//! `/etc/runit/pwrfail` if it is executable, then as CONT, so that a program
//! that clears the flag keeps the system up; without it, power off. RTMIN+3,
//! RTMIN+4: power off; RTMIN+5: reboot (37 to 39, as a container's host sends
//! them). RTMIN+7 (41): soft reboot, as by `reboot --soft`. Where runit does
//! stage 2 itself, USR1 and USR2 (busybox's `halt` and `poweroff`): power off;
//! TERM (busybox's `reboot`): reboot, or power off in a container. ALRM: scan
//! the services directory now, or pass the signal on to the script of stage 2.
//! Outside of stage 2 and rescue all of them are refused with a warning.
//!
//! The board's `[signals]`, and with precedence `runt.signals`, give each of
//! these signals another meaning, whether or not stage 2 is a script: `off`,
//! `reboot`, `halt` (stop with the power on) or `none`, as in
//! `runt.signals=TERM:off,INT:none`. If CONT has another meaning, `runit-init`
//! has no effect.
//!
//! # Files
//! - `/etc/runit/1`, `2`, `3`: the scripts of the stages.
//! - `/etc/runit/once/`: programs that the built-in stage 1 runs.
//! - `/etc/runit/ctrlaltdel`, `/etc/runit/pwrfail`: programs that INT and PWR
//!   run.
//! - `/etc/runit/nosync`: if it exists, media are neither written nor
//!   unmounted at the end.
//! - `/etc/runit/boot-good`: the program that confirms the boot.
//! - `/etc/runit/root`, `/etc/runit/overlay/`: of an initramfs.
//! - `/etc/modules`, `/etc/hostname`, `/etc/fstab`, `/etc/sysctl.conf`,
//!   `/etc/sysctl.d/`, `/var/lib/random-seed`: see stage 1.
//! - `/etc/runit/stopit`, `/etc/runit/reboot`: flags, see runit-init(8).
//!
//! # Faults
//! When PID 1 faults (SEGV, BUS, ILL, FPE, ABRT or SYS, also when its stack
//! overflows) it executes itself again and goes on. It executes a sealed copy
//! of itself in memory or, in an initramfs and where the kernel refuses that,
//! the file that is running, or its path; a line of the boot says which. One line reports each
//! fault: its number, the signal, and the address or that a process has sent
//! it. `sv why` and `runt limits` count those of stage 2.
//!
//! Of the services the same survives as after a fault of runsv(8), and the
//! output that is relayed. So do signals that were not read yet, stage scripts
//! with their time limits, requests to shut down, the programs of PID 1, and
//! the rig. A watchdog is opened again.
//!
//! runt-upgrade(8) moves PID 1 to another file in the same way, in stage 2.
//!
//! A built-in stage 1 that is interrupted counts as one that exits with 1.
//! Without a script, stage 3 goes on with TERM to all processes, and after
//! another fault with KILL.
//!
//! After the board's `faults` (3) in `fault-seconds` (60), or if the state is
//! damaged, PID 1 only keeps what runs: it reaps, forwards output, and shuts
//! down on request with TERM, KILL and a write of all media. Services run on,
//! but those that end stay down. It does not ping the watchdog. Another fault,
//! and one while a fault is handled, restarts the machine. Faults that a
//! process has sent (`kill -SEGV 1`) do not count for this.
//!
//! In a build without the family `recovery` (runt-board(5)) a fault of PID 1
//! ends the machine, as with any other init.
//!
//! # In a container
//! A PID namespace ends by reboot(2): with the signal HUP to be restarted,
//! else with INT. Where the engine refuses that call, as it does by default,
//! PID 1 exits. Messages go to /dev/console or, without it, to descriptor 2,
//! and never to the kernel's log, which is the host's.
//!
//! # Exit status
//! 111 when it is not process 1. In a container that may not call reboot(2): 0
//! to switch off or halt, 129 to be restarted (128 and the number of HUP), 111
//! when it cannot start. Otherwise it never exits.
//!
//! # Differences from runit
//! runit has no built-in stages, no rescue, no root, watchdog, boot-good, rig,
//! time limits of a shutdown, recovery after a fault or soft reboot, and acts
//! only on CONT, INT and, as in Debian, PWR and ALRM. A stage that was ended
//! by a signal has failed, as in runit 2.3.0.

mod boot_good;
mod boot_params;
mod console;
mod flags;
mod fstab;
mod init;
mod kernel_fs;
mod media;
mod minimal;
mod modules;
mod power_off;
mod report;
mod requests;
mod rescue;
mod rig;
mod root;
mod root_hook;
mod seed;
mod settings;
mod shutdown;
mod signals;
mod stage_script;
mod step;
mod steps;
mod task;
mod verity;
mod volume;
mod watchdog;

use crate::{
    config,
    machine::faults,
    supervisor::{Reporter, Supervisor, dropped_lines, recovery},
    sys::{
        self,
        child::{self, Environ},
        clock,
        console::Console,
        environ::Builder,
        fault::{self, Report, Resumed},
        start::Start,
    },
    text::Line,
    wire::{clock::Instant, record::Numbers},
};

use boot_params::BootParams;
use console::ConsoleStreams;
use init::Init;

/// Default `$PATH`, for when the kernel's command line sets none.
const PATH: &[u8] = b"/sbin:/bin:/usr/sbin:/usr/bin";

/// First message.
const BOOTING: &str = concat!("runt ", env!("CARGO_PKG_VERSION"), ": booting.");

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    if child::own_pid() != 1 {
        let line = b"- runit: fatal: must be run as process no 1.\n";
        sys::print_error(line);
        return super::FATAL;
    }
    let resumed = fault::resumed();
    let boot_start = clock::mono();
    let contained = boot_params::is_contained();
    let environ = environ(start.environ);
    let mut head = Line::new();
    head.text(report::PREFIX).text("warning: ");
    let reporter = Reporter {
        prefix: head,
        console: Console::get(contained, |count, to_stderr| {
            dropped_lines("- runit", count, to_stderr)
        }),
    };
    if resumed.is_none() {
        // Refused to a session leader, which has its own session already.
        let _leads = child::new_session().is_err();
    }
    // Without a console in the image there may be one when /dev is mounted.
    let from = match &resumed {
        None => Ok(ConsoleStreams::attach(contained, environ)),
        Some(Resumed {
            report,
            state: Some(state),
        }) if !faults::is_loop(&report.recent) => Err(state),
        Some(resumed) => minimal::run(contained, resumed, &reporter),
    };
    let report = resumed.as_ref().map(|resumed| &resumed.report);
    let supervisor = supervisor(reporter, environ, report);
    let mut params = BootParams::new(contained);
    boot_params::read(&mut params, supervisor.reporter());
    match from {
        Ok(console) => boot(supervisor, console, boot_start, params),
        Err(state) => resume(supervisor, environ, params, state),
    }
}

/// Returns the supervisor, and handles faults from now on.
#[inline(never)]
fn supervisor(
    reporter: Reporter,
    environ: Environ,
    fault: Option<&Report>,
) -> Supervisor {
    let supervisor = Supervisor::new(
        config::SLOTS,
        &signals::SIGNALS,
        reporter,
        environ,
        true,
    );
    let supervisor = match supervisor {
        Ok(supervisor) => supervisor,
        Err(errno) => power_off::reap_forever("wait for events", errno),
    };
    let reporter = supervisor.reporter();
    let image = recovery::handle_faults(true, reporter);
    if let Some(fault) = fault {
        report::fault(reporter, fault);
    } else {
        report::info(reporter, BOOTING, b"");
        if config::family::RECOVERY {
            report::info(reporter, "after a fault executes ", image.name());
        }
    }
    supervisor
}

/// Begins with stage 1.
#[inline(never)]
fn boot(
    supervisor: Supervisor,
    console: ConsoleStreams,
    boot_start: Instant,
    params: BootParams,
) -> ! {
    Init::new(supervisor, console, boot_start, params).run(false)
}

/// Goes on after a fault.
#[inline(never)]
fn resume(
    supervisor: Supervisor,
    environ: Environ,
    params: BootParams,
    state: &Numbers,
) -> ! {
    Init::restore(supervisor, environ, params, state).run(true)
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
