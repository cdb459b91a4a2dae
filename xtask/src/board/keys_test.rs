//! Tests the check of a board file.

use toml::{Table, Value};

use super::keys::*;

/// A board file with no more than it needs.
const LEAST: &str = r#"
target = "armv7-unknown-linux-musleabihf"
[console]
device = "ttyAMA0"
baud = 57600
"#;

/// Returns the faults of the smallest board file with other values.
fn with(other: &str) -> Vec<String> {
    let mut table: Table = toml::from_str(LEAST).unwrap();
    let other = toml::from_str(other).unwrap();
    super::lay_over(&mut table, &other);
    faults("boards/x.toml", &table)
}

#[test]
fn right_values_are_accepted() {
    for right in [
        "",
        "services = '/srv'\nservices-overlay = ''",
        "logger-user = '100:4294967294'",
        "root = 'root=PARTUUID=1-2 rootflags=\"a b\" ro runt.overlay=tmpfs'",
        "console.cmdline = 'quiet loglevel=4'",
        "qemu = { system = 'arm', machine = 'virt', memory-mib = 64, slow = 2 }",
        "[signals]\n'RTMIN+3' = 'none'",
        "capacity.log-console = 512",
        "programs = ['supervise', 'shared-logs', 'sv']",
        "watchdog = { device = 'watchdog0', period-s = 16 }",
    ] {
        assert_eq!(with(right), [""; 0], "{right}");
    }
}

#[test]
fn each_wrong_value_is_one_line_with_key_value_and_what_is_allowed() {
    let ids = "UID:GID, two numbers up to 4294967294, or \"\"";
    let families = "a list of init, root (with init), supervise, sv, svlogd, \
                    shared-logs (with init or supervise), recovery (with init \
                    or supervise), upgrade (with recovery), chpst, \
                    daemontools, retired, small, help";
    for (wrong, key, allowed) in [
        ("rescue = 'loud'", "rescue", "none, login, shell"),
        ("status-files = ''", "status-files", "all, binary"),
        ("services = 'srv'", "services", "an absolute path"),
        ("services = ''", "services", "an absolute path"),
        ("run = \"/a\\nb\"", "run", "an absolute path"),
        ("boot-good = 1", "boot-good", "an absolute path"),
        (
            "services-overlay = 'x'",
            "services-overlay",
            "an absolute path, or \"\" for none",
        ),
        ("logger-user = 'log'", "logger-user", ids),
        ("logger-user = '1:4294967295'", "logger-user", ids),
        ("logger-user = ':'", "logger-user", ids),
        ("logger-user = '-1:1'", "logger-user", ids),
        (
            "root = 'rot=/dev/sda1'",
            "root",
            "words of ro, rw, rootwait, root=, rootfstype=, rootflags=, \
                 runt.overlay=, runt.verity=",
        ),
        (
            "root = 'root='",
            "root",
            "words of ro, rw, rootwait, root=, rootfstype=, rootflags=, \
                 runt.overlay=, runt.verity=",
        ),
        (
            "target = 'armv7-unknown-linux-gnueabihf'",
            "target",
            "aarch64-unknown-linux-musl, arm-unknown-linux-musleabihf, \
                 armv7-unknown-linux-musleabihf, mipsel-unknown-linux-musl, \
                 riscv64gc-unknown-linux-musl, x86_64-unknown-linux-musl",
        ),
        (
            "console.device = '/dev/ttyS0'",
            "console.device",
            "the name of a file in /dev, without /dev/, of letters, \
                 digits and +-._",
        ),
        (
            "console.baud = 57601",
            "console.baud",
            "1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115200, \
                 230400, 460800, 500000, 576000, 921600, 1000000, 1152000, \
                 1500000, 2000000, 2500000, 3000000, 3500000, 4000000",
        ),
        (
            "console.cmdline = 'quiet console=tty1'",
            "console.cmdline",
            "kernel parameters other than console=",
        ),
        (
            "watchdog = { device = '/dev/watchdog', period-s = 1 }",
            "watchdog.device",
            "the name of a file in /dev, without /dev/, of letters, \
                 digits and +-._",
        ),
        (
            "watchdog = { device = 'watchdog', period-s = 0 }",
            "watchdog.period-s",
            "1 to 65535",
        ),
        ("programs = ['sv', 'root']", "programs", families),
        ("programs = ['svlogger']", "programs", families),
        ("programs = [1]", "programs", families),
        ("programs = []", "programs", families),
        ("test = 'yes'", "test", "true, false"),
        ("budget.file = 0", "budget.file", "1 or more"),
        ("capacity.slots = 1000", "capacity.slots", "1 to 999"),
        ("capacity.slots = '9'", "capacity.slots", "1 to 999"),
        (
            "signals.TERM = 'of'",
            "signals.TERM",
            "none, off, reboot, halt",
        ),
    ] {
        let table: Table = toml::from_str(wrong).unwrap();
        let mut value = &Value::Table(table);
        for part in key.split('.') {
            value = value.get(part).unwrap();
        }
        let value = match value {
            Value::String(text) => format!("{text:?}"),
            other => other.to_string(),
        };
        let line =
            format!("boards/x.toml: {key} = {value}: allowed: {allowed}");
        assert_eq!(with(wrong), [line], "{wrong}");
    }
}

