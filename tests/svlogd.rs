//! Whether svlogd does with lines, files and signals what its manual says.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/logger.rs"]
mod logger;
mod util;

use std::{fs, net::UdpSocket, time::Duration};

use logger::{Logger, all, bytes, feed, mode, olds};
use rustix::process::Signal;
use util::{Place, until};

/// A place with a directory `log` of this config.
fn place(config: &str) -> Place {
    let place = Place::new();
    place.write("log/config", config);
    place
}

/// What stands in `log/current`.
fn current(place: &Place) -> String {
    place.read("log/current")
}

/// A label, made of digits that differ from moment to moment, as one word.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        let label = after.get(..24).unwrap_or("");
        let whole = label.bytes().all(|b| b.is_ascii_hexdigit());
        out.push_str(before);
        out.push_str(if whole && label.len() == 24 {
            "@L"
        } else {
            "@"
        });
        rest = if whole {
            after.get(24..).unwrap_or("")
        } else {
            after
        };
    }
    out + rest
}

#[test]
fn stamps() {
    let place = place("");
    for (option, shape) in [
        ("-t", "@xxxxxxxxxxxxxxxxxxxxxxxx a"),
        ("-tt", "0000-00-00_00:00:00.00000 a"),
        ("-ttt", "0000-00-00T00:00:00.00000 a"),
        ("-tttt", "0000-00-00T00:00:00.00000 a"),
    ] {
        let _old = fs::remove_file(place.path("log/current"));
        assert_eq!(feed(&place, &[option, "log"], b"a\na\n").1, 0);
        let text = current(&place);
        let found: Vec<String> = text
            .lines()
            .map(|line| {
                let (stamp, rest) = line.split_at(25);
                let shaped = |c: char| match option {
                    "-t" if c.is_ascii_hexdigit() => 'x',
                    "-t" => c,
                    _ if c.is_ascii_digit() => '0',
                    _ => c,
                };
                let stamp: String = stamp.chars().map(shaped).collect();
                stamp + rest
            })
            .collect();
        assert_eq!(found, [shape, shape], "{option}");
        let lines: Vec<&str> = text.lines().collect();
        if option == "-t" {
            assert!(lines[0] < lines[1], "labels of one read differ");
        }
    }
}

#[test]
fn bytes_are_replaced_in_the_first_part() {
    let place = place("");
    let rows: [(&[&str], &[u8]); 4] = [
        (&["-r", "X", "log"], b"aXb~X\n"),
        (&["-R", "b~", "log"], b"a____\n"),
        (&["-rX", "-Rb", "log"], b"aXX~X\n"),
        (&["-rX", "-l3", "-b9", "log"], b"aXb~\x80\n"),
    ];
    for (words, expected) in rows {
        let _old = fs::remove_file(place.path("log/current"));
        assert_eq!(feed(&place, words, b"a\x07b~\x80\n"), (String::new(), 0));
        assert_eq!(bytes(&place, "log/current"), expected, "{words:?}");
    }
}

#[test]
fn what_is_wrong_with_a_command_line() {
    let place = place("");
    let svlogd = place.path("bin/svlogd").display().to_string();
    let usage = format!(
        "usage: {svlogd} [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n"
    );
    for (words, before) in [
        (&[][..], ""),
        (&["-r", "xy", "log"], ""),
        (&["-b", "1000", "log"], ""),
        (&["-x", "log"], "svlogd: illegal option -- x\n"),
        (&["-l"], "svlogd: option requires an argument -- l\n"),
    ] {
        let (errors, code) = feed(&place, words, b"");
        assert_eq!((errors, code), (format!("{before}{usage}"), 111));
    }
    let (errors, code) = feed(&place, &["none", "neither"], b"a\n");
    let expected = format!(
        "{svlogd}: warning: unable to open log directory: none: file does not exist\n\
         {svlogd}: warning: unable to open log directory: neither: file does not exist\n\
         {svlogd}: fatal: no functional log directories.\n"
    );
    assert_eq!((errors, code), (expected, 111));
}

