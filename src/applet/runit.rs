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
//! 1. /proc, /sys, /dev, /dev/pts and /run are mounted, the host name is set
//!    from /etc/hostname, loopback is brought up;
//! 2. the services directory is supervised, without another process;
//! 3. services are told to exit, together, and killed after 7 seconds; what
//!    else runs gets TERM and 5 seconds.
//!
//! Then all processes are killed, media written and unmounted, and the
//! machine is switched off or started again.
//!
//! # Signals
//! CONT: go down, when a flag file of `runit-init` says so. INT
//! (ctrl-alt-del): run `/etc/runit/ctrlaltdel` when it is executable, then as
//! CONT; without it and without a script of stage 2, start again. PWR: power
//! off. Where runit does stage 2 itself, USR1 and USR2 (busybox's `halt` and
//! `poweroff`): power off; TERM (busybox's `reboot`): start again. ALRM: scan
//! the services directory now, or passed on to the script of stage 2. Outside
//! of stage 2 all of them are refused with a warning.
//!
//! # Files
//! `/etc/runit/{1,2,3,ctrlaltdel,nosync}`; flags: see `runit-init`.
//!
//! # Exit codes
//! 111 when it is not process 1; else it never ends.

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    machine::{
        descent::{Descent, Left, Order},
        stages::{Next, Outcome, Stage, Stages},
    },
    supervisor::{Heard, Supervisor, Voice},
    sys::{
        self, CWD, Errno,
        child::{self, End, Environ, Program, Setup},
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

use super::{
    runit_init::{FLAGS, is_set},
    stage,
};

/// How long the script of stage 2 has after TERM (contract §7.4).
const LEAVE: Duration = Duration::from_secs(5);
/// How long until a stage 2 that failed is entered again (contract §7.3).
const AGAIN: Duration = Duration::from_secs(5);
/// How long the console has at the end for what it was told.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Exit code of a script that the kernel would not run: in stage 2 that of
/// one to be tried again, so that a broken script cannot switch a board off.
const CANNOT_RUN: u8 = 111;
/// The program that ctrl-alt-del runs.
const KEYS: &CStr = c"/etc/runit/ctrlaltdel";
/// With this file nothing is written back at the end (runit 2.2.0).
const NO_SYNC: &CStr = c"/etc/runit/nosync";

/// Where programs are, when the kernel's command line does not say.
const PATH: &[u8] = b"/sbin:/bin:/usr/sbin:/usr/bin";

/// What stands before every line.
const HEAD: &str = "- runit: ";

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    if child::own_pid() != 1 {
        let line = b"- runit: fatal: must be run as process no 1.\n";
        sys::complain(line);
        return super::FATAL;
    }
    let born = clock::mono();
    // Refused to who leads a session: then it is its own already.
    let _leads = child::new_session().is_err();
    // Without a console in the image there is one when /dev is mounted.
    let blind = console::take().is_err();
    let mut head = Line::new();
    head.text(HEAD).text("warning: ");
    let voice = Voice {
        head,
        console: Console::get(),
    };
    let wanted = [
        Number::CHILD,
        Number::CONT,
        Number::INT,
        Number::POWER,
        Number::ALARM,
        Number::USR1,
        Number::USR2,
        Number::TERM,
        Number::PIPE,
    ];
    let environ = environ(start.environ);
    let supervisor =
        Supervisor::new(config::SLOTS, &wanted, voice, environ, true);
    match supervisor {
        Ok(supervisor) => Init::new(supervisor, environ, born).run(blind),
        Err(errno) => stranded("wait for events", errno),
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
    let _full = builder.set(b"PATH", Some(PATH)).is_err();
    builder.finish()
}

/// The kernel lacks what PID 1 cannot do without: there is no way to go on,
/// and to end would be a kernel panic. Says so and collects orphans.
fn stranded(what: &str, errno: Errno) -> ! {
    let mut line = Line::new();
    line.text(HEAD)
        .text("fatal: unable to ")
        .text(what)
        .text(": ");
    sys::complain(line.text(sys::error::text(errno)).finish());
    loop {
        while child::reap().is_some() {}
        sys::wait::sleep(AGAIN);
    }
}

/// A stage as a script or not.
const fn script(stage: Stage) -> &'static CStr {
    match stage {
        Stage::One => c"/etc/runit/1",
        Stage::Two => c"/etc/runit/2",
        Stage::Three | Stage::Over => c"/etc/runit/3",
    }
}

