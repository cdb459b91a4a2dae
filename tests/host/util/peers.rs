//! Finds the programs that ours are compared to and work with: Debian's
//! packages, which xtask fetches, unpacks and names in the environment.

use std::{env, io::Write as _, path::PathBuf};

/// Returns the directory of a package's programs. Returns `None` and prints a
/// line when they could not be fetched; tests that need them are then skipped.
pub fn programs(package: &str) -> Option<PathBuf> {
    directory(package, "BIN")
}

/// Returns the shared libraries of a package's programs, as [`programs`] does.
pub fn libraries(package: &str) -> Option<PathBuf> {
    directory(package, "LIB")
}

/// Returns a directory of a package.
fn directory(package: &str, what: &str) -> Option<PathBuf> {
    let key = format!("{}_{what}", package.to_uppercase());
    let found = env::var_os(&key).map(PathBuf::from);
    if found.is_none() {
        // Not to the test's captured output, which is hidden when it passes.
        let why = format!("skipped: {key} names no directory\n");
        let _said = std::io::stderr().write_all(why.as_bytes());
    }
    found
}
