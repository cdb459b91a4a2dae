//! STATE x EVENT -> STATE + ACTIONS: every decision, without I/O or a clock.
//!
//! A machine is a value with a `step`: it is told what happened and what
//! time it is, and answers what to do. Whoever owns it does that.

pub mod allowance;
pub mod descent;
pub mod gather;
pub mod line;
pub mod outage;
pub mod pace;
pub mod pattern;
pub mod presence;
pub mod refused;
pub mod rotate;
pub mod slot;
pub mod stages;
pub mod title;
pub mod verdict;
pub mod watchdog;