#[test]
fn files_are_rotated_by_size_and_the_oldest_go() {
    let place = place("s100\nn3\n");
    let lines: String = (0..200).map(|i| format!("line {i:03}\n")).collect();
    let (errors, code) =
        feed(&place, &["-l20", "-b30", "log"], lines.as_bytes());
    assert_eq!((errors, code), (String::new(), 0));
    let olds = olds(&place, "log");
    assert_eq!(olds.len(), 3);
    for old in &olds {
        let name = format!("log/{old}");
        // The first line that leaves no room for another of 20 bytes.
        assert_eq!(bytes(&place, &name).len(), 81, "{old}");
        assert_eq!(mode(&place, &name), 0o744);
    }
    let kept = String::from_utf8(all(&place, "log")).unwrap();
    assert!(lines.ends_with(&kept));
    // Down to n at once, whoever made them.
    for i in 0..20 {
        place.write(&format!("log/@400000000000000000000{i:03}.s"), "x");
    }
    let (_, code) = feed(&place, &["-l20", "-b30", "log"], lines.as_bytes());
    assert_eq!((code, self::olds(&place, "log").len()), (0, 3));
}

#[test]
fn a_directory_says_what_happens_to_it() {
    let place = place("s40\nn1\n");
    let lines = b"0123456789\n0123456789\n0123456789\n0123456789\n0123456789\n";
    let (errors, _) = feed(&place, &["-v", "-l10", "-b20", "log"], lines);
    let svlogd = place.path("bin/svlogd").display().to_string();
    let expected = "\
        X: info: read: log/config\n\
        X: info: new: log/current\n\
        X: info: rename: log/current @L.s 33\n\
        X: info: close: log\n";
    assert_eq!(masked(&errors).replace(&svlogd, "X"), expected);
    assert_eq!(mode(&place, "log/current"), 0o744);
    let (errors, _) = feed(&place, &["-v", "-l10", "-b20", "log"], lines);
    let expected = "\
        X: info: read: log/config\n\
        X: info: append: log/current\n\
        X: info: rename: log/current @L.s 33\n\
        X: info: delete: log/@L.s\n\
        X: info: rename: log/current @L.s 33\n\
        X: info: delete: log/@L.s\n\
        X: info: close: log\n";
    assert_eq!(masked(&errors).replace(&svlogd, "X"), expected);
}

#[test]
fn files_are_rotated_by_age_and_on_demand() {
    let place = place("t1\n");
    let mut logger = Logger::start(&place, &["log"]);
    logger.write(b"a\n");
    until("rotation by age", || {
        (olds(&place, "log").len() == 1).then_some(())
    });
    place.write("empty/config", "");
    place.write("other/config", "");
    let mut logger = Logger::start(&place, &["empty", "other"]);
    place.write("empty/config", "-*\n");
    logger.until_says("");
    until("both open", || {
        place.path("other/lock").exists().then_some(())
    });
    logger.kill(Signal::HUP);
    logger.write(b"a\n");
    until("the line", || {
        (place.read("other/current") == "a\n").then_some(())
    });
    logger.kill(Signal::ALARM);
    until("rotation", || {
        (olds(&place, "other").len() == 1).then_some(())
    });
    assert_eq!(place.read("other/current"), "");
    assert_eq!(logger.end(), 0);
}

#[test]
fn patterns_choose_lines() {
    let place = place("pX: \n-*\n+*: a*\nE*\ne*b\n");
    let input = b"1: a\n2: b\n3: ab\nc\n";
    let (errors, code) = feed(&place, &["log"], input);
    assert_eq!((errors.as_str(), code), ("X: 2: b\nX: 3: ab\n", 0));
    assert_eq!(current(&place), "X: 1: a\nX: 3: ab\n");
    // Only the first bytes are looked at; a longer line is cut there on
    // descriptor 2, not in the log.
    let long = b"abcdefghij\n";
    place.write("log/config", "-*\n+abcd\neabcd\n");
    fs::remove_file(place.path("log/current")).unwrap();
    let (errors, _) = feed(&place, &["-l4", "-b5", "log"], long);
    assert_eq!(
        (errors.as_str(), current(&place)),
        ("abcd...\n", "abcdefghij\n".into())
    );
}

