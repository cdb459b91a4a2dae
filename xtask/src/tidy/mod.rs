//! Checks the rules of the repository that no compiler checks.

mod contract;
mod documents;
mod imports;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use regex::Regex;

use crate::{board, image, powercut, run, scenario};

/// Names permitted at the top level, in addition to names that begin with a
/// dot.
const TOP: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "boards",
    "qemu",
    "src",
    "tests",
    "xtask",
];

/// Maximum number of columns of a line of Rust: rustfmt's limit is lower, but
/// it does not wrap strings and comments.
const COLUMNS: usize = 100;

/// Implements `cargo xtask tidy`.
pub fn run() -> Result<()> {
    check()?;
    println!("tidy");
    Ok(())
}

/// Checks every rule; the error lists all violations.
pub fn check() -> Result<()> {
    let mut faults = Faults::default();
    let root = board::root();
    for file in ["src", "xtask/src", "tests"]
        .iter()
        .flat_map(|d| rust_files(d))
    {
        let text = fs::read_to_string(root.join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let mut fault = |line, what: &str| {
            faults.0.push(format!("{}:{line}: {what}", file.display()));
        };
        lines(&text, &mut fault);
        opening(&text, &mut fault);
        questions(&text, &mut fault);
        kernel(&file, &text, &mut fault)?;
        policy(&file, &text, &mut fault)?;
    }
    imports::check(&mut faults)?;
    contract::check(&mut faults)?;
    documents::check(&mut faults)?;
    capacities(&mut faults);
    top_level(&mut faults)?;
    scripts(&mut faults)?;
    faults.note(board::all().map(drop));
    faults.note(scenario::all().map(drop));
    match faults.0.as_slice() {
        [] => Ok(()),
        all => bail!("{}", all.join("\n")),
    }
}

/// The violations found.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// Adds a violation.
    fn push(&mut self, fault: String) {
        self.0.push(fault);
    }

    /// Adds the error of a result, if it has one.
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.0.push(format!("{error:#}"));
        }
    }
}

/// Returns the Rust files in a directory, as paths from the top level.
fn rust_files(dir: &str) -> Vec<PathBuf> {
    let root = board::root();
    walkdir::WalkDir::new(root.join(dir))
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|file| file.path().extension().is_some_and(|e| e == "rs"))
        .filter_map(|file| Some(file.path().strip_prefix(&root).ok()?.into()))
        .collect()
}

/// Reports trailing blanks, tabs and lines that are too long.
fn lines(text: &str, fault: &mut impl FnMut(usize, &str)) {
    for (number, line) in (1..).zip(text.lines()) {
        if line.ends_with(char::is_whitespace) {
            fault(number, "blanks at the end");
        }
        if line.contains('\t') {
            fault(number, "a tab");
        }
        if line.chars().count() > COLUMNS {
            fault(number, &format!("more than {COLUMNS} columns"));
        }
    }
}

/// Reports a file that does not open with a sentence about its purpose.
fn opening(text: &str, fault: &mut impl FnMut(usize, &str)) {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    let paragraph: Vec<&str> = lines.collect();
    let sentence = paragraph.join(" ");
    if !sentence.ends_with(['.', ':']) {
        fault(1, "no sentence after `//!` that says what the file answers");
    }
}

/// Words of a question, with which no description of an item begins: it begins
/// with a verb or a noun.
const QUESTIONS: [&str; 5] = ["How", "What", "Whether", "Which", "Who"];

/// Reports each comment on a file or an item that begins like a question.
fn questions(text: &str, fault: &mut impl FnMut(usize, &str)) {
    let comment = |line: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix("///").or(line.strip_prefix("//!"))?;
        Some(rest.split_whitespace().next().unwrap_or("").to_owned())
    };
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        let word = comment(line);
        if let Some(word) = word.as_deref().filter(|_| !inside)
            && QUESTIONS.contains(&word)
        {
            fault(number, &format!("a comment begins with `{word}`"));
        }
        inside = word.is_some();
    }
}

/// Reports unsafe code and direct use of the kernel outside of `sys`.
fn kernel(
    file: &Path,
    text: &str,
    fault: &mut impl FnMut(usize, &str),
) -> Result<()> {
    if file.starts_with("src/sys") || !file.starts_with("src") {
        return Ok(());
    }
    let word = Regex::new(r"\b(unsafe|rustix|syscalls|asm!)\b")?;
    for (number, line) in (1..).zip(code(text).lines()) {
        if let Some(found) = word.find(line) {
            fault(number, &format!("`{}` outside of src/sys", found.as_str()));
        }
    }
    Ok(())
}

