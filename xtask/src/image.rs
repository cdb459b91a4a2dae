//! Builds boot images from runt with its links, busybox and a tree of
//! qemu/tree, as an initramfs, or as a disk with an initramfs that switches to
//! it, without needing root privileges.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

use crate::{
    board::{self, Board},
    build,
    debian::Packages,
    disk::{self, Disk},
    rootfs::{Entries, Entry, Root},
    setup::{self, Fetched},
};

/// The default tree of `cargo xtask boot`.
pub const DEFAULT: &str = "daemons";

/// A boot image.
#[derive(Debug)]
pub struct Image {
    /// The archive that the kernel unpacks.
    pub initramfs: PathBuf,
    /// The disk with the root, if the root is not the initramfs.
    pub disk: Option<Disk>,
}

/// Implements `cargo xtask image`.
pub fn run(name: &str, tree: &str, root: Root) -> Result<()> {
    let image = make(&board::load(name)?, tree, root, &dir()?)?;
    let disk = image.disk.as_ref();
    for file in [&image.initramfs].into_iter().chain(disk.map(|d| &d.file)) {
        println!("{} ({} bytes)", file.display(), file.metadata()?.len());
    }
    if let Some(disk) = disk {
        println!("kernel parameters: {}", disk.words);
    }
    Ok(())
}

/// Returns the directories of a tree; `a+b` is `a` with the files of `b` on
/// top.
pub fn trees(tree: &str) -> Result<Vec<PathBuf>> {
    let dir = board::root().join("qemu/tree");
    tree.split('+')
        .map(|name| {
            let tree = dir.join(name);
            ensure!(
                !name.is_empty() && tree.is_dir(),
                "no tree {}",
                tree.display()
            );
            Ok(tree)
        })
        .collect()
}

/// Returns the directory of the images that `cargo xtask image` and `boot`
/// build.
pub fn dir() -> Result<PathBuf> {
    let dir = board::work_dir().join("image");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Returns a new directory for an image that no other machine uses.
pub fn own_dir() -> Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in(dir()?)?)
}

/// Builds the image of a board with a tree and a kind of root in a directory.
pub fn make(
    board: &Board,
    tree: &str,
    root: Root,
    dir: &Path,
) -> Result<Image> {
    make_with(board, tree, root, None, dir)
}

/// Builds an image as [`make`] does. The initramfs that switches to a root on a
/// disk has the files of `hook` too, a tree, and a shell.
pub fn make_with(
    board: &Board,
    tree: &str,
    root: Root,
    hook: Option<&str>,
    dir: &Path,
) -> Result<Image> {
    let kit = setup::ensure(board)?;
    let runt = build::release(board)?;
    let entries = whole(board, &kit, &runt, tree)?;
    let name = format!("{}-{}", board.name, tree.replace('/', "-"));
    let initramfs = dir.join(format!("{name}.cpio.gz"));
    let kind = format!("{root:?}").to_lowercase();
    let disk =
        disk::make(root, &entries, dir.join(format!("{name}.{kind}.img")))?;
    if disk.is_some() {
        let initramfs = to_disk(board, &kit, &runt, hook, dir)?;
        return Ok(Image { initramfs, disk });
    }
    write(&initramfs, &entries)?;
    Ok(Image { initramfs, disk })
}

/// Builds an image of a board with a root of Debian in a directory.
pub fn make_debian(
    board: &Board,
    packages: &Packages,
    dir: &Path,
) -> Result<Image> {
    let kit = setup::ensure(board)?;
    let runt = build::release(board)?;
    let initramfs = to_disk(board, &kit, &runt, None, dir)?;
    let disk = Some(packages.make(board, dir)?);
    Ok(Image { initramfs, disk })
}

/// Builds the initramfs that switches to a root on a disk in a directory.
pub fn make_to_disk(board: &Board, dir: &Path) -> Result<PathBuf> {
    let kit = setup::ensure(board)?;
    to_disk(board, &kit, &build::release(board)?, None, dir)
}

/// Writes the initramfs that switches to a root on a disk, with the trees of a
/// root hook.
fn to_disk(
    board: &Board,
    kit: &Fetched,
    runt: &Path,
    hook: Option<&str>,
    dir: &Path,
) -> Result<PathBuf> {
    let mut entries = first(board, runt)?;
    // Without it there would be no way to log in when there is no root.
    if board.rescue == "shell" || hook.is_some() {
        let busybox = Entry::File(0o755, fs::read(&kit.busybox)?);
        entries.insert("bin".into(), Entry::Directory);
        entries.insert("bin/sh".into(), busybox);
    }
    for tree in hook.map(trees).transpose()?.iter().flatten() {
        add_tree(&mut entries, tree, board)?;
    }
    let initramfs = dir.join(format!("{}-disk.cpio.gz", board.name));
    write(&initramfs, &entries)?;
    Ok(initramfs)
}