#[test]
fn lines_are_sent_by_udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let receive = || {
        let mut buffer = [0; 2000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let to = socket.local_addr().unwrap();
    let place = place(&format!("u{to}\npX: \n-b\n"));
    assert_eq!(feed(&place, &["-l3", "-b9", "log"], b"a\nb\nabcd\n").1, 0);
    assert_eq!(
        (receive(), receive()),
        ("X: a\n".into(), "X: abc...\n".into())
    );
    assert_eq!(current(&place), "X: a\nX: abcd\n");
    place.write("log/config", &format!("U{to}\n"));
    fs::remove_file(place.path("log/current")).unwrap();
    assert_eq!(feed(&place, &["log"], b"a\n").1, 0);
    assert_eq!((receive(), current(&place)), ("a\n".into(), String::new()));
    // Nobody may send there: the line is logged.
    place.write("log/config", "pX: \nU255.255.255.255:9\n");
    fs::remove_file(place.path("log/current")).unwrap();
    assert_eq!(feed(&place, &["log"], b"a\n").1, 0);
    assert_eq!(
        current(&place),
        "warning: failure sending through udp: X: a\n"
    );
}

#[test]
fn a_last_line_without_a_newline_gets_one() {
    let place = place("");
    assert_eq!(feed(&place, &["log"], b"a\nb").1, 0);
    assert_eq!(feed(&place, &["log"], b"\0").1, 0);
    assert_eq!(feed(&place, &["log"], &[b'x'; 70_000]).1, 0);
    let text = bytes(&place, "log/current");
    assert!(text.starts_with(b"a\nb\n\0\nxxx") && text.ends_with(b"xx\n"));
    assert_eq!(text.len(), 70_007);
}

#[test]
fn term_leaves_what_it_has_not_read_and_loses_nothing() {
    let place = place("");
    for round in 0..20 {
        // The open line is finished, what is behind it is not read.
        let mut logger = Logger::start(&place, &["log"]);
        let head = format!("{round} whole\n{round} op");
        logger.write(head.as_bytes());
        until("a line", || {
            current(&place)
                .contains(&format!("{round} whole"))
                .then_some(())
        });
        logger.kill(Signal::TERM);
        logger.write(b"en\n");
        assert_eq!(logger.wait(), 0);
        let text = current(&place);
        assert!(text.ends_with(&format!("{round} whole\n{round} open\n")));
        assert_eq!(mode(&place, "log/current"), 0o744);
    }
    // A second one does not wait for the rest.
    let mut logger = Logger::start(&place, &["-v", "log"]);
    logger.write(b"whole\nop");
    until("a line", || {
        current(&place).ends_with("whole\n").then_some(())
    });
    logger.kill(Signal::TERM);
    logger.until_says("sigterm received.");
    logger.kill(Signal::TERM);
    assert_eq!(logger.wait(), 0);
    assert!(current(&place).ends_with("whole\nop\n"));
}

#[test]
fn hup_reads_the_config_again() {
    let place = place("pone \n");
    let mut logger = Logger::start(&place, &["-v", "log", "later"]);
    logger.write(b"a\n");
    until("one", || (current(&place) == "one a\n").then_some(()));
    place.write("log/config", "ptwo \n");
    place.write("later/config", "");
    logger.kill(Signal::HUP);
    logger.until_says("new: later/current");
    logger.write(b"b\n");
    until("two", || {
        (current(&place) == "one a\ntwo b\n").then_some(())
    });
    assert_eq!(place.read("later/current"), "b\n");
    // What cannot be read leaves what was read before.
    fs::remove_file(place.path("log/config")).unwrap();
    fs::create_dir(place.path("log/config")).unwrap();
    logger.kill(Signal::HUP);
    logger.until_says("unable to read config: log: is a directory");
    logger.write(b"c\n");
    assert_eq!(logger.end(), 0);
    assert!(current(&place).ends_with("two c\n"));
    // Nothing left to log to.
    let mut logger = Logger::start(&place, &["-v", "later"]);
    logger.until_says("append: later/current");
    fs::rename(place.path("later"), place.path("gone")).unwrap();
    logger.kill(Signal::HUP);
    assert_eq!(logger.wait(), 111);
    assert!(
        logger
            .errors()
            .contains("fatal: no functional log directories.")
    );
}

#[test]
fn one_svlogd_has_a_directory() {
    let place = place("");
    let mut first = Logger::start(&place, &["log"]);
    first.write(b"a\n");
    until("a line", || (current(&place) == "a\n").then_some(()));
    place.write("other/config", "");
    let (errors, code) = feed(&place, &["log", "other"], b"b\n");
    assert!(
        errors.contains(": unable to lock directory: log: temporary failure\n")
    );
    assert_eq!((code, place.read("other/current")), (0, "b\n".into()));
    assert_eq!((first.end(), current(&place)), (0, "a\n".into()));
}

#[test]
fn a_current_that_was_not_closed_is_put_aside() {
    let place = place("");
    let mut logger = Logger::start(&place, &["log"]);
    logger.write(b"a\n");
    until("a line", || (current(&place) == "a\n").then_some(()));
    assert_eq!(mode(&place, "log/current"), 0o644);
    logger.kill(Signal::KILL);
    logger.wait();
    let (errors, code) = feed(&place, &["log"], b"b\n");
    assert!(
        errors.contains("log/current was not closed in order"),
        "{errors}"
    );
    assert_eq!((code, current(&place)), (0, "b\n".into()));
    let [old] = &olds(&place, "log")[..] else {
        panic!("one old log")
    };
    assert!(old.ends_with(".u"));
    assert_eq!(bytes(&place, &format!("log/{old}")), b"a\n");
}

#[test]
fn no_name_is_older_than_the_newest() {
    let place = place("s10\nn2\n");
    let future = "@4fffffffffffffff3b9ac9ff.s";
    place.write(&format!("log/{future}"), "future");
    assert_eq!(
        feed(&place, &["-l4", "-b5", "log"], b"1234567\n1234567\n").1,
        0
    );
    let names = olds(&place, "log");
    assert_eq!(names.len(), 2);
    assert!(names[1] > names[0] && names[0].as_str() > future);
}

#[test]
fn a_processor_makes_the_old_logs() {
    let place = place("s20\n!read a; cat <&4; echo $a; echo more >&5\n");
    let input = b"first 8901234567\nsecond 901234567\nthird\n";
    let (errors, code) = feed(&place, &["-l4", "-b5", "log"], input);
    assert_eq!((errors.as_str(), code), ("", 0));
    let names = olds(&place, "log");
    let texts: Vec<_> = names
        .iter()
        .map(|name| place.read(&format!("log/{name}")))
        .collect();
    assert_eq!(texts, ["first 8901234567\n", "more\nsecond 901234567\n"]);
    assert!(names.iter().all(|name| name.ends_with(".s")));
    assert_eq!(mode(&place, &format!("log/{}", names[0])), 0o744);
    assert_eq!(
        (place.read("log/state"), current(&place)),
        ("more\n".into(), "third\n".into())
    );
    assert!(!place.path("log/newstate").exists());
}

#[test]
fn a_processor_is_waited_for_by_the_next_rotation_only() {
    let place = place("");
    let fifo = place.path("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU)
        .unwrap();
    let config = format!("s20\n!cat {} > /dev/null; cat\n", fifo.display());
    place.write("log/config", &config);
    let mut logger = Logger::start(&place, &["-v", "-l4", "-b5", "log"]);
    logger.write(b"1234567890123456\n");
    logger.until_says("processing:");
    // The input goes on, also over a HUP.
    logger.write(b"a\n");
    until("a", || (current(&place) == "a\n").then_some(()));
    logger.kill(Signal::HUP);
    logger.until_says("append:");
    logger.write(b"b\n");
    until("b", || (current(&place) == "a\nb\n").then_some(()));
    // Another rotation waits.
    logger.write(b"1234567890123456\nlast\n");
    until("the end of the file", || {
        (current(&place).len() == 20).then_some(())
    });
    assert_eq!(
        olds(&place, "log")
            .iter()
            .filter(|name| name.ends_with(".u"))
            .count(),
        1
    );
    fs::write(&fifo, "x").unwrap();
    until("the second one", || {
        (logger.errors().matches("processing:").count() == 2).then_some(())
    });
    fs::write(&fifo, "x").unwrap();
    assert_eq!(logger.end(), 0);
    let expected = b"1234567890123456\na\nb\n1234567890123456\nlast\n";
    assert_eq!(all(&place, "log"), expected);
    assert!(olds(&place, "log").iter().all(|name| name.ends_with(".s")));
    assert!(!logger.errors().contains("failed"), "{}", logger.errors());
}

#[test]
fn a_processor_that_fails_or_is_killed_is_tried_again() {
    let place = place(
        "s20\n!echo >> tries; test $(wc -l < tries) = 1 && exit 7; \
         test $(wc -l < tries) = 2 && kill -9 $$; cat\n",
    );
    let (errors, code) =
        feed(&place, &["-l4", "-b5", "log"], b"1234567890123456\n");
    assert_eq!(code, 0);
    assert_eq!(
        errors
            .matches("warning: processor failed, restart: log\n")
            .count(),
        2
    );
    assert_eq!(all(&place, "log"), b"1234567890123456\n");
    assert_eq!(olds(&place, "log").len(), 1);
}

#[test]
fn what_waits_for_a_processor_is_kept_and_taken_up() {
    let place = place("s20\nn1\n!test -e ready || exit 1; cat\n");
    let mut logger = Logger::start(&place, &["-l4", "-b5", "log"]);
    logger.write(b"1234567890123456\n");
    logger.until_says("processor failed, restart: log");
    logger.kill(Signal::TERM);
    logger.kill(Signal::TERM);
    until("the end", || {
        logger.kill(Signal::TERM);
        logger.child.try_wait().unwrap()
    });
    // Two more leftovers, more than n: what waits is never deleted.
    place.write("log/@400000000000000000000001.u", "one\n");
    place.write("log/@400000000000000000000002.u", "two\n");
    place.write("log/@400000000000000000000003.t", "unfinished");
    place.write("log/ready", "");
    place.write("log/config", "s20\nn5\n!test -e ready || exit 1; cat\n");
    assert_eq!(feed(&place, &["-l4", "-b5", "log"], b"last\n").1, 0);
    assert_eq!(all(&place, "log"), b"one\ntwo\n1234567890123456\nlast\n");
    assert!(olds(&place, "log").iter().all(|name| name.ends_with(".s")));
}

#[test]
fn f_brings_lines_onto_the_medium_in_time() {
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let place = place("f1\n");
    let mut command = std::process::Command::new("strace");
    command.args(["-qq", "-e", "trace=fdatasync,write", "-o"]);
    command
        .arg(place.path("trace"))
        .arg(place.path("bin/svlogd"));
    command.arg("log").current_dir(&place.dir);
    let mut logger = Logger::spawn(&place, command);
    logger.write(b"a\n");
    until("fdatasync", || {
        place.read("trace").contains("fdatasync").then_some(())
    });
    drop(logger.child.stdin.take());
    logger.wait();
    let trace = place.read("trace");
    // Once for what was written, and not again for nothing.
    assert_eq!(trace.matches("fdatasync").count(), 1, "{trace}");
}
