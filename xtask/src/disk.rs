//! Creates and checks disks with a root file system, without needing root
//! privileges: squashfs, ext4 and other partitions behind a partition table.

use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    board,
    rootfs::{Entries, Entry, Root},
    run, tool,
};

/// The UUID of every ext4 file system created here.
const UUID: &str = "72756e74-0000-4000-8000-000000000001";
/// The identifier of a partitioned disk, and of a FAT.
const DISK: &str = "72756e74";
/// The label of the file system that holds the writable layer of an overlay.
const UPPER: &str = "upper";
/// Size of a block, and of the gap before the first partition and between
/// partitions, in bytes.
const BLOCK: u64 = 512;
const GAP: u64 = 1 << 20;
/// Size of an ext4 in excess of its files, in bytes.
const ROOM: u64 = 32 << 20;

/// A disk.
#[derive(Debug)]
pub struct Disk {
    /// The image file.
    pub file: PathBuf,
    /// Words for the kernel's command line that describe the disk.
    pub words: String,
    /// Options of QEMU's drive.
    pub options: &'static str,
    /// Offset and length of the ext4 on the disk, if it has one.
    ext4: Option<(u64, u64)>,
}

/// Creates the disk for a root with these files; `None` for a kind of root
/// that needs no disk.
pub fn make(
    root: Root,
    entries: &Entries,
    file: PathBuf,
) -> Result<Option<Disk>> {
    // A new file has the right length: no data of an older one follows.
    let _none = fs::remove_file(&file);
    let (words, ext4) = match root {
        Root::Initramfs => return Ok(None),
        Root::Squashfs => {
            let part = |kind| file.with_extension(kind);
            let [root, boot, swap] = ["root", "boot", "swap"].map(part);
            squashfs(entries, &root)?;
            fat(&boot)?;
            swap_space(&swap)?;
            partitions(&file, "gpt", &[&root, &boot, &swap])?;
            ("root=PARTLABEL=root ro".to_string(), None)
        }
        Root::Ext4 => {
            let length = ext4(entries, "root", &file)?;
            (format!("root=UUID={UUID} rw"), Some((0, length)))
        }
        Root::Verity => {
            let [root, hash] =
                ["root", "hash"].map(|part| file.with_extension(part));
            // A block of dm-verity is the least that can be read.
            ext4_of(entries, "root", &root, &["-b", "4096"])?;
            let root_hash = verity(&root, &hash)?;
            partitions(&file, "gpt", &[&root, &hash])?;
            let words = format!(
                "runt.verity=PARTLABEL=root:PARTLABEL=hash:{root_hash}"
            );
            (words, None)
        }
        Root::Overlay => {
            let [lower, upper] =
                ["lower", "upper"].map(|part| file.with_extension(part));
            squashfs(entries, &lower)?;
            let length = ext4(&Entries::new(), UPPER, &upper)?;
            let starts = partitions(&file, "dos", &[&lower, &upper])?;
            let start = starts.last().copied().unwrap_or(0);
            (
                format!("root=PARTUUID={DISK}-01 runt.overlay=LABEL={UPPER}"),
                Some((start, length)),
            )
        }
    };
    let options = WRITTEN;
    Ok(Some(Disk {
        file,
        words,
        options,
        ext4,
    }))
}

/// Options of a disk that the machine writes to. What the machine has written
/// is in the host's memory at once, and what it has flushed is on the host's
/// disk: QEMU delays no write and acknowledges none too early. Killing QEMU is
/// thus equivalent to a power failure with an empty disk cache.
pub const WRITTEN: &str = "format=raw,cache=writeback";

/// Returns an image that was made elsewhere as a disk. Its root is the file
/// system in it, or the first of its partitions, with changes in memory only.
/// The file is not changed.
pub fn given(file: &Path) -> Result<Disk> {
    /// Bytes that end the first sector of a partitioned disk.
    const PARTITIONED: [u8; 2] = [0x55, 0xaa];
    let mut start = [0; 512];
    let cannot = || format!("cannot read {}", file.display());
    fs::File::open(file)
        .and_then(|mut image| image.read_exact(&mut start))
        .with_context(cannot)?;
    let device = if start.ends_with(&PARTITIONED) {
        "/dev/vda1"
    } else {
        "/dev/vda"
    };
    Ok(Disk {
        file: file.to_path_buf(),
        words: format!("root={device} ro runt.overlay=tmpfs"),
        options: "format=raw,snapshot=on",
        ext4: None,
    })
}

