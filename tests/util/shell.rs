//! Scripts of the shell, our programs first in their PATH, and what they show.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(missing_docs, unreachable_pub, reason = "test helpers")]

use std::{io::Write as _, process::Command};

use crate::util::{Place, said};

/// chpst's usage, in full.
pub const USAGE: &str = "usage: chpst [-vVP012] [-u user[:group]] \
    [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-C pwd] [-n nice] \
    [-l|-L lock] [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog\n\n";

/// A shell script's output on both descriptors, then `= CODE`; ours are first
/// in its PATH.
pub fn shell(place: &Place, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec 2>&1\n{script}")]);
    command.current_dir(place.dir.path());
    let ours = place.command(&["runt"]);
    for (name, value) in ours.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let said = said(&mut command);
    format!("{}{}= {}\n", said.out, said.err, said.code)
}

/// Plays rows of a script and what it shows.
pub fn rows(place: &Place, rows: &[(&str, &str)]) {
    for (script, shown) in rows {
        assert_eq!(shell(place, script), *shown, "{script}");
    }
}

/// Returns the value of a bound of the release file.
pub fn bound(place: &Place, name: &str) -> usize {
    let said = place.run(&["runt", "limits"]);
    let mut rows = said.out.lines().filter_map(|line| line.split_once(' '));
    let row = rows.find(|(known, _)| *known == name);
    row.unwrap_or_else(|| panic!("no {name}"))
        .1
        .parse()
        .unwrap()
}

/// Whether this is root; says what is not tested when it is not.
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Not through the test's own output, which a pass swallows.
        let why = format!("skipped, needs root: {what}\n");
        let _said = std::io::stderr().write_all(why.as_bytes());
    }
    root
}

/// The line of a key in the status of a process that chpst has become.
pub fn status(place: &Place, options: &str, keys: &[&str]) -> String {
    let shown = shell(place, &format!("chpst {options} cat /proc/self/status"));
    let mut found: Vec<String> = Vec::new();
    for key in keys {
        let line = shown.lines().find_map(|line| line.strip_prefix(key));
        let line = line.map(|l| l.trim_start_matches(':').trim());
        let words = line.unwrap_or(&shown).split_whitespace();
        found.push(words.collect::<Vec<_>>().join(" "));
    }
    found.join(" | ")
}
