//! Checks the manuals: their form, their references, and what mandoc and groff
//! find wrong with the man pages.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use regex::Regex;

use super::{Page, files, find, pages};
use crate::{board, build, completion, peers, run, tool};

/// Sections of the manual in which there is no page of ours: references to
/// those lead to the system's.
const FOREIGN: [u8; 4] = [1, 2, 3, 4];

/// Sections that a page has at its end, in this order.
const LAST: [&str; 2] = ["Exit status", "Differences"];

/// Checks the manuals and the completion of all programs.
pub fn check() -> Result<String> {
    let pages = pages()?;
    let mut faults = Vec::new();
    for page in &pages {
        faults.extend(form(page));
        faults.extend(dangling(page, &pages));
        faults.extend(examples(page)?);
    }
    for applet in build::applets() {
        if find(&pages, applet, 8).is_none() {
            faults.push(format!("{applet}: no page names it"));
        }
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    let dir = tempfile::tempdir()?;
    super::render(&pages, dir.path())?;
    let mandoc = peers::of_host(&["mandoc"])?.programs.join("mandoc");
    let groff = tool::program("groff", &["groff-base"])?;
    for page in &pages {
        let section = page.section;
        let file = format!("man/man{section}/{}", page.file());
        let file = dir.path().join(file);
        let mut lint = Command::new(&mandoc);
        silent(lint.args(["-T", "lint", "-W", "style"]).arg(&file))?;
        let mut set = Command::new(&groff);
        set.args(["-ww", "-t", "-man", "-Tutf8", "-z", "-P-c"]);
        silent(set.arg(&file))?;
    }
    links(&dir.path().join("html"))?;
    let board = board::load(board::HOST)?;
    let installed = files(&board)?;
    for (path, text) in installed {
        let included = text.strip_prefix(".so ").map(str::trim);
        let there = included
            .is_none_or(|path| dir.path().join("man").join(path).exists());
        ensure!(there, "{path} includes {text}");
    }
    completion::check()?;
    Ok(format!("{} pages", pages.len()))
}

/// Runs a command that prints what it finds wrong.
fn silent(command: &mut Command) -> Result<()> {
    let shown = run::shown(command);
    let output = command.output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    ensure!(
        output.status.success() && text.trim().is_empty(),
        "`{shown}` ({}) prints:\n{text}",
        output.status
    );
    Ok(())
}

/// Checks that every link in the HTML files of a directory leads to one of
/// them.
fn links(dir: &Path) -> Result<()> {
    let link = Regex::new("(?:href=\"|url=)([^\"]+)\"")?;
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        let text = fs::read_to_string(&path)?;
        ensure!(link.is_match(&text), "{}: has no links", path.display());
        for found in link.captures_iter(&text) {
            let to = dir.join(&found[1]);
            let from = path.display();
            ensure!(to.exists(), "{from}: there is no {}", to.display());
        }
    }
    Ok(())
}

/// Returns what is wrong with the order of a page's sections.
fn form(page: &Page) -> Vec<String> {
    let headings = page.headings();
    let fault = |what: String| format!("{}: {what}", page.source);
    let mut faults = Vec::new();
    let first: &[&str] = if page.section == 8 {
        &["Synopsis", "Description"]
    } else {
        &["Description"]
    };
    if !headings.starts_with(first) {
        let first = first.join(", ");
        faults.push(fault(format!("does not begin with {first}")));
    }
    let rank = |heading: &&str| {
        LAST.iter()
            .position(|last| heading.starts_with(last))
            .map_or(0, |at| at + 1)
    };
    if !headings.is_sorted_by_key(rank) {
        let last = LAST.join(", ");
        faults.push(fault(format!("{last} are not the last sections")));
    }
    if page.section == 8 && !headings.contains(&LAST[0]) {
        faults.push(fault(format!("no section {}", LAST[0])));
    }
    for (at, heading) in headings.iter().enumerate() {
        if headings[..at].contains(heading) {
            faults.push(fault(format!("{heading} is there twice")));
        }
    }
    faults
}

/// Returns the references of a page that lead nowhere.
fn dangling(page: &Page, pages: &[Page]) -> Vec<String> {
    let known = |name: &str, section| {
        FOREIGN.contains(&section) || find(pages, name, section).is_some()
    };
    let references = page.references().into_iter();
    let wrong = references.filter(|(name, section)| !known(name, *section));
    wrong
        .map(|(name, section)| {
            format!("{}: there is no {name}({section})", page.source)
        })
        .collect()
}

