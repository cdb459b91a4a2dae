//! Generates the tables of runt-board(5) from those that the programs read, and
//! from the meanings in boards/README.md.

use std::fmt::Write as _;

use crate::board;

/// The document that explains the keys.
const README: &str = include_str!("../../../boards/README.md");

/// Replaces the names of the tables in a page by the tables.
pub(super) fn fill_in(text: &str) -> String {
    if !text.contains("@KEYS@") {
        return text.into();
    }
    text.replace("@KEYS@", &keys())
        .replace("@FAMILIES@", &families())
        .replace("@CAPACITIES@", &capacities())
}

/// Returns the cells of the row of boards/README.md about a key; `None` if
/// there is none.
pub(super) fn row(key: &str) -> Option<[&'static str; 3]> {
    let (table, name) = board::split_key(key);
    let rows = README.lines().filter_map(|line| {
        let mut cells =
            line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        Some([cells.next()?, cells.next()?, cells.next()?])
    });
    let mut rows = rows.filter(|[first, ..]| {
        // `key`, or `[table] key`, `key`
        let inner = first.trim_matches('`');
        let (its, names) = match inner.strip_prefix('[') {
            Some(rest) => rest.split_once("] ").unwrap_or((rest, "")),
            None => ("", inner),
        };
        its == table && names.split("`, `").any(|its| its == name)
    });
    rows.next()
}

/// Returns the list of all keys: name, allowed values, default, meaning.
fn keys() -> String {
    let mut text = String::new();
    for (key, needed, allowed) in board::described_keys() {
        let [_, kind, meaning] = row(key).unwrap_or(["", "", ""]);
        let default = kind.split_once([',', ';']).map(|(_, text)| text.trim());
        let default = match default {
            _ if needed => "required".into(),
            // The allowed values stand before the default.
            Some(default) => {
                let default = default.rsplit("; ").next().unwrap_or(default);
                format!("default {default}")
            }
            None => "may be missing".into(),
        };
        writeln!(
            text,
            "- `{key}`: {meaning} ({default}). Allowed: {allowed}."
        )
        .unwrap_or_default();
    }
    let signals = row("signals.NAME").map_or("", |[.., meaning]| meaning);
    let (names, meanings) = board::signals();
    writeln!(
        text,
        "- `signals.NAME`: {signals}. NAME is one of {}. Allowed: {meanings}.",
        names.join(", ")
    )
    .unwrap_or_default();
    text
}

/// Returns the table of the families of programs.
fn families() -> String {
    let mut text = "| family | needs | meaning |\n|---|---|---|\n".to_string();
    let table = include_str!("../../../src/families.txt");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (name, needs) = (words.next(), words.next());
        let meaning: Vec<_> = words.collect();
        let needs = needs.unwrap_or("-").replace('|', " or ");
        writeln!(
            text,
            "| `{}` | {needs} | {} |",
            name.unwrap_or_default(),
            meaning.join(" ")
        )
        .unwrap_or_default();
    }
    text
}

/// Returns the table of the capacities.
fn capacities() -> String {
    let mut text = "| capacity | default | range | meaning |\n\
                    |---|---|---|---|\n"
        .to_string();
    for [name, default, least, most, meaning] in board::capacities() {
        writeln!(
            text,
            "| `{name}` | {default} | {least} to {most} | {meaning} |"
        )
        .unwrap_or_default();
    }
    text
}
