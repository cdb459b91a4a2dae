//! Names the figures of `cargo xtask bench supervise`: rows of its table and of
//! the bars.

/// Processes of the supervisor.
pub const PROCESSES: &str = "processes";
/// Their PSS, kB.
pub const PSS: &str = "PSS, kB";
/// PSS of the largest of them, kB: all that PID 1 or runsv would need.
pub const PSS_LARGEST: &str = "PSS of the largest process, kB";
/// Their private dirty pages, kB.
pub const DIRTY: &str = "private dirty, kB";
/// The same of the one that has most: what is private to the supervisor
/// alone.
pub const DIRTY_LARGEST: &str = "private dirty of the largest process, kB";
/// Until all have exec'ed, ms.
pub const START: &str = "start, ms";
/// Processor time until shortly after, services included, ms.
pub const START_CPU: &str = "start, CPU ms";
/// As START, while others keep every processor busy.
pub const START_BUSY: &str = "start when busy, ms";
/// A killed service back, ms.
pub const KILLED: &str = "killed, back after ms";
/// A client's restart, until its exit and the new process, ms.
pub const RESTART: &str = "restart by client, ms";
/// A client's status of all, ms.
pub const STATUS: &str = "status of all, ms";
/// A new link's service runs, ms.
pub const ADDED: &str = "link to exec, ms";
/// A removed link's service is gone, ms.
pub const REMOVED: &str = "link removed to gone, ms";
/// Wake-ups a minute when idle.
pub const WAKES: &str = "idle, wake-ups a minute";
/// Times put on a processor a minute when idle: without any there was
/// no system call.
pub const TURNS: &str = "idle, times run a minute";
/// All gone after the request, ms.
pub const STOP: &str = "stop of all, ms";
/// The longest answer to a control byte while all others crash and memory
/// is tight, ms.
pub const ANSWER: &str = "slowest answer, others crashing, ms";
/// The longest turn of the loop then, ms.
pub const TURN: &str = "longest turn, others crashing, ms";
