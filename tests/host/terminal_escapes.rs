//! Tests that no control sequence reaches a terminal, whatever the names of
//! services are and whatever they write.

use std::{
    ffi::OsStr,
    fs,
    io::{Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    },
    path::PathBuf,
    process::Stdio,
};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::util::{TestDir, until};

/// Names with an ASCII control, a C1 control, an overlong one and bytes that
/// are not UTF-8.
const NAMES: [&[u8]; 4] = [
    b"esc\x1b[31m\nx",
    b"c1\xc2\x9b31m",
    b"long\xe0\x82\x9b",
    b"raw\xc3\xa9\x9b",
];

fn path(tmp: &TestDir, name: &[u8]) -> PathBuf {
    tmp.path("services").join(OsStr::from_bytes(name))
}

/// Creates a service of any name.
fn service(tmp: &TestDir, name: &[u8], run: &str, mode: u32) {
    let dir = path(tmp, name);
    fs::create_dir_all(&dir).unwrap();
    tmp.script("run", run);
    fs::rename(tmp.path("run"), dir.join("run")).unwrap();
    let mode = fs::Permissions::from_mode(mode);
    fs::set_permissions(dir.join("run"), mode).unwrap();
}

/// Fails unless there is text, without any control but newline and tab.
fn assert_masked(what: &str, shown: &[u8]) {
    let text = std::str::from_utf8(shown)
        .unwrap_or_else(|_| panic!("{what}: {}", shown.escape_ascii()));
    assert!(!text.is_empty(), "{what}");
    let obeyed = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(!text.contains(obeyed), "{what}: {}", shown.escape_ascii());
}

#[test]
fn names_are_masked() {
    let tmp = TestDir::new();
    for name in NAMES {
        service(&tmp, name, "exec sleep 1000", 0o755);
    }
    // Not executable, which is reported again and again.
    service(&tmp, b"no\x1b\xc2\x85", "", 0o644);
    let _all = tmp.runsvdir();
    for name in NAMES {
        let stat = path(&tmp, name).join("supervise/stat");
        until("a service", || {
            (fs::read(&stat).ok()? == b"run\n").then_some(())
        });
        // A record written by another program.
        let why = b"restarts 1\nwaits \x1b[2J until \xc2\x9b\n\
                    died \x1b]0;\x07 exit 1 after 3 ms\n";
        fs::write(path(&tmp, name).join("supervise/why"), why).unwrap();
        for words in [
            &["status"][..],
            &["why"],
            &["-j", "why"],
            &["-j", "status"],
            &["-v", "cont"],
            &["log"],
            &["enable"],
        ] {
            let mut command = tmp.command(&["sv"]);
            command.args(words).arg(OsStr::from_bytes(name));
            let output = command.output().unwrap();
            let all = [output.stdout, output.stderr].concat();
            assert_masked(&format!("sv {words:?}"), &all);
        }
    }
    for words in [&["list"][..], &["-j", "list"]] {
        let output = tmp.command(&["sv"]).args(words).output().unwrap();
        assert_masked(&format!("sv {words:?}"), &output.stdout);
        let lines = output.stdout.split(|byte| *byte == b'\n').count();
        assert!(lines > NAMES.len(), "a name has no line of its own");
    }
    until("the complaint", || {
        tmp.read("errors").contains("unable to start").then_some(())
    });
    let errors = fs::read(tmp.path("errors")).unwrap();
    assert_masked("runsvdir", &errors);
}

#[test]
fn log_ring_lines_are_masked_except_with_r() {
    let tmp = TestDir::new();
    let text = "\\033]0;owned\\007\\033[2J\\ttab\\r\\n\\302\\2331m \\303\\251 \\300\\n";
    tmp.service("a", &format!("printf '{text}'; exec sleep 1000"));
    tmp.write("services/a/runt/log-ring", "4096");
    tmp.write("services/a/runt/log-console", "");
    let console = tmp.path("console");
    fs::write(&console, "").unwrap();
    let to = console.display().to_string();
    tmp.write("services/a/runt/log-console", &to);
    let _all = tmp.runsvdir();
    let raw = b"\x1b]0;owned\x07\x1b[2J\ttab\r\n\xc2\x9b1m \xc3\xa9 \xc0\n";
    let log = |words: &[&str]| tmp.command(words).output().unwrap().stdout;
    until("the ring", || {
        let shown = log(&["sv", "log", "-r", "a"]);
        (shown.len() == raw.len()).then_some(())
    });
    assert_eq!(log(&["sv", "log", "-r", "a"]), raw);
    let masked = "?]0;owned??[2J\ttab?\n?1m \u{e9} ?\n";
    assert_eq!(log(&["sv", "log", "a"]), masked.as_bytes());
    until("the line on the console", || {
        tmp.read("console")
            .contains("a: ?]0;owned??[2J")
            .then_some(())
    });
    assert_masked("the console", &fs::read(&console).unwrap());
}

/// Lets svlogd copy a line to a descriptor 2. Returns once it has ended.
fn copy_to(stderr: OwnedFd, line: &[u8]) {
    let tmp = TestDir::new();
    tmp.write("log/config", "e*\n");
    let mut command = tmp.command(&["svlogd", "log"]);
    command.stdin(Stdio::piped()).stderr(stderr);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(line).unwrap();
    assert!(child.wait().unwrap().success());
    // The log has it as it was.
    assert_eq!(fs::read(tmp.path("log/current")).unwrap(), line);
}

#[test]
fn copied_log_lines_are_masked_on_a_terminal() {
    let line = b"\x1b]0;owned\x07 \xc2\x9b2J \xc3\xa9 \xc0\ttab\n";
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let main = openpt(flags).unwrap();
    unlockpt(&main).unwrap();
    copy_to(ioctl_tiocgptpeer(&main, flags).unwrap(), line);
    let mut shown = [0; 256];
    let count = fs::File::from(main).read(&mut shown).unwrap();
    // The terminal adds the carriage return.
    let masked = "?]0;owned? ?2J \u{e9} ?\ttab\r\n".as_bytes();
    assert_eq!(
        shown[..count].escape_ascii().to_string(),
        masked.escape_ascii().to_string()
    );
    // To anything else the line is copied as it is.
    let tmp = TestDir::new();
    let file = fs::File::create(tmp.path("copy")).unwrap();
    copy_to(file.into(), line);
    assert_eq!(fs::read(tmp.path("copy")).unwrap(), line);
}
