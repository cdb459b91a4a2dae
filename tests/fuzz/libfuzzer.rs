//! Runs the target that RUNT_FUZZ_TARGET names under libFuzzer; `list` prints
//! the names of all targets.
#![no_main]

use std::{process, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use runt_fuzz::{TARGETS, Target};

/// The target.
static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: TARGET.get_or_init(chosen), |data| {
    let (_, target) = TARGET.get_or_init(chosen);
    target(data);
});

/// Returns the target that is asked for, or exits.
fn chosen() -> Target {
    let name = std::env::var("RUNT_FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|(name, _)| println!("{name}"));
        process::exit(0);
    }
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    *found.unwrap_or_else(|| {
        eprintln!("RUNT_FUZZ_TARGET names no target: type `cargo xtask fuzz`");
        process::exit(2);
    })
}