/// Creates a disk that is an ext4 with the files of a directory, which keep
/// their owners.
pub fn from_dir(dir: &Path, file: PathBuf) -> Result<Disk> {
    let mut length = 0;
    for entry in walkdir::WalkDir::new(dir) {
        let data = entry?.metadata()?;
        length += data.len().next_multiple_of(4096);
    }
    // Inodes and other tables take part of it.
    let length = (length + length / 4 + ROOM).next_multiple_of(GAP);
    fs::File::create(&file)?.set_len(length)?;
    let mut command = tool("mkfs.ext4")?;
    command.args(["-q", "-L", "root", "-U", UUID, "-d"]);
    run::quiet(command.arg(dir).arg(&file))?;
    Ok(Disk {
        file,
        words: format!("root=UUID={UUID} rw"),
        options: WRITTEN,
        ext4: Some((0, length)),
    })
}

/// Offset of the first partition, as mtools names it.
const FIRST: &str = "@@1M";

/// Creates a disk with one partition: a FAT with these files, and room for so
/// many bytes more.
pub fn boot_partition(
    files: &[(&str, PathBuf)],
    room: u64,
    disk: PathBuf,
) -> Result<PathBuf> {
    let lengths = files.iter().map(|(_, file)| Ok(file.metadata()?.len()));
    let length = lengths.sum::<Result<u64>>()? + room;
    let fat = disk.with_extension("fat");
    fs::File::create(&fat)?.set_len(length.next_multiple_of(GAP))?;
    run::quiet(tool("mkfs.fat")?.arg(&fat))?;
    for (name, file) in files {
        let mut command = Command::new(mcopy()?);
        command.arg("-i").arg(&fat).arg(file);
        run::quiet(command.arg(format!("::{name}")))?;
    }
    partitions(&disk, "dos", &[&fat])?;
    Ok(disk)
}

/// Returns the content of a text file of a boot partition.
pub fn read_boot_file(disk: &Path, name: &str) -> Result<String> {
    let mut command = Command::new(mcopy()?);
    command.arg("-i").arg(format!("{}{FIRST}", disk.display()));
    run::quiet(command.args([&format!("::{name}"), "-"]))
}

/// Returns the program that copies files to and from a FAT.
fn mcopy() -> Result<PathBuf> {
    tool::program("mcopy", &["mtools"])
}

/// Programs that make and check disks, each with its Debian package.
const TOOLS: [(&str, &str); 8] = [
    ("mksquashfs", "squashfs-tools"),
    ("mkfs.ext4", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("mkfs.fat", "dosfstools"),
    ("mkswap", "util-linux"),
    ("sfdisk", "fdisk"),
    ("veritysetup", "cryptsetup-bin"),
];

/// Finds all tools, and installs missing ones when run as root.
pub fn ensure_tools() -> Result<()> {
    TOOLS.iter().try_for_each(|(name, _)| tool(name).map(drop))
}

/// Returns a command for a tool.
fn tool(name: &str) -> Result<Command> {
    let packages = TOOLS.iter().filter(|(tool, _)| *tool == name);
    let packages: Vec<&str> = packages.map(|(_, package)| *package).collect();
    Ok(Command::new(tool::program(name, &packages)?))
}

/// Writes the files into a directory, except for devices, which only root
/// could create.
fn lay_out(entries: &Entries) -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir_in(board::work_dir())?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    for (path, entry) in entries {
        let path = dir.path().join(path);
        match entry {
            Entry::Directory => fs::create_dir_all(&path)?,
            Entry::Link(target) => symlink(target, &path)?,
            Entry::File(mode, content) => {
                fs::write(&path, content)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
            }
            Entry::Device(..) => {}
        }
    }
    Ok(dir)
}

