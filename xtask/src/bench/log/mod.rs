//! Measures speed and memory of loggers: each receives a stream of numbered
//! lines, its files are checked line by line, and it is compared with a copy
//! that reads 64 KiB, writes 64 KiB and rotates at 1 MB.

mod logger;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    board, install,
    peers::{self, Peer},
};

use logger::{Kind, Logger, SIZE, Work};

pub use logger::copy;

use super::{
    figures::Figures,
    many,
    process::{self, now},
};

/// The board whose release file is measured: this machine's.
const BOARD: &str = "qemu-x86_64";

/// Bytes of lines that are generated once and sent repeatedly.
const STREAM: usize = 16_000_000;

/// Lines a second: 16 writers with 100 each.
const LINES: u64 = 1600;

/// The name of the rotating copy.
const COPY: &str = "copy";

/// A stream with the bars that ours must meet.
struct Measure {
    name: &'static str,
    /// The stream of the copy that it is compared with.
    base: &'static str,
    /// Length of a line in bytes, including the newline.
    line: usize,
    work: Work,
    /// Minimum share of the copy's speed.
    of_copy: f64,
    /// Minimum multiple of the best peer's speed; 0 for none.
    of_peer: f64,
}

/// Every stream.
const MEASURES: [Measure; 6] = [
    measure("80 bytes", "80 bytes", 80, Work::Plain, 0.6, 3.0),
    measure("80 bytes -t", "80 bytes", 80, Work::Label, 0.35, 2.5),
    measure("80 bytes -tt", "80 bytes", 80, Work::Date, 0.35, 2.5),
    measure(
        "80 bytes, patterns",
        "80 bytes",
        80,
        Work::Patterns,
        0.3,
        0.0,
    ),
    measure("1000 bytes", "1000 bytes", 1000, Work::Plain, 0.7, 0.0),
    measure("1000 bytes -tt", "1000 bytes", 1000, Work::Date, 0.6, 0.0),
];

/// Names of the other measures.
const CPU: &str = "1600 lines a second, CPU us a line";
const DIRTY: &str = "private dirty at full speed, kB";
const DIRTY_SLOW: &str = "private dirty at 100 lines a second, kB";
const WRITTEN: &str = "bytes written for each byte read";
const MEDIUM: &str =
    "100 lines a second: bytes to the medium for each byte logged";

/// Ours with a durable log, and the delay in seconds.
const DURABLE: [(&str, u8); 2] = [("runt f1", 1), ("runt f10", 10)];

/// Returns a row of [`MEASURES`].
const fn measure(
    name: &'static str,
    base: &'static str,
    line: usize,
    work: Work,
    of_copy: f64,
    of_peer: f64,
) -> Measure {
    Measure {
        name,
        base,
        line,
        work,
        of_copy,
        of_peer,
    }
}

/// Returns lines of `line` bytes that begin with a number.
fn stream(line: usize) -> Vec<u8> {
    let mut stream = Vec::with_capacity(STREAM);
    for number in 0..STREAM / line {
        let start = stream.len();
        stream.extend(format!("{number:012} daemon[123]: x").bytes());
        let text = b"accepted a connection from somewhere else, ";
        stream
            .extend(text.iter().cycle().take(start + line - stream.len() - 1));
        stream.push(b'\n');
    }
    stream
}

/// Checks that the kept lines are the end of the stream and whole, whatever
/// precedes them.
fn check(dir: &Path, stream: &[u8], line: usize) -> Result<()> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with('@') || name == "current"
    });
    // `@` sorts before `current`.
    files.sort();
    let mut kept = Vec::new();
    for file in &files {
        fs::File::open(file)?.read_to_end(&mut kept)?;
    }
    ensure!(kept.len() > SIZE, "only {} bytes were kept", kept.len());
    ensure!(kept.ends_with(b"\n"), "the last line was cut");
    let text = kept.strip_suffix(b"\n").unwrap_or(&kept);
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let wanted = stream.chunks(line).rev().cycle();
    // The first line may be incomplete.
    let found = lines.iter().skip(1).rev();
    for (found, wanted) in found.zip(wanted) {
        let wanted = wanted.strip_suffix(b"\n").unwrap_or(wanted);
        ensure!(
            found.ends_with(wanted) && found.len() < line + 40,
            "`{}` where `{}` should be, in {}",
            String::from_utf8_lossy(found),
            String::from_utf8_lossy(wanted),
            dir.display()
        );
    }
    Ok(())
}

