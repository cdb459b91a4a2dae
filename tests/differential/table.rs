//! Defines and reads the table of rows.

use std::path::Path;

use serde::Deserialize;

use crate::side::Release;

/// One file of the table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topic {
    row: Vec<Row>,
}

/// A script, and where the sides differ on purpose.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `TOPIC: NAME` after reading.
    pub name: String,
    /// Input of `sh`, after helpers.sh and svlogd.sh.
    pub script: String,
    /// Also run with one side's `sv` and the other side's supervisor.
    #[serde(default)]
    pub mixed: bool,
    /// Fails and prints its output: an aid for writing rows.
    #[serde(default)]
    pub show: bool,
    pub differs: Option<Differs>,
}

/// The results that differ. A release that is not named shows what ours does.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    /// The paragraph that states the difference.
    pub because: String,
    /// The result of both releases.
    debian: Option<String>,
    /// The result of runit 2.1.2.
    #[serde(rename = "2.1.2")]
    old: Option<String>,
    /// The result of runit 2.3.1.
    #[serde(rename = "2.3.1")]
    new: Option<String>,
    pub ours: String,
}

impl Differs {
    /// Returns the expected result of a release.
    pub fn of(&self, release: Release) -> &str {
        let own = match release {
            Release::Old => &self.old,
            Release::New => &self.new,
        };
        own.as_ref().or(self.debian.as_ref()).unwrap_or(&self.ours)
    }

    /// Panics unless a release is named, each result differs from ours, and
    /// none is superfluous.
    fn check(&self) {
        let named = [&self.debian, &self.old, &self.new];
        let because = &self.because;
        assert!(named.iter().any(|it| it.is_some()), "nothing: {because}");
        for text in named.into_iter().flatten() {
            assert_ne!(*text, self.ours, "{because}");
        }
        let each = self.old.is_some() && self.new.is_some();
        assert!(!each || self.debian.is_none(), "too much: {because}");
    }
}

/// Returns all rows, in the order of their files' names.
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
            if let Some(differs) = &row.differs {
                differs.check();
            }
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