/// Returns what a shell finds wrong with the examples of a page that are
/// scripts.
fn examples(page: &Page) -> Result<Vec<String>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("example");
    let mut faults = Vec::new();
    for block in page.text.split("\n\n") {
        let lines: Option<Vec<_>> = block
            .lines()
            .map(|line| line.strip_prefix("    "))
            .collect();
        let text = lines.map(|lines| lines.join("\n")).unwrap_or_default();
        if !text.starts_with("#!/bin/sh") && !text.starts_with("mkdir ") {
            continue;
        }
        fs::write(&file, &text)?;
        let checked = run::quiet(Command::new("sh").arg("-n").arg(&file));
        if let Err(error) = checked {
            faults.push(format!("{}: {error:#}\n{text}", page.source));
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod test {
    use std::collections::BTreeSet;

    use super::*;

    fn page(text: &str) -> Page {
        Page::read("a.rs".into(), text, 8).unwrap()
    }

    #[test]
    fn every_page_has_the_form_and_its_references_lead_somewhere() {
        let pages = pages().unwrap();
        for page in &pages {
            let mut faults = form(page);
            faults.extend(dangling(page, &pages));
            faults.extend(examples(page).unwrap());
            assert!(faults.is_empty(), "{faults:?}");
        }
        for applet in build::applets() {
            assert!(find(&pages, applet, 8).is_some(), "{applet}");
        }
    }

    #[test]
    fn wrong_pages_are_reported() {
        let good = "a, b: do it.\n\n# Synopsis\n`a`\n\n# Description\nSee b(8).\
                    \n\n# Files\n\n# Exit status\n0\n\n# Differences from x\n";
        let first = page(good);
        assert_eq!((first.names.len(), &*first.purpose), (2, "do it"));
        assert!(form(&first).is_empty());
        let pages = [first];
        // runt(7) is added to the references of each program.
        assert_eq!(dangling(&pages[0], &pages).len(), 1);
        let swapped = good
            .replace("Exit status", "x")
            .replace("Files", "Exit status");
        let wrong = [
            (good.replace("# Synopsis", "# Use"), 1),
            (swapped, 1),
            (good.replace("# Files", "# Description"), 1),
            (good.replace("# Exit", "# The exit"), 1),
        ];
        for (text, count) in wrong {
            assert_eq!(form(&page(&text)).len(), count, "{text}");
        }
        let lost = page(&good.replace("b(8)", "c(8)"));
        assert_eq!(dangling(&lost, &pages).len(), 2);
        let broken = page("a: b.\n\n# Synopsis\n\n    mkdir a; (\n\nx\n");
        assert_eq!(examples(&broken).unwrap().len(), 1);
    }

    #[test]
    fn a_board_gets_the_manuals_of_its_programs() {
        let board = board::load(board::HOST).unwrap();
        let of = |families: &[&str]| {
            let families = families.iter().map(|name| name.to_string());
            let board = board.with_programs(families.collect());
            let files = files(&board).unwrap().into_iter();
            let names = files.map(|(path, _)| {
                path.rsplit('/').next().unwrap_or_default().to_string()
            });
            names.collect::<Vec<_>>()
        };
        let has =
            |files: &[String], name: &str| files.iter().any(|f| f == name);
        let few = of(&["supervise", "daemontools"]);
        for name in ["runsv.8", "setuidgid.8", "chpst.8", "svc.8", "runt.7"] {
            assert!(has(&few, name), "{name}: {few:?}");
        }
        for name in ["sv.8", "_sv", "runit.8", "svwaitup.8", "runt-board.5"] {
            assert!(!has(&few, name), "{name}: {few:?}");
        }
        let sv = of(&["sv"]);
        assert!(has(&sv, "_sv") && has(&sv, "sv.fish") && has(&sv, "sv.8"));
    }

    #[test]
    fn every_file_of_a_service_directory_that_the_code_names_is_in_the_table() {
        let pages = pages().unwrap();
        let text = &find(&pages, "runt", 7).unwrap().text;
        let name = Regex::new(
            r#"c"((?:runt|log)/[a-z-]+|(?:timeout|max|down)-[a-z-]+|down|finish|check)""#,
        )
        .unwrap();
        let mut found = BTreeSet::new();
        for file in walkdir::WalkDir::new(board::root().join("src")) {
            let file = file.unwrap().into_path();
            if file.extension().is_some_and(|e| e == "rs") {
                let code = fs::read_to_string(file).unwrap();
                let names = name.captures_iter(&code);
                found.extend(names.map(|name| name[1].to_string()));
            }
        }
        // Directories end with a slash there.
        let has = |name: &str| {
            ["`", "/`"]
                .iter()
                .any(|end| text.contains(&format!("`{name}{end}")))
        };
        let missing: Vec<_> = found.iter().filter(|it| !has(it)).collect();
        assert!(found.len() > 12 && missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn every_key_of_a_board_has_its_row_in_the_readme() {
        for (key, ..) in board::described_keys() {
            assert!(super::super::tables::row(key).is_some(), "{key}");
        }
        assert!(super::super::tables::row("budget.files").is_none());
        let page = pages().unwrap();
        let page = find(&page, "runt-board", 5).unwrap();
        for text in [
            "- `services`: the services directory",
            "(default `/etc/service`). Allowed: an absolute path.",
            "(required). Allowed: aarch64-",
            "- `signals.NAME`: ",
            "| `slots` | 64 | 1 to 999 | service directories",
            "| `shared-logs` | init or supervise | svlogger",
        ] {
            assert!(page.text.contains(text), "{text}: {}", page.text);
        }
    }
}
