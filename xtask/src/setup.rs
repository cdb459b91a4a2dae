//! Finds or fetches what a board needs from elsewhere: the core source that
//! matches the compiler, QEMU, a kernel, busybox and the peers of the tests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{apt, board, board::Board, disk, peers, run, tool};

/// Paths of the fetched files.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The kernel in the form that QEMU accepts.
    pub kernel: PathBuf,
    /// The device tree, for boards that name one.
    pub dtb: Option<PathBuf>,
    /// The directory of the modules, as `RELEASE/NAME.ko`, for boards that
    /// name some.
    pub modules: Option<PathBuf>,
    /// A static busybox.
    pub busybox: PathBuf,
    /// The QEMU program.
    pub qemu: PathBuf,
}

/// Implements `cargo xtask setup` for one board, or for all that the tests
/// boot.
pub fn run(name: Option<&str>) -> Result<()> {
    let boards = match name {
        Some(name) => vec![board::load(name)?],
        None => board::all()?.into_iter().filter(|b| b.test).collect(),
    };
    println!("core source: {}", core_source()?.display());
    for tested in &peers::TESTED {
        let peer = peers::fetch(tested.suite, tested.packages)?;
        println!("peer programs: {}", peer.programs.display());
    }
    for board in boards {
        let kit = ensure(&board)?;
        println!("{}:", board.name);
        println!("  kernel   {}", kit.kernel.display());
        if let Some(dtb) = kit.dtb {
            println!("  dtb      {}", dtb.display());
        }
        println!("  busybox  {}", kit.busybox.display());
        println!("  qemu     {}", kit.qemu.display());
    }
    Ok(())
}

/// Finds or fetches everything that the tests need, with these boards to boot.
/// Reports a missing peer only where it is needed.
pub fn prepare(boards: &[Board]) -> Result<()> {
    core_source()?;
    for tested in &peers::TESTED {
        if let Err(error) = peers::fetch(tested.suite, tested.packages) {
            println!("{}: {error:#}", tested.name);
        }
    }
    for board in boards {
        ensure(board)?;
        disk_modules(board)?;
        if board.has_disk() {
            disk::ensure_tools()?;
        }
    }
    Ok(())
}

/// Finds or fetches everything needed to boot a board.
pub fn ensure(board: &Board) -> Result<Fetched> {
    let (kernel, dtb) = kernel(board)?;
    Ok(Fetched {
        kernel,
        dtb,
        modules: modules(board)?,
        busybox: busybox(board)?,
        qemu: qemu(board)?,
    })
}

/// Returns the `library` directory of the source of the compiler on PATH.
///
/// Tried in this order: RUNT_RUST_SRC; the source in the user's toolchain; a
/// copy fetched earlier; Debian's rust-src of the same version. The compiler's
/// own intrinsics differ between versions, so another version would not build.
pub fn core_source() -> Result<PathBuf> {
    let version = rustc_version()?;
    let sysroot =
        run::quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
    let sysroot =
        Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library");
    let cached = board::work_dir().join("rust").join(&version);
    let library = cached.join("library");
    let given = std::env::var_os("RUNT_RUST_SRC").map(PathBuf::from);
    for place in [given.as_deref(), Some(&sysroot), Some(&library)] {
        if let Some(place) =
            place.filter(|p| p.join("core/src/lib.rs").exists())
        {
            return Ok(place.to_path_buf());
        }
    }
    let mut tried = Vec::new();
    for suite in ["trixie-backports", "trixie", "forky", "sid"] {
        let Ok(root) = apt::Root::open(suite, "amd64") else {
            tried.push(format!("{suite}: no lists"));
            continue;
        };
        let versions = root.versions("rust-src")?;
        let same = |v: &&String| {
            v.strip_prefix(&version).is_some_and(|r| r.starts_with('+'))
        };
        let Some(found) = versions.iter().find(same) else {
            tried.push(format!("{suite}: has {}", versions.join(", ")));
            continue;
        };
        let deb = root.fetch(&format!("rust-src={found}"))?;
        let unpacked = tempfile::tempdir_in(board::work_dir())?;
        apt::unpack(&deb, unpacked.path(), &["./usr/src/rustc-*/library"])?;
        fs::create_dir_all(&cached)?;
        let from = unpacked
            .path()
            .join(format!("usr/src/rustc-{version}/library"));
        fs::rename(&from, &library).with_context(|| {
            format!("{} is not in the package", from.display())
        })?;
        return Ok(library);
    }
    bail!(
        "no source of core for rustc {version}. Tried: RUNT_RUST_SRC, {}, {}.\n\
         With network to rustup's servers: rustup component add rust-src",
        sysroot.display(),
        tried.join("; ")
    )
}