/// Everything that PID 1 is besides its services.
struct Init {
    supervisor: Supervisor,
    environ: Environ,
    /// When PID 1 began.
    born: Instant,
    stages: Stages,
    /// The process of the stage's script; `None` when runit does it itself.
    script: Option<u32>,
    /// The process of the ctrl-alt-del program.
    keys: Option<u32>,
    /// Somebody asked to go down: when the script of stage 2 is killed.
    leaving: Option<Instant>,
    /// Stage 2 has failed: when it is entered again.
    pause: Option<Instant>,
    /// The order in which what runs is ended.
    descent: Option<Descent>,
    /// How the machine ends, when whoever asked said so; else a flag tells.
    ending: Option<Ending>,
}

impl Init {
    /// Before stage 1.
    fn new(supervisor: Supervisor, environ: Environ, born: Instant) -> Self {
        Self {
            supervisor,
            environ,
            born,
            stages: Stages::new(),
            script: None,
            keys: None,
            leaving: None,
            pause: None,
            descent: None,
            ending: None,
        }
    }

    /// Lives.
    fn run(mut self, blind: bool) -> ! {
        if let Err(errno) = power::take_ctrl_alt_del() {
            // In a container there are no keys.
            if !power::is_contained() {
                self.warn("unable to take ctrl-alt-del", b"", errno);
            }
        }
        self.say("runt ", config::VERSION.as_bytes(), ": booting.");
        self.enter(Stage::One);
        if blind && let Err(errno) = console::take() {
            self.warn("unable to open ", b"/dev/console", errno);
        }
        loop {
            let heard = self.supervisor.turn(self.due());
            self.hear(&heard);
            self.look_at_clock();
        }
    }

    /// When the loop has to look at the clock.
    fn due(&self) -> Option<Instant> {
        let descent = self.descent.map(Descent::due);
        [self.leaving, self.pause, descent]
            .into_iter()
            .flatten()
            .min()
    }

    /// Says something that is no warning.
    fn say(&self, what: &str, subject: &[u8], end: &str) {
        let mut line = Line::new();
        line.text(HEAD).text(what).bytes(subject).text(end);
        self.supervisor.voice().say(&mut line);
    }

    /// Says a warning that has no errno.
    fn caution(&self, what: &str, subject: &[u8]) {
        let voice = self.supervisor.voice();
        voice.say(voice.head.clone().text(what).bytes(subject));
    }

    /// Says a warning about a call that failed.
    fn warn(&self, what: &str, subject: &[u8], errno: Errno) {
        self.supervisor.voice().warn(what, subject, errno);
    }

    /// Enters a stage: starts its script or does it here.
    fn enter(&mut self, stage: Stage) {
        let path = script(stage);
        let text = path.to_bytes();
        match file::info(CWD, path) {
            Ok(_) if is_set(path) => match self.start(stage, path) {
                Ok(pid) => {
                    self.script = Some(pid);
                    return;
                }
                Err(errno) => self.warn("unable to fork for ", text, errno),
            },
            Ok(_) => self.caution("not executable: ", text),
            Err(Errno::ENOENT) => {}
            Err(errno) => self.warn("unable to stat ", text, errno),
        }
        match stage {
            Stage::One => {
                stage::set_up(self.supervisor.voice());
                self.ended(Outcome::Exited(0), None);
            }
            Stage::Two => self.serve(),
            Stage::Three => self.descend(Order::StopServices),
            Stage::Over => {}
        }
    }

    /// Stage 2 of our own.
    fn serve(&mut self) {
        self.supervisor.serve(config::SERVICES_DIR);
        let millis = clock::mono().since(self.born).as_millis();
        let mut line = Line::new();
        line.text(HEAD);
        line.number(u64::try_from(self.supervisor.live()).unwrap_or(0));
        line.text(" services up, ");
        line.number(u64::try_from(millis).unwrap_or(u64::MAX));
        line.text(" ms after the start.");
        self.supervisor.voice().say(&mut line);
    }

    /// Starts a stage's script, in a session of its own; stage 1 has the
    /// console as its terminal, so that a rescue shell has job control.
    fn start(&mut self, stage: Stage, path: &CStr) -> Result<u32, Errno> {
        self.say("enter stage: ", path.to_bytes(), "");
        self.spawn(path, stage == Stage::One)
    }

