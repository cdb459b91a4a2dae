//! Where the programs are that ours are compared to and work with: Debian's
//! packages, which xtask fetches and unpacks and names in the environment.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(missing_docs, unreachable_pub, reason = "test helpers")]

use std::{env, io::Write as _, path::PathBuf};

/// The programs of a package. `None`, and a line that says so, when they
/// could not be fetched: what needs them is then not tried.
pub fn programs(package: &str) -> Option<PathBuf> {
    place(package, "BIN")
}

/// The shared libraries of a package's programs; as [`programs`].
pub fn libraries(package: &str) -> Option<PathBuf> {
    place(package, "LIB")
}

/// A directory of a package.
fn place(package: &str, what: &str) -> Option<PathBuf> {
    let key = format!("{}_{what}", package.to_uppercase());
    let found = env::var_os(&key).map(PathBuf::from);
    if found.is_none() {
        // Not through the test's own output, which a pass swallows.
        let why = format!("skipped: {key} names no directory\n");
        let _said = std::io::stderr().write_all(why.as_bytes());
    }
    found
}
