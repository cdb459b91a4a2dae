//! Generates this build's constants: RUNT_* variables -> OUT_DIR/capacities.rs.
//!
//! `capacities.txt` names every variable, its default and its range. A RUNT_*
//! variable that is not in the table, or a value that is out of range, stops
//! the build with the name of the board file that set it.

#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::panic,
    clippy::expect_used,
    reason = "this runs on the host, and a panic is how it stops the build"
)]

#[path = "build/link_args.rs"]
mod link_args;
#[path = "build/programs.rs"]
mod programs;

use std::{collections::HashMap, env, fmt::Write as _, fs, path::Path};

/// The table of capacities, which xtask reads too.
const TABLE: &str = include_str!("capacities.txt");

/// RUNT_* variables that are not capacities.
const TEXTS: [&str; 16] = [
    "RUNT_BOARD",
    "RUNT_SERVICES_DIR",
    "RUNT_RUN",
    "RUNT_SERVICES_OVERLAY",
    "RUNT_BOOT_GOOD",
    "RUNT_BIN",
    "RUNT_ROOT",
    "RUNT_VERITY",
    "RUNT_RESCUE",
    "RUNT_LOGGER_USER",
    "RUNT_BUILT",
    "RUNT_PROGRAMS",
    "RUNT_SIGNALS",
    "RUNT_STATUS_FILES",
    "RUNT_WATCHDOG",
    "RUNT_WATCHDOG_SECONDS",
];

/// Paths: variable, key of the board file, default, constant, meaning.
const PATHS: [[&str; 5]; 4] = [
    [
        "RUNT_SERVICES_DIR",
        "services",
        "/etc/service",
        "SERVICES_DIR",
        "The services directory, unless $SVDIR or the command line names another",
    ],
    [
        "RUNT_RUN",
        "run",
        "/run/runt",
        "RUN_DIR",
        "The directory for state that a service directory cannot hold",
    ],
    [
        "RUNT_SERVICES_OVERLAY",
        "services-overlay",
        "",
        "SERVICES_OVERLAY",
        "The overlay of `SERVICES_DIR`: its entries hide those of the same name; empty: none",
    ],
    [
        "RUNT_BOOT_GOOD",
        "boot-good",
        "/etc/runit/boot-good",
        "BOOT_GOOD",
        "The program that is run once when the boot counts as good",
    ],
];

fn main() {
    println!("cargo::rerun-if-changed=src/capacities.txt");
    link();
    let board = env::var("RUNT_BOARD").unwrap_or_else(|_| "defaults".into());
    let mut known: Vec<String> = TEXTS.map(String::from).to_vec();
    let mut out = String::new();
    let mut values = HashMap::new();

    for line in TABLE.lines().filter(|l| !l.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, default, least, most, meaning @ ..] = words.as_slice()
        else {
            panic!("src/capacities.txt: `{line}` has fewer than four columns");
        };
        let number = |text: &str| -> usize {
            text.parse().unwrap_or_else(|_| {
                panic!("boards/{board}.toml: capacity {name}: `{text}` is not a number")
            })
        };
        let variable = format!("RUNT_{}", constant(name));
        println!("cargo::rerun-if-env-changed={variable}");
        let value = env::var(&variable).unwrap_or((*default).into());
        let (value, least, most) =
            (number(&value), number(least), number(most));
        assert!(
            (least..=most).contains(&value),
            "boards/{board}.toml: capacity {name} = {value} is not in {least}..={most}"
        );
        known.push(variable);
        values.insert(*name, value);
        writeln!(
            out,
            "/// {}.\n#[allow(clippy::unreadable_literal, reason = \"generated\")]\n\
             pub const {}: usize = {value};",
            meaning.join(" "),
            constant(name)
        )
        .expect("writing to a String succeeds");
    }
    let [shown, longest] = ["log-console", "message-bytes"]
        .map(|name| values.get(name).expect("capacities.txt lists it"));
    assert!(
        shown >= longest,
        "boards/{board}.toml: capacity log-console = {shown} is less than \
         message-bytes = {longest}: some lines would never be printed"
    );
    let names = TABLE.lines().filter(|line| !line.starts_with('#'));
    let names = names.filter_map(|line| line.split_whitespace().next());
    let rows: Vec<String> = names
        .map(|name| format!("({name:?}, {})", constant(name)))
        .collect();
    let rows = rows.join(", ");
    writeln!(
        out,
        "/// Every capacity by its name in the board file.\n\
         pub const LIMITS: &[(&str, usize)] = &[{rows}];"
    )
    .expect("writing to a String succeeds");
    for (key, _) in env::vars().filter(|(k, _)| k.starts_with("RUNT_")) {
        assert!(
            known.contains(&key),
            "boards/{board}.toml: {key} is not a capacity; src/capacities.txt lists all"
        );
    }

    for [variable, key, default, constant, meaning] in PATHS {
        println!("cargo::rerun-if-env-changed={variable}");
        let path = env::var(variable).unwrap_or_else(|_| default.into());
        assert!(
            path == default || path.starts_with('/') && !path.contains('\0'),
            "boards/{board}.toml: {key} = {path:?} is not an absolute path"
        );
        writeln!(
            out,
            "/// {meaning}.\n\
             pub const {constant}: &core::ffi::CStr = c{path:?};"
        )
        .expect("writing to a String succeeds");
    }
    println!("cargo::rerun-if-env-changed=RUNT_BOARD");
    writeln!(
        out,
        "/// The board file this program was built from.\n\
         pub const BOARD: &str = {board:?};"
    )
    .expect("writing to a String succeeds");

    init(&mut out, &board);
    write("capacities.rs", &out);
    programs::generate(&board);
}

