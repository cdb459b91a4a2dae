//! Tests that vlogger sends every line to the daemon of /dev/log, and how it
//! behaves without one.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::symlink, net::UnixDatagram},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};

use crate::util::{self, TestDir, shell, uninterrupted, until};

/// Returns a test directory whose programs see its `dev` as /dev and its `etc`
/// as /etc. Returns `None` where that is impossible.
fn vlogger_dir() -> Option<TestDir> {
    if !shell::is_root("vlogger") {
        return None;
    }
    let tmp = TestDir::new();
    tmp.write("dev/null", "");
    fs::create_dir(tmp.path("etc")).unwrap();
    tmp.script(
        "within",
        "mount --bind /dev/null dev/null && mount --rbind dev /dev && \
         mount --bind etc /etc || exit 99\nexec \"$@\"",
    );
    let works = command(&tmp, &["true"]).status().unwrap().success();
    if !works {
        eprintln!("skipped, needs a mount name space: vlogger");
    }
    works.then_some(tmp)
}

/// Returns a command that sees the test directory's /dev and /etc.
fn command(tmp: &TestDir, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-m", "./within"]).args(words);
    command.current_dir(tmp.dir.path());
    for (name, value) in tmp.command(&["runt"]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.env_remove("LOGNAME");
    command
}

/// The daemon that listens at /dev/log.
struct Daemon(UnixDatagram);

impl Daemon {
    fn new(tmp: &TestDir) -> Self {
        let path = tmp.path("dev/log");
        let _old = fs::remove_file(&path);
        let socket = UnixDatagram::bind(path).unwrap();
        let limit = Some(Duration::from_secs(30));
        socket.set_read_timeout(limit).unwrap();
        Self(socket)
    }

    /// Receives the next message.
    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let count =
            uninterrupted(|| self.0.recv(&mut buffer)).expect("a message");
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    /// Returns true if its queue takes no more messages.
    fn is_full(&self, tmp: &TestDir) -> bool {
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(tmp.path("dev/log")).unwrap();
        let mut rows = [PollFd::new(&sender, PollFlags::OUT)];
        poll(&mut rows, Some(&Timespec::default())).unwrap() == 0
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
fn start(tmp: &TestDir, words: &[&str]) -> Child {
    let errors = fs::File::create(tmp.path("errors")).unwrap();
    let mut command = command(tmp, words);
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
fn message_format() {
    let Some(tmp) = vlogger_dir() else { return };
    let daemon = Daemon::new(&tmp);
    let sent = |words: &[&str]| {
        let all = [&["vlogger"], words].concat();
        let output = util::output_of(command(&tmp, &all).env("LOGNAME", "joe"));
        assert_eq!(
            (output.stdout.as_str(), output.code),
            ("", 0),
            "{output:?}"
        );
        (daemon.next(), output.stderr)
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
    let own = command(&tmp, &["vlogger", "-S", "x"]).status().unwrap();
    assert!(own.success());
    assert_eq!(daemon.next(), "<13>vlogger: x");
    assert!(daemon.is_idle());
}

#[test]
fn long_lines_are_split() {
    let Some(tmp) = vlogger_dir() else { return };
    let daemon = Daemon::new(&tmp);
    let tag = "t".repeat(255);
    let head = &format!("<13>{tag}: ");
    let room = 1024 - head.len();
    let text = format!(
        "one\n\ntwo\0\n{}\n{}\n{}tail",
        "x".repeat(room),
        "y".repeat(room + 1),
        "z".repeat(5000),
    );
    tmp.write("text", &text);
    // The receiver's queue need not hold all of them.
    let child = start(&tmp, &["vlogger", "-t", &tag, "-f", "text"]);
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
    assert_eq!(tmp.read("errors"), "");
    assert!(daemon.is_idle());
}

#[test]
fn log_run_can_be_a_link() {
    let Some(tmp) = vlogger_dir() else { return };
    let daemon = Daemon::new(&tmp);
    tmp.service("web", "echo hello; exec sleep 1000");
    fs::create_dir(tmp.path("services/web/log")).unwrap();
    // Through a second link, as with Debian's alternatives.
    symlink(tmp.path("bin/vlogger"), tmp.path("services/web/log/linked"))
        .unwrap();
    symlink("linked", tmp.path("services/web/log/run")).unwrap();
    let mut child = start(&tmp, &["runsv", "services/web"]);
    assert_eq!(daemon.next(), "<29>web: hello");
    // Stopped and started again, it continues.
    let output = tmp.run(&["sv", "-w", "20", "restart", "web/log"]);
    assert_eq!(output.code, 0, "{output:?}");
    tmp.control("web", "t");
    assert_eq!(daemon.next(), "<29>web: hello");
    let output = tmp.run(&["sv", "-w", "20", "exit", "web"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_restarted_daemon_gets_every_line() {
    let Some(tmp) = vlogger_dir() else { return };
    let mut child = start(&tmp, &["vlogger", "-t", "a"]);
    let daemon = Daemon::new(&tmp);
    feed(&mut child, "1\n");
    assert_eq!(daemon.next(), "<13>a: 1");
    // The socket refuses, then it is missing, then a new one exists.
    drop(daemon);
    feed(&mut child, "2\n");
    fs::remove_file(tmp.path("dev/log")).unwrap();
    feed(&mut child, "3\n");
    let daemon = Daemon::new(&tmp);
    assert_eq!(daemon.next(), "<13>a: 2");
    assert_eq!(daemon.next(), "<13>a: 3");
    // The daemon does not read for a while: more than its queue holds is sent.
    let lines: Vec<String> = (0..3000).map(|n| format!("{n}\n")).collect();
    let text = lines.concat();
    std::thread::scope(|scope| {
        scope.spawn(|| feed(&mut child, &text));
        until("a full queue", || daemon.is_full(&tmp).then_some(()));
        for n in 0..3000 {
            assert_eq!(daemon.next(), format!("<13>a: {n}"));
        }
    });
    assert_eq!(end(child), Some(0));
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_missing_daemon_blocks_only_briefly() {
    let Some(tmp) = vlogger_dir() else { return };
    let mut child = start(&tmp, &["vlogger", "-t", "a"]);
    let began = Instant::now();
    // More than the pipe and all buffers hold.
    let lines = 50_000;
    feed(&mut child, &"some line\n".repeat(lines));
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(5), "{waited:?}");
    let output = "vlogger: warning: unable to send to /dev/log: \
                file does not exist: dropping messages\n";
    assert_eq!(tmp.read("errors"), output);
    until("an empty pipe", || {
        let pipe = child.stdin.as_ref().unwrap();
        (rustix::io::ioctl_fionread(pipe).unwrap() == 0).then_some(())
    });
    let daemon = Daemon::new(&tmp);
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
    assert_eq!(tmp.read("errors"), output);
    // A message from the command line is retried for only a second.
    drop(daemon);
    let output =
        util::output_of(&mut command(&tmp, &["vlogger", "-t", "a", "x"]));
    let err = "vlogger: warning: unable to send to /dev/log: \
               connection refused: dropping messages\n\
               vlogger: warning: 1 messages dropped\n";
    assert_eq!((output.stderr.as_str(), output.code), (err, 111));
}

#[test]
fn signals_end_it_with_and_without_a_daemon() {
    let Some(tmp) = vlogger_dir() else { return };
    let mut child = start(&tmp, &["vlogger", "-t", "a"]);
    let pid = until_ready(&child);
    feed(&mut child, "1\n2\n3");
    until("an empty pipe", || {
        let pipe = child.stdin.as_ref().unwrap();
        (rustix::io::ioctl_fionread(pipe).unwrap() == 0).then_some(())
    });
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(111));
    let end = "vlogger: warning: 3 messages dropped\n";
    assert!(tmp.read("errors").ends_with(end));
    // With a daemon nothing is lost, and HUP and ALRM end it too.
    let daemon = Daemon::new(&tmp);
    for signal in [Signal::TERM, Signal::HUP, Signal::ALARM] {
        let mut child = start(&tmp, &["vlogger", "-t", "a"]);
        let pid = until_ready(&child);
        feed(&mut child, "1\n2");
        assert_eq!(daemon.next(), "<13>a: 1");
        kill_process(pid, signal).unwrap();
        assert_eq!(daemon.next(), "<13>a: 2");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn local_facility_programs() {
    let Some(tmp) = vlogger_dir() else { return };
    let daemon = Daemon::new(&tmp);
    tmp.script("etc/vlogger", "echo \"$0 $*\"; cat");
    tmp.write("text", "line\n");
    let run = |words: &[&str]| {
        let output = util::output_of(&mut command(&tmp, words));
        assert_eq!((output.stderr.as_str(), output.code), ("", 0));
        output.stdout
    };
    let shown = "/etc/vlogger web warning daemon\nline\n";
    let words = ["vlogger", "-t", "web", "-p", "kern.warn", "-f", "text"];
    assert_eq!(run(&words), shown);
    tmp.script("services/app/log/show", "exec ./run < ../../../text");
    symlink(tmp.path("bin/vlogger"), tmp.path("services/app/log/run")).unwrap();
    let service = "cd services/app/log; ./show";
    assert_eq!(
        run(&["sh", "-c", service]),
        "/etc/vlogger app notice daemon\nline\n"
    );
    assert!(daemon.is_idle());
    symlink("vlogger", tmp.path("bin/logger")).unwrap();
    for words in [
        &["vlogger", "-St", "web", "-f", "text"][..],
        &["logger", "-t", "web", "-f", "text"],
        &["vlogger", "-t", "web", "line"],
    ] {
        assert_eq!(run(words), "");
        assert_eq!(daemon.next(), "<13>web: line");
    }
    // A file that cannot be executed is ignored.
    fs::write(tmp.path("etc/vlogger"), "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(tmp.path("etc/vlogger"), mode).unwrap();
    assert_eq!(run(&["vlogger", "-t", "web", "-f", "text"]), "");
    assert_eq!(daemon.next(), "<13>web: line");
}

#[test]
fn usage() {
    let tmp = TestDir::new();
    let own = tmp.path("bin/vlogger").display().to_string();
    let usage = format!(
        "usage: {own} [-isS] [-f file] [-p pri] [-t tag] [message ...]\n\n"
    );
    let output = |words: &[&str]| {
        let output = tmp.run(&[&["vlogger"], words].concat());
        (output.stderr, output.code)
    };
    let illegal = format!("vlogger: illegal option -- n\n{usage}");
    assert_eq!(output(&["-n"]), (illegal, 1));
    let priority = format!("vlogger: unknown priority: notice\n{usage}");
    assert_eq!(output(&["-p", "notice"]), (priority, 1));
    assert_eq!(output(&["-f", "file", "message"]), (usage, 1));
    let missing = "vlogger: fatal: unable to open nosuch: \
                   file does not exist\n";
    assert_eq!(output(&["-f", "nosuch"]), (missing.into(), 111));
    let tag = "vlogger: fatal: the tag is too long (the bound is 255)\n";
    assert_eq!(output(&["-t", &"t".repeat(256), "x"]), (tag.into(), 111));
    let mut errors = String::new();
    let mut child = tmp
        .command(&["vlogger", "-f", "."])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipe = child.stderr.as_mut().unwrap();
    let _count = pipe.read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "vlogger: fatal: unable to read: is a directory\n");
    assert_eq!(child.wait().unwrap().code(), Some(111));
}
