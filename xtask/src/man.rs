//! Implements `cargo xtask man`, which renders the manuals: the module
//! documentation of each program, and the pages in src/manual.
//!
//! All of them have one form: a first paragraph `NAME, NAME: PURPOSE.`, then
//! sections, of which `Synopsis` and `Description` come first, and `Exit
//! status` and `Differences from ...` last. A word like `sv(8)` refers to
//! another page.

mod check;
mod html;
mod roff;
mod tables;

use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::{
    board::{self, Board},
    build, completion,
    version::version,
};

pub use check::check;

/// The directory of the pages about no single program.
const PAGES: &str = "src/manual";

/// A manual page.
struct Page {
    /// Its names; the first is that of its file.
    names: Vec<String>,
    /// The section of the manual.
    section: u8,
    /// Text that follows the names in the first section.
    purpose: String,
    /// Everything after the first paragraph, in Markdown.
    text: String,
    /// The file that it was read from.
    source: String,
}

/// The family and the time of the pages, which are the same for all.
struct Edition {
    /// The date of the version, as 2026-11-28.
    date: String,
    /// The version.
    version: &'static str,
}

/// A reference to a page: its name and its section.
static REFERENCE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b([a-z][a-z0-9-]*)\(([1-9])\)").ok());

/// Implements `cargo xtask man`.
pub fn run(out: &Path) -> Result<()> {
    let pages = pages()?;
    render(&pages, out)?;
    println!("{} pages in {}", pages.len(), out.display());
    Ok(())
}

/// Writes all pages below a directory, as man pages and as HTML.
fn render(pages: &[Page], out: &Path) -> Result<()> {
    let edition = edition()?;
    let mut files = Vec::new();
    for page in pages {
        files.extend(page.man(&edition, &page.names));
        files.extend(html::files(page, pages));
    }
    files.push(("html/index.html".into(), html::index(pages)));
    write(out, &files)
}

/// Writes the manuals and the completion of a board's programs below a
/// directory.
pub fn install(board: &Board, dir: &Path) -> Result<()> {
    write(dir, &files(board)?)
}

/// Returns the manuals and the completion of a board's programs: their paths
/// below /usr, and their content.
pub fn files(board: &Board) -> Result<Vec<(String, String)>> {
    let edition = edition()?;
    let built: Vec<_> = build::applets_of(board).collect();
    let mut files = Vec::new();
    for page in pages()? {
        let is_built = |name: &&String| built.contains(&name.as_str());
        let names: Vec<_> =
            page.names.iter().filter(is_built).cloned().collect();
        // The file of a board is made elsewhere.
        let general = !page.is_of_applets() && page.section != 5;
        if general || !names.is_empty() {
            files.extend(page.man(&edition, &names));
        }
    }
    let shared = |(path, text)| (format!("share/{path}"), text);
    let mut files: Vec<_> = files.into_iter().map(shared).collect();
    if built.contains(&"sv") {
        files.extend(completion::files(board)?);
    }
    Ok(files)
}

