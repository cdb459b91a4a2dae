//! Runs a row and records what is visible: descriptors 1 and 2, the exit code,
//! the events in their order, every supervise directory.
//!
//! ```text
//! > a line of descriptor 1
//! ! a line of descriptor 2
//! = 0                         the exit code
//! * an event
//! a/supervise d700: control p600, lock -600 ...
//! a: "run, want down\n" | T P 00 64 00 01    stat, and the bytes of status
//! ```
//!
//! T is a label from the time of the row. P is the process that `pid` names, 0
//! none. In the lines, `(pid 12)` is `(pid P)`, `3s` is `Ns`, and the
//! directory is DIR.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::side::{Side, Sides};

/// Maximum run time of a script on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

/// Maximum time for which the files may still change after a script has ended.
const SETTLING: Duration = Duration::from_secs(3);

/// The variable that marks every process of a run.
const MARK: &str = "DIFFERENTIAL";

/// The files of a supervise directory (contract §1); more are allowed.
const FILES: [&str; 6] = ["control", "lock", "ok", "pid", "stat", "status"];

/// Runs a script with the programs of a side and returns what is visible.
pub fn play(sides: &Sides, side: Side, script: &str) -> String {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("row");
    fs::create_dir(&dir).unwrap();
    let output = |name| fs::File::create(tmp.path().join(name)).unwrap();
    let helpers = [include_str!("helpers.sh"), include_str!("svlogd.sh")];
    let text = format!("{}\n{script}", helpers.concat());
    let rest = std::env::var("PATH").unwrap();
    let [this, other] = sides.supervisors(side);
    let mut child = Command::new("sh")
        .args(["-c", &text])
        .current_dir(&dir)
        .env(MARK, tmp.path())
        .env("PATH", format!("{}:{rest}", sides.path(side)))
        .env("THIS", this)
        .env("OTHER", other)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output("out"))
        .stderr(output("err"))
        .spawn()
        .unwrap();
    let began = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if began.elapsed() > LIMIT => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut seen = String::new();
    let mut add = |line: &str| {
        seen.push_str(line);
        seen.push('\n');
    };
    for (mark, name) in [(">", "out"), ("!", "err")] {
        let bytes = fs::read(tmp.path().join(name)).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for line in masked(&text, &dir).lines() {
            add(&format!("{mark} {line}"));
        }
    }
    match status {
        None => add("= never ended"),
        Some(status) => add(&match status.signal() {
            Some(signal) => format!("= killed by {signal}"),
            None => format!("= {}", status.code().unwrap()),
        }),
    }
    let events = fs::read_to_string(dir.join("events")).unwrap_or_default();
    for event in masked(&events, &dir).lines() {
        add(&format!("* {event}"));
    }
    for line in settled(&dir) {
        add(&line);
    }
    // All but those in sessions of their own, at once, so that no supervisor
    // is left to restart the others.
    let group = Pid::from_child(&child);
    let _gone = kill_process_group(group, Signal::KILL).is_err();
    end_all(tmp.path());
    let _reaped = child.wait();
    seen
}

/// Masks what differs from run to run.
fn masked(text: &str, dir: &Path) -> String {
    let mut masked = String::new();
    for line in text.replace(dir.to_str().unwrap(), "DIR").lines() {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("(pid ") {
            let digits = after.len()
                - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let pid = if digits > 1 { "P" } else { &after[..digits] };
            masked.push_str(&seconds(before));
            masked.push_str("(pid ");
            masked.push_str(pid);
            rest = &after[digits..];
        }
        masked.push_str(&seconds(rest));
        masked.push('\n');
    }
    masked
}

