//! Checks that the release files keep what runt promises: no panic, no heap,
//! no libc, no unsafe code outside of `sys` and a bounded stack.

mod recursion;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail, ensure};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, ObjectSymbolTable as _,
    SymbolKind, elf,
};
use regex::Regex;
use rustc_demangle::demangle;

use crate::{
    board::{self, Board},
    build::{self, Variant},
    syscalls, tidy,
};

/// Every crate that may be linked into a release file. None of them has an
/// allocator; `alloc` itself is not built (see `build`).
const CRATES: [&str; 11] = [
    "bitflags",
    "byteorder",
    "hash32",
    "heapless",
    "linux-raw-sys",
    "runt-init",
    "rustix",
    "stable_deref_trait",
    "syscalls",
    "ufmt",
    "ufmt-write",
];

/// Names that only a libc contains.
const LIBC: [&str; 4] = ["__libc_", "_dl_", "__stack_chk_", "pthread_"];

/// Names that only a heap allocator contains.
const HEAP: [&str; 4] = ["__rust_alloc", "__rdl_", "malloc", "5alloc"];

/// The largest permitted stack frame, in bytes: PID 1 has 8 MiB of stack, and
/// a single-threaded program without recursion needs few frames.
const FRAME: u64 = 32 * 1024;

/// Bytes of a file that Linux maps at once around a page that is used
/// (`fault_around_bytes`).
const MAPPED_AT_ONCE: u64 = 64 * 1024;

/// Functions that a supervisor runs between returning memory and its next
/// sleep.
const IDLE: [&str; 3] = [
    "<runt::supervisor::Supervisor>::iterate",
    "<runt::sys::poller::Poller>::wait",
    "runt::sys::trim_memory",
];

/// Minimum stack of a child until it executes its program, in bytes:
/// `LEAST_STACK` in src/sys/clone_vm.
const CHILD: u64 = 2048;

/// Bytes of stack that the handler of faults may use: `HANDLER` in
/// src/sys/fault.rs.
const HANDLER: u64 = 4096;

/// Stack that a call takes in addition to the frame, in bytes: the return
/// address, aligned.
const RETURN: u64 = 16;

/// Implements `cargo xtask audit` for one board or all. Returns an error when
/// a promise is broken.
pub fn run(name: Option<&str>) -> Result<()> {
    let blocks = tidy::unsafe_blocks()?;
    println!("unsafe blocks in src/sys: {blocks}; elsewhere: 0");
    for board in board::chosen(name)? {
        if board.name == board::HOST {
            let calls = syscalls::look(&board)?;
            let names: Vec<String> = calls.into_iter().collect();
            println!(
                "{:<18} {} system calls: {}",
                board.name,
                names.len(),
                names.join(" ")
            );
        }
        println!("{}", check(&board)?);
    }
    Ok(())
}

/// Checks the release file of a board; returns a line with what was measured.
pub fn check(board: &Board) -> Result<String> {
    crates(board)?;
    let file = linked(board)?;
    plain(&file).with_context(|| board.name.clone())?;
    let variant = Variant {
        symbols: true,
        ..Variant::default()
    };
    let whole = build::variant(board, variant)?;
    let assembly = build::assembly(board, &whole)?;
    let stack = look(&whole, &assembly, board.programs.is_empty())
        .with_context(|| board.name.clone())?;
    Ok(format!(
        "{:<18} no panic, heap, libc, dynamic section; largest stack frame: {} bytes, {}; \
         child before exec: {} bytes of stack, handler of faults: {}",
        board.name,
        stack.largest.0,
        stack.largest.1,
        stack.child,
        stack.handler
    ))
}

/// Checks that only known crates are linked.
fn crates(board: &Board) -> Result<()> {
    let text = build::crates(board)?;
    let linked: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for name in linked {
        ensure!(
            CRATES.contains(&name),
            "the program links the crate `{name}`, which xtask/src/audit.rs \
             does not know"
        );
    }
    Ok(())
}

/// Builds the release file. It is linked with a panic handler that cannot be
/// linked, so that a successful link proves that no panic can be reached. When
/// linking fails, the error names the functions that panic.
fn linked(board: &Board) -> Result<std::path::PathBuf> {
    let error = match build::release(board) {
        Ok(file) => return Ok(file),
        Err(error) => error,
    };
    if !format!("{error:#}").contains("runt_reached_a_panic") {
        return Err(error);
    }
    let variant = Variant {
        panics_link: true,
        ..Variant::default()
    };
    let file = build::variant(board, variant)?;
    let edges = panics(&build::assembly(board, &file)?)?;
    bail!(
        "{}: a panic is reachable:\n{}",
        board.name,
        edges.join("\n")
    )
}