    /// Starts a program of PID 1's own and awaits its end.
    fn spawn(&mut self, path: &CStr, terminal: bool) -> Result<u32, Errno> {
        let program = Program {
            path,
            arguments: &[],
            environ: self.environ,
        };
        let mut complaint = Line::new();
        complaint.text(HEAD).text("fatal: unable to start child: ");
        complaint.bytes(path.to_bytes());
        let setup = Setup {
            dir: None,
            sub: None,
            stdin: None,
            stdout: None,
            session: true,
            group: false,
            terminal,
            files: None,
            complaint: Some(&complaint),
            code: CANNOT_RUN,
        };
        let pid = child::spawn(&program, &setup)?;
        // There is room for a stage and the keys.
        let _room = self.supervisor.awaited.push(pid).is_ok();
        Ok(pid)
    }

    /// Takes what a turn of the loop has brought.
    fn hear(&mut self, heard: &Heard) {
        for signal in &heard.signals {
            self.signal(*signal);
        }
        for (pid, end) in &heard.ended {
            let outcome = match end {
                End::Exited(code) => Outcome::Exited(*code),
                End::Killed(..) => Outcome::Crashed,
            };
            if self.keys == Some(*pid) {
                self.keys = None;
                if outcome == Outcome::Crashed {
                    self.caution("child crashed: ", KEYS.to_bytes());
                }
                self.say("leave stage: ", KEYS.to_bytes(), "");
                self.obey_flags();
            } else if self.script == Some(*pid) {
                self.script_ended(outcome);
            }
        }
    }

    /// The script of the stage has ended.
    fn script_ended(&mut self, outcome: Outcome) {
        let leader = self.script.take();
        let path = script(self.stages.stage()).to_bytes();
        match outcome {
            Outcome::Exited(0) => {}
            Outcome::Exited(_) => self.caution("child failed: ", path),
            Outcome::Crashed => self.caution("child crashed: ", path),
        }
        if self.leaving.take().is_some() {
            self.say("leave stage: ", path, "");
            self.leave();
            return;
        }
        self.ended(outcome, leader);
    }

    /// A stage has ended, that of the script `leader` if it had one: enters
    /// the next.
    fn ended(&mut self, outcome: Outcome, leader: Option<u32>) {
        let stage = self.stages.stage();
        let next = self.stages.ended(outcome);
        if let (Some(leader), Next::Again) = (leader, next) {
            let all = "killing all processes in stage 2...";
            self.caution(all, b"");
            // ESRCH: none is left.
            let _none = signal::kill_group(leader, Number::KILL).is_err();
        } else if leader.is_some() {
            self.say("leave stage: ", script(stage).to_bytes(), "");
        }
        match next {
            Next::Again => {
                self.pause = Some(clock::mono().after(AGAIN));
            }
            Next::Enter(Stage::Over, _) => self.descend(Order::KillAll),
            Next::Enter(next, _) => {
                if stage == Stage::One && next == Stage::Three {
                    self.caution("skipping stage 2...", b"");
                }
                self.enter(next);
            }
        }
    }

    /// Obeys a signal.
    fn signal(&mut self, signal: Number) {
        if signal == Number::PIPE {
            return;
        }
        if self.stages.stage() != Stage::Two {
            self.caution("signals only work in stage 2.", b"");
            return;
        }
        match signal {
            Number::CONT => self.obey_flags(),
            Number::POWER => self.go_down(Some(Ending::Off)),
            Number::INT => self.obey_keys(),
            // What busybox's halt, poweroff and reboot send, and what a
            // container's owner sends. runit ignores them, so a stage 2
            // script may still count on that.
            Number::USR1 | Number::USR2 if self.script.is_none() => {
                self.go_down(Some(Ending::Off));
            }
            Number::TERM if self.script.is_none() => {
                self.go_down(Some(Ending::Reboot));
            }
            Number::ALARM => match self.script {
                Some(pid) => {
                    // ESRCH: its end is about to be heard of.
                    let _gone = signal::kill(pid, Number::ALARM).is_err();
                }
                None => self.supervisor.rescan(),
            },
            _ => {}
        }
    }

    /// Ctrl-alt-del.
    fn obey_keys(&mut self) {
        if self.keys.is_some() {
            return;
        }
        if is_set(KEYS) {
            self.say("ctrl-alt-del request...", b"", "");
            self.say("enter stage: ", KEYS.to_bytes(), "");
            match self.spawn(KEYS, false) {
                Ok(pid) => self.keys = Some(pid),
                Err(errno) => {
                    self.warn("unable to fork for ", KEYS.to_bytes(), errno);
                }
            }
        } else if self.script.is_none() && self.pause.is_none() {
            self.say("ctrl-alt-del request...", b"", "");
            self.go_down(Some(Ending::Reboot));
        }
    }

