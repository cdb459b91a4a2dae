//! STATE x EVENT -> STATE + ACTIONS: every decision, without I/O or a clock.
//!
//! A machine is a value with a `step`: it takes an event and the time, and
//! returns what to do. Its owner does that.

pub mod batch;
pub mod completion;
pub mod faults;
pub mod line;
pub mod outage;
pub mod pattern;
pub mod presence;
pub mod ratelimit;
pub mod refused;
pub mod restart_delay;
pub mod rotate;
pub mod shutdown;
pub mod slot;
pub mod stages;
pub mod title;
pub mod watchdog;
