//! Implements `cargo xtask dist`, which writes what a release consists of: for
//! each board an archive and two bills of materials, and the hashes of all.

mod sbom;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::{
    board::{self, Board},
    build, man, run,
};

/// The file with the hashes, as sha256sum(1) writes and checks it.
const SUMS: &str = "SHA256SUMS";

/// Implements `cargo xtask dist` for one board or all.
pub fn run(name: Option<&str>, out: &Path) -> Result<()> {
    fs::create_dir_all(out)
        .with_context(|| format!("cannot make {}", out.display()))?;
    let mut names = Vec::new();
    for board in &board::chosen(name)? {
        let file = build::release(board)?;
        let title =
            format!("runt-{}-{}", env!("CARGO_PKG_VERSION"), board.name);
        let parts = sbom::parts(board, &file)?;
        let archive = format!("{title}.tar.gz");
        pack(board, &file, &parts, &title, &out.join(&archive))?;
        let cyclonedx = format!("{title}.cdx.json");
        let spdx = format!("{title}.spdx.json");
        for (name, bill) in [
            (&cyclonedx, sbom::cyclonedx(&parts)?),
            (&spdx, sbom::spdx(&title, &parts)?),
        ] {
            let text = serde_json::to_string_pretty(&bill)? + "\n";
            fs::write(out.join(name), text)?;
        }
        println!("{}", out.join(&archive).display());
        names.extend([archive, cyclonedx, spdx]);
    }
    let mut sums = Command::new("sha256sum");
    let sums = run::quiet(sums.current_dir(out).args(&names))?;
    fs::write(out.join(SUMS), sums)?;
    println!("{}", out.join(SUMS).display());
    Ok(())
}

/// Writes the archive of a board: the file, a link for each program, their
/// manuals, the licences of all that is linked, and how it was built. The same content
/// gives the same bytes.
fn pack(
    board: &Board,
    file: &Path,
    parts: &[sbom::Part],
    title: &str,
    to: &Path,
) -> Result<()> {
    let archive = File::create(to)
        .with_context(|| format!("cannot write {}", to.display()))?;
    let packer = GzBuilder::new().write(archive, Compression::best());
    let mut tar = Builder::new(packer);
    let mut add = |name: &str, mode, content: &[u8]| -> Result<()> {
        let mut header = header(EntryType::Regular, mode)?;
        header.set_size(u64::try_from(content.len())?);
        let path = format!("{title}/{name}");
        tar.append_data(&mut header, path, content)?;
        Ok(())
    };
    add("runt", 0o755, &fs::read(file)?)?;
    add("LICENSE", 0o644, &fs::read(board::root().join("LICENSE"))?)?;
    for part in parts {
        for text in &part.licence_texts {
            let name = text.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("licences/{}/{name}", part.name);
            add(&name, 0o644, &fs::read(text)?)?;
        }
    }
    add("BUILD", 0o644, provenance(board)?.as_bytes())?;
    for (path, text) in man::files(board)? {
        add(&path, 0o644, text.as_bytes())?;
    }
    for applet in build::applets_of(board) {
        let mut header = header(EntryType::Symlink, 0o777)?;
        header.set_size(0);
        let path = format!("{title}/{applet}");
        tar.append_link(&mut header, path, "runt")?;
    }
    tar.into_inner()?.finish()?;
    Ok(())
}

/// Returns a header without an owner's name, with the time of the version.
fn header(kind: EntryType, mode: u32) -> Result<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(build::made().trim().parse()?);
    Ok(header)
}

/// Returns the compiler, its flags and the board's values, one a line.
fn provenance(board: &Board) -> Result<String> {
    let rustc = run::quiet(Command::new("rustc").arg("-vV"))?;
    let mut git = Command::new("git");
    git.current_dir(board::root()).args(["rev-parse", "HEAD"]);
    let commit = run::quiet(&mut git).unwrap_or_else(|_| "unknown\n".into());
    let mut text = format!("commit {commit}{rustc}target: {}\n", board.target);
    for flag in build::flags(board) {
        text += &format!("flag: {flag}\n");
    }
    for (name, value) in build::variables(board) {
        text += &format!("{name}={value}\n");
    }
    Ok(text)
}

/// Returns the paths of a crate's licences, sorted.
fn licence_texts(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let upper = name.to_string_lossy().to_uppercase();
        let words = ["LICEN", "UNLICEN", "COPYING"];
        if words.iter().any(|word| upper.starts_with(*word)) {
            found.push(dir.join(name));
        }
    }
    found.sort();
    Ok(found)
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
        let archives = ["a", "b"].map(|name| {
            let to = dir.path().join(name);
            let parts = sbom::parts(&board, &file).unwrap();
            pack(&board, &file, &parts, "title", &to).unwrap();
            fs::read(&to).unwrap()
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
        ];
        for name in some.map(|name| format!("title/{name}")) {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
    }

    #[test]
    fn every_part_has_a_licence_and_both_bills_list_it() {
        let board = board::load(board::HOST).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("runt");
        fs::write(&file, "content").unwrap();
        let parts = sbom::parts(&board, &file).unwrap();
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