#[test]
fn lists_and_machines_are_checked() {
    let right = "debian = { suites = ['a'], arch = 'armhf', kernel = 'linux-image-x' }\n\
                     qemu = { system = 'arm', machine = 'virt', memory-mib = 64 }\n";
    assert_eq!(with(right), [""; 0]);
    for (from, to, fault) in [
        (
            "['a']",
            "'a'",
            "debian.suites = \"a\": allowed: a list of names",
        ),
        ("'a'", "1", "debian.suites = [1]: allowed: a list of names"),
        (
            "armhf",
            "arm64",
            "debian.arch = \"arm64\": allowed with this target: armhf",
        ),
        (
            "linux-image-x",
            "kernel",
            "debian.kernel = \"kernel\": allowed: linux-image-NAME",
        ),
        (
            "'arm'",
            "'x86_64'",
            "qemu.system = \"x86_64\": allowed with this target: arm",
        ),
        ("64 }", "8 }", "qemu.memory-mib = 8: allowed: 16 to 65536"),
        (
            "64 }",
            "64, slow = 0 }",
            "qemu.slow = 0: allowed: a number greater than 0",
        ),
    ] {
        let faults = with(&right.replace(from, to));
        let line = format!("boards/x.toml: {fault}");
        assert!(
            faults.len() == 1 && faults[0].starts_with(&line),
            "{faults:?}"
        );
    }
}

#[test]
fn unknown_and_missing_keys_are_named() {
    for (wrong, start, end) in [
        (
            "colour = 1",
            "colour = 1: no such key; there are target, ",
            "[signals]",
        ),
        (
            "console.parity = 1",
            "console.parity = 1: no such key; there are device, ",
            "cmdline",
        ),
        (
            "signals.HUP = 'off'",
            "signals.HUP = \"off\": no such key; there are CONT, ",
            "RTMIN+5",
        ),
        (
            "capacity.slot = 1",
            "capacity.slot = 1: no such key; there are slots, ",
            "log-console",
        ),
        (
            "watchdog.period-s = 1",
            "watchdog.device is missing: allowed: the name",
            "+-._",
        ),
        (
            "qemu = 1",
            "qemu = 1: no such key; there are target, ",
            "[signals]",
        ),
    ] {
        let faults = with(wrong);
        let line = format!("boards/x.toml: {start}");
        let starts =
            |fault: &String| fault.starts_with(&line) && fault.ends_with(end);
        assert!(faults.first().is_some_and(starts), "{faults:?}");
    }
    let missing = faults("boards/x.toml", &Table::new());
    let missing: Vec<_> =
        missing.iter().filter_map(|f| f.split(' ').nth(1)).collect();
    assert_eq!(missing, ["target", "console.device", "console.baud"]);
}

#[test]
fn lines_that_would_never_be_printed_are_refused() {
    let faults = with("capacity.log-console = 300");
    assert_eq!(faults.len(), 1);
    let line = "capacity.log-console = 300: allowed: message-bytes, 512";
    assert!(faults[0].contains(line), "{faults:?}");
}

#[test]
fn the_readme_explains_every_key() {
    let readme = include_str!("../../../boards/README.md");
    for Key { name, .. } in &KEYS {
        let (table, key) = split(name);
        let rows = readme.lines().filter(|line| {
            table.is_empty() || line.starts_with(&format!("| `[{table}]"))
        });
        let key = if table.is_empty() {
            format!("`{key}`")
        } else {
            key.into()
        };
        assert!(rows.into_iter().any(|row| row.contains(&key)), "{name}");
    }
}
