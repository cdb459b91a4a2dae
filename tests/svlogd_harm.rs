//! Whether svlogd keeps what it was given when disks, files, inputs and kills
//! are bad.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/logger.rs"]
mod logger;
mod util;

use std::{
    fs,
    io::{PipeWriter, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use logger::{Logger, all, bytes, feed, olds};
use rustix::process::{Pid, Signal, kill_process};
use util::{Place, until};

/// A place with a directory `log` of this config.
fn place(config: &str) -> Place {
    let place = Place::new();
    place.write("log/config", config);
    place
}

/// A small generator of numbers, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn any_bytes_in_any_pieces() {
    let mut random = Random(7);
    let mut input: Vec<u8> = (0..=255).collect();
    input.extend((0..60_000).map(|_| match random.below(40) {
        0 => b'\n',
        _ => u8::try_from(random.below(256)).unwrap(),
    }));
    input.push(b'\n');
    let place = place("s5000\nn0\n");
    assert_eq!(feed(&place, &["log"], &input).1, 0);
    assert_eq!(all(&place, "log"), input);
    // With everything that looks at lines: the same, however it is cut.
    let config = "s5000\nn0\npX\n-*\n+*a*\n+*b*\n-+ab\n";
    let mut expected = Vec::new();
    for round in 0..8 {
        let name = format!("log{round}");
        place.write(&format!("{name}/config"), config);
        let words = ["-r", "_", "-l", "30", "-b", "31", &name];
        let mut logger = Logger::start(&place, &words);
        let mut rest = &input[..];
        while !rest.is_empty() {
            let most = if round == 0 { 1 << 20 } else { 300 };
            let count = 1 + random.below(most);
            let count = usize::try_from(count).unwrap().min(rest.len());
            logger.write(&rest[..count]);
            rest = &rest[count..];
        }
        assert_eq!(logger.end(), 0);
        let found = all(&place, &name);
        if round == 0 {
            assert!(!found.is_empty() && found.len() < input.len());
            expected = found;
        } else {
            assert!(found == expected, "round {round}");
        }
    }
}

#[test]
fn a_line_of_100_megabytes() {
    let place = place("s9m\nn20\n-*\n+x*\n");
    let mut logger = Logger::start(&place, &["-t", "log"]);
    let block = [b'x'; 100_000];
    for _ in 0..1000 {
        logger.write(&block);
    }
    logger.write(b"\nxend\n");
    assert_eq!(logger.end(), 0);
    let mut count = 0;
    for name in olds(&place, "log").into_iter().chain(["current".into()]) {
        let bytes = bytes(&place, &format!("log/{name}"));
        assert!(bytes.len() <= 9 << 20);
        count += bytes.iter().filter(|byte| **byte == b'x').count();
    }
    assert_eq!(count, 100_000_001);
}

#[test]
fn sixty_four_thousand_writes_of_a_byte() {
    let place = place("");
    let input: Vec<u8> = (0..64_000_u32)
        .map(|i| if i % 7 == 6 { b'\n' } else { b'a' })
        .collect();
    let mut logger = Logger::start(&place, &["log"]);
    for byte in &input {
        logger.write(&[*byte]);
    }
    assert_eq!(logger.end(), 0);
    let mut found = all(&place, "log");
    assert_eq!(found.pop(), Some(b'\n'));
    assert!(found == input);
}

#[test]
fn a_config_of_odd_lines() {
    let place = place(
        "Z odd\n s5\nsx\nn99999999999999999999\nt1y\nu1.2.3\nu1.2.3.4:0\npok \np",
    );
    let (errors, code) = feed(&place, &["log"], b"a\n");
    let svlogd = place.path("bin/svlogd").display().to_string();
    let expected = "\
        X: warning: log/config: unknown line: Z odd\n\
        X: warning: log/config: unknown line:  s5\n\
        X: warning: log/config: odd number: sx\n\
        X: warning: log/config: odd number: t1y\n\
        X: warning: unable to scan ip address: 1.2.3\n\
        X: warning: unable to scan port number: 0\n";
    assert_eq!((errors.replace(&svlogd, "X").as_str(), code), (expected, 0));
    assert_eq!(place.read("log/current"), "ok a\n");
}

#[test]
fn a_config_of_a_million_patterns() {
    let mut config = String::from("-*\n+keep*\n");
    for i in 0..1_000_000 {
        config.push_str(&format!("+no{i}\n"));
    }
    let place = place(&config);
    let (errors, code) = feed(&place, &["log"], b"keep 1\nno1\nno999999\n");
    assert!(errors.contains("log/config: too long (file-bytes: the bound is "));
    assert_eq!(code, 0);
    // Those before the bound hold.
    assert_eq!(place.read("log/current"), "keep 1\nno1\n");
}

#[test]
fn directories_that_are_none() {
    let place = place("");
    place.write("file", "");
    place.write("closed/current/not", "");
    let words = ["file", "missing", "closed", "log"];
    let (errors, code) = feed(&place, &words, b"a\n");
    let svlogd = place.path("bin/svlogd").display().to_string();
    let expected = "\
        X: warning: unable to change directory: file: not a directory\n\
        X: warning: unable to open log directory: missing: file does not exist\n\
        X: warning: unable to open current: closed: is a directory\n";
    assert_eq!((errors.replace(&svlogd, "X").as_str(), code), (expected, 0));
    assert_eq!(place.read("log/current"), "a\n");
}

#[test]
fn a_directory_that_vanishes() {
    let place = place("s100\nn5\n");
    let mut logger = Logger::start(&place, &["-l20", "-b30", "log"]);
    logger.write(b"a line of twenty byt\n");
    until("a line", || {
        (!place.read("log/current").is_empty()).then_some(())
    });
    fs::rename(place.path("log"), place.path("moved")).unwrap();
    for _ in 0..6 {
        logger.write(b"a line of twenty byt\n");
    }
    // It is still the same directory.
    until("rotation", || {
        (olds(&place, "moved").len() == 1).then_some(())
    });
    fs::remove_dir_all(place.path("moved")).unwrap();
    for _ in 0..6 {
        logger.write(b"a line of twenty byt\n");
    }
    logger.until_says(
        "pausing: unable to rename current: log: file does not exist",
    );
    logger.kill(Signal::KILL);
}

#[test]
fn modes_that_cannot_be_set() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root has files that others own");
        return;
    }
    let place = place("");
    let open = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.path(name), mode).unwrap();
    };
    place.write("log/current", "");
    open("log/current", 0o666);
    open("log", 0o777);
    open("", 0o755);
    let chpst = place.path("bin/chpst");
    let mut command = place.command(&["chpst"]);
    let svlogd = place.path("bin/svlogd");
    command.arg("-u").arg(":65534:65534").arg(svlogd).arg("log");
    assert!(chpst.exists());
    let mut logger = Logger::spawn(&place, command);
    logger.write(b"a\n");
    assert_eq!(
        (logger.end(), place.read("log/current").as_str()),
        (0, "a\n")
    );
    let errors = logger.errors();
    let said = "unable to set mode of current: log: permission denied\n";
    assert!(
        errors.ends_with(said) && errors.lines().count() == 1,
        "{errors}"
    );
}

