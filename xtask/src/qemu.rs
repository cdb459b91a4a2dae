//! Runs a board in QEMU and gives programs access to its console.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use regex::Regex;

use crate::{board::Board, image::Image, setup::Fetched};

/// Returns the QEMU command for a board, without its console.
pub fn command(board: &Board, kit: &Fetched, image: &Image) -> Result<Command> {
    let mut command = machine(board, kit)?;
    if let Some(dtb) = &kit.dtb {
        command.arg("-dtb").arg(dtb);
    }
    command
        .arg("-kernel")
        .arg(&kit.kernel)
        .arg("-initrd")
        .arg(&image.initramfs);
    let words = image.disk.as_ref().map_or("", |disk| &disk.words);
    // A scenario's own words follow, and take precedence.
    let append = format!("{words} {}", parameters(board));
    command.args(["-append", &append]);
    if let Some(disk) = &image.disk {
        add_disk(&mut command, board, &disk.file, disk.options)?;
    }
    Ok(command)
}

/// Returns the QEMU command for the machine alone.
pub fn machine(board: &Board, kit: &Fetched) -> Result<Command> {
    let qemu = board.qemu()?;
    let mut command = Command::new(&kit.qemu);
    command.args(["-M", &qemu.machine, "-m", &qemu.memory_mib.to_string()]);
    if let Some(cpu) = &qemu.cpu {
        command.args(["-cpu", cpu]);
    }
    command.args(["-nic", "none", "-no-reboot"]);
    command.args(&qemu.extra);
    Ok(command)
}

/// Returns the kernel parameters of a board. If init dies, the run ends at
/// once: the kernel reboots and -no-reboot makes QEMU exit.
pub fn parameters(board: &Board) -> String {
    let console = &board.console;
    format!(
        "console={},{} panic=-1 {}",
        console.device, console.baud, console.cmdline
    )
}

/// Adds a disk to a machine, with these options of QEMU's drive.
pub fn add_disk(
    command: &mut Command,
    board: &Board,
    file: &Path,
    options: &str,
) -> Result<()> {
    let device = board.qemu()?.disk.as_ref().with_context(|| {
        format!("boards/{}.toml: [qemu] has no disk", board.name)
    })?;
    // A comma in a value is doubled.
    let file = file.display().to_string().replace(',', ",,");
    let drive = format!("if=none,id=disk,{options},file={file}");
    let device = format!("{device},drive=disk");
    command.args(["-drive", &drive, "-device", &device]);
    Ok(())
}

/// Factor of all time limits: other parts of the tests run beside a machine.
const PATIENCE: f64 = 3.0;
/// Time for QEMU to exit when it is told to.
const TO_QUIT: Duration = Duration::from_secs(10);
/// Interval at which QEMU is checked for its exit.
const POLL: Duration = Duration::from_millis(20);
/// Delay between a break and the letter that follows it.
const AFTER_BREAK: Duration = Duration::from_millis(500);

/// An event from a reader thread.
enum Event {
    /// Bytes from the console.
    Console(Vec<u8>),
    /// The machine has ended for this reason: the reason in QMP's SHUTDOWN
    /// event.
    Shutdown(String),
}

/// A running machine with all its console output.
pub struct Session {
    child: Child,
    input: ChildStdin,
    /// The QMP connection.
    monitor: UnixStream,
    heard: Receiver<Event>,
    text: String,
    /// Length of the part of `text` that has been matched.
    seen: usize,
    /// Length of `text` when something was last typed.
    typed: usize,
    ended: Option<String>,
    slow: f64,
    /// Set if console output is printed as well.
    pub echo: bool,
    _sockets: tempfile::TempDir,
}

impl Session {
    /// Starts the machine.
    pub fn start(board: &Board, kit: &Fetched, image: &Image) -> Result<Self> {
        Self::run(board, command(board, kit, image)?)
    }