/// Writes a file that the program includes.
///
/// # Panics
/// Panics if that fails.
fn write(name: &str, text: &str) {
    let dir = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&dir).join(name), text)
        .expect("OUT_DIR can be written");
}

/// Passes the arguments that link the program to cargo; other builds, those of
/// the tests among them, have a libc.
///
/// # Panics
/// Panics if the caller is not cargo.
fn link() {
    println!("cargo::rerun-if-changed=src/build/link.ld");
    if env::var_os("CARGO_FEATURE_FREESTANDING").is_none() {
        return;
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let flags: Vec<&str> = flags.split('\x1f').collect();
    let linker = env::var("RUSTC_LINKER").ok();
    let flavor = link_args::flavor(&flags, linker.as_deref());
    let top = env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let script = format!("{top}/src/build/link.ld");
    for argument in link_args::arguments(flavor, &script) {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}

/// Writes the settings of PID 1: rescue, signals, root, build time, watchdog.
///
/// # Panics
/// Panics on an invalid value, which stops the build.
fn init(out: &mut String, board: &str) {
    println!("cargo::rerun-if-env-changed=RUNT_RESCUE");
    let rescue = env::var("RUNT_RESCUE").unwrap_or_else(|_| "login".into());
    assert!(
        ["none", "login", "shell"].contains(&rescue.as_str()),
        "boards/{board}.toml: rescue = {rescue:?} is not none, login or shell"
    );
    writeln!(
        out,
        "/// The rescue session on the console: none, login or shell.\n\
         pub const RESCUE: &str = {rescue:?};"
    )
    .expect("writing to a String succeeds");

    println!("cargo::rerun-if-env-changed=RUNT_LOGGER_USER");
    let user = env::var("RUNT_LOGGER_USER").unwrap_or_default();
    let (uid, gid) = match user.split_once(':') {
        Some((uid, gid)) => (uid.parse::<u32>(), gid.parse::<u32>()),
        None if user.is_empty() => (Ok(0), Ok(0)),
        None => ("none".parse(), Ok(0)),
    };
    let (Ok(uid), Ok(gid)) = (uid, gid) else {
        panic!("boards/{board}.toml: logger-user = {user:?} is not UID:GID");
    };
    writeln!(
        out,
        "/// User and group of the shared loggers; zeros: those of the supervisor.\n\
         pub const LOGGER_USER: [u32; 2] = [{uid}, {gid}];"
    )
    .expect("writing to a String succeeds");

    println!("cargo::rerun-if-env-changed=RUNT_STATUS_FILES");
    let files = env::var("RUNT_STATUS_FILES").unwrap_or_else(|_| "all".into());
    assert!(
        ["all", "binary"].contains(&files.as_str()),
        "boards/{board}.toml: status-files = {files:?} is not all or binary"
    );
    writeln!(
        out,
        "/// True if `supervise/stat` and `pid` are written beside `status`.\n\
         pub const STATUS_TEXTS: bool = {};",
        files == "all"
    )
    .expect("writing to a String succeeds");

    println!("cargo::rerun-if-env-changed=RUNT_SIGNALS");
    let signals = env::var("RUNT_SIGNALS").unwrap_or_default();
    writeln!(
        out,
        "/// Meanings of signals to PID 1 that replace the default ones.\n\
         pub const SIGNALS: &str = {signals:?};"
    )
    .expect("writing to a String succeeds");

    println!("cargo::rerun-if-env-changed=RUNT_ROOT");
    let root = env::var("RUNT_ROOT").unwrap_or_default();
    writeln!(
        out,
        "/// Kernel parameters for the root; the command line takes precedence.\n\
         pub const ROOT: &str = {root:?};"
    )
    .expect("writing to a String succeeds");

    println!("cargo::rerun-if-env-changed=RUNT_VERITY");
    let verity = env::var("RUNT_VERITY").unwrap_or_else(|_| "false".into());
    assert!(
        ["true", "false"].contains(&verity.as_str()),
        "boards/{board}.toml: verity = {verity:?} is not true or false"
    );
    writeln!(
        out,
        "/// True if `runt.verity=` is supported.\n\
         pub const VERITY: bool = {verity};"
    )
    .expect("writing to a String succeeds");

    println!("cargo::rerun-if-env-changed=RUNT_BUILT");
    let built = env::var("RUNT_BUILT").unwrap_or_else(|_| "0".into());
    let built: u64 = built
        .trim()
        .parse()
        .expect("RUNT_BUILT is a number of seconds");
    writeln!(
        out,
        "/// Time of this version in seconds since 1970; 0: unknown.\n\
         pub const BUILT: u64 = {built};"
    )
    .expect("writing to a String succeeds");

    println!("cargo::rerun-if-env-changed=RUNT_WATCHDOG");
    println!("cargo::rerun-if-env-changed=RUNT_WATCHDOG_SECONDS");
    let device = env::var("RUNT_WATCHDOG").unwrap_or_default();
    let seconds = env::var("RUNT_WATCHDOG_SECONDS");
    let seconds = seconds.unwrap_or_else(|_| "10".into());
    let seconds: u32 =
        seconds.parse().expect("RUNT_WATCHDOG_SECONDS is a number");
    assert!(
        seconds > 0 && !device.contains('\0'),
        "boards/{board}.toml: [watchdog] needs a device and a period-s greater than 0"
    );
    writeln!(
        out,
        "/// The device of the hardware watchdog; empty: there is none.\n\
         pub const WATCHDOG: &core::ffi::CStr = c{device:?};\n\
         /// Its timeout in seconds.\n\
         pub const WATCHDOG_SECONDS: u32 = {seconds};"
    )
    .expect("writing to a String succeeds");
}

/// Converts `name-bytes` to `NAME_BYTES`.
fn constant(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}
