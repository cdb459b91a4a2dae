//! Tests that a full descriptor 2 blocks no program that serves others,
//! whatever kind of file it is, and that lost lines are counted.

use std::{
    fs,
    io::Read as _,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{fs::PermissionsExt as _, net::UnixStream, process::CommandExt},
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
};

use crate::util::{STAY, TestDir, skip, until};

/// Number of services with a file `log` and an invalid `runt/log-ring`, which
/// cause two warnings each.
const NOISY: usize = 60;

/// A descriptor 2 and its other end.
struct Stderr {
    /// The end that programs get.
    writer: OwnedFd,
    /// The end that the test reads.
    reader: fs::File,
    /// A nonblocking descriptor for the same end.
    filler: OwnedFd,
    /// True if poll reports it writable with hardly any room.
    fine: bool,
}

impl Stderr {
    /// Creates a pseudo-terminal.
    fn terminal() -> Self {
        let flags =
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let main = openpt(flags).unwrap();
        unlockpt(&main).unwrap();
        let peer = |more| ioctl_tiocgptpeer(&main, flags | more).unwrap();
        let writer = peer(OpenptFlags::empty());
        let filler = peer(OpenptFlags::empty());
        nonblocking(&filler, true);
        Self {
            writer,
            filler,
            fine: true,
            reader: main.into(),
        }
    }

    /// Creates a FIFO that has no open file description but those created
    /// here.
    fn fifo(tmp: &TestDir) -> Self {
        let path = tmp.path("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        let open = |flags| {
            rustix::fs::open(&path, flags | OFlags::CLOEXEC, Mode::empty())
                .unwrap()
        };
        let reader = open(OFlags::RDONLY | OFlags::NONBLOCK);
        let writer = open(OFlags::WRONLY);
        let filler = open(OFlags::WRONLY | OFlags::NONBLOCK);
        Self {
            writer,
            filler,
            fine: true,
            reader: reader.into(),
        }
    }

    /// Creates a socket. Its descriptors share their flags: it is filled, and
    /// blocking again, before a program gets it.
    fn socket() -> Self {
        let (reader, writer) = UnixStream::pair().unwrap();
        let writer = OwnedFd::from(writer);
        nonblocking(&writer, true);
        Self {
            filler: writer.try_clone().unwrap(),
            writer,
            fine: false,
            reader: OwnedFd::from(reader).into(),
        }
    }

    /// Fills it, except for the least room with which poll reports it
    /// writable. A socket, which needs half its buffer free for that, is
    /// filled completely.
    fn fill(&mut self) {
        let block = [b'.'; 1024];
        for size in [block.len(), 1] {
            let block = &block[..size];
            while rustix::io::write(&self.filler, block).is_ok() {}
        }
        nonblocking(&self.reader, true);
        let mut byte = [0; 64];
        while self.fine && !is_writable(&self.writer) {
            self.reader.read_exact(&mut byte).unwrap();
        }
        nonblocking(&self.writer, false);
    }

    /// Appends the bytes that can be read now.
    fn read(&mut self, all: &mut String) {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.reader.read(&mut bytes) {
            *all += &String::from_utf8_lossy(&bytes[..count]);
        }
    }
}

fn nonblocking(file: impl AsFd, is: bool) {
    let mut flags = fcntl_getfl(&file).unwrap();
    flags.set(OFlags::NONBLOCK, is);
    fcntl_setfl(&file, flags).unwrap();
}

fn is_writable(file: &OwnedFd) -> bool {
    let mut rows = [PollFd::new(file, PollFlags::OUT)];
    let now = rustix::event::Timespec::default();
    poll(&mut rows, Some(&now)).unwrap() == 1
}

/// A program with this descriptor 2. Dropping it sends HUP and waits for it.
struct Started(Child);

