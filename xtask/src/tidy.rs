//! Whether the house is in order: what no compiler checks of the rules that
//! its files keep.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use regex::Regex;

use crate::{board, image, powercut, run, scenario};

/// What may stand at the top level; names that begin with a dot may too.
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

/// Most columns of a line of Rust: rustfmt's bound is narrower, but leaves
/// texts alone.
const COLUMNS: usize = 100;

/// `cargo xtask tidy`.
pub fn run() -> Result<()> {
    check()?;
    println!("tidy");
    Ok(())
}

/// Checks every rule; the error lists all that is broken.
pub fn check() -> Result<()> {
    let mut faults = Faults::default();
    let root = board::root();
    for file in ["src", "xtask/src", "tests"].iter().flat_map(|d| rust(d)) {
        let text = fs::read_to_string(root.join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        let mut fault = |line, what: &str| {
            faults.0.push(format!("{}:{line}: {what}", file.display()));
        };
        lines(&text, &mut fault);
        opening(&text, &mut fault);
        kernel(&file, &text, &mut fault)?;
    }
    layers(&mut faults)?;
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

/// What is wrong.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    /// Takes an error.
    fn note(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.0.push(format!("{error:#}"));
        }
    }
}

/// The files of Rust in a directory, from the top level.
fn rust(dir: &str) -> Vec<PathBuf> {
    let root = board::root();
    walkdir::WalkDir::new(root.join(dir))
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok)
        .filter(|file| file.path().extension().is_some_and(|e| e == "rs"))
        .filter_map(|file| Some(file.path().strip_prefix(&root).ok()?.into()))
        .collect()
}

/// No blanks at the end of a line, no tabs, no line that is too long.
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

/// A file opens with a sentence that says what it answers.
fn opening(text: &str, fault: &mut impl FnMut(usize, &str)) {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    let paragraph: Vec<&str> = lines.collect();
    let sentence = paragraph.join(" ");
    if !sentence.ends_with(['.', ':']) {
        fault(1, "no sentence after `//!` that says what the file answers");
    }
}

/// Only `sys` is unsafe and knows the kernel.
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

/// How many unsafe blocks src/sys has. An error when there is one elsewhere.
pub fn unsafe_blocks() -> Result<usize> {
    let block = Regex::new(r"\bunsafe \{")?;
    let mut count = 0;
    for file in rust("src") {
        let text = fs::read_to_string(board::root().join(&file))?;
        let found = block.find_iter(&code(&text)).count();
        if found > 0 && !file.starts_with("src/sys") {
            bail!("{}: unsafe outside of src/sys", file.display());
        }
        count += found;
    }
    Ok(count)
}

/// The text with its comments blanked.
fn code(text: &str) -> String {
    let strip = |line: &str| match line.find("//") {
        Some(start) => line[..start].to_string(),
        None => line.to_string(),
    };
    text.lines().map(strip).collect::<Vec<_>>().join("\n")
}

/// Which layers a layer may use, itself among them.
type Allowed = BTreeMap<String, Vec<String>>;

/// Checks every `crate::` and `super::` path of src against the table in the
/// documentation of src/lib.rs.
fn layers(faults: &mut Faults) -> Result<()> {
    let lib = fs::read_to_string(board::root().join("src/lib.rs"))?;
    let allowed = table(&lib)?;
    for file in rust("src") {
        let module = module(&file);
        let Some(layer) = module.first() else {
            continue;
        };
        let Some(allowed) = allowed.get(layer) else {
            faults.0.push(format!(
                "{}: the table in src/lib.rs has no layer `{layer}`",
                file.display()
            ));
            continue;
        };
        let text = fs::read_to_string(board::root().join(&file))?;
        for used in used(&code(&text), module.len())? {
            if !allowed.contains(&used) {
                faults.0.push(format!(
                    "{}: `{layer}` may not use `{used}` (src/lib.rs)",
                    file.display()
                ));
            }
        }
    }
    Ok(())
}

