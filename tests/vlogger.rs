//! Tests that vlogger sends every line to the daemon of /dev/log, and how it
//! behaves without one.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/shell.rs"]
mod shell;
mod util;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::symlink, net::UnixDatagram},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use util::{Place, until};

/// Returns a test directory whose programs see its `dev` as /dev and its `etc`
/// as /etc. Returns `None` where that is impossible.
fn place() -> Option<Place> {
    if !shell::is_root("vlogger") {
        return None;
    }
    let place = Place::new();
    place.write("dev/null", "");
    fs::create_dir(place.path("etc")).unwrap();
    place.script(
        "within",
        "mount --bind /dev/null dev/null && mount --rbind dev /dev && \
         mount --bind etc /etc || exit 99\nexec \"$@\"",
    );
    let works = command(&place, &["true"]).status().unwrap().success();
    if !works {
        eprintln!("skipped, needs a mount name space: vlogger");
    }
    works.then_some(place)
}

/// Returns a command that sees the test directory's /dev and /etc.
fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "./within"]).args(words);
    command.current_dir(place.dir.path());
    for (name, value) in place.command(&["runt"]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env_remove("LOGNAME");
    command
}

/// The daemon that listens at /dev/log.
struct Daemon(UnixDatagram);

impl Daemon {
    fn new(place: &Place) -> Self {
        let path = place.path("dev/log");
        let _old = fs::remove_file(&path);
        let socket = UnixDatagram::bind(path).unwrap();
        let limit = Some(Duration::from_secs(30));
        socket.set_read_timeout(limit).unwrap();
        Self(socket)
    }

    /// Receives the next message.
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let count = self.0.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    /// Checks that no message is waiting.
    fn is_idle(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let idle = self.0.recv(&mut [0; 1]).is_err();
        self.0.set_nonblocking(false).unwrap();
        idle
    }
}

/// Starts a vlogger that reads a pipe, with its descriptor 2 in `errors`.
fn start(place: &Place, words: &[&str]) -> Child {
    let errors = fs::File::create(place.path("errors")).unwrap();
    let mut command = command(place, words);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(errors).spawn().unwrap()
}

/// Writes to a child's pipe.
fn feed(child: &mut Child, text: &str) {
    let pipe = child.stdin.as_mut().unwrap();
    pipe.write_all(text.as_bytes()).unwrap();
}

/// Closes the input, waits for the child and returns its exit code.
fn end(mut child: Child) -> Option<i32> {
    drop(child.stdin.take());
    child.wait().unwrap().code()
}

/// Waits until a vlogger handles signals.
fn until_ready(child: &Child) -> Pid {
    let path = format!("/proc/{}/status", child.id());
    until("a blocked TERM", || {
        let status = fs::read_to_string(&path).ok()?;
        let blocked = status.lines().find_map(|l| l.strip_prefix("SigBlk:"));
        let blocked = u64::from_str_radix(blocked?.trim(), 16).unwrap();
        (blocked & (1 << 14) != 0).then_some(())
    });
    Pid::from_child(child)
}

#[test]
fn a_message_and_its_head() {
    let Some(place) = place() else { return };
    let daemon = Daemon::new(&place);
    let sent = |words: &[&str]| {
        let all = [&["vlogger"], words].concat();
        let said = util::said(command(&place, &all).env("LOGNAME", "joe"));
        assert_eq!((said.out.as_str(), said.code), ("", 0), "{said:?}");
        (daemon.next(), said.err)
    };
    let plain = |words: &[&str]| sent(words).0;
    assert_eq!(plain(&["hello", "world"]), "<13>joe: hello world");
    assert_eq!(
        plain(&["-t", "web", "-p", "local7.err", "x"]),
        "<187>web: x"
    );
    assert_eq!(plain(&["-p", "kern", "--", "-x"]), "<29>joe: -x");
    let (message, copy) = sent(&["-ist", "web", "a\x1b"]);
    let text = message.strip_prefix("<13>web[").unwrap();
    let (pid, text) = text.split_once("]: ").unwrap();
    assert!(pid.parse::<u32>().is_ok() && text == "a\x1b", "{message:?}");
    assert_eq!(copy, format!("web[{pid}]: a?\n"));
    let own = command(&place, &["vlogger", "-S", "x"]).status().unwrap();
    assert!(own.success());
    assert_eq!(daemon.next(), "<13>vlogger: x");
    assert!(daemon.is_idle());
}