/// Implements `cargo xtask bench log`.
pub fn run(quick: bool, rounds: Option<usize>) -> Result<()> {
    let place = super::scratch()?;
    // Not on a tmpfs, where a program's pages count as dirty.
    let bin = super::output_dir()?.join("log-bin");
    install::programs(&board::load(BOARD)?, &bin)?;
    // Pages that are still to be written back would count as dirty too.
    fs::File::open(bin.join("runt"))?.sync_all()?;
    let own = Peer {
        programs: bin,
        libraries: super::output_dir()?,
    };
    let logger = |name, kind, peer| Logger { name, kind, peer };
    let loggers = [
        logger(COPY, Kind::Copy, own.clone()),
        logger("runt", Kind::Svlogd, own),
        logger("runit", Kind::Svlogd, peers::of_host(&["runit"])?),
        logger("s6", Kind::S6, peers::of_host(&peers::S6)?),
        logger(
            "multilog",
            Kind::Multilog,
            peers::of_host(&["daemontools"])?,
        ),
    ];
    let rounds = rounds.unwrap_or(if quick { 2 } else { 9 });
    let mut figures = Figures::default();
    for round in 0..rounds {
        for measure in &MEASURES {
            let stream = stream(measure.line);
            for turn in 0..loggers.len() {
                let Some(logger) = loggers.get((turn + round) % loggers.len())
                else {
                    continue;
                };
                if logger.kind == Kind::Copy && measure.work != Work::Plain {
                    continue;
                }
                let dir = place.path().join("log");
                full(logger, measure, &stream, &dir, round, &mut figures)?;
                fs::remove_dir_all(&dir)?;
            }
        }
        for logger in &loggers {
            let dir = place.path().join("log");
            slow(logger, &dir, round, &mut figures)?;
            fs::remove_dir_all(&dir)?;
        }
        for logger in &loggers {
            let shared = match logger.name {
                "runt" => true,
                "runit" => false,
                _ => continue,
            };
            let (name, peer) = (logger.name, &logger.peer);
            many::look(name, peer, shared, place.path(), round, &mut figures)?;
        }
        let seconds = if quick { 4 } else { 12 };
        medium(&loggers, seconds, round, &mut figures)?;
        println!("round {} of {rounds}", round + 1);
    }
    show(&figures, &loggers)
}

/// Sends a stream at full speed.
fn full(
    logger: &Logger,
    measure: &Measure,
    stream: &[u8],
    dir: &Path,
    round: usize,
    figures: &mut Figures,
) -> Result<()> {
    let Some(mut running) = logger.start(measure.work, dir)? else {
        return Ok(());
    };
    // Some are so slow that a shorter stream suffices.
    let slow = matches!(logger.kind, Kind::S6 | Kind::Multilog)
        || logger.name == "runit";
    let times = if slow { 2 } else { 8 };
    let began = now();
    for time in 0..times {
        running.pipe.write_all(stream)?;
        if time == times / 2 && measure.work == Work::Label {
            let dirty = process::memory(&[running.pid()]).dirty;
            figures.put(DIRTY, logger.name, round, &[dirty]);
        }
    }
    let io = fs::read_to_string(format!("/proc/{}/io", running.pid()))?;
    running.end()?;
    let took = now().saturating_sub(began).max(1);
    let bytes = stream.len() * times;
    let speed = bytes as f64 * 1e3 / took as f64;
    figures.put(measure.name, logger.name, round, &[speed]);
    let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    if measure.name == "80 bytes"
        && logger.kind != Kind::Copy
        && let Some(written) = written.and_then(|text| text.parse::<f64>().ok())
    {
        let ratio = written / bytes as f64;
        figures.put(WRITTEN, logger.name, round, &[ratio]);
    }
    if logger.kind == Kind::Copy {
        // This logger splits lines where it rotates, so nothing can be
        // checked.
        return Ok(());
    }
    check(dir, stream, measure.line)
        .with_context(|| format!("{}, {}", logger.name, measure.name))
}

/// Sends single lines at the rate of 16 writers, and then at a lower one.
fn slow(
    logger: &Logger,
    dir: &Path,
    round: usize,
    figures: &mut Figures,
) -> Result<()> {
    let Some(mut running) = logger.start(Work::Plain, dir)? else {
        return Ok(());
    };
    let line = stream(80);
    let line = line.get(..80).context("a line")?;
    let pid = running.pid();
    let mut send = |count: u64, each: Duration| -> Result<()> {
        for _ in 0..count {
            running.pipe.write_all(line)?;
            sleep(each);
        }
        Ok(())
    };
    send(50, Duration::from_millis(10))?;
    let dirty = process::memory(&[pid]).dirty;
    let before = process::activity(&[pid]).nanos;
    send(LINES, Duration::from_nanos(1_000_000_000 / LINES))?;
    // Wait until it sleeps again.
    sleep(Duration::from_millis(20));
    let nanos = process::activity(&[pid]).nanos - before;
    let each = nanos as f64 / LINES as f64 / 1e3;
    figures.put(CPU, logger.name, round, &[each]);
    if logger.kind != Kind::Copy {
        figures.put(DIRTY_SLOW, logger.name, round, &[dirty]);
    }
    running.end()
}