/// Returns the functions in an assembly text that call core's panics.
fn panics(assembly: &str) -> Result<Vec<String>> {
    let label = Regex::new(r"^(_R\w+|_ZN\w+|[a-z]\w*):")?;
    let symbol = Regex::new(r"(_R\w+|_ZN\w+)")?;
    let mut inside = String::new();
    let mut edges = BTreeMap::new();
    for line in assembly.lines() {
        if let Some(found) = label.captures(line) {
            inside = format!("{:#}", demangle(&found[1]));
            continue;
        }
        for found in symbol.captures_iter(line) {
            let called = format!("{:#}", demangle(&found[1]));
            let panics =
                ["core::panicking::", "unwrap_failed", "expect_failed"]
                    .iter()
                    .any(|p| called.contains(p))
                    || called.contains("index_fail");
            if panics && !inside.starts_with("core::panicking") {
                edges.insert(format!("  {inside}\n    -> {called}"), ());
            }
        }
    }
    Ok(edges.into_keys().collect())
}

/// Checks the headers of a release file: nothing dynamic, no interpreter, no
/// executable stack.
pub fn plain(path: &Path) -> Result<()> {
    let bytes = fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    match object::FileKind::parse(bytes.as_slice())? {
        object::FileKind::Elf32 => {
            headers::<elf::FileHeader32<object::Endianness>>(&bytes)
        }
        object::FileKind::Elf64 => {
            headers::<elf::FileHeader64<object::Endianness>>(&bytes)
        }
        other => bail!("{} is {other:?}, not ELF", path.display()),
    }
}

/// Does the same as [`plain`] for one width of ELF.
fn headers<H>(bytes: &[u8]) -> Result<()>
where
    H: object::read::elf::FileHeader<Endian = object::Endianness>,
{
    use object::read::elf::ProgramHeader as _;
    let header = H::parse(bytes)?;
    let endian = header.endian()?;
    let mut stack = false;
    for segment in header.program_headers(endian, bytes)? {
        match segment.p_type(endian) {
            elf::PT_DYNAMIC => bail!("it has a dynamic section"),
            elf::PT_INTERP => bail!("it needs an interpreter"),
            elf::PT_TLS => bail!("it has thread-local variables"),
            elf::PT_GNU_STACK => {
                stack = true;
                ensure!(
                    segment.p_flags(endian) & elf::PF_X == 0,
                    "its stack is executable"
                );
            }
            _ => {}
        }
    }
    ensure!(stack, "it does not mark its stack as not executable");
    Ok(())
}

/// The stack that a file needs.
struct Stack {
    /// The largest frame in bytes, and the name of its function.
    largest: (u64, String),
    /// Sum of all frames on the deepest call path from the entry of a child.
    child: u64,
    /// The same from the handler of faults.
    handler: u64,
}

/// Inspects the file with symbols and returns the stack that it needs. Returns
/// an error if a symbol belongs to a libc or a heap, or is undefined, or if a
/// function that is to be checked is missing from a file with all programs.
/// With fewer programs it may be left out, or part of its only caller.
fn look(path: &Path, assembly: &str, all: bool) -> Result<Stack> {
    let bytes = fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let file = object::File::parse(bytes.as_slice())?;
    let table = file.symbol_table().context("no symbols")?;
    let mut functions = BTreeMap::new();
    for symbol in table.symbols() {
        let name = symbol.name().unwrap_or_default();
        ensure!(
            !symbol.is_undefined() || name.is_empty(),
            "`{name}` is undefined"
        );
        for foreign in LIBC.iter().chain(&HEAP) {
            ensure!(
                !name.contains(foreign),
                "`{}` belongs to a libc or a heap",
                demangle(name)
            );
        }
        if symbol.kind() == SymbolKind::Text {
            // On ARM the lowest bit marks Thumb code.
            let address = symbol.address() & !1;
            functions.insert(address, name.to_owned());
        }
    }
    let frames: BTreeMap<String, u64> = frames(&file)?
        .into_iter()
        .map(|(address, size)| {
            let name = functions.get(&(address & !1));
            let name = name.cloned();
            (name.unwrap_or_else(|| format!("{address:#x}")), size)
        })
        .collect();
    let (name, size) = frames
        .iter()
        .max_by_key(|(_, size)| **size)
        .context("no section lists stack frames")?;
    let name = format!("{:#}", demangle(name));
    ensure!(
        *size <= FRAME,
        "{name} has a stack frame of {size} bytes; the limit is {FRAME}"
    );
    check_idle(&functions, all)?;
    let calls = calls(assembly)?;
    recursion::check(&file, &functions, &calls)?;
    let deepest_from = |entry: &str| {
        let begin = frames
            .keys()
            .find(|name| format!("{:#}", demangle(name)) == entry);
        match begin {
            Some(begin) => deepest(begin, &calls, &frames, &mut Vec::new()),
            None if all => bail!("{entry} is missing"),
            None => Ok(0),
        }
    };
    let child = deepest_from("runt::sys::clone_vm::child_main")?;
    let handler = deepest_from("runt::sys::fault::handler")?;
    ensure!(
        handler <= HANDLER,
        "the handler of faults may need {handler} bytes of stack; \
         src/sys/fault.rs has {HANDLER}"
    );
    ensure!(
        child <= CHILD,
        "a child may need {child} bytes of stack; src/sys/clone_vm has {CHILD}"
    );
    Ok(Stack {
        largest: (*size, name),
        child,
        handler,
    })
}