/// Reports each use in src/sys of a board's setting that is not a capacity: a
/// path, a user and the like are policy.
fn policy(
    file: &Path,
    text: &str,
    fault: &mut impl FnMut(usize, &str),
) -> Result<()> {
    if !file.starts_with("src/sys") {
        return Ok(());
    }
    let setting = Regex::new(r"\bconfig::([A-Z][A-Z_]*)\b")?;
    let capacities = board::capacities();
    let is_capacity = |name: &str| {
        let name = name.to_lowercase().replace('_', "-");
        capacities.iter().any(|[capacity, ..]| *capacity == name)
    };
    for (number, line) in (1..).zip(code(text).lines()) {
        for found in setting.captures_iter(line) {
            if !is_capacity(&found[1]) {
                let what = format!("`{}` is policy, not a capacity", &found[0]);
                fault(number, &what);
            }
        }
    }
    Ok(())
}

/// Counts the unsafe blocks of src/sys. Returns an error when there is one
/// elsewhere.
pub fn unsafe_blocks() -> Result<usize> {
    let block = Regex::new(r"\bunsafe \{")?;
    let mut count = 0;
    for file in rust_files("src") {
        let text = fs::read_to_string(board::root().join(&file))?;
        let found = block.find_iter(&code(&text)).count();
        if found > 0 && !file.starts_with("src/sys") {
            bail!("{}: unsafe outside of src/sys", file.display());
        }
        count += found;
    }
    Ok(count)
}

/// Returns the text with its comments blanked.
fn code(text: &str) -> String {
    let strip = |line: &str| match line.find("//") {
        Some(start) => line[..start].to_string(),
        None => line.to_string(),
    };
    text.lines().map(strip).collect::<Vec<_>>().join("\n")
}

/// Checks that boards/README.md lists every capacity with its numbers.
fn capacities(faults: &mut Faults) {
    let readme = fs::read_to_string(board::root().join("boards/README.md"));
    let readme = readme.unwrap_or_default();
    for [name, default, least, most, meaning] in board::capacities() {
        let row =
            format!("| `{name}` | {default} | {least} | {most} | {meaning} |");
        if !readme.lines().any(|line| line == row) {
            faults.0.push(format!(
                "boards/README.md: this line is missing\n  {row}"
            ));
        }
    }
}

/// Checks that the top level contains only what it should.
fn top_level(faults: &mut Faults) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(board::root()).args(["ls-files", "-z"]);
    // Without git the sources come from an archive, which contains only
    // tracked files.
    let Ok(files) = run::quiet(&mut git) else {
        return Ok(());
    };
    let mut names: Vec<&str> = files
        .split('\0')
        .filter_map(|file| file.split('/').next())
        .collect();
    names.dedup();
    for name in names {
        if !(name.is_empty() || name.starts_with('.') || TOP.contains(&name)) {
            faults.0.push(format!("{name}: not at the top level"));
        }
    }
    Ok(())
}

/// Checks that every shell script of a tree is well-formed, and that every
/// tree is used.
fn scripts(faults: &mut Faults) -> Result<()> {
    let scenarios = scenario::all().unwrap_or_default();
    let trees = board::root().join("qemu/tree");
    for tree in fs::read_dir(&trees)? {
        let tree = tree?.file_name().to_string_lossy().into_owned();
        let others = [image::DEFAULT, powercut::TREE];
        let mut used = scenarios.iter().flat_map(scenario::Scenario::trees);
        if !others.contains(&tree.as_str()) && !used.any(|used| used == tree) {
            faults
                .0
                .push(format!("qemu/tree/{tree}: no scenario uses it"));
        }
    }
    for file in walkdir::WalkDir::new(&trees).sort_by_file_name() {
        let file = file?;
        let shell = file.file_type().is_file()
            && fs::read(file.path())?.starts_with(b"#!/bin/sh\n");
        if shell {
            let mut command = Command::new("sh");
            command.arg("-n").arg(file.path());
            faults.note(run::quiet(&mut command).map(drop));
        }
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_comment_that_begins_with_a_question_is_found() {
        let text = "//! Runs it.\n//!\n//! What\n\n\
                    /// Returns\n/// whether\nfn a() {\n\
                    // How it works.\n}\n    /// Which one.\nb: u8,\n";
        let mut found = Vec::new();
        questions(text, &mut |line, _| found.push(line));
        assert_eq!(found, [10]);
    }
}
