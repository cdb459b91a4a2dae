//! Prints the boards: what each has, and what was booted here.

use std::time::SystemTime;

use anyhow::Result;

use crate::{
    board::{self, Board},
    booted,
};

/// Implements `cargo xtask boards`.
pub fn run() -> Result<()> {
    println!("{}", line(TITLES.map(String::from)));
    for board in board::all()? {
        println!("{}", line(columns(&board)));
    }
    println!(
        "\nbooted: scenarios that have passed on this machine, in QEMU; \
         hardware is not part of the tests"
    );
    Ok(())
}

/// Titles of the columns.
const TITLES: [&str; 9] = [
    "board",
    "target",
    "console",
    "watchdog",
    "budget",
    "Buildroot",
    "Yocto",
    "QEMU",
    "booted",
];
/// Widths of the columns.
const WIDTHS: [usize; 8] = [18, 30, 15, 15, 7, 16, 17, 13];

/// Returns a line of the table.
fn line(columns: [String; 9]) -> String {
    let widths = WIDTHS.into_iter().chain([0]);
    let cells = columns.iter().zip(widths);
    let cells = cells.map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<_>>().join(" ").trim_end().to_string()
}

/// Returns the columns of a board.
fn columns(board: &Board) -> [String; 9] {
    let or_none = |text: &str| match text {
        "" => "-".to_string(),
        text => text.to_string(),
    };
    let console = &board.console;
    let watchdog = board.watchdog.as_ref();
    let machine = board.qemu().map(|qemu| qemu.machine.as_str());
    [
        board.name.clone(),
        board.target.clone(),
        format!("{} {}", console.device, console.baud),
        watchdog.map_or("-".into(), |it| {
            format!("{}, {} s", it.device, it.period_s)
        }),
        board.budget().map_or("-".into(), |bytes| bytes.to_string()),
        or_none(&board.buildroot),
        or_none(&board.yocto),
        or_none(machine.unwrap_or_default()),
        booted::passed(&board.name).map_or("-".into(), |(count, last)| {
            let days = SystemTime::now().duration_since(last);
            let days = days.map_or(0, |age| age.as_secs() / (24 * 60 * 60));
            format!("{count}, the last {days} days ago")
        }),
    ]
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_cell_fits_its_column() {
        for board in board::all().unwrap() {
            for (cell, width) in columns(&board).iter().zip(WIDTHS) {
                assert!(cell.chars().count() <= width, "{cell}");
            }
        }
    }
}