/// Runs svlogd where `log` is a tmpfs of its own, mounted with `options`;
/// nothing when that is not possible here.
fn on_tmpfs<'a>(
    place: &'a Place,
    options: &str,
    words: &str,
) -> Option<Logger<'a>> {
    let can = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
        .stderr(Stdio::null())
        .status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespace of our own");
        return None;
    }
    let mut command = Command::new("unshare");
    let script = format!(
        "mount -t tmpfs -o {options} none log && cp -p save/* log/ &&\n\
         mount -o remount,{options} log && exec bin/svlogd {words} log"
    );
    command
        .args(["-m", "sh", "-c", &script])
        .current_dir(&place.dir);
    Some(Logger::spawn(place, command))
}

/// A file in the logger's `log`, which only it sees.
fn seen(logger: &Logger<'_>, name: &str) -> std::path::PathBuf {
    format!("/proc/{}/cwd/log/{name}", logger.child.id()).into()
}

/// All lines in the logger's `log`.
fn lines_seen(logger: &Logger<'_>) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(seen(logger, ""))
        .map(|list| list.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    // `@` sorts before `current`.
    names.sort();
    let mut text = String::new();
    for name in names {
        let last = name.file_name().unwrap().to_string_lossy().into_owned();
        if last.starts_with('@') || last == "current" {
            text.push_str(&fs::read_to_string(&name).unwrap_or_default());
        }
    }
    text.lines().map(String::from).collect()
}

#[test]
fn a_full_disk_loses_old_logs_or_nothing() {
    let line = |i: u32| format!("{i:0>99}\n");
    let lines: String = (0..1500).map(line).collect();
    // With N below n the oldest go; the newest are all there.
    let place = place("");
    place.write("save/config", "s10000\nn50\nN2\n");
    let Some(mut logger) = on_tmpfs(&place, "size=64k", "-l200 -b300") else {
        return;
    };
    logger.write(lines.as_bytes());
    let last = line(1499).trim_end().to_string();
    until("the last line", || {
        (lines_seen(&logger).last() == Some(&last)).then_some(())
    });
    let errors = logger.errors();
    assert!(errors.contains("warning: out of disk space, delete: log/@"));
    assert!(!errors.contains("pausing"), "{errors}");
    let kept = lines_seen(&logger);
    assert!(lines.ends_with(&(kept.join("\n") + "\n")) && kept.len() > 300);
    assert_eq!(logger.end(), 0);
    // Without, the input waits until there is room.
    place.write("save/config", "s10000\nn50\n");
    let mut logger = on_tmpfs(&place, "size=64k", "-l200 -b300").unwrap();
    let hog = "hog";
    until("the mount", || {
        seen(&logger, "current").exists().then_some(())
    });
    fs::write(seen(&logger, hog), [0; 30_000]).unwrap();
    logger.write(lines[..40_000].as_bytes());
    logger.until_says(
        "pausing: unable to write to current: log: out of disk space",
    );
    fs::remove_file(seen(&logger, hog)).unwrap();
    let last = line(399).trim_end().to_string();
    until("the last line", || {
        (lines_seen(&logger).last() == Some(&last)).then_some(())
    });
    assert_eq!(lines_seen(&logger).len(), 400);
    assert_eq!(logger.end(), 0);
}

#[test]
fn a_read_only_directory_is_said() {
    let place = place("");
    place.write("save/config", "");
    let Some(mut logger) = on_tmpfs(&place, "size=64k", "") else {
        return;
    };
    assert_eq!(logger.end(), 0);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o ro none log && exec bin/svlogd log";
    command
        .args(["-m", "sh", "-c", script])
        .current_dir(&place.dir);
    let mut logger = Logger::spawn(&place, command);
    assert_eq!(logger.end(), 111);
    let expected = "\
        bin/svlogd: warning: unable to lock directory: log: read-only file system\n\
        bin/svlogd: fatal: no functional log directories.\n";
    assert_eq!(logger.errors(), expected);
}

/// Lines of a numbered stream, written slowly enough for 500 lives.
fn write_numbers(mut pipe: PipeWriter, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut batch = String::new();
        for _ in 0..200 {
            batch.push_str(&format!("line {number:010} {}\n", number % 7919));
            number += 1;
        }
        pipe.write_all(batch.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    number
}

/// The number of a whole line of the stream.
fn number_of(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let (number, check) = line.strip_prefix("line ")?.split_once(' ')?;
    let value: u64 = number.parse().ok()?;
    (number.len() == 10 && check.parse() == Ok(value % 7919)).then_some(value)
}

#[test]
fn five_hundred_kills_lose_a_chunk_each_at_most() {
    /// Bytes that a life may have read and not written.
    const CHUNK: usize = 65_536 + 2048;
    const KILLS: usize = 500;
    let place = place("s20000\nn0\n");
    let (read, write) = std::io::pipe().unwrap();
    let stop = AtomicBool::new(false);
    let mut random = Random(99);
    // Lives in a row that left nothing: their losses lie in one gap.
    let (mut silent, mut most_silent) = (0, 0);
    let total = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_numbers(write, &stop));
        for _ in 0..KILLS {
            let mut command = place.command(&["svlogd", "log"]);
            let mut child = command
                .stdin(read.try_clone().unwrap())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(random.below(6000)));
            kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
            child.wait().unwrap();
            let left = fs::metadata(place.path("log/current"));
            silent = match left {
                Ok(left) if left.len() > 0 => 0,
                _ => silent + 1,
            };
            most_silent = silent.max(most_silent);
        }
        stop.store(true, Ordering::Relaxed);
        // The last life reads to the end.
        let mut command = place.command(&["svlogd", "log"]);
        let mut last = command.stdin(read).spawn().unwrap();
        let total = writer.join().unwrap();
        assert!(last.wait().unwrap().success());
        total
    });
    let most_lost = (CHUNK * (1 + most_silent)) as u64;
    let (mut next, mut gaps, mut odd) = (0, 0, 0);
    for name in olds(&place, "log").into_iter().chain(["current".into()]) {
        let text = bytes(&place, &format!("log/{name}"));
        // A finished log has whole lines, but where a life began or ended.
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let Some(number) = number_of(line) else {
                odd += 1;
                continue;
            };
            assert!(number >= next, "{number} after {next}: doubled");
            if number > next {
                gaps += 1;
                // No line is shorter.
                let lost = (number - next) * 18;
                assert!(lost <= most_lost, "{lost} bytes in one gap");
            }
            next = number + 1;
        }
    }
    assert!(total > 500 && next <= total);
    assert!((total - next) * 18 <= most_lost);
    assert!(gaps <= KILLS, "{gaps} gaps");
    // A cut line is the last of one life and the first of the next.
    assert!(odd <= 2 * KILLS, "{odd} parts of lines");
}

#[test]
fn every_line_is_in_the_file_before_the_next_read() {
    let place = place("");
    let mut logger = Logger::start(&place, &["-t", "log"]);
    for i in 0..50 {
        logger.write(format!("{i}\n").as_bytes());
        until("the line", || {
            let text = place.read("log/current");
            (text.lines().count() == i + 1).then_some(())
        });
    }
    logger.kill(Signal::KILL);
    let mut text = String::new();
    fs::File::open(place.path("log/current"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text.lines().count(), 50);
}
