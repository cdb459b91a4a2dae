//! Tests that svlogd keeps its input when lines, configs, directories or file
//! modes are unusual or invalid.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/logger.rs"]
mod logger;
#[path = "util/shell.rs"]
mod shell;
mod util;

use std::{fs, os::unix::fs::PermissionsExt as _};

use logger::{Logger, Random, all, bytes, feed, olds, place};
use rustix::process::Signal;
use shell::bound;
use util::until;

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
    // With every setting that inspects lines: the result does not depend on
    // how the input is split.
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
    // It would lose lines: that is detected before the first one is read.
    assert!(errors.contains("log/config: too long (file-bytes: the bound is "));
    assert_eq!((code, place.path("log/current").exists()), (111, false));
    // On HUP the previous config stays in force.
    place.write("log/config", "p1 \n");
    let mut logger = Logger::start(&place, &["log"]);
    logger.write(b"a\n");
    until("a line", || {
        (place.read("log/current") == "1 a\n").then_some(())
    });
    place.write("log/config", &config);
    logger.kill(Signal::HUP);
    logger.until_says("log/config: too long (file-bytes: the bound is ");
    logger.write(b"b\n");
    assert_eq!(logger.end(), 0);
    assert_eq!(place.read("log/current"), "1 a\n1 b\n");
}

#[test]
fn more_than_a_bound_is_refused_at_the_start() {
    let place = place("");
    let names = |count| -> Vec<String> {
        let names = (0..count).map(|number| format!("d{number}"));
        names
            .inspect(|name| place.write(&format!("{name}/config"), ""))
            .collect()
    };
    let dirs = bound(&place, "log-dirs");
    let all = names(dirs + 1);
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    let (errors, code) = feed(&place, &words, b"a\n");
    let said = format!(
        "fatal: too many log directories: d{dirs} (log-dirs: the bound is {dirs})\n"
    );
    assert!(errors.ends_with(&said) && code == 111, "{errors}");
    assert!(!place.path("d0/current").exists());
    // As many as the bound: each has every line.
    assert_eq!(feed(&place, &words[..dirs], b"a\n"), (String::new(), 0));
    assert_eq!(place.read("d0/current"), "a\n");
    assert_eq!(place.read(&format!("d{}/current", dirs - 1)), "a\n");
    let line = bound(&place, "log-line-bytes");
    let (length, more) = ((line + 1).to_string(), (line + 2).to_string());
    let (errors, code) = feed(&place, &["-l", &length, "-b", &more, "d0"], b"");
    let said =
        format!("-l is too long (log-line-bytes: the bound is {line})\n");
    assert!(errors.ends_with(&said) && code == 111, "{errors}");
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
