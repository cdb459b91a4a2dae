//! Names the figures of `cargo xtask bench supervise`: the rows of its table
//! and of the bars.

/// Number of processes of the supervisor.
pub const PROCESSES: &str = "processes";
/// PSS of these processes, kB.
pub const PSS: &str = "PSS, kB";
/// PSS of the largest of them, kB: all that PID 1 or runsv would need.
pub const PSS_LARGEST: &str = "PSS of the largest process, kB";
/// Private dirty pages of these processes, kB.
pub const DIRTY: &str = "private dirty, kB";
/// Private dirty pages of the process that has most, kB: memory private to the
/// supervisor alone.
pub const DIRTY_LARGEST: &str = "private dirty of the largest process, kB";
/// Time until all services have exec'ed, ms.
pub const START: &str = "start, ms";
/// Processor time until shortly after, services included, ms.
pub const START_CPU: &str = "start, CPU ms";
/// Same as START, while other processes keep every processor busy.
pub const START_BUSY: &str = "start when busy, ms";
/// Time until a killed service runs again, ms.
pub const KILLED: &str = "killed, back after ms";
/// Time of a restart by a client, until the client has exited and the new
/// process runs, ms.
pub const RESTART: &str = "restart by client, ms";
/// Time in which clients show the status of all services, ms.
pub const STATUS: &str = "status of all, ms";
/// Time until the service of a new link runs, ms.
pub const ADDED: &str = "link to exec, ms";
/// Time until the service of a removed link has ended, ms.
pub const REMOVED: &str = "link removed to gone, ms";
/// Wake-ups a minute when idle.
pub const WAKES: &str = "idle, wake-ups a minute";
/// Times put on a processor a minute when idle: 0 means that there was no
/// system call.
pub const TURNS: &str = "idle, times run a minute";
/// Time from the request to stop until all processes have ended, ms.
pub const STOP: &str = "stop of all, ms";
/// Maximum time to answer a control byte while all other services crash and
/// memory is tight, ms.
pub const ANSWER: &str = "slowest answer, others crashing, ms";
/// Maximum time of an iteration of the loop under the same conditions, ms.
pub const LATENCY: &str = "longest iteration, others crashing, ms";