/// Writes a squashfs in which root owns every file.
fn squashfs(entries: &Entries, file: &Path) -> Result<()> {
    let dir = lay_out(entries)?;
    let mut command = tool("mksquashfs")?;
    command.arg(dir.path()).arg(file);
    command.args(["-quiet", "-no-progress", "-noappend", "-all-root"]);
    // Of the methods that pack well enough, the one every kernel has.
    command.args(["-comp", "gzip", "-Xcompression-level", "1"]);
    for (path, entry) in entries {
        if let Entry::Device(mode, major, minor) = entry {
            command.arg("-p");
            command.arg(format!("{path} c {mode:o} 0 0 {major} {minor}"));
        }
    }
    run::quiet(&mut command).map(drop)
}

/// Writes an ext4 in which root owns every file; returns its length.
fn ext4(entries: &Entries, label: &str, file: &Path) -> Result<u64> {
    ext4_of(entries, label, file, &[])
}

/// Writes an ext4 as [`ext4`] does, with further options of mkfs.ext4.
fn ext4_of(
    entries: &Entries,
    label: &str,
    file: &Path,
    options: &[&str],
) -> Result<u64> {
    let dir = lay_out(entries)?;
    let files = entries.values().map(|entry| match entry {
        Entry::File(_, content) => content.len() as u64,
        _ => 0,
    });
    let length = (files.sum::<u64>() + ROOM).next_multiple_of(GAP);
    fs::File::create(file)?.set_len(length)?;
    let mut command = tool("mkfs.ext4")?;
    command.args(["-q", "-L", label, "-U", UUID]).args(options);
    // A small journal: its blocks are overwritten more often.
    command.args(["-J", "size=4", "-E", "root_owner=0:0", "-d"]);
    run::quiet(command.arg(dir.path()).arg(file))?;
    // At this point the invoking user owns the files, and devices are missing.
    let mut script = String::new();
    for (path, entry) in entries {
        if let Entry::Device(mode, major, minor) = entry {
            let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
            script +=
                &format!("cd \"/{dir}\"\nmknod {name} c {major} {minor}\n");
            script += &format!("sif \"/{path}\" mode 02{mode:04o}\n");
        }
        for field in ["uid", "gid"] {
            script += &format!("sif \"/{path}\" {field} 0\n");
        }
    }
    let commands = dir.path().join("debugfs");
    fs::write(&commands, script)?;
    let mut command = tool("debugfs")?;
    command.arg("-w").arg("-f").arg(&commands).arg(file);
    run::quiet(&mut command)?;
    Ok(length)
}

/// Writes the dm-verity hashes of a file system; returns the root hash.
fn verity(data: &Path, hash: &Path) -> Result<String> {
    let mut command = tool("veritysetup")?;
    // A fixed salt: the same files have the same root hash.
    command.args(["format", "--uuid", UUID, "--salt", DISK]);
    let text = run::quiet(command.arg(data).arg(hash))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Root hash:"));
    let line = line.context("veritysetup printed no root hash")?;
    Ok(line.trim().to_string())
}

/// Writes a FAT with the label BOOT.
fn fat(file: &Path) -> Result<()> {
    fs::File::create(file)?.set_len(4 << 20)?;
    let mut command = tool("mkfs.fat")?;
    command.args(["-n", "BOOT", "-i", DISK]);
    run::quiet(command.arg(file)).map(drop)
}

/// Writes a swap area with the label `pages`.
fn swap_space(file: &Path) -> Result<()> {
    let new = fs::File::create(file)?;
    new.set_permissions(fs::Permissions::from_mode(0o600))?;
    new.set_len(4 << 20)?;
    let mut command = tool("mkswap")?;
    command.args(["-p", "4096", "-L", "pages", "-U", UUID]);
    run::quiet(command.arg(file)).map(drop)
}

