//! Names the calls by which the supervisor starts, signals and collects its
//! children: those of the kernel or, in the unit tests, of a simulated system.

#[cfg(not(test))]
pub(super) use crate::sys::{
    child::{next_zombie, spawn, spawn_with, try_wait},
    signal::{kill, kill_led},
};

#[cfg(test)]
pub(super) use super::simulated::{
    kill, kill_led, next_zombie, spawn, spawn_with, try_wait,
};