#[test]
fn a_line_is_a_message_or_several() {
    let Some(place) = place() else { return };
    let daemon = Daemon::new(&place);
    let tag = "t".repeat(255);
    let head = &format!("<13>{tag}: ");
    let room = 1024 - head.len();
    let text = format!(
        "one\n\ntwo\0\n{}\n{}\n{}tail",
        "x".repeat(room),
        "y".repeat(room + 1),
        "z".repeat(5000),
    );
    place.write("text", &text);
    // The receiver's queue need not hold all of them.
    let child = start(&place, &["vlogger", "-t", &tag, "-f", "text"]);
    let next = || {
        daemon
            .next()
            .strip_prefix(head.as_str())
            .unwrap()
            .to_string()
    };
    assert_eq!(next(), "one");
    assert_eq!(next(), "");
    assert_eq!(next(), "two?");
    assert_eq!(next(), "x".repeat(room));
    assert_eq!(next(), "y".repeat(room));
    assert_eq!(next(), "y");
    let mut long = String::new();
    while long.len() < 5004 {
        long.push_str(&next());
    }
    assert_eq!(long, format!("{}tail", "z".repeat(5000)));
    assert_eq!(end(child), Some(0));
    assert_eq!(place.read("errors"), "");
    assert!(daemon.is_idle());
}

