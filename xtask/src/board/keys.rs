//! Checks a board file against the table of all keys, and reports each wrong
//! value in one line: file, key, value, what is allowed.

use toml::{Table, Value};

use super::{
    capacities,
    value::{
        Kind::{
            self, Device, Factor, Families, Flag, Names, Number, OneOf, Owner,
            Parameters, Path, PathOrNone, Root, Speed, Target, Text, Texts,
        },
        TARGETS,
    },
};

/// A key of a board file.
pub(super) struct Key {
    /// The key, with its table: `console.baud`.
    pub(super) name: &'static str,
    /// Set if the key may not be missing where its table is present.
    needed: bool,
    kind: Kind,
}

/// Signals whose meaning a board can change.
const SIGNALS: [&str; 10] = [
    "CONT", "INT", "PWR", "ALRM", "USR1", "USR2", "TERM", "RTMIN+3", "RTMIN+4",
    "RTMIN+5",
];
/// Meanings that a signal can have.
const MEANINGS: Kind = OneOf(&["none", "off", "reboot", "halt"]);

/// Any text of one line.
const LINE: Kind = Text("", "");

/// Tables that every board file has.
const ALWAYS: [&str; 2] = ["", "console"];

/// Returns a key that may be missing.
const fn may(name: &'static str, kind: Kind) -> Key {
    let needed = false;
    Key { name, needed, kind }
}

/// Returns a key that may not be missing where its table is present.
const fn must(name: &'static str, kind: Kind) -> Key {
    let needed = true;
    Key { name, needed, kind }
}

/// Every key except those of `[capacity]` and `[signals]`.
pub(super) const KEYS: [Key; 34] = [
    must("target", Target),
    may("services", Path),
    may("services-overlay", PathOrNone),
    may("run", Path),
    may("logger-user", Owner),
    may("status-files", OneOf(&["all", "binary"])),
    may("rescue", OneOf(&["none", "login", "shell"])),
    may("boot-good", Path),
    may("root", Root),
    may("verity", Flag),
    may("programs", Families),
    may("buildroot", LINE),
    may("yocto", LINE),
    may("test", Flag),
    must("console.device", Device),
    must("console.baud", Speed),
    may("console.cmdline", Parameters),
    must("watchdog.device", Device),
    must("watchdog.period-s", Number(1, 65535)),
    must("debian.suites", Names),
    must("debian.arch", LINE),
    must("debian.kernel", Text("linux-image-", "")),
    may("debian.dtb", Text("", ".dtb")),
    may("debian.modules", Names),
    may("debian.disk-modules", Names),
    must("qemu.system", LINE),
    must("qemu.machine", LINE),
    may("qemu.cpu", LINE),
    must("qemu.memory-mib", Number(16, 65536)),
    may("qemu.disk", LINE),
    may("qemu.extra", Texts),
    may("qemu.slow", Factor),
    may("qemu.scenarios", Names),
    must("budget.file", Number(1, i64::MAX)),
];

/// Returns the key's table and its name there.
pub fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or(("", name))
}

/// Returns every key except those of `[capacity]` and `[signals]`, true if it
/// may not be missing where its table is present, and a description of the
/// values that it may have.
pub fn described() -> impl Iterator<Item = (&'static str, bool, String)> {
    KEYS.iter()
        .map(|Key { name, needed, kind }| (*name, *needed, kind.describe()))
}