/// Sends single lines to all loggers, and to ours also with a log made durable
/// every second and every ten. Measures the pages that the kernel counts as
/// written to the medium of the build directory; nothing where that has no
/// medium.
fn medium(
    loggers: &[Logger],
    seconds: u64,
    round: usize,
    figures: &mut Figures,
) -> Result<()> {
    let place = tempfile::tempdir_in(super::output_dir()?)?;
    let ours = loggers.iter().find(|logger| logger.name == "runt");
    let ours = ours.context("runt was not measured")?;
    let plain = loggers.iter().map(|it| (it.name, it, Work::Plain));
    let durable = DURABLE.map(|(name, secs)| (name, ours, Work::Durable(secs)));
    let mut running = Vec::new();
    for (name, logger, work) in plain.chain(durable) {
        let dir = place.path().join(name);
        if let Some(it) = logger.start(work, &dir)? {
            running.push((name, it));
        }
    }
    let line = stream(80);
    let line = line.get(..80).context("a line")?;
    let count = seconds * 100;
    for _ in 0..count {
        for (_, it) in &mut running {
            it.pipe.write_all(line)?;
        }
        sleep(Duration::from_millis(10));
    }
    for (name, it) in running {
        let io = fs::read_to_string(format!("/proc/{}/io", it.pid()))?;
        let written = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
        let written = written.and_then(|text| text.parse::<f64>().ok());
        if let Some(written) = written.filter(|bytes| *bytes > 0.0) {
            let ratio = written / (count * 80) as f64;
            figures.put(MEDIUM, name, round, &[ratio]);
        }
        it.end()?;
    }
    Ok(())
}

/// Prints the figures and the bars.
fn show(figures: &Figures, loggers: &[Logger]) -> Result<()> {
    let mut text = String::from(
        "1 MB files, 10 kept, on a tmpfs; MB/s; median [least-most]\n",
    );
    let others = [WRITTEN, MEDIUM, CPU, DIRTY, DIRTY_SLOW]
        .into_iter()
        .chain([many::PROCESSES, many::PSS, many::WAKES]);
    let names = MEASURES.iter().map(|measure| measure.name);
    for name in names.chain(others) {
        text.push_str(&format!("{name}\n"));
        let durable = DURABLE.map(|(name, _)| name);
        for name_of in loggers.iter().map(|it| it.name).chain(durable) {
            if let Some(it) = figures.summary(name, name_of) {
                text.push_str(&format!(
                    "    {:<10}{:9.2} [{:.2}-{:.2}]\n",
                    name_of, it.median, it.least, it.most
                ));
            }
        }
    }
    let mut bar =
        |name: &str, what: &str, found: f64, holds: bool, bar: f64| {
            let verdict = if holds { "ok" } else { "MISSED" };
            text.push_str(&format!(
                "{name:<42}{found:8.2} {what:<18}{bar:8.2}  {verdict}\n"
            ));
        };
    for measure in &MEASURES {
        let ours = (measure.name, "runt");
        if let Some(it) = figures.ratio(ours, (measure.base, COPY)) {
            let holds = it.median >= measure.of_copy;
            bar(
                measure.name,
                "x copy, at least",
                it.median,
                holds,
                measure.of_copy,
            );
        }
        let best = loggers
            .iter()
            .filter(|logger| !["runt", COPY].contains(&logger.name))
            .filter_map(|peer| figures.ratio(ours, (measure.name, peer.name)))
            .map(|ratio| ratio.median)
            .reduce(f64::min);
        if let Some(best) = best.filter(|_| measure.of_peer > 0.0) {
            let holds = best >= measure.of_peer;
            bar(
                measure.name,
                "x peer, at least",
                best,
                holds,
                measure.of_peer,
            );
        }
    }
    if let Some(it) = figures.ratio((CPU, "runt"), (CPU, COPY)) {
        bar(CPU, "x copy, at most", it.median, it.median <= 1.2, 1.2);
    }
    let most = [(DIRTY_SLOW, 40.0), (DIRTY, 160.0)].into_iter().chain([
        (many::PROCESSES, 3.0),
        (many::PSS, 600.0),
        (many::WAKES, 0.0),
    ]);
    for (name, most) in most {
        if let Some(it) = figures.summary(name, "runt") {
            bar(name, "at most", it.median, it.median <= most, most);
        }
    }
    print!("{text}");
    let file = super::output_dir()?.join("log.txt");
    fs::write(&file, text)?;
    println!("{}", file.display());
    Ok(())
}
