//! Runs one machine and reads what its meter prints (xtask/floor).

use std::{path::PathBuf, time::Instant};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::{board::Board, image::Image, qemu, setup::Fetched};

use super::roots::{METER, SERVICES};

/// One nanosecond for each instruction; idle time passes at once. Random
/// numbers and the date are the same each time.
const REPEATABLE: [&str; 6] = [
    "-icount",
    "shift=0,sleep=off",
    "-seed",
    "1",
    "-rtc",
    "base=2030-01-01T00:00:00,clock=vm",
];

/// Seconds for all that a machine does, on an idle host.
const PATIENCE: f64 = 60.0;

/// Names of the processes that are services and loggers.
const SERVED: [&str; 2] = ["run", "boot-service"];

/// Times measured in the life of a machine, in nanoseconds.
#[derive(Debug, Default)]
pub struct Life {
    /// From the start of process 1 to the last service.
    pub up: u64,
    /// Processor time until all was at rest.
    pub boot: u64,
    /// Memory of each supervising process, in kB.
    pub memory: Vec<u64>,
    /// From the end of a service to its next start, and processor time; `None`
    /// if it did not start again.
    pub restart: Option<[u64; 2]>,
    /// Processor time of the period in which a service is killed elsewhere.
    pub at_rest: u64,
    /// Processor time of an idle minute.
    pub idle: u64,
    /// From the command that switches off to the end of the last service, and
    /// processor time; `None` if the meter was killed before.
    pub down: Option<[u64; 2]>,
    /// From that command to the end of the machine.
    pub off: u64,
}

/// Boots an initramfs and returns what its meter printed.
pub fn measure(
    board: &Board,
    kit: &Fetched,
    initramfs: PathBuf,
) -> Result<Life> {
    let mut board = board.clone();
    let words = format!(" rdinit={METER} printk.devkmsg=on printk.time=1");
    board.console.cmdline.push_str(&words);
    let image = Image {
        initramfs,
        disk: None,
    };
    let mut command = qemu::command(&board, kit, &image)?;
    command.args(REPEATABLE);
    let mut machine = qemu::Session::run(&board, command)?;
    let limit = machine.deadline(PATIENCE);
    let limit = limit.duration_since(Instant::now());
    let end = machine.finish(limit)?;
    let text = machine.text();
    let life = read(text).with_context(|| {
        format!("{end:?}; the end of its output:\n{}", machine.tail(20))
    })?;
    ensure!(
        end.reason.as_deref() == Some("guest-shutdown"),
        "the machine ended with {end:?}:\n{}",
        machine.tail(20)
    );
    Ok(life)
}

/// Reads the output of a machine.
fn read(text: &str) -> Result<Life> {
    let find = |pattern: &str| -> Result<Option<[u64; 3]>> {
        let pattern = format!(r"(?m)^\[ *(\d+)\.(\d+)\] {pattern}$");
        let Some(found) = Regex::new(&pattern)?.captures(text) else {
            return Ok(None);
        };
        let number = |group: usize| -> u64 {
            let group = found.get(group).map_or("", |group| group.as_str());
            group.parse().unwrap_or(0)
        };
        let micros = number(1) * 1_000_000 + number(2);
        Ok(Some([micros * 1000, number(3), number(4)]))
    };
    let mut life = Life::default();
    let boot = find(r"bench boot (\d+) \d+ (\d+)")?;
    let [_, count, boot] = boot.context("the meter printed nothing")?;
    let all = 2 * SERVICES as u64;
    ensure!(
        count == all || count == 0,
        "{count} of {all} services and loggers came up"
    );
    life.boot = boot;
    let up = find(r"bench boot \d+ (\d+) \d+")?;
    life.up = up.map_or(0, |[_, up, _]| up);
    let process = Regex::new(r"(?m)bench process (.*) (\d+)$")?;
    for found in process.captures_iter(text) {
        let [name, memory] = found.extract().1;
        if !SERVED.contains(&name) {
            life.memory.push(memory.parse()?);
        }
    }
    let restart = find(r"bench restart 1 (\d+) (\d+)")?;
    life.restart = restart.map(|[_, back, run]| [back, run]);
    let at_rest = find(r"bench restart 0 \d+ (\d+)")?;
    life.at_rest = at_rest.map_or(0, |[_, run, _]| run);
    let idle = find(r"bench idle (\d+)")?;
    life.idle = idle.map_or(0, |[_, run, _]| run);
    let down = find(r"bench down (\d+) (\d+)")?;
    life.down = down.map(|[_, gone, run]| [gone, run]);
    let off = find("reboot: Power down")?;
    if let (Some([end, gone, _]), Some([off, ..])) = (down, off) {
        // The meter printed its line when the last service had ended.
        life.off = (off + gone).saturating_sub(end);
    }
    Ok(life)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_lines_of_a_meter_are_read() {
        let text = "noise\n\
            [   40.000000] bench boot 32 5000 9000\n\
            [   40.100000] bench process init 120\n\
            [   40.100000] bench process run 4\n\
            [   75.000000] bench restart 1 70 80\n\
            [  140.000000] bench idle 12\n\
            [  150.000000] bench down 2000000 33\n\
            [  150.500000] reboot: Power down\n";
        let life = read(text).unwrap();
        assert_eq!((life.up, life.boot, life.idle), (5000, 9000, 12));
        assert_eq!(life.memory, [120]);
        assert_eq!(life.restart, Some([70, 80]));
        assert_eq!(life.down, Some([2_000_000, 33]));
        assert_eq!(life.off, 502_000_000);
        let none = read(&text.replace("restart 1", "restart 0")).unwrap();
        assert_eq!((none.restart, none.at_rest), (None, 80));
        assert!(read(&text.replace("boot 32", "boot 31")).is_err());
        assert!(read("Kernel panic").is_err());
    }
}