#[test]
fn a_log_service_is_a_link_to_it() {
    let Some(place) = place() else { return };
    let daemon = Daemon::new(&place);
    place.service("web", "echo hello; exec sleep 1000");
    fs::create_dir(place.path("services/web/log")).unwrap();
    // Through a second link, as with Debian's alternatives.
    symlink(
        place.path("bin/vlogger"),
        place.path("services/web/log/linked"),
    )
    .unwrap();
    symlink("linked", place.path("services/web/log/run")).unwrap();
    let mut child = start(&place, &["runsv", "services/web"]);
    assert_eq!(daemon.next(), "<29>web: hello");
    // Stopped and started again, it continues.
    let said = place.run(&["sv", "-w", "20", "restart", "web/log"]);
    assert_eq!(said.code, 0, "{said:?}");
    place.control("web", "t");
    assert_eq!(daemon.next(), "<29>web: hello");
    let said = place.run(&["sv", "-w", "20", "exit", "web"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_daemon_that_is_restarted_gets_every_line() {
    let Some(place) = place() else { return };
    let mut child = start(&place, &["vlogger", "-t", "a"]);
    let daemon = Daemon::new(&place);
    feed(&mut child, "1\n");
    assert_eq!(daemon.next(), "<13>a: 1");
    // The socket refuses, then it is missing, then a new one exists.
    drop(daemon);
    feed(&mut child, "2\n");
    fs::remove_file(place.path("dev/log")).unwrap();
    feed(&mut child, "3\n");
    let daemon = Daemon::new(&place);
    assert_eq!(daemon.next(), "<13>a: 2");
    assert_eq!(daemon.next(), "<13>a: 3");
    // The daemon does not read for a while: more than its queue holds is sent.
    let lines: Vec<String> = (0..3000).map(|n| format!("{n}\n")).collect();
    let text = lines.concat();
    std::thread::scope(|scope| {
        scope.spawn(|| feed(&mut child, &text));
        std::thread::sleep(Duration::from_millis(500));
        for n in 0..3000 {
            assert_eq!(daemon.next(), format!("<13>a: {n}"));
        }
    });
    assert_eq!(end(child), Some(0));
    assert_eq!(place.read("errors"), "");
}

#[test]
fn a_daemon_that_is_missing_stops_nobody_for_long() {
    let Some(place) = place() else { return };
    let mut child = start(&place, &["vlogger", "-t", "a"]);
    let began = Instant::now();
    // More than the pipe and all buffers hold.
    let lines = 50_000;
    feed(&mut child, &"some line\n".repeat(lines));
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(5), "{waited:?}");
    let said = "vlogger: warning: unable to send to /dev/log: \
                file does not exist: dropping messages\n";
    assert_eq!(place.read("errors"), said);
    until("an empty pipe", || {
        let pipe = child.stdin.as_ref().unwrap();
        (rustix::io::ioctl_fionread(pipe).unwrap() == 0).then_some(())
    });
    let daemon = Daemon::new(&place);
    feed(&mut child, "next\n");
    let dropped = daemon.next();
    let number = dropped.strip_prefix("<13>a: ").unwrap();
    let number = number.strip_suffix(" messages dropped").unwrap();
    let number: usize = number.parse().unwrap();
    // Lines that vlogger read last may have been sent.
    let mut taken = 0;
    while daemon.next() != "<13>a: next" {
        taken += 1;
    }
    assert_eq!(number + taken, lines);
    assert_eq!(end(child), Some(0));
    assert_eq!(place.read("errors"), said);
    // A message from the command line is retried for only a second.
    drop(daemon);
    let began = Instant::now();
    let said = util::said(&mut command(&place, &["vlogger", "-t", "a", "x"]));
    assert!(began.elapsed() < Duration::from_secs(8));
    let err = "vlogger: warning: unable to send to /dev/log: \
               connection refused: dropping messages\n\
               vlogger: warning: 1 messages dropped\n";
    assert_eq!((said.err.as_str(), said.code), (err, 111));
}

#[test]
fn a_signal_ends_it_whatever_the_daemon_does() {
    let Some(place) = place() else { return };
    let mut child = start(&place, &["vlogger", "-t", "a"]);
    let pid = until_ready(&child);
    let began = Instant::now();
    feed(&mut child, "1\n2\n3");
    until("an empty pipe", || {
        let pipe = child.stdin.as_ref().unwrap();
        (rustix::io::ioctl_fionread(pipe).unwrap() == 0).then_some(())
    });
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(111));
    assert!(began.elapsed() < Duration::from_secs(8));
    let end = "vlogger: warning: 3 messages dropped\n";
    assert!(place.read("errors").ends_with(end));
    // With a daemon nothing is lost, and HUP and ALRM end it too.
    let daemon = Daemon::new(&place);
    for signal in [Signal::TERM, Signal::HUP, Signal::ALARM] {
        let mut child = start(&place, &["vlogger", "-t", "a"]);
        let pid = until_ready(&child);
        feed(&mut child, "1\n2");
        assert_eq!(daemon.next(), "<13>a: 1");
        kill_process(pid, signal).unwrap();
        assert_eq!(daemon.next(), "<13>a: 2");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn another_program_takes_its_place() {
    let Some(place) = place() else { return };
    let daemon = Daemon::new(&place);
    place.script("etc/vlogger", "echo \"$0 $*\"; cat");
    place.write("text", "line\n");
    let run = |words: &[&str]| {
        let said = util::said(&mut command(&place, words));
        assert_eq!((said.err.as_str(), said.code), ("", 0));
        said.out
    };
    let shown = "/etc/vlogger web warning daemon\nline\n";
    let words = ["vlogger", "-t", "web", "-p", "kern.warn", "-f", "text"];
    assert_eq!(run(&words), shown);
    place.script("services/app/log/show", "exec ./run < ../../../text");
    symlink(
        place.path("bin/vlogger"),
        place.path("services/app/log/run"),
    )
    .unwrap();
    let service = "cd services/app/log; ./show";
    assert_eq!(
        run(&["sh", "-c", service]),
        "/etc/vlogger app notice daemon\nline\n"
    );
    assert!(daemon.is_idle());
    symlink("vlogger", place.path("bin/logger")).unwrap();
    for words in [
        &["vlogger", "-St", "web", "-f", "text"][..],
        &["logger", "-t", "web", "-f", "text"],
        &["vlogger", "-t", "web", "line"],
    ] {
        assert_eq!(run(words), "");
        assert_eq!(daemon.next(), "<13>web: line");
    }
    // A file that cannot be executed is ignored.
    fs::write(place.path("etc/vlogger"), "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(place.path("etc/vlogger"), mode).unwrap();
    assert_eq!(run(&["vlogger", "-t", "web", "-f", "text"]), "");
    assert_eq!(daemon.next(), "<13>web: line");
}

#[test]
fn usage() {
    let place = Place::new();
    let own = place.path("bin/vlogger").display().to_string();
    let usage = format!(
        "usage: {own} [-isS] [-f file] [-p pri] [-t tag] [message ...]\n\n"
    );
    let said = |words: &[&str]| {
        let said = place.run(&[&["vlogger"], words].concat());
        (said.err, said.code)
    };
    let illegal = format!("vlogger: illegal option -- n\n{usage}");
    assert_eq!(said(&["-n"]), (illegal, 1));
    let priority = format!("vlogger: unknown priority: notice\n{usage}");
    assert_eq!(said(&["-p", "notice"]), (priority, 1));
    assert_eq!(said(&["-f", "file", "message"]), (usage, 1));
    let missing = "vlogger: fatal: unable to open nosuch: \
                   file does not exist\n";
    assert_eq!(said(&["-f", "nosuch"]), (missing.into(), 111));
    let tag = "vlogger: fatal: the tag is too long (the bound is 255)\n";
    assert_eq!(said(&["-t", &"t".repeat(256), "x"]), (tag.into(), 111));
    let mut errors = String::new();
    let mut child = place
        .command(&["vlogger", "-f", "."])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = child.stderr.as_mut().unwrap();
    let _count = pipe.read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "vlogger: fatal: unable to read: is a directory\n");
    assert_eq!(child.wait().unwrap().code(), Some(111));
}