impl Started {
    fn new(command: &mut Command, stderr: &Stderr) -> Self {
        let stderr = stderr.writer.try_clone().unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.stderr(stderr).spawn().unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _gone = kill_process(Pid::from_child(&self.0), Signal::HUP);
        // Killed when it does not end within five seconds.
        for _ in 0..500 {
            if self.0.try_wait().unwrap().is_some() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _gone = self.0.kill().is_err();
        let _reaped = self.0.wait();
    }
}

/// Creates [`NOISY`] services that cause two warnings of about 100 bytes each.
fn noisy_services(tmp: &TestDir) {
    for number in 0..NOISY {
        let name = format!("{number:0>60}");
        tmp.service(&name, STAY);
        tmp.write(&format!("services/{name}/log"), "");
        tmp.write(&format!("services/{name}/runt/log-ring"), "many");
    }
}

/// Returns the number of lines that a text reports as lost.
fn lost_lines(text: &str, program: &str) -> usize {
    let begin = format!("{program}: warning: standard error was blocked: ");
    text.lines()
        .filter_map(|line| line.split_once(&begin)?.1.split_once(' '))
        .map(|(number, _)| number.parse::<usize>().unwrap())
        .sum()
}

/// Checks that the supervisor continues while descriptor 2 is full, and that
/// all lines, or the number of lost ones, arrive when it is read.
fn a_full_one_blocks_nothing(
    tmp: &TestDir,
    mut stderr: Stderr,
    user: Option<u32>,
) {
    noisy_services(tmp);
    let mut command = tmp.command(&["runsvdir", "services"]);
    if let Some(user) = user {
        let all = fs::Permissions::from_mode(0o777);
        fs::set_permissions(tmp.path(""), all.clone()).unwrap();
        for entry in fs::read_dir(tmp.path("services")).unwrap() {
            let path = entry.unwrap().path();
            fs::set_permissions(path, all.clone()).unwrap();
        }
        command.uid(user).gid(user);
    }
    stderr.fill();
    let _all = Started::new(&mut command, &stderr);
    for number in 0..NOISY {
        tmp.until_stat(&format!("{number:0>60}"), "run");
    }
    let name = format!("{:0>60}", NOISY - 1);
    let output = tmp.run(&["sv", "-w", "20", "restart", &name]);
    assert_eq!(output.code, 0, "{output:?}");
    assert!(
        !fcntl_getfl(&stderr.writer)
            .unwrap()
            .contains(OFlags::NONBLOCK)
    );
    let mut text = String::new();
    until("all lines, or their number", || {
        stderr.read(&mut text);
        let told = text.matches(": warning: ./").count();
        (told + lost_lines(&text, "runsvdir") == 2 * NOISY).then_some(())
    });
    assert!(lost_lines(&text, "runsvdir") > 0, "{text}");
    assert!(text.contains("runsv 0"), "{text}");
}

#[test]
fn a_full_terminal_blocks_no_supervisor() {
    let tmp = TestDir::new();
    a_full_one_blocks_nothing(&tmp, Stderr::terminal(), None);
}

#[test]
fn a_full_fifo_blocks_no_supervisor() {
    let tmp = TestDir::new();
    let stderr = Stderr::fifo(&tmp);
    a_full_one_blocks_nothing(&tmp, stderr, None);
}

#[test]
fn a_full_socket_blocks_no_supervisor() {
    let tmp = TestDir::new();
    a_full_one_blocks_nothing(&tmp, Stderr::socket(), None);
}

/// Another user may not reopen a file that root has opened.
#[test]
fn a_descriptor_that_cannot_be_reopened_blocks_no_supervisor() {
    if !rustix::process::getuid().is_root() {
        return skip("needs root");
    }
    let nobody = Some(65534);
    let tmp = TestDir::new();
    a_full_one_blocks_nothing(&tmp, Stderr::terminal(), nobody);
    let tmp = TestDir::new();
    let stderr = Stderr::fifo(&tmp);
    a_full_one_blocks_nothing(&tmp, stderr, nobody);
}

#[test]
fn a_full_terminal_blocks_no_shared_logger() {
    let tmp = TestDir::new();
    let odd = "what is this\n".repeat(200);
    tmp.write("services/a/log/config", &odd);
    tmp.service("a", &format!("echo a; {STAY}"));
    // Each line of this one is copied to descriptor 2.
    tmp.write("services/b/log/config", "e*\n");
    tmp.service("b", &format!("seq 2000; {STAY}"));
    let mut stderr = Stderr::terminal();
    stderr.fill();
    let mut command = tmp.command(&["runsvdir", "services"]);
    let _all = Started::new(&mut command, &stderr);
    until("the log of b", || {
        let log = tmp.read("services/b/log/current");
        (log.lines().count() == 2000).then_some(())
    });
    until("the log of a", || {
        (tmp.read("services/a/log/current") == "a\n").then_some(())
    });
    let mut text = String::new();
    until("the number of lost lines", || {
        stderr.read(&mut text);
        (lost_lines(&text, "svlogger") > 0).then_some(())
    });
}

#[test]
fn svlogd_copying_to_a_full_terminal_can_be_terminated() {
    let tmp = TestDir::new();
    tmp.write("log/config", "e*\n");
    let mut stderr = Stderr::terminal();
    stderr.fill();
    let mut command = tmp.command(&["svlogd", "log"]);
    let (reader, writer) = std::io::pipe().unwrap();
    command.stdin(reader).stdout(Stdio::null());
    let mut logger = command
        .stderr(stderr.writer.try_clone().unwrap())
        .spawn()
        .unwrap();
    drop(command);
    rustix::io::write(&writer, "line\n".repeat(2000).as_bytes()).unwrap();
    until("svlogd to wait for the terminal", || {
        let path = format!("/proc/{}/wchan", logger.id());
        let polls = fs::read_to_string(path).unwrap().contains("poll");
        (polls && !is_writable(&stderr.writer)).then_some(())
    });
    kill_process(Pid::from_child(&logger), Signal::TERM).unwrap();
    drop(writer);
    until("the end of svlogd", || logger.try_wait().unwrap());
    let log = tmp.read("log/current");
    assert_eq!(log, "line\n".repeat(2000));
}
