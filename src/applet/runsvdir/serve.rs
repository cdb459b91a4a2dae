//! Runs the supervisor, the child of the front process, and runs it again
//! after a fault.

use crate::{
    supervisor::{
        Reporter, Supervisor,
        front::{Command, ServerEnd},
        recovery,
    },
    sys::{
        self, AsFd, Fd,
        fault::{self, Resumed},
        file,
        signal::Number,
        start::Start,
    },
    wire::record::{Reader, Writer},
};

use super::{Failure, Request, open_run_dir, reporter};

/// First number of the state that a fault passes on: of the front process.
pub(super) const FRONT: u64 = 1;
/// The same, of the supervisor.
const SUPERVISOR: u64 = 2;

/// State of the supervisor besides its services.
#[derive(Clone, Copy, Debug)]
struct State {
    /// Descriptors of the connection to the front.
    ends: [Option<u32>; 4],
    /// Set while there is a front, or may be one again.
    attached: bool,
    /// Set once all services are told to exit.
    exiting: bool,
}

impl State {
    /// Records the state that a fault passes on.
    fn save(&self) {
        let mut writer = Writer::default();
        writer.put(SUPERVISOR);
        writer.put_flags(&[self.attached, self.exiting]);
        for end in self.ends {
            writer.put_option(end.map(u64::from));
        }
        fault::record(&writer.0);
    }

    /// Returns the state that was recorded. A damaged one leads to an exit.
    fn restore(resumed: &Resumed) -> Self {
        let state = resumed.state.as_deref().unwrap_or(&[]);
        let mut reader = Reader(state);
        reader.take();
        let [attached, exiting] = reader.take_flags();
        Self {
            ends: [0; 4].map(|_| reader.take_pid()),
            attached,
            exiting,
        }
    }
}

/// Returns true if the process that faulted was a supervisor.
pub(super) fn is_supervisor(resumed: &Resumed) -> bool {
    let state = resumed.state.as_ref().and_then(|state| state.first());
    state.is_some_and(|kind| *kind == SUPERVISOR)
}

/// Begins in a copy of the front process.
pub(super) fn begin(
    request: &Request,
    mut server: ServerEnd,
    run_dir: Option<Fd>,
    reporter: Reporter,
    start: Start,
) -> Result<u8, Failure> {
    if let Some(console) = reporter.console {
        console.discard_backlog();
    }
    if request.logs
        && let Err(errno) = server.capture_stderr()
    {
        reporter.warn("log service disabled", b"", errno);
    }
    let state = State {
        ends: server.numbers(),
        attached: true,
        exiting: false,
    };
    serve(request, server, run_dir, reporter, start, (state, None))
}

/// Goes on after a fault.
pub(super) fn resume(
    request: &Request,
    resumed: Option<&Resumed>,
    start: Start,
) -> Result<u8, Failure> {
    let Some(resumed) = resumed else {
        return Ok(super::super::FATAL);
    };
    let state = State::restore(resumed);
    let reporter = reporter(request);
    let run_dir = open_run_dir(request, &reporter);
    let at = run_dir.as_ref().map(AsFd::as_fd);
    let server = ServerEnd::resume(state.ends, at).map_err(|failure| {
        ("unable to lock the run directory", failure.errno)
    })?;
    serve(
        request,
        server,
        run_dir,
        reporter,
        start,
        (state, Some(resumed)),
    )
}

/// Runs the supervisor until it is told to stop and no service is left.
fn serve(
    request: &Request,
    server: ServerEnd,
    run_dir: Option<Fd>,
    reporter: Reporter,
    start: Start,
    (mut state, resumed): (State, Option<&Resumed>),
) -> Result<u8, Failure> {
    let caught = [
        Number::CHILD,
        Number::TERM,
        Number::ALARM,
        Number::PIPE,
        Number::USR1,
        Number::USR2,
    ];
    let slots = crate::config::SLOTS;
    let sessions = request.sessions;
    let mut made =
        Supervisor::new(slots, &caught, reporter, start.environ, sessions);
    // By reference: a copy would take a page of stack for good.
    let supervisor = made
        .as_mut()
        .map_err(|errno| ("unable to supervise", *errno))?;
    let reporter = supervisor.reporter();
    state.save();
    recovery::handle_faults(false, reporter);
    if let Some(resumed) = resumed {
        let (what, head) = ("the supervisor", &reporter.prefix);
        let dir = run_dir.as_ref();
        if !recovery::may_continue(resumed, what, head, dir, reporter) {
            return Ok(super::super::FATAL);
        }
    }
    if let Some(dir) = run_dir {
        let again = file::open_dir(dir.as_fd(), c".");
        // The lock of the connection is held.
        supervisor.keep_state(dir, false);
        if let Ok(dir) = again {
            supervisor.accept_upgrades(dir);
        }
    }
    supervisor
        .accept_front(server)
        .map_err(|errno| ("unable to wait for commands", errno))?;
    if resumed.is_some() {
        supervisor.resume(None);
    }
    if state.attached {
        supervisor.supervise_dir(request.dir);
    } else if state.exiting {
        supervisor.end_resumption();
        supervisor.exit_all();
    }
    while state.attached || supervisor.live() > 0 {
        let events = supervisor.iterate(None);
        let signals =
            events.signals.iter().filter_map(|signal| match *signal {
                Number::ALARM => Some(Command::Scan),
                Number::TERM => Some(Command::ExitAll),
                // Only a front may detach and attach.
                _ => None,
            });
        for command in events.commands.iter().copied().chain(signals) {
            match command {
                Command::Scan => supervisor.rescan(),
                // The last front process was killed: a new one starts like any
                // other.
                Command::Attach if state.attached => supervisor.rescan(),
                Command::ExitAll => {
                    state.attached = false;
                    state.exiting = true;
                    state.save();
                    supervisor.stop_scanning();
                    supervisor.exit_all();
                }
                Command::Detach => {
                    state.attached = false;
                    state.save();
                    supervisor.stop_scanning();
                }
                // After this command it does not resume: a new supervisor
                // takes over.
                Command::Attach if state.exiting => {}
                Command::Attach => {
                    state.attached = true;
                    state.save();
                    supervisor.supervise_dir(request.dir);
                }
            }
        }
    }
    sys::child::exit(0)
}