/// Returns the version of the compiler on PATH.
pub fn rustc_version() -> Result<String> {
    let text = run::quiet(Command::new("rustc").arg("-V"))
        .context("install rustup's stable toolchain")?;
    let version = text
        .split(' ')
        .nth(1)
        .context("`rustc -V` prints no version")?;
    Ok(version.to_string())
}

/// Returns the directory that keeps a board's fetched files.
fn shelf(board: &Board) -> Result<PathBuf> {
    let dir = board::work_dir().join("boards").join(&board.shelf);
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Fetches a package from the first suite that has it.
fn package(board: &Board, name: &str, prefix: &str) -> Result<PathBuf> {
    let debian = board.debian()?;
    let mut tried = Vec::new();
    for suite in &debian.suites {
        let fetched = apt::Root::open(suite, &debian.arch)
            .and_then(|root| root.fetch(&root.behind(name, prefix)?));
        match fetched {
            Ok(file) => return Ok(file),
            Err(error) => tried.push(format!("{suite}: {error:#}")),
        }
    }
    bail!(
        "boards/{}.toml: cannot fetch {name}\n{}",
        board.name,
        tried.join("\n")
    )
}

/// Returns the kernel and its device tree.
fn kernel(board: &Board) -> Result<(PathBuf, Option<PathBuf>)> {
    let debian = board.debian()?;
    let shelf = shelf(board)?;
    let kernel = shelf.join("kernel");
    let dtb = debian.dtb.as_ref().map(|name| shelf.join(name));
    if kernel.exists() && dtb.as_ref().is_none_or(|dtb| dtb.exists()) {
        return Ok((kernel, dtb));
    }
    let deb = package(board, &debian.kernel, "linux-image-")?;
    let unpacked = tempfile::tempdir_in(board::work_dir())?;
    apt::unpack(&deb, unpacked.path(), &["./boot/vmlinu*"])?;
    let boot = unpacked.path().join("boot");
    let image = fs::read_dir(&boot)?
        .next()
        .context("no kernel in the package")??;
    if let (Some(name), Some(to)) = (&debian.dtb, &dtb) {
        let pattern = format!("*/{name}");
        apt::unpack(&deb, unpacked.path(), &[&pattern])?;
        let found = walkdir::WalkDir::new(unpacked.path())
            .into_iter()
            .filter_map(Result::ok)
            .find(|entry| entry.file_name() == name.as_str());
        let found = found
            .with_context(|| format!("{} has no {name}", deb.display()))?;
        fs::copy(found.path(), to)?;
    }
    fs::rename(image.path(), &kernel)?;
    Ok((kernel, dtb))
}

/// Returns the kernel modules that are in every image of a board.
fn modules(board: &Board) -> Result<Option<PathBuf>> {
    shelved(board, board.modules())
}

/// Returns the kernel modules that are needed to reach a root on a disk.
pub fn disk_modules(board: &Board) -> Result<Option<PathBuf>> {
    shelved(board, &board.debian()?.disk_modules)
}

/// Returns a directory with modules, their dependencies and the dependency
/// list, as `RELEASE/NAME.ko` and `RELEASE/modules.dep`.
fn shelved(board: &Board, names: &[String]) -> Result<Option<PathBuf>> {
    if names.is_empty() {
        return Ok(None);
    }
    // A different list gets a different directory.
    let shelf = shelf(board)?.join(format!("needs-{}", names.join("+")));
    if shelf.exists() {
        return Ok(Some(shelf));
    }
    let deb = package(board, &board.debian()?.kernel, "linux-image-")?;
    let unpacked = tempfile::tempdir_in(board::work_dir())?;
    apt::unpack(&deb, unpacked.path(), &["*.ko*"])?;
    let mut files = BTreeMap::new();
    for file in walkdir::WalkDir::new(unpacked.path()) {
        let file = file?;
        let name = file.file_name().to_string_lossy();
        if let Some((name, _)) = name.split_once(".ko") {
            files.insert(name.replace('-', "_"), file.path().to_path_buf());
        }
    }
    let made = tempfile::tempdir_in(board::work_dir())?;
    let (mut wanted, mut dir) = (names.to_vec(), PathBuf::new());
    let mut needs = BTreeMap::new();
    while let Some(name) = wanted.pop() {
        let name = name.replace('-', "_");
        if needs.contains_key(&name) {
            continue;
        }
        let path = files.get(&name).with_context(|| {
            format!(
                "boards/{}.toml: {} has no module {name}",
                board.name,
                deb.display()
            )
        })?;
        let mut parts = path.components().map(|c| c.as_os_str());
        parts.find(|part| *part == "modules");
        dir = made
            .path()
            .join(parts.next().context("the module path names no kernel")?);
        fs::create_dir_all(&dir)?;
        let to = dir.join(format!("{name}.ko"));
        if path.extension().is_some_and(|e| e == "xz") {
            let mut unpack = Command::new("sh");
            unpack.args(["-c", "xz -dc \"$0\" > \"$1\""]);
            run::quiet(unpack.arg(path).arg(&to))?;
        } else {
            fs::copy(path, &to)?;
        }
        let its = needs_of(&fs::read(&to)?);
        wanted.extend(its.iter().cloned());
        needs.insert(name, its);
    }
    let lines = needs.keys().map(|name| {
        let all = all_needs(name, &needs);
        let all = all.iter().map(|name| format!(" {name}.ko"));
        format!("{name}.ko:{}\n", all.collect::<String>())
    });
    fs::write(dir.join("modules.dep"), lines.collect::<String>())?;
    fs::rename(made.keep(), &shelf)?;
    Ok(Some(shelf))
}

/// Returns the dependencies that a module's file declares.
fn needs_of(module: &[u8]) -> Vec<String> {
    let key = b"depends=";
    let texts = module.split(|byte| *byte == 0);
    let names = texts.filter_map(|text| text.strip_prefix(key)).next();
    let names = String::from_utf8_lossy(names.unwrap_or(&[])).into_owned();
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(|name| name.replace('-', "_")).collect()
}

/// Returns all dependencies of a module, direct and indirect, dependents
/// first.
fn all_needs(name: &str, needs: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in needs.get(name).into_iter().flatten() {
        for need in std::iter::once(name.clone()).chain(all_needs(name, needs))
        {
            // A module that two others need comes after both.
            all.retain(|other| *other != need);
            all.push(need);
        }
    }
    all
}

/// Returns the static busybox of the board's architecture.
fn busybox(board: &Board) -> Result<PathBuf> {
    let file = shelf(board)?.join("busybox");
    if file.exists() {
        return Ok(file);
    }
    let deb = package(board, "busybox-static", "-")?;
    let unpacked = tempfile::tempdir_in(board::work_dir())?;
    // It has been in /usr/bin since trixie.
    apt::unpack(&deb, unpacked.path(), &["*bin/busybox"])?;
    let places =
        ["bin/busybox", "usr/bin/busybox"].map(|p| unpacked.path().join(p));
    let found = places.iter().find(|p| p.is_file());
    fs::rename(found.context("no busybox in the package")?, &file)?;
    Ok(file)
}

/// Returns the QEMU program of a board: on PATH, or installed when run as
/// root.
fn qemu(board: &Board) -> Result<PathBuf> {
    let system = &board.qemu()?.system;
    let packages: &[&str] = match system.as_str() {
        "arm" | "aarch64" => &["qemu-system-arm"],
        "mips" | "mipsel" => &["qemu-system-mips"],
        // The packages only recommend the firmware.
        "riscv64" => &["qemu-system-misc", "opensbi"],
        "x86_64" => &["qemu-system-x86", "seabios"],
        other => bail!("boards/{}.toml: unknown system `{other}`", board.name),
    };
    tool::program(&format!("qemu-system-{system}"), packages)
}
