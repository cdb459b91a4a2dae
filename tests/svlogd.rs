//! Tests that svlogd treats lines, files and signals as its manual says.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/logger.rs"]
mod logger;
mod util;

use std::{fs, net::UdpSocket, time::Duration};

use logger::{Logger, bytes, current, feed, mode, place};
use rustix::process::Signal;
use util::until;

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
fn patterns_choose_lines() {
    let place = place("pX: \n-*\n+*: a*\nE*\ne*b\n");
    let input = b"1: a\n2: b\n3: ab\nc\n";
    let (errors, code) = feed(&place, &["log"], input);
    assert_eq!((errors.as_str(), code), ("X: 2: b\nX: 3: ab\n", 0));
    assert_eq!(current(&place), "X: 1: a\nX: 3: ab\n");
    // Only the first bytes are matched. A longer line is cut there on
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
    // Sending there is not permitted: the line is logged.
    place.write("log/config", "pX: \nU255.255.255.255:9\n");
    fs::remove_file(place.path("log/current")).unwrap();
    assert_eq!(feed(&place, &["log"], b"a\n").1, 0);
    assert_eq!(
        current(&place),
        "warning: failure sending through udp: X: a\n"
    );
}

#[test]
fn lines_are_sent_over_ipv6() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else {
        return util::skipped("there is no IPv6 here");
    };
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let to = socket.local_addr().unwrap();
    let place = place(&format!("u{to}\n"));
    place.write("other/config", "u::1\nu[::1\n");
    let (errors, code) = feed(&place, &["log", "other"], b"a\n");
    assert!(
        errors.ends_with("unable to scan ip address: [::1\n"),
        "{errors}"
    );
    let mut buffer = [0; 10];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], code), (&b"a\n"[..], 0));
    assert_eq!(current(&place), "a\n");
}

#[test]
fn the_config_says_who_reads_the_logs() {
    let place = place("s20\nm640\n!cat >&5; cat state\n");
    let mut logger = Logger::start(&place, &["-l4", "-b5", "log"]);
    logger.write(b"a\n");
    until("a line", || (current(&place) == "a\n").then_some(()));
    assert_eq!(mode(&place, "log/current"), 0o640);
    logger.write(b"1234567890123456\n");
    let old = until("a processed log", || {
        let mut olds = logger::olds(&place, "log").into_iter();
        olds.find(|name| name.ends_with(".s"))
    });
    logger.write(b"b\n");
    assert_eq!(logger.end(), 0);
    assert_eq!(mode(&place, &format!("log/{old}")), 0o740);
    assert_eq!(mode(&place, "log/current"), 0o740);
    assert_eq!(mode(&place, "log/state"), 0o640);
    // It was closed in order: the next svlogd continues it.
    assert_eq!(feed(&place, &["log"], b"c\n"), (String::new(), 0));
    assert!(current(&place).ends_with("c\n"));
    // The group, by number and by name.
    place.write("log/config", "gno:such\n");
    let (errors, _) = feed(&place, &["log"], b"d\n");
    assert!(
        errors.ends_with("log/config: unknown group: no:such\n"),
        "{errors}"
    );
    if !rustix::process::geteuid().is_root() {
        return util::skipped("only root gives files to any group");
    }
    use std::os::unix::fs::MetadataExt as _;
    let group = || fs::metadata(place.path("log/current")).unwrap().gid();
    for (line, expected) in [("g4321\n", 4321), ("groot\n", 0)] {
        place.write("log/config", line);
        assert_eq!(feed(&place, &["log"], b"e\n"), (String::new(), 0));
        assert_eq!((group(), mode(&place, "log/current")), (expected, 0o744));
    }
}

#[test]
fn a_directory_that_can_be_listed_only() {
    if !rustix::process::geteuid().is_root() {
        return util::skipped("only root becomes another user");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let place = place("");
    let open = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.path(name), mode).unwrap();
    };
    open("", 0o755);
    open("log", 0o444);
    let mut command = place.command(&["chpst", "-u", ":65534:65534"]);
    command.arg(place.path("bin/svlogd")).args(["-v", "log"]);
    let mut logger = Logger::spawn(&place, command);
    assert_eq!(logger.end(), 111);
    let svlogd = place.path("bin/svlogd").display().to_string();
    let expected = "\
        X: warning: unable to lock directory: log: access denied\n\
        X: fatal: no functional log directories.\n";
    assert_eq!(logger.errors().replace(&svlogd, "X"), expected);
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
        // The open line is completed; later input is not read.
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
    // A second TERM does not wait for the rest of the line.
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
    // A config that cannot be read leaves the previous one in force.
    fs::remove_file(place.path("log/config")).unwrap();
    fs::create_dir(place.path("log/config")).unwrap();
    logger.kill(Signal::HUP);
    logger.until_says("unable to read config: log: is a directory");
    logger.write(b"c\n");
    assert_eq!(logger.end(), 0);
    assert!(current(&place).ends_with("two c\n"));
    // No directory is left to log to.
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
