//! Measures process 1: boots the same services under each init in QEMU, which
//! counts instructions (`-icount`), one nanosecond each. Nothing else passes
//! the time, so that each run gives the same figures, whatever the host does.
//!
//! Counts the time for which the kernel ran any process. That of a machine
//! whose process 1 does nothing is subtracted: the kernel's own work,
//! and the meter's.

mod machine;
mod roots;

use anyhow::{Context as _, Result};

use crate::{board, build, image, setup};

use super::{
    figures::Figures,
    report::{self, Bar, Reference, bar},
};
use machine::Life;
use roots::{Init, Roots, Scripts};

/// Processor time from the start of process 1 until all is at rest.
const BOOT: &str = "boot, million instructions";
/// Time from the start of process 1 to that of the last service or logger.
const UP: &str = "boot, ms until all run";
/// Memory of process 1 and all other processes but services and loggers.
const MEMORY: &str = "PSS of all supervising processes, kB";
/// Number of these processes.
const PROCESSES: &str = "supervising processes";
/// Processor time after one service was killed.
const RESTART: &str = "a service killed, million instructions";
/// Time until it runs again.
const BACK: &str = "a service killed, back after ms";
/// Processor time of a minute in which nothing happens.
const IDLE: &str = "an idle minute, million instructions";
/// Processor time from the command that switches off to the end of the last
/// service or logger.
const DOWN: &str = "down, million instructions";
/// Time between the two.
const GONE: &str = "down, ms until all services ended";
/// Time from the command until the machine is off.
const OFF: &str = "down, ms until the machine is off";

/// Every measure, in the order of the table.
const MEASURES: &[&str] = &[
    BOOT, UP, PROCESSES, MEMORY, RESTART, BACK, IDLE, DOWN, GONE, OFF,
];

/// Greatest ratio at which two figures count as equal: runs are repeatable, but
/// a file that is a page longer changes them.
const EQUAL: f64 = 1.02;

/// The boards that are measured.
const BOARDS: [&str; 2] = ["qemu-riscv64", "qemu-armv7"];

/// A process 1 to measure, with its names in the table: where the services are
/// programs, and where each is a script.
struct Contender {
    init: Init,
    names: [&'static str; 2],
}

/// Returns a contender.
const fn contender(init: Init, names: [&'static str; 2]) -> Contender {
    Contender { init, names }
}

/// The name of runt.
const RUNT: [&str; 2] = ["runt", "runt-sh"];
/// The names of the limit that makes the file calls of runit's protocol.
const FILES: [&str; 2] = ["floor-files", "floor-files-sh"];

/// All contenders, the peers last.
const CONTENDERS: [Contender; 5] = [
    contender(Init::Bare, ["floor", "floor-sh"]),
    contender(Init::Files, FILES),
    contender(Init::Runt, RUNT),
    contender(Init::Busybox, ["busybox", "busybox-sh"]),
    contender(Init::Runit, ["runit", "runit-sh"]),
];

/// Implements `cargo xtask bench boot`.
pub fn run(name: Option<&str>, alone: bool) -> Result<()> {
    let boards = name.map_or(BOARDS.to_vec(), |name| vec![name]);
    for board in boards {
        measure(board, alone).with_context(|| board.to_string())?;
    }
    Ok(())
}

/// Measures on one board.
fn measure(name: &str, alone: bool) -> Result<()> {
    let mut board = board::load(name)?;
    // The peers have none.
    if board.watchdog.take().is_some() {
        board.builds.push_str("-boot");
        board.name.push_str("-boot");
    }
    let kit = setup::ensure(&board)?;
    let roots = Roots {
        floor: build::floor(&board.target)?,
        runt: build::release(&board)?,
        busybox: kit.busybox.clone(),
        board: &board,
    };
    let place = image::own_dir()?;
    let measure = |init, scripts| -> Result<Life> {
        let file = place.path().join("initramfs");
        image::write(&file, &roots.entries(init, scripts)?)?;
        machine::measure(&board, &kit, file)
    };
    let nothing = measure(Init::Nothing, Scripts::Programs)?;
    let mut figures = Figures::default();
    let mut measured = Vec::new();
    for (scripts, form) in [(Scripts::Programs, 0), (Scripts::Shell, 1)] {
        for Contender { init, names } in &CONTENDERS {
            if alone && init.is_peer() {
                continue;
            }
            let name = names[form];
            match measure(*init, scripts) {
                Ok(life) => {
                    println!("measured {name}");
                    put(&mut figures, name, &life, &nothing);
                    measured.push(name);
                }
                Err(error) if init.is_peer() => {
                    println!("skipping {name}: {error:#}");
                }
                Err(error) => return Err(error.context(name)),
            }
        }
    }
    let title = format!(
        "{name}: {} services with loggers; -sh: each started by a script",
        roots::SERVICES
    );
    let table = format!("boot-{name}");
    let rows = (MEASURES, measured.as_slice());
    report::save(&table, &title, &figures, rows, &bars(&figures))
}

/// Records what was measured; `nothing` is the life of a machine whose process
/// 1 does nothing.
fn put(figures: &mut Figures, name: &'static str, life: &Life, nothing: &Life) {
    let millions = |own: u64, without: u64| {
        let net = own.saturating_sub(without);
        net as f64 / 1e6
    };
    let millis = |nanos: u64| nanos as f64 / 1e6;
    let all = [
        (BOOT, millions(life.boot, nothing.boot)),
        (UP, millis(life.up)),
        (PROCESSES, life.memory.len() as f64),
        (MEMORY, life.memory.iter().sum::<u64>() as f64),
        (IDLE, millions(life.idle, nothing.idle)),
        (OFF, millis(life.off)),
    ];
    let restart = life.restart.map(|[back, run]| {
        [
            (RESTART, millions(run, nothing.at_rest)),
            (BACK, millis(back)),
        ]
    });
    let down = life.down.map(|[gone, run]| {
        [
            (DOWN, millions(run, nothing.down.map_or(0, |[_, run]| run))),
            (GONE, millis(gone)),
        ]
    });
    let some = restart.into_iter().chain(down).flatten();
    for (measure, figure) in all.into_iter().chain(some) {
        figures.put(measure, name, 0, &[figure]);
    }
}

/// Returns the bars: against the limit, and against each figure of a peer.
fn bars(figures: &Figures) -> Vec<Bar> {
    let mut bars = Vec::new();
    for form in 0..2 {
        let files = Reference::Figure(FILES[form], BOOT);
        let mut limit = bar(BOOT, files, 1.3);
        limit.contender = RUNT[form];
        bars.push(limit);
        let peers = CONTENDERS.iter().filter(|it| it.init.is_peer());
        for peer in peers.map(|it| it.names[form]) {
            let is_some = |it: &&&str| {
                figures.summary(it, peer).is_some_and(|it| it.median > 0.0)
            };
            let measures = MEASURES.iter().filter(is_some);
            bars.extend(measures.map(|measure| Bar {
                measure,
                contender: RUNT[form],
                against: Reference::Figure(peer, measure),
                most: EQUAL,
            }));
        }
    }
    bars
}
