//! Measures the release files and compares them with the budget of each board.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _, SectionFlags, SectionKind, elf};
use serde::{Deserialize, Serialize};

use crate::{
    board::{self, Board},
    build,
};

/// Sizes of one release file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SizeRow {
    /// The file itself, which occupies flash.
    file: u64,
    /// Code and constants.
    text: u64,
    /// Initialised variables.
    data: u64,
    /// Zero-initialised variables: RAM, no flash.
    bss: u64,
}

/// Sizes of several boards, by name; the format of a saved file.
type Weights = BTreeMap<String, SizeRow>;

/// Implements `cargo xtask size` for one board or all. Returns an error when
/// one is over budget, after all have been shown.
pub fn run(
    name: Option<&str>,
    save: Option<&Path>,
    compare: Option<&Path>,
) -> Result<()> {
    let before = compare.map(read).transpose()?.unwrap_or_default();
    let mut weights = Weights::new();
    let mut over = Vec::new();
    println!(
        "{:<18} {:>8} {:>8} {:>8} {:>8} {:>8} {:>6}",
        "board", "file", "text", "data", "bss", "budget", "left"
    );
    for board in board::chosen(name)? {
        let weight = weigh(&build::release(&board)?)?;
        println!("{}", row(&board.name, weight, board.budget()));
        if let Some(old) = before.get(&board.name) {
            println!("{}", difference(*old, weight));
        }
        over.extend(board.excess(weight.file));
        weights.insert(board.name, weight);
    }
    if let Some(file) = save {
        let text = serde_json::to_string_pretty(&weights)?;
        fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if !over.is_empty() {
        bail!("{}", over.join("\n"));
    }
    Ok(())
}

/// Implements `cargo xtask size --families`: prints by how many bytes each file
/// shrinks without a family of programs and those that need it. Families share
/// code, so that all of them together are more than the sum.
pub fn families(name: Option<&str>) -> Result<()> {
    let all = board::families();
    print!("{:<18} {:>8}", "board", "file");
    for (family, _) in &all {
        print!(" {family:>11}");
    }
    println!();
    for board in board::chosen(name)? {
        let size = |board: &Board| -> Result<u64> {
            Ok(build::release(board)?.metadata()?.len())
        };
        let file = size(&board)?;
        print!("{:<18} {file:>8}", board.name);
        for (family, _) in &all {
            let cost = match board.without(family) {
                _ if !board.has_family(family) => "-".into(),
                Some(without) => {
                    file.saturating_sub(size(&without)?).to_string()
                }
                None => "all".into(),
            };
            print!(" {cost:>11}");
            std::io::stdout().flush()?;
        }
        println!();
    }
    Ok(())
}

/// Reads sizes that `--save` has kept.
fn read(file: &Path) -> Result<Weights> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!("{} is not a file of `size --save`", file.display())
    })
}

/// Returns one line of the table.
fn row(name: &str, weight: SizeRow, budget: Option<u64>) -> String {
    let SizeRow {
        file,
        text,
        data,
        bss,
    } = weight;
    let row = format!("{name:<18} {file:>8} {text:>8} {data:>8} {bss:>8}");
    // Rounded down, so that the space left is never overstated.
    let left = |budget: u64| budget.saturating_sub(file) * 100 / budget.max(1);
    match budget {
        Some(budget) => format!("{row} {budget:>8} {:>5}%", left(budget)),
        None => format!("{row} {:>8} {:>6}", "-", "-"),
    }
}

/// Returns the line below it: the changes since the saved figures.
fn difference(old: SizeRow, new: SizeRow) -> String {
    let change = |old: u64, new: u64| match new.abs_diff(old) {
        0 => "=".to_string(),
        much if new > old => format!("+{much}"),
        much => format!("-{much}"),
    };
    format!(
        "{:<18} {:>8} {:>8} {:>8} {:>8}",
        "",
        change(old.file, new.file),
        change(old.text, new.text),
        change(old.data, new.data),
        change(old.bss, new.bss),
    )
}

/// Measures a file.
fn weigh(path: &Path) -> Result<SizeRow> {
    let bytes = fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let elf = object::File::parse(bytes.as_slice())
        .with_context(|| format!("{} is not an ELF file", path.display()))?;
    let mut weight = SizeRow {
        file: u64::try_from(bytes.len())?,
        text: 0,
        data: 0,
        bss: 0,
    };
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else {
            continue;
        };
        // Sections that are not loaded count only towards the file size.
        if sh_flags & u64::from(elf::SHF_ALLOC) == 0 {
            continue;
        }
        let kind = match section.kind() {
            SectionKind::UninitializedData | SectionKind::UninitializedTls => {
                &mut weight.bss
            }
            _ if sh_flags & u64::from(elf::SHF_WRITE) != 0 => &mut weight.data,
            _ => &mut weight.text,
        };
        *kind += section.size();
    }
    Ok(weight)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn changes_are_signed() {
        let weight = |file, text| SizeRow {
            file,
            text,
            data: 5,
            bss: 0,
        };
        let line = difference(weight(10, 9), weight(12, 5));
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["+2", "-4", "=", "="]);
    }

    #[test]
    fn space_left_is_rounded_down_and_may_be_unlimited() {
        let size = SizeRow {
            file: 991,
            text: 1,
            data: 2,
            bss: 3,
        };
        assert!(row("x", size, Some(1000)).ends_with(" 1000     0%"));
        assert!(row("x", size, None).ends_with(" -      -"));
    }

    #[test]
    fn this_program_has_text_and_variables() {
        let weight = weigh(&std::env::current_exe().unwrap()).unwrap();
        assert!(weight.text > 0 && weight.bss > 0);
        assert!(weight.file > weight.text);
    }
}
