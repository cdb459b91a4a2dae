//! Tests that svlogd continues, waits, drops lines or ends as its manual says
//! when a directory cannot be written, is removed or moved, or a processor
//! hangs.

use std::{fs, path::PathBuf, time::Duration};

use rustix::process::Signal;

use crate::util::{
    TestDir,
    logger::{Logger, all_logs, current, log_dir, rotated},
    until,
};

/// Runs svlogd on `log`, a full tmpfs of 64 kB that is mounted only in its
/// namespace, and on `other`, both with this config. Returns `None` where that
/// is impossible.
fn on_full_disk<'a>(
    tmp: &'a TestDir,
    options: &str,
    config: &str,
) -> Option<Logger<'a>> {
    tmp.write("other/config", config);
    let script = format!(
        "mount -t tmpfs -o size=64k none log && cp other/config log/ && \
         : > log/lock && : > log/current && \
         {{ head -c 65536 /dev/zero > log/hog 2> /dev/null; \
         exec bin/svlogd {options} log other; }}"
    );
    let logger = Logger::spawn_mounting(tmp, &script)?;
    until("svlogd", || tmp.path("other/lock").exists().then_some(()));
    Some(logger)
}

/// Returns the path of a file in the logger's `log`, which is mounted only in
/// its namespace.
fn inner_path(logger: &Logger<'_>, name: &str) -> PathBuf {
    format!("/proc/{}/cwd/log/{name}", logger.child.id()).into()
}

/// Returns the contents of the logger's `log`, in its order.
fn inner_logs(logger: &Logger<'_>) -> Vec<u8> {
    until("files that stay while they are read", || read_inner(logger))
}

/// As [`all_seen`]; `None` when a file was renamed or removed meanwhile.
fn read_inner(logger: &Logger<'_>) -> Option<Vec<u8>> {
    let list = fs::read_dir(inner_path(logger, "")).unwrap();
    let mut names: Vec<_> =
        list.map(|entry| entry.unwrap().file_name()).collect();
    names.retain(|name| {
        let name = name.to_string_lossy();
        name.starts_with('@') || name == "current"
    });
    // `@` sorts before `current`.
    names.sort();
    let read = |name| fs::read(inner_path(logger, "").join(name)).ok();
    let texts: Option<Vec<_>> = names.into_iter().map(read).collect();
    Some(texts?.concat())
}

/// Sets the length of the file that fills the logger's disk.
fn resize_filler(logger: &Logger<'_>, bytes: u64) {
    let hog = inner_path(logger, "hog");
    let file = fs::OpenOptions::new().write(true).open(hog).unwrap();
    file.set_len(bytes).unwrap();
}

/// Returns numbered lines of 60 bytes.
fn lines(from: u32, count: u32) -> String {
    let line =
        |i| format!("{i:06} {}\n", ["abc", "xyz"][(i % 2) as usize].repeat(17));
    (from..from + count).map(line).collect()
}

#[test]
fn a_full_directory_gets_every_byte_once_and_delays_no_other() {
    let tmp = log_dir("");
    // Stamps, prefix and patterns turn the lines into bytes that no read
    // returned.
    let config = "s9000\nn90\np<prefix> \n-*\n+*abc*\n";
    let Some(mut logger) = on_full_disk(&tmp, "-tt", config) else {
        return;
    };
    logger.write(lines(0, 300).as_bytes());
    let other = until("the lines in the other directory", || {
        let other = all_logs(&tmp, "other");
        let last = lines(298, 1);
        other.ends_with(last.as_bytes()).then_some(other)
    });
    logger.until_printed("pausing: unable to write to current: log: ");
    // Frees one page at a time; HUP makes svlogd retry at once. One page is
    // the config's, all others are the filling file's.
    for pages in (0..15).rev() {
        let before = inner_logs(&logger).len();
        resize_filler(&logger, pages * 4096);
        logger.kill(Signal::HUP);
        until("more, or all", || {
            let now = inner_logs(&logger).len();
            (now > before || now == other.len()).then_some(())
        });
    }
    until("all", || (inner_logs(&logger) == other).then_some(()));
    logger.write(lines(300, 2).as_bytes());
    until("what comes behind", || {
        let last = lines(300, 1);
        inner_logs(&logger).ends_with(last.as_bytes()).then_some(())
    });
    assert_eq!(inner_logs(&logger), all_logs(&tmp, "other"));
    let output = logger.errors().matches("pausing").count();
    assert_eq!(output, 1, "{}", logger.errors());
    assert_eq!(logger.end(), 0);
}