    /// Goes down if a flag of `runit-init` says so.
    fn obey_flags(&mut self) {
        let mut asked = false;
        for flags in FLAGS {
            if is_set(flags.stop) {
                asked = true;
                if let Err(errno) = file::set_mode(CWD, flags.stop, 0) {
                    let path = flags.stop.to_bytes();
                    self.warn("unable to chmod ", path, errno);
                }
            }
        }
        if asked {
            self.go_down(None);
        }
    }

    /// Leaves stage 2.
    fn go_down(&mut self, ending: Option<Ending>) {
        if self.leaving.is_some() {
            return;
        }
        self.ending = ending;
        match self.script {
            Some(pid) => {
                // ESRCH: its end is about to be heard of.
                let _gone = signal::kill(pid, Number::TERM).is_err();
                self.leaving = Some(clock::mono().after(LEAVE));
            }
            None => self.leave(),
        }
    }

    /// Stage 2 is over.
    fn leave(&mut self) {
        self.pause = None;
        if self.stages.leave() {
            self.enter(Stage::Three);
        }
    }

    /// Begins to end processes.
    fn descend(&mut self, order: Order) {
        self.supervisor.serve_no_more();
        self.descent = Some(Descent::from(order, clock::mono()));
        self.carry_out(order);
    }

    /// Does what has become due.
    fn look_at_clock(&mut self) {
        let now = clock::mono();
        if self.leaving.is_some_and(|until| until <= now) {
            let late = "stage 2 not terminated, sending sigkill...";
            self.caution(late, b"");
            if let Some(pid) = self.script {
                // ESRCH: its end is about to be heard of.
                let _gone = signal::kill(pid, Number::KILL).is_err();
            }
            self.leaving = Some(now.after(LEAVE));
        }
        if self.pause.is_some_and(|until| until <= now) {
            self.pause = None;
            self.caution("restarting.", b"");
            self.enter(Stage::Two);
        }
        let left = Left {
            services: self.supervisor.live() > 0,
            children: child::has_children(),
        };
        let next = self.descent.as_mut().and_then(|d| d.step(left, now));
        if let Some(order) = next {
            self.carry_out(order);
        }
    }

    /// Carries out an order of the descent.
    fn carry_out(&mut self, order: Order) {
        let sent = match order {
            Order::StopServices => {
                self.say("stopping services...", b"", "");
                self.supervisor.exit_all();
                return;
            }
            Order::KillServices => {
                let supervisor = &self.supervisor;
                supervisor.names(|name| {
                    let what = "not terminated, sending KILL signal: ";
                    self.caution(what, name);
                });
                self.supervisor.kill_all();
                return;
            }
            Order::TerminateAll => {
                self.say("sending TERM signal to all processes...", b"", "");
                // A stopped process takes no TERM.
                signal::kill_all(Number::TERM)
                    .and_then(|()| signal::kill_all(Number::CONT))
            }
            Order::KillAll => {
                self.say("sending KILL signal to all processes...", b"", "");
                // So that none of them is started again.
                self.supervisor.exit_all();
                signal::kill_all(Number::KILL)
            }
            Order::Done => self.end(),
        };
        match sent {
            // ESRCH: there is no other process.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => self.warn("unable to signal processes", b"", errno),
        }
    }

    /// The machine's end.
    fn end(&mut self) -> ! {
        let reboot = FLAGS.iter().any(|flags| is_set(flags.reboot));
        let flagged = if reboot { Ending::Reboot } else { Ending::Off };
        let ending = self.ending.unwrap_or(flagged);
        if file::info(CWD, NO_SYNC).is_err() {
            stage::rest_media(self.supervisor.voice());
        }
        match ending {
            Ending::Reboot => self.say("system reboot.", b"", ""),
            Ending::Off | Ending::Halt => self.say("power off...", b"", ""),
        }
        if let Some(console) = self.supervisor.voice().console {
            console.flush(LAST_WORDS);
        }
        // Where there is no power switch, stop at least (contract §7.5).
        let refused = power::end(ending);
        self.warn("unable to end the machine", b"", refused);
        stranded("stop", power::end(Ending::Halt))
    }
}