/// Writes files with these paths below a directory.
fn write(dir: &Path, files: &[(String, String)]) -> Result<()> {
    for (path, text) in files {
        let to = dir.join(path);
        let parent = to.parent().unwrap_or(dir);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&to, text))
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// Returns the edition of this version.
fn edition() -> Result<Edition> {
    let seconds = format!("@{}", version()?.time);
    let mut date = std::process::Command::new("date");
    date.args(["-u", "-d", &seconds, "+%F"]);
    Ok(Edition {
        date: crate::run::quiet(&mut date)?.trim().into(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Returns all pages, sorted by name.
fn pages() -> Result<Vec<Page>> {
    let mut pages = applet_pages()?;
    let dir = board::root().join(PAGES);
    let list = applet_list(&pages);
    for file in fs::read_dir(&dir)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let source = format!("{PAGES}/{name}");
        let text = read(&source)?;
        let text = tables::fill_in(&text).replace("@PROGRAMS@", &list);
        let section = name.trim_end_matches(".md").chars().last();
        let section = section.and_then(|digit| digit.to_digit(10));
        let section = section.with_context(|| {
            format!("{source}: the name is not NAME.SECTION.md")
        })?;
        let page = Page::read(source, &text, u8::try_from(section)?)?;
        let file = format!("{}.{section}.md", page.names[0]);
        ensure!(name == file, "{}: is not named {file}", page.source);
        pages.push(page);
    }
    pages.sort_by(|a, b| a.names.cmp(&b.names));
    Ok(pages)
}

/// Returns the pages of the programs, each read from the module documentation
/// of a file in src/applet that has a synopsis.
fn applet_pages() -> Result<Vec<Page>> {
    let root = board::root();
    let mut pages = Vec::new();
    for file in walkdir::WalkDir::new(root.join("src/applet")) {
        let file = file?.into_path();
        if file.extension().is_none_or(|e| e != "rs") {
            continue;
        }
        let source = file.strip_prefix(&root)?.display().to_string();
        let code = read(&source)?;
        let lines = code.lines().map_while(|line| line.strip_prefix("//!"));
        let lines = lines.map(|line| line.strip_prefix(' ').unwrap_or(line));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        if text.contains("\n# Synopsis\n") {
            pages.push(Page::read(source, &text, 8)?);
        }
    }
    Ok(pages)
}

/// Returns a list of the programs with their purposes, in Markdown.
fn applet_list(pages: &[Page]) -> String {
    let mut lines: Vec<_> = pages
        .iter()
        .map(|page| {
            let names = page.names.iter().map(|name| format!("`{name}`"));
            let names = names.collect::<Vec<_>>().join(", ");
            let page_name = &page.names[0];
            format!("- {names}: {} ({page_name}(8)).\n", page.purpose)
        })
        .collect();
    lines.sort();
    lines.concat()
}

/// Returns the page of that name and section.
fn find<'a>(pages: &'a [Page], name: &str, section: u8) -> Option<&'a Page> {
    pages.iter().find(|page| {
        page.section == section && page.names.iter().any(|it| it == name)
    })
}

/// Reads a file of the repository.
fn read(path: &str) -> Result<String> {
    fs::read_to_string(board::root().join(path))
        .with_context(|| format!("cannot read {path}"))
}

impl Page {
    /// Parses a page.
    fn read(source: String, text: &str, section: u8) -> Result<Self> {
        let (first, text) = text.split_once("\n\n").unwrap_or((text, ""));
        let first = first.replace('\n', " ");
        let (names, purpose) = first.split_once(": ").with_context(|| {
            format!("{source}: no `NAME: PURPOSE.` at first")
        })?;
        let names = names.split(", ").map(|name| name.replace(' ', "-"));
        Ok(Self {
            names: names.collect(),
            section,
            purpose: purpose.trim().trim_end_matches('.').into(),
            text: text.into(),
            source,
        })
    }

    /// Returns its name with its section: `sv.8`.
    fn file(&self) -> String {
        format!("{}.{}", self.names[0], self.section)
    }

    /// Returns true if it describes programs that a board may leave out.
    fn is_of_applets(&self) -> bool {
        build::applets().any(|applet| self.names.iter().any(|n| n == applet))
    }

    /// Returns the man page, and for each other name a file that includes it:
    /// their paths and content.
    fn man(
        &self,
        edition: &Edition,
        names: &[String],
    ) -> Vec<(String, String)> {
        let dir = format!("man{}", self.section);
        let path = |name: &str| format!("man/{dir}/{name}.{}", self.section);
        let main = &self.names[0];
        let mut files = vec![(path(main), roff::render(self, edition))];
        for name in names.iter().filter(|name| *name != main) {
            files.push((path(name), format!(".so {dir}/{}\n", self.file())));
        }
        files
    }

    /// Returns the headings of its sections.
    fn headings(&self) -> Vec<&str> {
        let lines = self.text.lines();
        lines.filter_map(|line| line.strip_prefix("# ")).collect()
    }

    /// Returns the other pages that it refers to, as name and section, sorted.
    fn references(&self) -> BTreeSet<(String, u8)> {
        let found =
            REFERENCE.iter().flat_map(|it| it.captures_iter(&self.text));
        let pairs = found.filter_map(|found| {
            Some((found[1].to_string(), found[2].parse().ok()?))
        });
        let own = |pair: &(String, u8)| {
            pair.1 == self.section && self.names.contains(&pair.0)
        };
        let mut all: BTreeSet<_> = pairs.filter(|pair| !own(pair)).collect();
        if self.section == 8 {
            all.insert(("runt".into(), 7));
        }
        all
    }
}