/// Masks the seconds of a status line: ` 3s`.
fn seconds(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ';']);
        let number = bare.strip_suffix('s').unwrap_or("-");
        let is_time = !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_time {
            format!("Ns{}", &word[bare.len()..])
        } else {
            word.to_string()
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Describes all supervise directories once two passes agree: the last byte of
/// a script may still be in transit.
fn settled(dir: &Path) -> Vec<String> {
    let look = || -> Vec<String> {
        let all = supervise_dirs(dir);
        all.iter().flat_map(|one| described(dir, one)).collect()
    };
    let (began, mut seen) = (Instant::now(), look());
    while !seen.is_empty() && began.elapsed() < SETTLING {
        std::thread::sleep(Duration::from_millis(20));
        let now = look();
        if now == seen && !now.iter().any(|line| line.contains(".new ")) {
            break;
        }
        seen = now;
    }
    seen
}

/// Lists everything named `supervise` below a directory, by name.
fn supervise_dirs(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap())
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name() == "supervise" {
            found.push(entry.path());
        } else if entry.file_type().unwrap().is_dir() {
            found.extend(supervise_dirs(&entry.path()));
        }
    }
    found
}

/// Describes one supervise directory.
fn described(dir: &Path, supervise: &Path) -> Vec<String> {
    let name =
        |path: &Path| path.strip_prefix(dir).unwrap().display().to_string();
    let mut files = Vec::new();
    for file in fs::read_dir(supervise).into_iter().flatten() {
        let file = file.unwrap();
        let shown = file.file_name().to_string_lossy().into_owned();
        if FILES.contains(&shown.as_str()) || shown.ends_with(".new") {
            files.push(format!("{shown} {}", mode(&file.path())));
        }
    }
    files.sort();
    let first = format!(
        "{} {}: {}",
        name(supervise),
        mode(supervise),
        files.join(", ")
    );
    let stat = fs::read_to_string(supervise.join("stat")).unwrap_or_default();
    let pid = fs::read_to_string(supervise.join("pid")).unwrap_or_default();
    let status = fs::read(supervise.join("status")).unwrap_or_default();
    let service = name(supervise.parent().unwrap());
    let second = format!("{service}: {stat:?} | {}", bytes(&status, &pid));
    vec![first, second]
}

/// Returns type and mode of a file: `d700`, `p600`, `-644`, with `l` before
/// those of a link's target.
fn mode(path: &Path) -> String {
    let link = if path.is_symlink() { "l" } else { "" };
    let Ok(data) = fs::metadata(path) else {
        return link.into();
    };
    let kind = match data.file_type() {
        kind if kind.is_dir() => "d",
        kind if kind.is_fifo() => "p",
        kind if kind.is_file() => "-",
        _ => "?",
    };
    format!("{link}{kind}{:o}", data.permissions().mode() & 0o7777)
}

/// Formats the bytes of a status file, with time and process checked and
/// masked.
fn bytes(status: &[u8], pid: &str) -> String {
    let hex = |bytes: &[u8]| {
        let words: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        words.join(" ")
    };
    let Ok(status) = <&[u8; 20]>::try_from(status) else {
        return hex(status);
    };
    let (label, rest) = status.split_at(8);
    let (nanos, rest) = rest.split_at(4);
    let (number, flags) = rest.split_at(4);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = now + (1 << 62) + 10;
    let age = now.wrapping_sub(u64::from_be_bytes(label.try_into().unwrap()));
    let nanos = u32::from_be_bytes(nanos.try_into().unwrap());
    let number = u32::from_le_bytes(number.try_into().unwrap());
    let time = match (age <= 2 * LIMIT.as_secs(), nanos < 1_000_000_000) {
        (true, true) => "T".into(),
        (false, true) => format!("{} n", hex(label)),
        (_, false) => hex(&status[..12]),
    };
    let process = match (number, pid.trim_end() == number.to_string()) {
        (0, _) => "0".into(),
        (_, true) => "P".into(),
        (_, false) => number.to_string(),
    };
    format!("{time} {process} {}", hex(flags))
}

/// Ends every process that has inherited the mark of a run.
fn end_all(tmp: &Path) {
    let mark = format!("{MARK}={}", tmp.display());
    let marked = |pid: &Pid| {
        let path = format!("/proc/{}/environ", pid.as_raw_pid());
        let environ = fs::read(path).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|v| v == mark.as_bytes())
    };
    let began = Instant::now();
    loop {
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let name = entry.ok()?.file_name();
            Pid::from_raw(name.to_str()?.parse().ok()?)
        });
        let left: Vec<Pid> = all.filter(marked).collect();
        if left.is_empty() || began.elapsed() > LIMIT {
            return;
        }
        for pid in left {
            let _gone = kill_process(pid, Signal::KILL).is_err();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
