//! Runs shell scripts with our programs first in PATH and returns their
//! output.

use std::{io::Write as _, process::Command};

use crate::util::{TestDir, output_of};

/// The complete usage message of chpst.
pub const USAGE: &str = "usage: chpst [-vVP012] [-u user[:group]] \
    [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-C pwd] [-n nice] \
    [-l|-L lock] [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog\n\n";

/// Runs a shell script with our programs first in its PATH. Returns its output
/// on both descriptors, followed by `= CODE`.
pub fn shell(tmp: &TestDir, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec 2>&1\n{script}")]);
    command.current_dir(tmp.dir.path());
    let ours = tmp.command(&["runt"]);
    for (name, value) in ours.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = output_of(&mut command);
    format!("{}{}= {}\n", output.stdout, output.stderr, output.code)
}

/// Runs pairs of a script and its expected output.
pub fn check_rows(tmp: &TestDir, rows: &[(&str, &str)]) {
    for (script, shown) in rows {
        assert_eq!(shell(tmp, script), *shown, "{script}");
    }
}

/// Returns the value of a bound of the release file.
pub fn capacity(tmp: &TestDir, name: &str) -> usize {
    let output = tmp.run(&["runt", "limits"]);
    let mut rows = output
        .stdout
        .lines()
        .filter_map(|line| line.split_once(' '));
    let row = rows.find(|(known, _)| *known == name);
    row.unwrap_or_else(|| panic!("no {name}"))
        .1
        .parse()
        .unwrap()
}

/// Checks for root. Without it, prints what is not tested.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Not to the test's captured output, which is hidden when it passes.
        let why = format!("skipped, needs root: {what}\n");
        let _said = std::io::stderr().write_all(why.as_bytes());
    }
    root
}

/// Returns the lines with these keys from the status of a process that chpst
/// has become.
pub fn status(tmp: &TestDir, options: &str, keys: &[&str]) -> String {
    let shown = shell(tmp, &format!("chpst {options} cat /proc/self/status"));
    let mut found: Vec<String> = Vec::new();
    for key in keys {
        let line = shown.lines().find_map(|line| line.strip_prefix(key));
        let line = line.map(|l| l.trim_start_matches(':').trim());
        let words = line.unwrap_or(&shown).split_whitespace();
        found.push(words.collect::<Vec<_>>().join(" "));
    }
    found.join(" | ")
}