/// Returns the keys of `[signals]` and a description of their values.
pub fn signals() -> ([&'static str; 10], String) {
    (SIGNALS, MEANINGS.describe())
}

/// Returns the values that a key may have; `None` if there is no such key.
fn kind(name: &str) -> Option<Kind> {
    match split(name) {
        ("capacity", capacity) => {
            let all = capacities();
            let row = all.iter().find(|row| row[0] == capacity)?;
            Some(Number(row[2].parse().ok()?, row[3].parse().ok()?))
        }
        ("signals", signal) => SIGNALS.contains(&signal).then_some(MEANINGS),
        _ => KEYS.iter().find(|key| key.name == name).map(|key| key.kind),
    }
}

/// Returns the names of the keys of a table.
fn keys_of(table: &str) -> Vec<String> {
    let text = |name: &str| name.to_string();
    match table {
        "capacity" => capacities().iter().map(|row| text(row[0])).collect(),
        "signals" => SIGNALS.map(text).to_vec(),
        _ => {
            let names = KEYS.iter().map(|key| split(key.name));
            let here = names.filter(|(its, _)| *its == table);
            here.map(|(_, name)| text(name)).collect()
        }
    }
}

/// Returns the names of the tables.
fn tables() -> Vec<&'static str> {
    let names = KEYS.iter().map(|key| split(key.name).0);
    let mut all: Vec<_> = names.filter(|table| !table.is_empty()).collect();
    all.dedup();
    all.extend(["capacity", "signals"]);
    all
}

/// Returns a line for each wrong value of a board file.
pub(super) fn faults(file: &str, board: &Table) -> Vec<String> {
    let mut faults = Vec::new();
    let mut report = |key: &str, value: Option<&Value>, allowed: String| {
        let value = value.map_or("is missing".into(), |value| match value {
            // Without the line ends that TOML's own form would have.
            Value::String(text) => format!("= {text:?}"),
            other => format!("= {other}"),
        });
        faults.push(format!("{file}: {key} {value}: {allowed}"));
    };
    let get = |name: &str| match split(name) {
        ("", name) => board.get(name),
        (table, name) => board.get(table)?.get(name),
    };
    for (name, value) in board {
        let inner = value.as_table().filter(|_| is_table(name));
        let each: Vec<_> = match inner {
            Some(table) => table
                .iter()
                .map(|(key, value)| (format!("{name}.{key}"), value))
                .collect(),
            None => vec![(name.clone(), value)],
        };
        for (key, value) in each {
            match kind(&key) {
                Some(kind) if kind.permits(value) => {}
                Some(kind) => {
                    let allowed = format!("allowed: {}", kind.describe());
                    report(&key, Some(value), allowed);
                }
                None => {
                    report(&key, Some(value), unknown(split(&key).0));
                }
            }
        }
    }
    for Key { name, needed, kind } in &KEYS {
        let (table, _) = split(name);
        let present = ALWAYS.contains(&table) || board.contains_key(table);
        if *needed && present && get(name).is_none() {
            let allowed = format!("allowed: {}", kind.describe());
            report(name, None, allowed);
        }
    }
    let target = get("target").and_then(Value::as_str);
    let target = TARGETS.iter().find(|[its, ..]| Some(*its) == target);
    if let Some([_, arch, system]) = target {
        for (key, only) in [("debian.arch", arch), ("qemu.system", system)] {
            let value = get(key).filter(|it| it.as_str() != Some(*only));
            if let Some(value) = value {
                let allowed = format!("allowed with this target: {only}");
                report(key, Some(value), allowed);
            }
        }
    }
    let capacity = |name: &str| {
        let own = get(&format!("capacity.{name}"));
        let all = capacities();
        let default = all.iter().find(|row| row[0] == name)?[1].parse().ok();
        own.map_or(default, Value::as_integer)
    };
    let key = "capacity.log-console";
    if let (Some(shown), Some(longest)) =
        (capacity("log-console"), capacity("message-bytes"))
        && shown < longest
    {
        let allowed = format!(
            "allowed: message-bytes, {longest}, or more; otherwise some lines \
             would never be printed"
        );
        report(key, Some(&Value::Integer(shown)), allowed);
    }
    faults
}

/// Returns true for the name of a table.
fn is_table(name: &str) -> bool {
    tables().contains(&name)
}

/// Describes the keys that a table has instead of an unknown one.
fn unknown(table: &str) -> String {
    let mut keys = keys_of(table);
    if table.is_empty() {
        keys.extend(tables().iter().map(|table| format!("[{table}]")));
    }
    format!("no such key; there are {}", keys.join(", "))
}
