//! Traces the supervisors of a `runsvdir`, one after the other, and sends each
//! a signal at a chosen point: at the nth entry of, or return from, a system
//! call, or some instructions later. The front is traced too, so that each next
//! supervisor is from its first instruction on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// A point in the life of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Number of the stop: system calls have two each.
    pub stop: usize,
    /// Instructions after that.
    pub steps: usize,
}

/// Result of a trace.
#[derive(Debug, Default)]
pub struct Trace {
    /// Stops of each supervisor.
    pub stops: Vec<usize>,
    /// Points that were reached.
    pub signals: usize,
}

/// A thread that traces.
pub struct Tracer {
    thread: JoinHandle<Trace>,
    /// Set when no further signal is to be sent.
    spares: Arc<AtomicBool>,
    /// Tells that the front is not traced any more.
    detached: Receiver<usize>,
    front: Pid,
}

impl Tracer {
    /// Begins to trace a front and its supervisor. That gets `signal` at the
    /// first point; what follows it, another supervisor or another execution of
    /// the program, gets it at the second one, and so on.
    pub fn start(
        front: i32,
        supervisor: i32,
        points: Vec<Point>,
        signal: Signal,
    ) -> Self {
        let (ready, begun) = channel();
        let (detaches, detached) = channel();
        let front = Pid::from_raw(front);
        let spares = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&spares);
        let thread = thread::spawn(move || {
            let options = Options::PTRACE_O_TRACEFORK;
            ptrace::seize(front, options).unwrap();
            let supervisor = Pid::from_raw(supervisor);
            ptrace::seize(supervisor, Options::empty()).unwrap();
            ptrace::interrupt(supervisor).unwrap();
            ready.send(()).unwrap();
            let mut state = State {
                front,
                detaches,
                points: points.into_iter(),
                signal,
                next: None,
                spares: shared,
                trace: Trace::default(),
            };
            state.begin();
            state.run();
            state.trace
        });
        begun.recv().expect("cannot trace");
        Self {
            thread,
            spares,
            detached,
            front,
        }
    }

    /// Sends no further signal, and lets the front go: its parent, this
    /// process, could not wait for it otherwise. Returns how many were sent.
    pub fn spare(&self) -> usize {
        self.spares.store(true, Ordering::Relaxed);
        // It stops, although it ignores this.
        kill(self.front, Signal::SIGWINCH).unwrap();
        self.detached.recv().expect("the front is traced")
    }

    /// Waits until both have ended.
    pub fn end(self) -> Trace {
        self.thread.join().unwrap()
    }
}

/// State of the tracing thread.
struct State {
    front: Pid,
    points: std::vec::IntoIter<Point>,
    signal: Signal,
    /// The point at which the present supervisor gets it.
    next: Option<Point>,
    spares: Arc<AtomicBool>,
    detaches: Sender<usize>,
    trace: Trace,
}

impl State {
    /// Begins with another supervisor.
    fn begin(&mut self) {
        self.next = self.points.next();
        self.trace.stops.push(0);
    }

    /// Handles the stops of both processes until they have ended.
    fn run(&mut self) {
        // Other threads have children too.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            // ESRCH: it was killed meanwhile, which is reported next.
            let _killed = match waitpid(None, Some(flags)) {
                Err(Errno::ECHILD) => return,
                Err(errno) => panic!("waitpid: {errno}"),
                Ok(WaitStatus::PtraceSyscall(pid)) => self.stopped(pid),
                Ok(WaitStatus::PtraceEvent(pid, _, event)) => {
                    self.event(pid, event)
                }
                Ok(WaitStatus::Stopped(pid, Signal::SIGTRAP)) => {
                    self.go_on(pid, None)
                }
                Ok(WaitStatus::Stopped(pid, Signal::SIGWINCH))
                    if pid == self.front =>
                {
                    let detached = ptrace::detach(pid, None);
                    self.detaches.send(self.trace.signals).unwrap();
                    detached
                }
                Ok(WaitStatus::Stopped(pid, signal)) => {
                    self.go_on(pid, Some(signal))
                }
                Ok(_) => Ok(()),
            };
        }
    }

    /// Handles an event that is neither a signal nor a system call.
    fn event(&mut self, pid: Pid, event: i32) -> Result<(), Errno> {
        if pid == self.front || event != ptrace::Event::PTRACE_EVENT_STOP as i32
        {
            return self.go_on(pid, None);
        }
        // The first stop of a supervisor. Its children are not traced.
        ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD)?;
        self.go_on(pid, None)
    }

    /// Handles a stop of a supervisor at a system call.
    fn stopped(&mut self, pid: Pid) -> Result<(), Errno> {
        let stops = self.trace.stops.last_mut().unwrap();
        *stops += 1;
        let reached = self.next.filter(|point| point.stop == *stops);
        let spares = self.spares.load(Ordering::Relaxed);
        let Some(point) = reached.filter(|_| !spares) else {
            return self.go_on(pid, None);
        };
        for _ in 0..point.steps {
            ptrace::step(pid, None)?;
            if !matches!(waitpid(pid, None)?, WaitStatus::Stopped(..)) {
                return self.go_on(pid, None);
            }
        }
        self.trace.signals += 1;
        self.begin();
        kill(pid, self.signal)?;
        // ESRCH: it was killed.
        self.go_on(pid, None)
    }

    /// Lets a process continue.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) -> Result<(), Errno> {
        if pid == self.front {
            ptrace::cont(pid, signal)
        } else {
            ptrace::syscall(pid, signal)
        }
    }
}