    /// Starts the machine of a command.
    pub fn run(board: &Board, mut command: Command) -> Result<Self> {
        let sockets = tempfile::tempdir()?;
        let socket = sockets.path().join("qmp");
        command
            .args(["-display", "none", "-monitor", "none"])
            .args(["-chardev", "stdio,id=console"])
            .args(["-serial", "chardev:console"])
            // QEMU stays when the machine has ended, so that the event with
            // the reason is received.
            .arg("-no-shutdown")
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run QEMU")?;
        let (Some(input), Some(mut output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("QEMU has no pipes");
        };
        let (tell, heard) = channel();
        let teller = tell.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if teller
                    .send(Event::Console(buffer[..count].to_vec()))
                    .is_err()
                {
                    break;
                }
            }
            let mut text = Vec::new();
            if errors.read_to_end(&mut text).is_ok() && !text.is_empty() {
                let _gone = teller.send(Event::Console(text));
            }
        });
        let limit = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => {
                    let ended = child.try_wait()?;
                    if ended.is_none() && Instant::now() <= limit {
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    let said = message(&heard);
                    match ended {
                        Some(status) => {
                            bail!("QEMU did not start, {status}: {said}")
                        }
                        None => Err(error)
                            .context(format!("QEMU did not start: {said}"))?,
                    }
                }
            }
        };
        let mut monitor = stream.try_clone()?;
        monitor.write_all(b"{\"execute\": \"qmp_capabilities\"}\n")?;
        watch(stream, tell);
        Ok(Self {
            child,
            input,
            monitor,
            heard,
            text: String::new(),
            seen: 0,
            typed: 0,
            ended: None,
            slow: board.qemu()?.slow,
            echo: false,
            _sockets: sockets,
        })
    }

    /// Marks all output since something was last typed as not yet matched.
    pub fn look_again(&mut self) {
        self.seen = self.seen.min(self.typed);
    }

    /// Types on the console.
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.typed = self.text.len();
        self.input
            .write_all(text.as_bytes())
            .context("cannot write to the console")?;
        self.input.flush().context("cannot write to the console")
    }

    /// Presses keys of the machine's keyboard together, for example
    /// `ctrl-alt-delete`.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        let keys = keys
            .split('-')
            .map(|key| serde_json::json!({"type": "qcode", "data": key}));
        let keys: Vec<_> = keys.collect();
        self.command("send-key", &serde_json::json!({ "keys": keys }))
    }

    /// Sends a break on the serial line and then a letter, which the kernel
    /// interprets as a SysRq command.
    pub fn sysrq(&mut self, letter: &str) -> Result<()> {
        let id = serde_json::json!({"id": "console"});
        self.command("chardev-send-break", &id)?;
        // The letter reaches QEMU through a different channel.
        std::thread::sleep(AFTER_BREAK);
        self.send(letter)
    }

    /// Sends a QMP command; the reply is ignored.
    fn command(
        &mut self,
        name: &str,
        arguments: &serde_json::Value,
    ) -> Result<()> {
        let command =
            serde_json::json!({"execute": name, "arguments": arguments});
        writeln!(self.monitor, "{command}").context("cannot write to QMP")
    }

    /// Waits until the console output matches; returns the groups of the
    /// match, the whole match first. Output before the match counts as
    /// matched.
    pub fn expect(
        &mut self,
        pattern: &Regex,
        seconds: f64,
    ) -> Result<Vec<String>> {
        let limit = self.deadline(seconds);
        loop {
            let unseen = &self.text[self.seen..];
            if let Some(found) = pattern.captures(unseen) {
                let groups = found.iter().map(|group| {
                    group
                        .map_or(String::new(), |text| text.as_str().to_string())
                });
                let groups: Vec<String> = groups.collect();
                self.seen += found.get(0).map_or(0, |all| all.end());
                return Ok(groups);
            }
            ensure!(!panicked(unseen), "the kernel panicked");
            if let Some(reason) = &self.ended {
                bail!(
                    "the machine ended ({reason}) before `{pattern}` appeared"
                );
            }
            self.listen(limit).with_context(|| {
                format!(
                    "`{pattern}` did not appear within {:?}",
                    self.limit(seconds)
                )
            })?;
        }
    }

    /// Waits until the machine has ended; returns QMP's reason.
    pub fn end(&mut self, seconds: f64) -> Result<String> {
        let limit = self.deadline(seconds);
        loop {
            if let Some(reason) = self.ended.clone() {
                ensure!(!panicked(&self.text), "the kernel panicked");
                return Ok(reason);
            }
            self.listen(limit).context("the machine did not end")?;
        }
    }

    /// Returns true if the machine has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Returns the last `count` lines of the console.
    pub fn tail(&self, count: usize) -> String {
        let lines: Vec<&str> = self.text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    /// Returns the whole console output.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the instant after so many seconds of the default board.
    pub fn deadline(&self, seconds: f64) -> Instant {
        Instant::now() + self.limit(seconds)
    }

    /// Returns a time limit, longer on a slow board.
    fn limit(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.slow * PATIENCE)
    }

    /// Receives and processes the next event.
    fn listen(&mut self, limit: Instant) -> Result<()> {
        let wait = limit.saturating_duration_since(Instant::now());
        match self.heard.recv_timeout(wait) {
            Ok(Event::Console(bytes)) => {
                self.hear(&bytes);
                Ok(())
            }
            Ok(Event::Shutdown(reason)) => {
                self.ended = Some(reason);
                // The last console output may still be queued after the event.
                while let Ok(Event::Console(bytes)) =
                    self.heard.recv_timeout(Duration::from_millis(300))
                {
                    self.hear(&bytes);
                }
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => bail!("time limit reached"),
            Err(RecvTimeoutError::Disconnected) => {
                let reason = self.gone()?;
                self.ended.get_or_insert(reason);
                Ok(())
            }
        }
    }

    /// Returns the reason when QEMU has exited without an event: before QEMU 8
    /// the power switch of its RISC-V machine (`sifive_test`) simply exits. In
    /// that case the kernel has announced the power-down and the exit code is
    /// 0.
    fn gone(&mut self) -> Result<String> {
        let status = self.child.wait().context("cannot wait for QEMU")?;
        if status.success() && self.text.contains("reboot: Power down") {
            return Ok("guest-shutdown".into());
        }
        Ok(format!("QEMU is gone, {status}"))
    }
}