#[test]
fn lines_are_dropped_as_configured() {
    let tmp = log_dir("");
    let Some(mut logger) = on_full_disk(&tmp, "", "d1\n") else {
        return;
    };
    // More than a pipe and all buffers hold: the full disk blocks no input.
    logger.write(lines(0, 20_000).as_bytes());
    until("all lines in the other directory", || {
        all_logs(&tmp, "other")
            .ends_with(lines(19_999, 1).as_bytes())
            .then_some(())
    });
    logger.until_printed("warning: lines are dropped: log\n");
    resize_filler(&logger, 0);
    let mut count = 20_000;
    until("a line", || {
        logger.write(lines(count, 1).as_bytes());
        count += 1;
        let last = lines(count - 1, 1);
        until("it in the other directory", || {
            all_logs(&tmp, "other")
                .ends_with(last.as_bytes())
                .then_some(())
        });
        inner_logs(&logger).ends_with(last.as_bytes()).then_some(())
    });
    let text = String::from_utf8(inner_logs(&logger)).unwrap();
    let sent = lines(0, count);
    let kept = text.lines().filter(|line| line.len() == 58);
    let kept = kept.inspect(|line| assert!(sent.contains(line))).count();
    let errors = logger.errors();
    let dropped: Vec<u32> = errors
        .lines()
        .filter_map(|line| line.strip_suffix(" lines were dropped: log"))
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    // Each line is either there or counted, once.
    assert_eq!(dropped.len(), 1, "{errors}");
    assert_eq!(kept, (count - dropped[0]) as usize, "{errors}");
    assert_eq!(errors.matches("lines are dropped").count(), 1, "{errors}");
    assert_eq!(logger.end(), 0);
}

#[test]
fn term_ends_svlogd_on_a_full_disk() {
    let tmp = log_dir("");
    let Some(mut logger) = on_full_disk(&tmp, "", "") else {
        return;
    };
    logger.write(lines(0, 100).as_bytes());
    logger.until_printed("pausing: unable to write to current: log: ");
    logger.kill(Signal::TERM);
    assert_eq!(logger.wait(), 0);
    let errors = logger.errors();
    assert!(
        errors.contains("warning: 100 lines were dropped: log\n"),
        "{errors}"
    );
    assert_eq!(all_logs(&tmp, "other"), lines(0, 100).as_bytes());
}

#[test]
fn hup_rereads_the_config_on_a_full_disk() {
    let tmp = log_dir("");
    let Some(mut logger) = on_full_disk(&tmp, "", "s6000\nn50\n") else {
        return;
    };
    resize_filler(&logger, 20_000);
    logger.write(lines(0, 2000).as_bytes());
    logger.until_printed("pausing: unable to write to current: log: ");
    fs::write(inner_path(&logger, "config"), "s6000\nn2\n").unwrap();
    logger.kill(Signal::HUP);
    until("the last line", || {
        inner_logs(&logger)
            .ends_with(lines(1999, 1).as_bytes())
            .then_some(())
    });
    assert_eq!(logger.end(), 0);
}

#[test]
fn term_ends_svlogd_with_a_partial_line() {
    let tmp = log_dir("");
    let mut logger = Logger::start(&tmp, &["log"]);
    logger.write(b"a\nopen");
    until("a line", || (current(&tmp) == "a\n").then_some(()));
    logger.kill(Signal::TERM);
    assert_eq!(logger.wait(), 0);
    assert_eq!(current(&tmp), "a\nopen\n");
}

