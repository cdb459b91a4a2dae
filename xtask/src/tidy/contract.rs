//! Checks that every section of the contract that the code cites exists.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};
use regex::Regex;

use super::Faults;
use crate::board;

/// The file with the contract.
const CONTRACT: &str = "tests/contract.md";

/// Reports every `§` in a Rust file or a row of the differential test for
/// which [`CONTRACT`] has no section.
pub(super) fn check(faults: &mut Faults) -> Result<()> {
    let text = fs::read_to_string(board::root().join(CONTRACT))
        .with_context(|| format!("cannot read {CONTRACT}"))?;
    let sections = sections(&text)?;
    for dir in ["src", "tests", "xtask/src"] {
        let files = walkdir::WalkDir::new(board::root().join(dir));
        for file in files.sort_by_file_name() {
            let file = file?.into_path();
            if file.extension().is_some_and(|e| e == "rs" || e == "toml") {
                let text = fs::read_to_string(&file)?;
                let file = file.strip_prefix(board::root())?;
                citations(file, &text, &sections, faults)?;
            }
        }
    }
    Ok(())
}

/// Returns the numbers of all sections: headings, and the numbered points of a
/// section that is a list.
fn sections(text: &str) -> Result<BTreeSet<String>> {
    let heading = Regex::new(r"^##+ (\d+(?:\.\d+)?)\.? ")?;
    let point = Regex::new(r"(?:^|\. |: )(\d+)\. ")?;
    let mut sections = BTreeSet::new();
    let mut chapter = String::new();
    for line in text.lines() {
        if let Some(found) = heading.captures(line) {
            chapter = found[1].to_string();
            sections.insert(chapter.clone());
        } else {
            let points = point.captures_iter(line);
            sections.extend(points.map(|p| format!("{chapter}.{}", &p[1])));
        }
    }
    Ok(sections)
}

/// Reports each citation of `text` that is not among `sections`.
fn citations(
    file: &Path,
    text: &str,
    sections: &BTreeSet<String>,
    faults: &mut Faults,
) -> Result<()> {
    let cited = Regex::new(r"§ ?(\d+(?:\.\d+)?)")?;
    for (number, line) in (1..).zip(text.lines()) {
        for found in cited.captures_iter(line) {
            let section = &found[1];
            if !sections.contains(section) {
                let file = file.display();
                faults.push(format!(
                    "{file}:{number}: {CONTRACT} has no section {section}"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn headings_and_points_are_sections() {
        let text = "# Title\n## 0. One\n### 0.2 Two\n1 no point\n\
                    ## 16. Points\n1. A: b. 2. C\n3. D";
        let found = sections(text).unwrap();
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["0", "0.2", "16", "16.1", "16.2", "16.3"]);
    }

    #[test]
    fn a_citation_of_nothing_is_named_with_its_line() {
        let sections = BTreeSet::from(["1".into(), "2.3".into()]);
        let mut faults = Faults::default();
        let text = "// §1, §2.3\n// contract §2.4";
        citations(Path::new("f.rs"), text, &sections, &mut faults).unwrap();
        assert_eq!(faults.0, ["f.rs:2: tests/contract.md has no section 2.4"]);
    }
}
