//! Checks that the files named in the documents exist.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use regex::Regex;

use super::Faults;
use crate::board;

/// The documents that explain the sources.
const DOCUMENTS: [&str; 3] =
    ["README.md", "src/README.md", ".github/CONTRIBUTING.md"];

/// Reports every file name in backquotes in [`DOCUMENTS`] that no file of the
/// repository has. A name is the end of a path: `machine/slot.rs`.
pub(super) fn check(faults: &mut Faults) -> Result<()> {
    let files: Vec<PathBuf> = ["src", "xtask", "tests", "boards", "qemu"]
        .iter()
        .flat_map(|dir| walkdir::WalkDir::new(board::root().join(dir)))
        .filter_map(|file| Some(file.ok()?.into_path()))
        .collect();
    for document in DOCUMENTS {
        let text = fs::read_to_string(board::root().join(document))
            .with_context(|| format!("cannot read {document}"))?;
        names(document, &text, &files, faults)?;
    }
    Ok(())
}

/// Reports each name in `text` that is not the end of a path in `files`.
fn names(
    document: &str,
    text: &str,
    files: &[PathBuf],
    faults: &mut Faults,
) -> Result<()> {
    // A part in capitals, such as NAME, stands for any name.
    let name = Regex::new(r"`([\w./-]+\.(?:rs|txt|md)|[a-z0-9_/-]+/)`")?;
    for (number, line) in (1..).zip(text.lines()) {
        for found in name.captures_iter(line) {
            let name = Path::new(&found[1]);
            // A path outside of the repository, or of a service directory.
            let foreign =
                ["/", "supervise", "log", "cgroup", "control", "runt"]
                    .iter()
                    .any(|first| name.starts_with(first));
            if !foreign && !files.iter().any(|file| file.ends_with(name)) {
                let name = name.display();
                faults.push(format!("{document}:{number}: no file {name}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_name_of_no_file_is_reported_with_its_line() {
        let files = ["/a/src/machine/slot.rs", "/a/src/wire"].map(Into::into);
        let text = "`slot.rs`, `wire/`, `wire/NAME/`, `log/`, `/etc/`\n`machine/slots.rs`";
        let mut faults = Faults::default();
        names("d.md", text, &files, &mut faults).unwrap();
        assert_eq!(faults.0, ["d.md:2: no file machine/slots.rs"]);
    }
}