#[test]
fn term_kills_a_hanging_processor() {
    let tmp = log_dir("s20\n!trap '' TERM; echo $$ > pid; sleep 1000; cat\n");
    let mut logger = Logger::start(&tmp, &["-l4", "-b5", "log"]);
    logger.write(b"1234567890123456\n");
    let pid = until("the processor", || {
        tmp.read("log/pid").trim().parse::<u32>().ok()
    });
    // The next log is full too, so that svlogd waits for the processor.
    logger.write(b"1234567890123456\nlast\n");
    until("it", || (current(&tmp).len() == 17).then_some(()));
    logger.kill(Signal::TERM);
    assert_eq!(logger.wait(), 0);
    assert!(
        logger
            .errors()
            .contains("processor does not end, it is killed")
    );
    until("its end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    });
    let mut names = rotated(&tmp, "log");
    names.retain(|name| name.ends_with(".u"));
    assert_eq!(names.len(), 2);
    assert_eq!(current(&tmp), "last\n");
}

#[test]
fn a_removed_or_moved_current_is_recreated() {
    for how in ["removed", "moved", "a directory", "a link"] {
        let tmp = log_dir("");
        let mut logger = Logger::start(&tmp, &["log"]);
        logger.write(b"1\n");
        until("a line", || (current(&tmp) == "1\n").then_some(()));
        let path = tmp.path("log/current");
        match how {
            "moved" => fs::rename(&path, tmp.path("away")).unwrap(),
            _ => fs::remove_file(&path).unwrap(),
        }
        match how {
            "a directory" => tmp.write("log/current/file", ""),
            "a link" => std::os::unix::fs::symlink("/dev/null", &path).unwrap(),
            _ => {}
        }
        let mut sent = String::new();
        // The move is noticed within a second.
        until("a line in a new file", || {
            logger.write(b"2\n");
            sent.push_str("2\n");
            until("the line", || {
                let both = tmp.read("away") + &current(&tmp);
                (both == format!("1\n{sent}") || both == sent).then_some(())
            });
            path.is_file().then_some(())
        });
        assert_eq!(logger.end(), 0);
        let errors = logger.errors();
        let line = "warning: current was removed or moved: log\n";
        assert_eq!(errors.matches(line).count(), 1, "{how}: {errors}");
        assert_eq!(tmp.read("away").is_empty(), how != "moved");
        let renamed = fs::read_dir(tmp.path("log")).unwrap();
        let renamed = renamed.filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("current.@")
        });
        let others = usize::from(how.starts_with("a "));
        assert_eq!(renamed.count(), others, "{how}");
    }
}

#[test]
fn a_removed_directory_is_recreated() {
    let tmp = TestDir::new();
    tmp.write("in/log/config", "s100\nn2\n");
    let mut logger = Logger::start(&tmp, &["-l20", "-b30", "in/log"]);
    let line = |i: u32| format!("a line of {i:09}\n");
    let mut count = 0;
    let mut write = |logger: &mut Logger<'_>| {
        logger.write(line(count).as_bytes());
        count += 1;
        count - 1
    };
    let is_last = |i| tmp.read("in/log/current").ends_with(&line(i));
    let first = write(&mut logger);
    until("a line", || is_last(first).then_some(()));
    fs::remove_dir_all(tmp.path("in/log")).unwrap();
    let next = write(&mut logger);
    until("the next line", || is_last(next).then_some(()));
    // Its config stays in force although the file is gone.
    for _ in 0..60 {
        write(&mut logger);
    }
    let last = write(&mut logger);
    until("many lines", || {
        let two = rotated(&tmp, "in/log").len() == 2;
        (is_last(last) || two).then_some(())
    });
    // Moved: the next lines are where the name leads.
    fs::rename(tmp.path("in/log"), tmp.path("in/moved")).unwrap();
    until("a line in a new directory", || {
        write(&mut logger);
        std::thread::sleep(Duration::from_millis(20));
        tmp.path("in/log/current").exists().then_some(())
    });
    // It cannot be created: lines are dropped, and the input does not block.
    fs::remove_dir_all(tmp.path("in")).unwrap();
    let more: String = (0..20_000).map(line).collect();
    logger.write(more.as_bytes());
    logger.until_printed("warning: lines are dropped: in/log\n");
    fs::create_dir(tmp.path("in")).unwrap();
    until("a line at last", || {
        write(&mut logger);
        std::thread::sleep(Duration::from_millis(20));
        tmp.path("in/log/current").exists().then_some(())
    });
    let last = write(&mut logger);
    until("the last line", || is_last(last).then_some(()));
    assert_eq!(logger.end(), 0);
    let errors = logger.errors();
    let output = errors
        .matches("current was removed or moved: in/log\n")
        .count();
    assert_eq!(output, 3, "{errors}");
    assert!(errors.contains(" lines were dropped: in/log\n"), "{errors}");
}