/// Checks that what an idle supervisor runs lies in the first bytes that the
/// kernel maps at once, as the linker script places it: a function that has
/// moved to another module is no longer named there. `all` as in [`look`].
fn check_idle(functions: &BTreeMap<u64, String>, all: bool) -> Result<()> {
    let first = functions.keys().next().context("no functions")?;
    let end = (first / MAPPED_AT_ONCE + 1) * MAPPED_AT_ONCE;
    for idle in IDLE {
        let mut from = functions
            .iter()
            .skip_while(|(_, name)| format!("{:#}", demangle(name)) != idle);
        if from.next().is_none() {
            ensure!(!all, "{idle} is missing");
            continue;
        }
        let next = from.next().map_or(u64::MAX, |(address, _)| *address);
        ensure!(
            next <= end,
            "{idle} is not in the first {MAPPED_AT_ONCE} bytes: name its \
             module earlier in src/build/link.ld"
        );
    }
    Ok(())
}

/// Returns, for each function of an assembly text, the functions that it
/// names. A name after a dot is part of another label: that of a table.
fn calls(assembly: &str) -> Result<recursion::Calls> {
    let label = Regex::new(r"^(\w+):")?;
    let symbol = Regex::new(
        r"(?:^|[^.\w])(_R\w+|mem\w+|bcmp|strlen|OUTLINED_FUNCTION_\d+|__\w+)\b",
    )?;
    let mut inside = String::new();
    let mut calls = recursion::Calls::new();
    for line in assembly.lines() {
        if let Some(found) = label.captures(line) {
            inside = found[1].to_owned();
        } else if !line.trim_start().starts_with('.') {
            let called = symbol.captures_iter(line);
            let called = called.map(|found| found[1].to_owned());
            calls.entry(inside.clone()).or_default().extend(called);
        }
    }
    Ok(calls)
}

/// Returns the sum of all frames on the deepest call path from a function, in
/// bytes. Returns an error when the function may call itself.
fn deepest(
    name: &str,
    calls: &recursion::Calls,
    frames: &BTreeMap<String, u64>,
    above: &mut Vec<String>,
) -> Result<u64> {
    ensure!(
        !above.iter().any(|function| function == name),
        "`{:#}` may call itself",
        demangle(name)
    );
    above.push(name.to_owned());
    let mut most = 0;
    for called in calls.get(name).into_iter().flatten() {
        if calls.contains_key(called) {
            most = most.max(deepest(called, calls, frames, above)?);
        }
    }
    above.pop();
    let own = frames.get(name).copied().unwrap_or(0);
    Ok(own + RETURN + most)
}

/// Returns the stack frame of each function: address, bytes.
fn frames(file: &object::File<'_>) -> Result<Vec<(u64, u64)>> {
    let width = if file.is_64() { 8 } else { 4 };
    let mut frames = Vec::new();
    for section in file.sections() {
        if section.name()? != ".stack_sizes" {
            continue;
        }
        let mut rest = section.data()?;
        while let Some((address, tail)) = rest.split_at_checked(width) {
            let mut whole = [0; 8];
            for (to, from) in whole.iter_mut().zip(address) {
                *to = *from;
            }
            let (size, used) =
                uleb128(tail).context(".stack_sizes is truncated")?;
            frames.push((u64::from_le_bytes(whole), size));
            rest = &tail[used..];
        }
    }
    Ok(frames)
}

/// Decodes a ULEB128 number (seven bits a byte, lowest first); returns it and
/// the number of bytes read.
fn uleb128(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn numbers_of_any_length() {
        assert_eq!(uleb128(&[0x05, 9]), Some((5, 1)));
        assert_eq!(uleb128(&[0xf8, 0x21, 9]), Some((4344, 2)));
        assert_eq!(uleb128(&[0x80]), None);
    }

    #[test]
    fn the_deepest_way_is_found() {
        let text = "_Ra:\n\tcall\t_Rb\n\tjmp\t_Rc\n_Rb:\n\tcall\t_Rc\n\
                    _Rc:\n\tret\n\t.size _Ra, 3\n";
        let frames = [("_Ra", 8), ("_Rb", 100), ("_Rc", 24)];
        let frames = frames.map(|(name, size)| (name.to_owned(), size)).into();
        let calls = calls(text).unwrap();
        let deepest = |calls| deepest("_Ra", calls, &frames, &mut Vec::new());
        assert_eq!(deepest(&calls).unwrap(), 132 + 3 * RETURN);
        let mut again = calls.clone();
        again.get_mut("_Rc").unwrap().insert("_Ra".into());
        assert!(deepest(&again).is_err());
    }

    #[test]
    fn who_panics_is_named() {
        let text = "fine:\n\tcall\tother\n\
                    _RNvCs1_4runt4main:\n\
                    \tcall\t_RNvNtCs2_4core9panicking18panic_bounds_check\n";
        let found = panics(text).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("runt::main"), "{found:?}");
    }
}
