//! Checks that the memory functions of a linked file cannot call themselves:
//! a compiler that recognises the loop of one as a copy may replace it by a
//! call of that function.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _,
    ObjectSymbolTable as _, RelocationTarget, SymbolKind,
};
use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use rustc_demangle::demangle;

/// The names of each function's callees.
pub(super) type Calls = BTreeMap<String, BTreeSet<String>>;

/// Returns true for the functions that the compiler and `core` call by name,
/// and for those that an ABI prescribes (`__aeabi_memcpy`).
fn is_memory_function(name: &str) -> bool {
    let name = name.trim_start_matches("__aeabi_");
    let families = ["memcpy", "memmove", "memset", "memcmp", "memclr"];
    families.iter().any(|family| name.starts_with(family))
        || ["bcmp", "strlen"].contains(&name)
}

/// Returns an error if a memory function can call itself, through others too.
/// The calls are those of the assembly, which lacks the functions of a
/// prebuilt crate, and those that the linked file's relocations name, which may
/// lack calls inside of a section.
pub(super) fn check(
    file: &File<'_>,
    functions: &BTreeMap<u64, String>,
    assembly: &Calls,
) -> Result<()> {
    let linked = relocated(file, functions)?;
    ensure!(!linked.is_empty(), "the file has no relocations");
    if let Some(circle) = circle(assembly.iter().chain(&linked)) {
        bail!("memory functions that can call themselves: {circle}");
    }
    Ok(())
}

/// Returns the functions of a circle of calls that contains a memory function.
fn circle<'a>(
    calls: impl Iterator<Item = (&'a String, &'a BTreeSet<String>)>,
) -> Option<String> {
    let mut graph = DiGraphMap::<&str, ()>::new();
    for (caller, callees) in calls {
        for callee in callees {
            graph.add_edge(caller, callee, ());
        }
    }
    let circle = tarjan_scc(&graph).into_iter().find(|functions| {
        let calls_itself = match functions.as_slice() {
            [one] => graph.contains_edge(one, one),
            _ => true,
        };
        calls_itself && functions.iter().any(|it| is_memory_function(it))
    })?;
    let names = circle.iter().map(|name| format!("{:#}", demangle(name)));
    Some(names.collect::<Vec<_>>().join(", "))
}

/// Returns the functions that the relocations of a linked file name, by the
/// function that contains them. `functions` are those of the file by address.
fn relocated(
    file: &File<'_>,
    functions: &BTreeMap<u64, String>,
) -> Result<Calls> {
    let table = file.symbol_table().context("no symbols")?;
    let mut calls = Calls::new();
    for section in file.sections() {
        for (at, relocation) in section.relocations() {
            let RelocationTarget::Symbol(index) = relocation.target() else {
                continue;
            };
            let symbol = table.symbol_by_index(index)?;
            let Some((_, caller)) = functions.range(..=at).next_back() else {
                continue;
            };
            if symbol.kind() == SymbolKind::Text {
                let callee = symbol.name()?.to_owned();
                calls.entry(caller.clone()).or_default().insert(callee);
            }
        }
    }
    Ok(calls)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn circles_through_memory_functions_are_found() {
        let of = |edges: &[(&str, &str)]| {
            let mut calls = Calls::new();
            for (caller, callee) in edges {
                let callees = calls.entry(caller.to_string()).or_default();
                callees.insert(callee.to_string());
            }
            circle(calls.iter())
        };
        assert_eq!(of(&[("main", "memcpy"), ("memmove", "memcpy")]), None);
        // Recursion elsewhere is no fault of theirs.
        assert_eq!(of(&[("walk", "walk"), ("walk", "memset")]), None);
        assert_eq!(of(&[("memcpy", "memcpy")]).unwrap(), "memcpy");
        assert_eq!(of(&[("bcmp", "bcmp")]).unwrap(), "bcmp");
        let through = of(&[
            ("__aeabi_memset", "memset"),
            ("memset", "fill"),
            ("fill", "__aeabi_memset"),
        ]);
        let through = through.unwrap();
        assert!(["memset", "fill"].iter().all(|it| through.contains(it)));
    }
}
