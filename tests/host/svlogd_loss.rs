//! Tests how much svlogd loses at most when its disk is full or it is killed.

use std::{
    fs,
    io::{PipeWriter, Read as _, Write as _},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{
    TestDir,
    logger::{Logger, Random, log_dir, read_bytes, rotated},
    until,
};

/// Runs svlogd where `log` is a tmpfs of its own, mounted with `options`.
/// Returns `None` where that is impossible.
fn on_tmpfs<'a>(
    tmp: &'a TestDir,
    options: &str,
    words: &str,
) -> Option<Logger<'a>> {
    let script = format!(
        "mount -t tmpfs -o {options} none log && cp -p save/* log/ &&\n\
         mount -o remount,{options} log && exec bin/svlogd {words} log"
    );
    Logger::spawn_mounting(tmp, &script)
}

/// Returns the path of a file in the logger's `log`, which is mounted only in
/// its namespace.
fn inner_path(logger: &Logger<'_>, name: &str) -> std::path::PathBuf {
    format!("/proc/{}/cwd/log/{name}", logger.child.id()).into()
}

/// Returns all lines in the logger's `log`.
fn inner_lines(logger: &Logger<'_>) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(inner_path(logger, ""))
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
fn a_full_disk_loses_at_most_old_logs() {
    let line = |i: u32| format!("{i:0>99}\n");
    let lines: String = (0..1500).map(line).collect();
    // With N below n the oldest logs are deleted; the newest are complete.
    let tmp = log_dir("");
    tmp.write("save/config", "s10000\nn50\nN2\n");
    let Some(mut logger) = on_tmpfs(&tmp, "size=64k", "-l200 -b300") else {
        return;
    };
    logger.write(lines.as_bytes());
    let last = line(1499).trim_end().to_string();
    until("the last line", || {
        (inner_lines(&logger).last() == Some(&last)).then_some(())
    });
    let errors = logger.errors();
    assert!(errors.contains("warning: out of disk space, delete: log/@"));
    assert!(!errors.contains("pausing"), "{errors}");
    let kept = inner_lines(&logger);
    assert!(lines.ends_with(&(kept.join("\n") + "\n")) && kept.len() > 300);
    assert_eq!(logger.end(), 0);
    // Without N, the input waits until there is room.
    tmp.write("save/config", "s10000\nn50\n");
    let mut logger = on_tmpfs(&tmp, "size=64k", "-l200 -b300").unwrap();
    let hog = "hog";
    until("the mount", || {
        inner_path(&logger, "current").exists().then_some(())
    });
    fs::write(inner_path(&logger, hog), [0; 30_000]).unwrap();
    logger.write(lines[..40_000].as_bytes());
    logger.until_printed(
        "pausing: unable to write to current: log: out of disk space",
    );
    fs::remove_file(inner_path(&logger, hog)).unwrap();
    let last = line(399).trim_end().to_string();
    until("the last line", || {
        (inner_lines(&logger).last() == Some(&last)).then_some(())
    });
    assert_eq!(inner_lines(&logger).len(), 400);
    assert_eq!(logger.end(), 0);
}

#[test]
fn a_read_only_directory_is_reported() {
    let tmp = log_dir("");
    tmp.write("save/config", "");
    let Some(mut logger) = on_tmpfs(&tmp, "size=64k", "") else {
        return;
    };
    assert_eq!(logger.end(), 0);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o ro none log && exec bin/svlogd log";
    command
        .args(["-m", "sh", "-c", script])
        .current_dir(&tmp.dir);
    let mut logger = Logger::spawn(&tmp, command);
    assert_eq!(logger.end(), 111);
    let expected = "\
        bin/svlogd: warning: unable to lock directory: log: read-only file system\n\
        bin/svlogd: fatal: no functional log directories.\n";
    assert_eq!(logger.errors(), expected);
}

/// Writes lines of a numbered stream, slowly enough for 500 processes. Returns
/// their number.
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

/// Returns the number of a whole line of the stream.
fn number_of(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let (number, check) = line.strip_prefix("line ")?.split_once(' ')?;
    let value: u64 = number.parse().ok()?;
    (number.len() == 10 && check.parse() == Ok(value % 7919)).then_some(value)
}

#[test]
fn each_kill_loses_at_most_one_buffer() {
    /// Bytes that a process may have read and not written.
    const CHUNK: usize = 65_536 + 2048;
    const KILLS: usize = 500;
    let tmp = log_dir("s20000\nn0\n");
    let (read, write) = std::io::pipe().unwrap();
    let stop = AtomicBool::new(false);
    let mut random = Random(99);
    // Consecutive processes that wrote nothing: their losses form one gap.
    let (mut silent, mut most_silent) = (0, 0);
    let total = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_numbers(write, &stop));
        for _ in 0..KILLS {
            let mut command = tmp.command(&["svlogd", "log"]);
            let mut child = command
                .stdin(read.try_clone().unwrap())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_micros(random.below(6000)));
            kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
            child.wait().unwrap();
            let left = fs::metadata(tmp.path("log/current"));
            silent = match left {
                Ok(left) if left.len() > 0 => 0,
                _ => silent + 1,
            };
            most_silent = silent.max(most_silent);
        }
        stop.store(true, Ordering::Relaxed);
        // The last process reads to the end.
        let mut command = tmp.command(&["svlogd", "log"]);
        let mut last = command.stdin(read).spawn().unwrap();
        let total = writer.join().unwrap();
        assert!(last.wait().unwrap().success());
        total
    });
    let most_lost = (CHUNK * (1 + most_silent)) as u64;
    let (mut next, mut gaps, mut odd) = (0, 0, 0);
    for name in rotated(&tmp, "log").into_iter().chain(["current".into()]) {
        let text = read_bytes(&tmp, &format!("log/{name}"));
        // A finished log has whole lines, except where a process began or
        // ended.
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
    // A cut line is the last of one process or the first of the next.
    assert!(odd <= 2 * KILLS, "{odd} parts of lines");
}

#[test]
fn every_line_is_in_the_file_before_the_next_read() {
    let tmp = log_dir("");
    let mut logger = Logger::start(&tmp, &["-t", "log"]);
    for i in 0..50 {
        logger.write(format!("{i}\n").as_bytes());
        until("the line", || {
            let text = tmp.read("log/current");
            (text.lines().count() == i + 1).then_some(())
        });
    }
    logger.kill(Signal::KILL);
    let mut text = String::new();
    fs::File::open(tmp.path("log/current"))
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text.lines().count(), 50);
}
