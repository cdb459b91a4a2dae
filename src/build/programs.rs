//! Generates the table of programs and the constants of their families.

use std::{env, fmt::Write as _};

use super::{constant, write};

/// The table of programs.
const APPLETS: &str = include_str!("../applets.txt");

/// The table of families of programs.
const FAMILIES: &str = include_str!("../families.txt");

/// Texts that the programs print for `--help`.
const HELP: &str = include_str!("../help.txt");

/// Returns the help of a program.
///
/// # Panics
/// Panics if there is none, which stops the build.
fn help(program: &str) -> &'static str {
    let head = format!("\n= {program}\n");
    let (_, text) = HELP.split_once(&head).unwrap_or_else(|| {
        panic!("src/help.txt: no text for {program}");
    });
    text.split("\n= ").next().unwrap_or("").trim_end()
}

/// Returns the first two words of each line of a table, and its rest.
fn rows(table: &str) -> impl Iterator<Item = [&str; 3]> {
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (first, rest) = line.split_once(' ')?;
        let (second, rest) = rest.trim_start().split_once(' ')?;
        Some([first, second, rest.trim()])
    })
}

/// Writes the table of the programs that are built in, and a constant for each
/// family of programs.
///
/// # Panics
/// Panics on an unknown family, or one that needs another, which stops the
/// build.
pub(super) fn generate(board: &str) {
    println!("cargo::rerun-if-env-changed=RUNT_PROGRAMS");
    println!("cargo::rerun-if-changed=src/applets.txt");
    println!("cargo::rerun-if-changed=src/families.txt");
    println!("cargo::rerun-if-changed=src/help.txt");
    println!("cargo::rustc-check-cfg=cfg(some_programs)");
    let all: Vec<_> = rows(FAMILIES).map(|[family, ..]| family).collect();
    let chosen = env::var("RUNT_PROGRAMS").unwrap_or_default();
    let chosen: Vec<_> = chosen.split_whitespace().collect();
    for family in &chosen {
        assert!(
            all.contains(family),
            "boards/{board}.toml: programs: {family:?} is not one of {all:?}"
        );
    }
    let has = |family: &str| chosen.is_empty() || chosen.contains(&family);
    if !all.iter().all(|family| has(family)) {
        println!("cargo::rustc-cfg=some_programs");
    }
    let mut constants = String::new();
    for [family, needs, meaning] in rows(FAMILIES) {
        assert!(
            !has(family) || needs == "-" || needs.split('|').any(has),
            "boards/{board}.toml: programs: {family} needs {needs}"
        );
        writeln!(
            constants,
            "/// {}.\npub const {}: bool = {};",
            meaning,
            constant(family),
            has(family)
        )
        .expect("writing to a String succeeds");
    }
    write("families.rs", &constants);
    let built: Vec<_> =
        rows(APPLETS).filter(|[_, family, _]| has(family)).collect();
    let names: Vec<_> = built.iter().map(|[name, ..]| *name).collect();
    let functions: Vec<_> = built.iter().map(|[.., it]| *it).collect();
    let helps = names.iter().map(|name| {
        let text = if has("help") { help(name) } else { "" };
        format!("{text:?}")
    });
    let applets = format!(
        "/// All program names, one a line.\n\
         const NAMES: &str = {:?};\n\
         /// The programs in the order of [`NAMES`]; several have more than one name.\n\
         const PROGRAMS: [Program; {count}] = [{}];\n\
         /// Text that each of them prints for `--help`; empty without the family `help`.\n\
         const HELP: [&str; {count}] = [{}];\n",
        names.join("\n") + "\n",
        functions.join(", "),
        helps.collect::<Vec<_>>().join(", "),
        count = built.len(),
    );
    write("applets.rs", &applets);
}