/// Writes a disk with a partition table of kind `dos` or `gpt` and these
/// partitions, each named after its file's extension if the table has names;
/// returns their offsets.
fn partitions(file: &Path, table: &str, parts: &[&Path]) -> Result<Vec<u64>> {
    let mut disk = fs::File::create(file)?;
    let (mut start, mut starts) = (GAP, Vec::new());
    let mut script = format!("label: {table}\n");
    if table == "dos" {
        script += &format!("label-id: 0x{DISK}\n");
    }
    for part in parts {
        let length = part.metadata()?.len().next_multiple_of(BLOCK);
        script += &format!("start={}, size={}", start / BLOCK, length / BLOCK);
        if table == "gpt" {
            let name = part.extension().unwrap_or_default();
            script += &format!(", name=\"{}\"", name.display());
        }
        script += "\n";
        disk.seek(SeekFrom::Start(start))?;
        std::io::copy(&mut fs::File::open(part)?, &mut disk)?;
        starts.push(start);
        start = (start + length).next_multiple_of(GAP);
    }
    // A GPT has a backup copy at the end of the disk.
    disk.set_len(start + GAP)?;
    let commands = file.with_extension("sfdisk");
    fs::write(&commands, script)?;
    let sfdisk = tool("sfdisk")?;
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" --quiet \"$1\" < \"$2\""]);
    run::quiet(command.arg(sfdisk.get_program()).arg(file).arg(commands))?;
    Ok(starts)
}

impl Disk {
    /// Flips a bit of the first byte of a text that is once on the disk.
    pub fn flip(&self, text: &str) -> Result<()> {
        let mut bytes = fs::read(&self.file)?;
        let pattern = regex::bytes::Regex::new(&regex::escape(text))?;
        let found = pattern.find_iter(&bytes).map(|found| found.start());
        let [at] = found.collect::<Vec<_>>()[..] else {
            bail!("{text:?} is not once on the disk");
        };
        bytes[at] ^= 1;
        fs::write(&self.file, bytes)?;
        Ok(())
    }

    /// Checks that the ext4 on the disk, if any, was unmounted and is intact.
    pub fn check(&self) -> Result<()> {
        let Some(ext4) = self.ext4()? else {
            return Ok(());
        };
        /// Offset of the superblock.
        const SUPERBLOCK: u64 = 1024;
        let mut state = [0; 0x64];
        let mut file = fs::File::open(ext4.path())?;
        file.seek(SeekFrom::Start(SUPERBLOCK))?;
        file.read_exact(&mut state)?;
        ensure!(
            state[0x60] & 4 == 0 && state[0x3a] & 1 == 1,
            "the ext4 was not unmounted: its journal needs recovery"
        );
        is_whole(ext4.path())
    }

    /// Returns a copy of the ext4 on the disk, if it has one.
    pub fn ext4(&self) -> Result<Option<tempfile::NamedTempFile>> {
        let Some((start, length)) = self.ext4 else {
            return Ok(None);
        };
        let mut copy = tempfile::NamedTempFile::new_in(board::work_dir())?;
        let mut disk = fs::File::open(&self.file)?;
        disk.seek(SeekFrom::Start(start))?;
        std::io::copy(&mut disk.take(length), &mut copy)?;
        Ok(Some(copy))
    }
}

/// Checks that an ext4 is consistent.
pub fn is_whole(ext4: &Path) -> Result<()> {
    let mut command = tool("e2fsck")?;
    run::quiet(command.args(["-f", "-n"]).arg(ext4))
        .map(drop)
        .context("the ext4 has errors")
}

/// Replays the journal of an ext4, as the next mount would.
pub fn recover(ext4: &Path) -> Result<()> {
    let mut command = tool("e2fsck")?;
    command.args(["-y", "-E", "journal_only"]).arg(ext4);
    let shown = run::shown(&command);
    let output = command.output().context("cannot run e2fsck")?;
    // Exit code 1 means that errors were corrected.
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "`{shown}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

/// Copies a directory out of an ext4 into a directory of the host.
pub fn copy_out(ext4: &Path, from: &str, to: &Path) -> Result<()> {
    let mut command = tool("debugfs")?;
    command.args(["-R", &format!("rdump {from} {}", to.display())]);
    run::quiet(command.arg(ext4)).map(drop)
}
