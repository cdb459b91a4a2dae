//! What a row of the table is, and how the table is read.

use std::path::Path;

use serde::Deserialize;

/// A file of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    row: Vec<Row>,
}

/// A script, and where both sides differ on purpose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `TOPIC: NAME` once it is read.
    pub name: String,
    /// For `sh`, after helpers.sh and svlogd.sh.
    pub script: String,
    /// Also played with one side's `sv` and the other's supervisor.
    #[serde(default)]
    pub mixed: bool,
    /// Fails and shows what it shows: for who writes a row.
    #[serde(default)]
    pub show: bool,
    pub differs: Option<Differs>,
}

/// Both sides' own outcome.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    /// The paragraph that names the difference.
    pub because: String,
    pub debian: String,
    pub ours: String,
}

/// All rows, in the order of their files' names.
pub fn all() -> Vec<Row> {
    let dir =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/rows");
    let mut files: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut rows: Vec<Row> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let topic: Topic = toml::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.file_stem().unwrap().to_string_lossy();
        for mut row in topic.row {
            row.name = format!("{name}: {}", row.name);
            assert!(
                rows.iter().all(|known| known.name != row.name),
                "two rows are `{}`",
                row.name
            );
            rows.push(row);
        }
    }
    rows
}
