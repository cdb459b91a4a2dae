//! Implements `cargo xtask dist`, which writes what a release consists of: for
//! each board an archive and two bills of materials, packages of Debian and
//! Alpine, the sources, the notes and the hashes of all.

mod apk;
mod archive;
pub mod check;
mod deb;
mod sbom;
mod source;
mod verify;

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use archive::packed_below;
use sha2::{Digest as _, Sha256};

use crate::{
    board::{self, Board},
    build, man,
    rootfs::{Entries, Entry},
    run,
    version::version,
};

/// The file with the hashes, as sha256sum(1) writes and checks it.
const SUMS: &str = "SHA256SUMS";

/// The directory in which a package has the file, and a link for each program.
const PROGRAMS: &str = "usr/lib/runt";

/// The boards whose files are packed for distributions too: board, Debian's
/// architecture, Alpine's.
const PACKAGED: [(&str, &str, &str); 4] = [
    ("qemu-aarch64", "arm64", "aarch64"),
    ("qemu-armv7", "armhf", "armv7"),
    ("qemu-riscv64", "riscv64", "riscv64"),
    ("qemu-x86_64", "amd64", "x86_64"),
];

/// Implements `cargo xtask dist` for one board or all; with `again` the release
/// is built a second time and compared.
pub fn run(name: Option<&str>, out: &Path, again: bool) -> Result<()> {
    fs::create_dir_all(out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    let boards = board::chosen(name)?;
    let mut release = Release {
        dir: out,
        sums: String::new(),
    };
    for board in &boards {
        let file = build::release(board)?;
        let parts = sbom::parts(board, &file)?;
        for (name, content) in of_board(board, &file, &parts)? {
            release.write(&name, &content)?;
        }
    }
    // What belongs to no board.
    if name.is_none() {
        let title = source::title();
        let name = format!("{title}-source.tar.gz");
        source::write(&out.join(&name))?;
        release.list(&name)?;
        let changes = board::root().join(".github/CHANGELOG.md");
        let notes = notes(&fs::read_to_string(changes)?)?;
        release.write(&format!("{title}-notes.md"), notes.as_bytes())?;
    }
    fs::write(out.join(SUMS), &release.sums)?;
    println!("{}", out.join(SUMS).display());
    if again {
        println!("{}", check::bills(out)?.trim());
        verify::run(&boards, name, out)?;
    }
    Ok(())
}

/// A release that is being written.
struct Release<'a> {
    dir: &'a Path,
    /// The lines of the file with the hashes.
    sums: String,
}

impl Release<'_> {
    /// Writes a file of the release.
    fn write(&mut self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        fs::write(&path, content)
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.list(name)
    }

    /// Adds a file to the hashes.
    fn list(&mut self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        self.sums += &format!("{}  {name}\n", hash(&path)?);
        println!("{}", path.display());
        Ok(())
    }
}

/// Returns the files of a release for a board, by name.
fn of_board(
    board: &Board,
    file: &Path,
    parts: &[sbom::Part],
) -> Result<Vec<(String, Vec<u8>)>> {
    let title = format!("{}-{}", source::title(), board.name);
    let text = |bill| -> Result<Vec<u8>> {
        Ok((serde_json::to_string_pretty(&bill)? + "\n").into())
    };
    let mut files = vec![
        (
            format!("{title}.tar.gz"),
            packed_below(&title, &contents(board, file, parts)?)?,
        ),
        (format!("{title}.cdx.json"), text(sbom::cyclonedx(parts)?)?),
        (
            format!("{title}.spdx.json"),
            text(sbom::spdx(&title, parts)?)?,
        ),
    ];
    for (_, debian, alpine) in
        PACKAGED.iter().filter(|(name, ..)| *name == board.name)
    {
        let installed = installed(board, file, parts)?;
        let deb = deb::package(debian, installed.clone())?;
        let apk = apk::package(alpine, installed)?;
        files.push((deb::name(debian), deb));
        files.push((apk::name(alpine), apk));
    }
    Ok(files)
}

/// Returns the package of Debian with a board's release file.
pub fn debian_package(board: &Board) -> Result<Vec<u8>> {
    let file = build::release(board)?;
    let parts = sbom::parts(board, &file)?;
    deb::package(&board.debian()?.arch, installed(board, &file, &parts)?)
}

/// Returns what an archive of a board has: the file, a link for each program,
/// the manuals, the licences of all that is linked, and how it was built.
fn contents(
    board: &Board,
    file: &Path,
    parts: &[sbom::Part],
) -> Result<Entries> {
    let mut entries = Entries::new();
    add_programs(&mut entries, "", board, file)?;
    add_documents(&mut entries, "", board, parts)?;
    Ok(entries)
}

/// Returns what a package for a distribution installs.
fn installed(
    board: &Board,
    file: &Path,
    parts: &[sbom::Part],
) -> Result<Entries> {
    let mut entries = Entries::new();
    add_programs(&mut entries, &format!("{PROGRAMS}/"), board, file)?;
    add_documents(&mut entries, "usr/share/doc/runt/", board, parts)?;
    // Debian's name for it.
    if let Some(text) = entries.remove("usr/share/doc/runt/LICENSE") {
        entries.insert("usr/share/doc/runt/copyright".into(), text);
    }
    Ok(entries)
}

/// Adds the file, its links and the manuals.
fn add_programs(
    entries: &mut Entries,
    dir: &str,
    board: &Board,
    file: &Path,
) -> Result<()> {
    let program = Entry::File(0o755, fs::read(file)?);
    insert(entries, &format!("{dir}runt"), program);
    for applet in build::applets_of(board) {
        insert(
            entries,
            &format!("{dir}{applet}"),
            Entry::Link("runt".into()),
        );
    }
    for (path, text) in man::files(board)? {
        let text = Entry::File(0o644, text.into_bytes());
        insert(entries, &format!("{dir}{path}"), text);
    }
    Ok(())
}