/// The query of the cursor's position that busybox's shell sends.
const CURSOR_QUERY: &str = "\u{1b}[6n";

impl Session {
    /// Appends console output, without carriage returns and cursor queries.
    fn hear(&mut self, bytes: &[u8]) {
        if self.echo {
            let mut output = std::io::stdout();
            // Whoever read it may be gone; the machine continues.
            let _gone = output.write_all(bytes).and_then(|()| output.flush());
        }
        // A query may have begun in what was heard before.
        let before = self.text[self.seen..].rfind('\u{1b}');
        let before = before.map_or(self.text.len(), |at| self.seen + at);
        let recent = self.text.len() - before < CURSOR_QUERY.len();
        let start = if recent { before } else { self.text.len() };
        self.text.push_str(&String::from_utf8_lossy(bytes));
        let new = self.text.split_off(start).replace('\r', "");
        self.text.push_str(&new.replace(CURSOR_QUERY, ""));
    }

    /// Waits until the machine has ended, at most for `limit`, and ends QEMU.
    pub fn finish(&mut self, limit: Duration) -> Result<End> {
        let until = Instant::now() + limit;
        while self.ended.is_none() && self.listen(until).is_ok() {}
        if self.ended.is_some() {
            // It may have exited already.
            let none = serde_json::json!({});
            let _gone = self.command("quit", &none).is_err();
        }
        let until = Instant::now() + TO_QUIT;
        let code = loop {
            match self.child.try_wait()? {
                Some(status) => break status.code(),
                None if self.ended.is_none() || Instant::now() > until => {
                    break None;
                }
                None => std::thread::sleep(POLL),
            }
        };
        let reason = self.ended.clone();
        Ok(End { reason, code })
    }
}

/// The end of a machine.
#[derive(Clone, Debug)]
pub struct End {
    /// Reason in QMP's SHUTDOWN event, or what became of QEMU; `None` when the
    /// time limit was reached.
    pub reason: Option<String>,
    /// QEMU's exit code, if it has exited with one.
    pub code: Option<i32>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Returns in one line what a QEMU has printed that did not start.
fn message(heard: &Receiver<Event>) -> String {
    /// Longest silence before the last of it.
    const SILENCE: Duration = Duration::from_secs(1);
    let mut said = String::new();
    while let Ok(Event::Console(text)) = heard.recv_timeout(SILENCE) {
        said += &String::from_utf8_lossy(&text);
    }
    said.trim().replace('\n', "; ")
}

/// Reads QMP events in a thread and reports the end of the machine.
fn watch(stream: UnixStream, tell: Sender<Event>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            let Ok(event) = serde_json::from_str::<serde_json::Value>(&line)
            else {
                continue;
            };
            if event["event"] == "SHUTDOWN" {
                let reason = event["data"]["reason"].as_str().unwrap_or("?");
                let _gone = tell.send(Event::Shutdown(reason.into()));
            }
        }
    });
}

/// Returns true if the kernel panicked before it switched the machine off. On a
/// busy host QEMU's Raspberry Pi goes on for a moment after that, and its kernel
/// panics since process 1 has ended.
fn panicked(text: &str) -> bool {
    let running = text.split("reboot: Power down").next();
    running.is_some_and(|text| text.contains("Kernel panic"))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_panic_after_power_off_does_not_count() {
        let panic = "Kernel panic - not syncing: Attempted to kill init!";
        assert!(panicked(panic));
        assert!(panicked(&format!("{panic}\nreboot: Power down")));
        assert!(!panicked(&format!("reboot: Power down\n{panic}")));
    }
}