/// The rows of the table: first column who, last column whom.
fn table(lib: &str) -> Result<Allowed> {
    let name = Regex::new(r"\[`(\w+)`\]")?;
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let cells: Vec<&str> =
            line.trim_end_matches(" |").split(" | ").collect();
        let [who, _, whom] = cells.as_slice() else {
            continue;
        };
        let who = name.captures_iter(who).map(|found| found[1].to_string());
        let who: Vec<String> = who.collect();
        if who.is_empty() {
            continue;
        }
        all.extend(who.clone());
        rows.push((who, whom.to_string()));
    }
    let mut allowed = Allowed::new();
    for (who, whom) in rows {
        let mut may: Vec<String> = Vec::new();
        for word in whom.split(", ") {
            match word {
                "-" => {}
                "all" => may.extend(all.clone()),
                "each other" => may.extend(who.clone()),
                layer if all.iter().any(|known| known == layer) => {
                    may.push(layer.into());
                }
                other => bail!("src/lib.rs: the table knows no `{other}`"),
            }
        }
        for layer in who {
            let own = [layer.clone()];
            allowed.insert(layer, may.iter().chain(&own).cloned().collect());
        }
    }
    Ok(allowed)
}

/// The module that a file of src is, empty for the crate's roots.
fn module(file: &Path) -> Vec<String> {
    let path = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let mut module: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    match module.first().map(String::as_str) {
        Some("lib" | "main" | "build") if module.len() == 1 => Vec::new(),
        _ => module,
    }
}

/// The modules of the crate's root that a text names, when it is that of a
/// module `depth` below the root.
fn used(code: &str, depth: usize) -> Result<Vec<String>> {
    // Modules within a file are its tests, and stand at its end.
    let inner = Regex::new(r"(?m)^(pub )?mod \w+ \{")?.find(code);
    let inner = inner.map_or(code.len(), |found| found.start());
    let path = Regex::new(r"\b(crate::|(?:super::)+)")?;
    let mut used = Vec::new();
    for found in path.find_iter(code) {
        // In a macro's own text: it is used wherever the macro is.
        if code[..found.start()].ends_with('$') {
            continue;
        }
        let up = found.as_str().matches("super").count();
        let depth = depth + usize::from(found.start() > inner);
        if up == 0 || up == depth {
            used.extend(heads(&code[found.end()..]));
        }
    }
    Ok(used)
}

/// The first names of a path: one, or those of a `{` list.
fn heads(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let mut heads = Vec::new();
    let (mut deep, mut start) = (0, 0);
    for (at, mark) in list.char_indices() {
        match mark {
            '{' => deep += 1,
            '}' if deep > 0 => deep -= 1,
            ',' | '}' if deep == 0 => {
                heads.push(word(list[start..at].trim_start()));
                start = at + 1;
                if mark == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

/// Checks that boards/README.md lists every capacity with its numbers.
fn capacities(faults: &mut Faults) {
    let readme = fs::read_to_string(board::root().join("boards/README.md"));
    let readme = readme.unwrap_or_default();
    for [name, default, least, most, meaning] in board::capacities() {
        let row =
            format!("| `{name}` | {default} | {least} | {most} | {meaning} |");
        if !readme.lines().any(|line| line == row) {
            faults
                .0
                .push(format!("boards/README.md: has not the line\n  {row}"));
        }
    }
}

/// The top level holds what it should and nothing else.
fn top_level(faults: &mut Faults) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(board::root()).args(["ls-files", "-z"]);
    // Who has no git has an archive of what git has.
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

/// Every shell script of a tree is one, and every tree is used.
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
    fn the_house_is_in_order() {
        check().unwrap();
    }

    #[test]
    fn paths_are_found_in_every_form() {
        let code = "use crate::{text, sys::{a, b::{c}}, wire};\n\
                    use super::one; use super::super::two;\n\
                    mod test { use super::super::super::three; }";
        let code = code.replace("mod test", "\nmod test");
        let code = code.replace("\n                    ", "\n");
        let found = used(&code, 2).unwrap();
        assert_eq!(found, ["text", "sys", "wire", "two", "three"]);
    }

    #[test]
    fn the_table_is_read() {
        let lib = "//! | [`a`] | x | - |\n//! | [`b`], [`c`] | x | each other, a |\n\
                   //! | [`d`] | x | all |";
        let table = table(lib).unwrap();
        assert_eq!(table["a"], ["a"]);
        assert_eq!(table["b"], ["b", "c", "a", "b"]);
        assert_eq!(table["d"], ["a", "b", "c", "d", "d"]);
    }
}