/// Adds the licences, and how the file was built.
fn add_documents(
    entries: &mut Entries,
    dir: &str,
    board: &Board,
    parts: &[sbom::Part],
) -> Result<()> {
    let mut add = |name: &str, content| {
        insert(
            entries,
            &format!("{dir}{name}"),
            Entry::File(0o644, content),
        );
    };
    add("LICENSE", fs::read(board::root().join("LICENSE"))?);
    add("BUILD", provenance(board)?.into_bytes());
    for part in parts {
        for text in &part.licence_texts {
            let name = text.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("licences/{}/{name}", part.name);
            add(&name, fs::read(text)?);
        }
    }
    Ok(())
}

/// Inserts an entry and the directories above it.
fn insert(entries: &mut Entries, path: &str, entry: Entry) {
    for (end, _) in path.match_indices('/') {
        let above = entries.entry(path[..end].into());
        above.or_insert(Entry::Directory);
    }
    entries.insert(path.into(), entry);
}

/// Returns the target of a link below /usr to the file of a package.
fn program(link: &str) -> String {
    let up = "../".repeat(link.matches('/').count() - 1);
    let file = PROGRAMS.trim_start_matches("usr/");
    format!("{up}{file}/runt")
}

/// Returns the SHA-256 of a file in hexadecimal digits.
fn hash(file: &Path) -> Result<String> {
    let content = fs::read(file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hex(&Sha256::digest(content)))
}

/// Returns bytes in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the changes of this version, from the text of the changelog.
fn notes(changes: &str) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let heading = format!("## {version} (");
    let sections = changes
        .split_inclusive('\n')
        .skip_while(|line| !line.starts_with(&heading));
    let section = sections.skip(1).take_while(|line| !line.starts_with("## "));
    let section: String = section.collect();
    ensure!(!section.is_empty(), "the changelog has no {heading}...)");
    Ok(format!(
        "# runt {version}\n{}",
        section.replace("\n### ", "\n## ")
    ))
}

/// Returns the commit, the compiler, its flags and the board's values, one a
/// line.
fn provenance(board: &Board) -> Result<String> {
    let rustc = run::quiet(Command::new("rustc").arg("-vV"))?;
    let commit = &version()?.commit;
    let mut text =
        format!("commit: {commit}\n{rustc}target: {}\n", board.target);
    text += &format!("profile: {}\n", build::PROFILE);
    for flag in build::flags(board) {
        text += &format!("flag: {flag}\n");
    }
    for (name, value) in build::variables(board)? {
        text += &format!("{name}={value}\n");
    }
    Ok(text)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_archive_has_the_file_its_links_and_licences_and_is_reproducible() {
        let board = board::load(board::HOST).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("runt");
        fs::write(&file, "content").unwrap();
        let parts = sbom::parts(&board, &file).unwrap();
        let archives = [(); 2].map(|()| {
            let contents = contents(&board, &file, &parts).unwrap();
            packed_below("title", &contents).unwrap()
        });
        assert_eq!(archives[0], archives[1]);
        let unpacked = flate2::read::GzDecoder::new(archives[0].as_slice());
        let mut tar = tar::Archive::new(unpacked);
        let entries = tar.entries().unwrap().map(|entry| {
            let path = entry.unwrap().path().unwrap().into_owned();
            path.display().to_string()
        });
        let names: Vec<String> = entries.collect();
        let some = [
            "runt",
            "sv",
            "LICENSE",
            "BUILD",
            "share/man/man8/sv.8",
            "licences/rustix/LICENSE-MIT",
            "licences/core/MIT.txt",
        ];
        for name in some.map(|name| format!("title/{name}")) {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
    }

    #[test]
    fn links_lead_to_the_file() {
        assert_eq!(program("usr/bin/sv"), "../lib/runt/runt");
        assert_eq!(program("usr/lib/runit/x"), "../../lib/runt/runt");
    }

    #[test]
    fn notes_are_the_section_of_this_version() {
        let version = env!("CARGO_PKG_VERSION");
        let changes = format!(
            "# Changes\n\nx\n\n## 9.9.9 (x)\n\n- y\n\n\
             ## {version} (2026-01-01)\n\n### A\n- z\n\n## 0.0.1 (x)\n"
        );
        let notes = super::notes(&changes).unwrap();
        assert_eq!(notes, format!("# runt {version}\n\n## A\n- z\n\n"));
        assert!(super::notes("# Changes\n").is_err());
        let ours =
            fs::read_to_string(board::root().join(".github/CHANGELOG.md"));
        super::notes(&ours.unwrap()).unwrap();
    }

    #[test]
    fn every_part_has_a_licence_and_both_bills_list_it() {
        let board = board::load(board::HOST).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("runt");
        fs::write(&file, "content").unwrap();
        let parts = sbom::parts(&board, &file).unwrap();
        for part in parts.iter().skip(1) {
            assert!(!part.licence_texts.is_empty(), "{}", part.name);
        }
        let bills = [sbom::cyclonedx(&parts), sbom::spdx("title", &parts)];
        for bill in bills.map(|bill| bill.unwrap().to_string()) {
            for name in ["runt-init", "rustix", "core", "compiler_builtins"] {
                assert!(bill.contains(&format!("\"name\":\"{name}\"")));
            }
            assert!(!bill.contains("libc@"), "{bill}");
            assert!(!bill.contains("/root/"), "{bill}");
        }
    }
}