/// Writes an initramfs.
pub fn write(file: &Path, entries: &Entries) -> Result<()> {
    fs::write(file, pack(entries)?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Returns the files that every root has.
pub fn base(runt: &Path) -> Result<Entries> {
    let mut entries = Entries::new();
    for dir in ["dev", "etc", "proc", "run", "sbin", "sys"] {
        entries.insert(dir.into(), Entry::Directory);
    }
    // The kernel opens it before anything is mounted.
    entries.insert("dev/console".into(), Entry::Device(0o600, 5, 1));
    entries.insert("dev/null".into(), Entry::Device(0o666, 1, 3));
    entries.insert("sbin/runt".into(), Entry::File(0o755, fs::read(runt)?));
    entries.insert("sbin/runit-init".into(), Entry::Link("runt".into()));
    entries.insert("init".into(), Entry::Link("sbin/runit-init".into()));
    Ok(entries)
}

/// Returns the files of an initramfs that switches to a root on a disk: only
/// those needed for that.
fn first(board: &Board, runt: &Path) -> Result<Entries> {
    let modules = setup::disk_modules(board)?;
    let names = &board.debian()?.disk_modules;
    let mut entries = base(runt)?;
    add_modules(&mut entries, modules.as_deref())?;
    let list = names.iter().map(|name| format!("{name}\n"));
    let list = list.collect::<String>().into_bytes();
    entries.insert("etc/modules".into(), Entry::File(0o644, list));
    Ok(entries)
}

/// Adds kernel modules.
fn add_modules(entries: &mut Entries, modules: Option<&Path>) -> Result<()> {
    let Some(modules) = modules else {
        return Ok(());
    };
    entries.insert("lib".into(), Entry::Directory);
    entries.insert("lib/modules".into(), Entry::Directory);
    for file in walkdir::WalkDir::new(modules).min_depth(1) {
        let file = file?;
        let path = file.path().strip_prefix(modules)?.to_string_lossy();
        let entry = if file.file_type().is_dir() {
            Entry::Directory
        } else {
            Entry::File(0o644, fs::read(file.path())?)
        };
        entries.insert(format!("lib/modules/{path}"), entry);
    }
    Ok(())
}

/// Returns the files of a root with a tree.
fn whole(
    board: &Board,
    kit: &Fetched,
    runt: &Path,
    tree: &str,
) -> Result<Entries> {
    let mut entries = base(runt)?;
    for dir in ["bin", "tmp", "usr", "var"] {
        entries.insert(dir.into(), Entry::Directory);
    }
    for applet in build::applets_of(board) {
        entries.insert(format!("sbin/{applet}"), Entry::Link("runt".into()));
    }
    add_modules(&mut entries, kit.modules.as_deref())?;
    let busybox = fs::read(&kit.busybox)?;
    entries.insert("bin/busybox".into(), Entry::File(0o755, busybox));
    for applet in include_str!("../../qemu/busybox.txt").split_whitespace() {
        entries.insert(format!("bin/{applet}"), Entry::Link("busybox".into()));
    }
    for tree in trees(tree)? {
        add_tree(&mut entries, &tree, board)?;
    }
    Ok(entries)
}

/// Adds the files of a tree, with the placeholders in text files replaced.
fn add_tree(entries: &mut Entries, root: &Path, board: &Board) -> Result<()> {
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path().strip_prefix(root)?;
        let path = path.to_str().context("a name in the tree is not UTF-8")?;
        let kind = entry.file_type();
        let new = if kind.is_symlink() {
            let target = fs::read_link(entry.path())?;
            Entry::Link(target.to_string_lossy().into_owned())
        } else if kind.is_dir() {
            Entry::Directory
        } else {
            // Git records only the executable bit; the image sets the other
            // bits.
            let bits = entry.metadata()?.permissions().mode();
            let mode = if bits & 0o100 == 0 { 0o644 } else { 0o755 };
            let content = fs::read(entry.path())?;
            let content = match String::from_utf8(content) {
                Ok(text) => board.fill_in(&text).into_bytes(),
                Err(binary) => binary.into_bytes(),
            };
            Entry::File(mode, content)
        };
        entries.insert(path.into(), new);
    }
    Ok(())
}

/// Packs the entries into a compressed newc archive.
fn pack(entries: &Entries) -> Result<Vec<u8>> {
    let level = flate2::Compression::fast();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), level);
    packer.write_all(&archive(entries)?)?;
    Ok(packer.finish()?)
}

/// Returns the permission bits of a directory.
fn directory_mode(path: &str) -> u32 {
    if path == "tmp" || path.ends_with("/tmp") {
        0o1777
    } else {
        0o755
    }
}

/// Packs the entries into a newc archive.
pub fn archive(entries: &Entries) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (inode, (path, entry)) in (1..).zip(entries) {
        let header = Builder::new(path).ino(inode).uid(0).gid(0).mtime(0);
        let (header, content): (_, &[u8]) = match entry {
            Entry::Directory => (
                header
                    .nlink(2)
                    .mode(directory_mode(path))
                    .set_mode_file_type(ModeFileType::Directory),
                &[],
            ),
            Entry::File(mode, content) => (
                header
                    .nlink(1)
                    .mode(*mode)
                    .set_mode_file_type(ModeFileType::Regular),
                content,
            ),
            Entry::Link(target) => (
                header
                    .nlink(1)
                    .mode(0o777)
                    .set_mode_file_type(ModeFileType::Symlink),
                target.as_bytes(),
            ),
            Entry::Device(mode, major, minor) => (
                header
                    .nlink(1)
                    .rdev_major(*major)
                    .rdev_minor(*minor)
                    .mode(*mode)
                    .set_mode_file_type(ModeFileType::Char),
                &[],
            ),
        };
        let size = u32::try_from(content.len())?;
        let mut writer = header.write(&mut out, size);
        writer.write_all(content)?;
        writer.finish()?;
    }
    trailer(&mut out)?;
    Ok(out)
}
