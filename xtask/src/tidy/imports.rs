//! Checks which file imports from which: the layers of src/lib.rs are
//! respected, and no files import from each other in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use regex::Regex;
use syn::visit::{self, Visit};

use super::{Faults, rust_files};
use crate::board;

/// Checks every path in `src` against the table in src/lib.rs, and looks for
/// import cycles in `src` and `xtask/src`.
pub(super) fn check(faults: &mut Faults) -> Result<()> {
    let lib = fs::read_to_string(board::root().join("src/lib.rs"))?;
    let crates = ["src", "xtask/src"].map(Crate::read);
    for read in crates {
        let read = read?;
        if read.root == "src" {
            read.check_layers(&table(&lib)?, faults);
        }
        for cycle in read.cycles() {
            faults.push(format!("import cycle: {cycle}"));
        }
    }
    Ok(())
}

/// A path from the crate's root: the names of modules and then of an item.
type Names = Vec<String>;

/// The layers that each layer may use, itself among them.
type Allowed = BTreeMap<String, Vec<String>>;

/// A path that a file uses.
struct Used {
    /// The path, without `crate`.
    names: Names,
    /// Set if the path is in a module that only tests compile.
    in_test: bool,
}

/// A source file.
struct Module {
    file: PathBuf,
    used: Vec<Used>,
    /// Names that the file's `use` items import, with the paths that they
    /// stand for.
    imported: BTreeMap<String, Names>,
}

/// The files of one crate by their module path.
struct Crate {
    root: &'static str,
    modules: BTreeMap<Names, Module>,
}

impl Crate {
    /// Parses every file below `root`, a directory of the repository.
    fn read(root: &'static str) -> Result<Self> {
        let mut modules = BTreeMap::new();
        let mut files = rust_files(root);
        // It is a separate program.
        files.retain(|file| {
            !["src/build.rs", "src/build"]
                .iter()
                .any(|b| file.starts_with(b))
        });
        let names: BTreeSet<Names> =
            files.iter().map(|file| module_path(root, file)).collect();
        for file in files {
            let text = fs::read_to_string(board::root().join(&file))?;
            let parsed = syn::parse_file(&text)
                .with_context(|| format!("cannot parse {}", file.display()))?;
            let path = module_path(root, &file);
            let mut paths = Paths::new(path.clone(), &names);
            paths.visit_file(&parsed);
            let (used, imported) = (paths.used, paths.imported);
            let module = Module {
                file,
                used,
                imported,
            };
            modules.insert(path, module);
        }
        Ok(Self { root, modules })
    }

    /// Reports each path that leads into a layer that the table does not
    /// allow.
    fn check_layers(&self, allowed: &Allowed, faults: &mut Faults) {
        for (path, module) in &self.modules {
            let Some(layer) = path.first() else { continue };
            let file = module.file.display();
            let Some(may) = allowed.get(layer) else {
                faults.push(format!(
                    "{file}: the table in src/lib.rs has no layer `{layer}`"
                ));
                continue;
            };
            let layers: BTreeSet<_> = module
                .used
                .iter()
                .filter_map(|used| used.names.first())
                .filter(|name| allowed.contains_key(*name))
                .collect();
            for used in layers.into_iter().filter(|used| !may.contains(used)) {
                faults.push(format!(
                    "{file}: `{layer}` may not use `{used}` (src/lib.rs)"
                ));
            }
        }
    }

    /// Returns a description of each set of files that import from each other
    /// in a circle.
    ///
    /// A path into an enclosing module does not count as an import: a module
    /// and the files below it form a unit.
    fn cycles(&self) -> Vec<String> {
        let mut graph = DiGraphMap::<&Names, BTreeSet<&str>>::new();
        for (path, module) in &self.modules {
            for used in module.used.iter().filter(|used| !used.in_test) {
                let Some((target, name)) = self.resolve(&used.names) else {
                    continue;
                };
                if path.starts_with(target) {
                    continue;
                }
                match graph.edge_weight_mut(path, target) {
                    Some(names) => {
                        names.insert(name);
                    }
                    None => {
                        graph.add_edge(path, target, BTreeSet::from([name]));
                    }
                }
            }
        }
        let circles = tarjan_scc(&graph).into_iter().filter(|c| c.len() > 1);
        let file = |path: &Names| self.modules[path].file.display();
        circles
            .map(|circle| {
                let edges = graph.all_edges();
                let edges = edges.filter(|(from, to, _)| {
                    circle.contains(from) && circle.contains(to)
                });
                let edges = edges.map(|(from, to, names)| {
                    let names = names.iter().copied().collect::<Vec<_>>();
                    let names = names.join(", ");
                    format!("\n  {} -> {}: {names}", file(from), file(to))
                });
                edges.collect::<String>()
            })
            .collect()
    }

    /// Finds the file that a path leads into, through what other files
    /// re-export, and the name that is taken from there.
    fn resolve<'a>(&'a self, names: &'a Names) -> Option<(&'a Names, &'a str)> {
        let mut names = names;
        // No chain of re-exports is longer than this.
        for _ in 0..8 {
            let (path, module) = (0..=names.len())
                .rev()
                .find_map(|end| self.modules.get_key_value(&names[..end]))?;
            let name = names.get(path.len()).map_or("self", String::as_str);
            match module.imported.get(name) {
                Some(target) if target != names => names = target,
                _ => return Some((path, name)),
            }
        }
        None
    }
}

/// Collects the paths of one file.
struct Paths<'a> {
    /// The current module: that of the file, and inline ones inside it.
    here: Names,
    /// Every file of the crate.
    files: &'a BTreeSet<Names>,
    /// The number of test modules around the current item.
    tests: usize,
    used: Vec<Used>,
    imported: BTreeMap<String, Names>,
}

impl<'a> Paths<'a> {
    /// Returns an empty collection for the file that is module `here`.
    fn new(here: Names, files: &'a BTreeSet<Names>) -> Self {
        Self {
            here,
            files,
            tests: 0,
            used: Vec::new(),
            imported: BTreeMap::new(),
        }
    }

    /// Makes a path absolute. Returns `None` for a path of another crate, or
    /// of an imported name: the import itself is counted.
    fn absolute(&self, path: &[String]) -> Option<Names> {
        let (first, rest) = path.split_first()?;
        let mut names = match first.as_str() {
            "crate" => Names::new(),
            "self" => self.here.clone(),
            "super" => {
                let mut names = self.here.clone();
                names.pop()?;
                names
            }
            child => {
                let mut names = self.here.clone();
                names.push(child.to_string());
                return self
                    .files
                    .contains(&names)
                    .then(|| [&names[..], rest].concat());
            }
        };
        for name in rest {
            match name.as_str() {
                "super" => drop(names.pop()?),
                "self" => {}
                name => names.push(name.to_string()),
            }
        }
        Some(names)
    }

    /// Adds each path of a `use` tree.
    fn take_tree(&mut self, before: &mut Names, tree: &syn::UseTree) {
        let (from, to) = match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.take_tree(before, &path.tree);
                before.pop();
                return;
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.take_tree(before, tree);
                }
                return;
            }
            syn::UseTree::Glob(_) => ("self".to_string(), None),
            syn::UseTree::Name(name) => {
                let name = name.ident.to_string();
                let to = if name == "self" {
                    before.last().cloned()
                } else {
                    Some(name.clone())
                };
                (name, to)
            }
            syn::UseTree::Rename(rename) => {
                (rename.ident.to_string(), Some(rename.rename.to_string()))
            }
        };
        before.push(from);
        if let Some(names) = self.absolute(before) {
            if let (0, Some(to)) = (self.tests, to) {
                self.imported.insert(to, names.clone());
            }
            self.take(names);
        }
        before.pop();
    }

    /// Adds one path.
    fn take(&mut self, names: Names) {
        let in_test = self.tests > 0;
        self.used.push(Used { names, in_test });
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg")
                && attribute
                    .parse_args::<syn::Path>()
                    .is_ok_and(|path| path.is_ident("test"))
        });
        self.tests += usize::from(is_test);
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
        self.tests -= usize::from(is_test);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.take_tree(&mut Names::new(), &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        let names = names.collect::<Vec<_>>();
        if let Some(names) = self.absolute(&names) {
            self.take(names);
        }
        visit::visit_path(self, path);
    }
}

/// Returns the module path of a file below `root`; that of the crate's root
/// file is empty.
fn module_path(root: &str, file: &Path) -> Names {
    let path = file.strip_prefix(root).unwrap_or(file).with_extension("");
    let mut names: Names = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if names.last().is_some_and(|last| last == "mod") {
        names.pop();
    }
    match names.as_slice() {
        [only] if ["lib", "main"].contains(&only.as_str()) => Names::new(),
        _ => names,
    }
}

/// Reads the table of layers: the first column names a layer, the last one
/// the layers that it may use.
fn table(lib: &str) -> Result<Allowed> {
    let name = Regex::new(r"\[`(\w+)`\]")?;
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for line in lib.lines().filter_map(|line| line.strip_prefix("//! | ")) {
        let cells: Vec<&str> =
            line.trim_end_matches(" |").split(" | ").collect();
        let [layers, _, may] = cells.as_slice() else {
            continue;
        };
        let layers = name.captures_iter(layers).map(|m| m[1].to_string());
        let layers: Vec<String> = layers.collect();
        if layers.is_empty() {
            continue;
        }
        all.extend(layers.clone());
        rows.push((layers, may.to_string()));
    }
    let mut allowed = Allowed::new();
    for (layers, words) in rows {
        let mut may: Vec<String> = Vec::new();
        for word in words.split(", ") {
            match word {
                "-" => {}
                "all" => may.extend(all.clone()),
                "each other" => may.extend(layers.clone()),
                layer if all.iter().any(|known| known == layer) => {
                    may.push(layer.into());
                }
                other => bail!("src/lib.rs: the table lists no `{other}`"),
            }
        }
        for layer in layers {
            let own = [layer.clone()];
            allowed.insert(layer, may.iter().chain(&own).cloned().collect());
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod test {
    use super::*;

    /// Returns a crate with these files, given as module path with `/`, and
    /// text.
    fn of(files: &[(&str, &str)]) -> Crate {
        let path = |name: &str| -> Names {
            name.split('/')
                .filter(|part| !part.is_empty())
                .map(Into::into)
                .collect()
        };
        let names: BTreeSet<Names> =
            files.iter().map(|(name, _)| path(name)).collect();
        let modules = files.iter().map(|(name, text)| {
            let mut paths = Paths::new(path(name), &names);
            paths.visit_file(&syn::parse_file(text).unwrap());
            let module = Module {
                file: name.into(),
                used: paths.used,
                imported: paths.imported,
            };
            (path(name), module)
        });
        Crate {
            root: "src",
            modules: modules.collect(),
        }
    }

    #[test]
    fn a_cycle_is_named_with_what_ties_it() {
        let found = of(&[
            ("", "mod a; mod b; mod c;"),
            ("a", "use crate::b::{self, One}; pub struct Two;"),
            ("b", "fn f(two: super::a::Two) {} pub struct One;"),
            ("c", "use crate::a::Two;"),
        ])
        .cycles();
        let [cycle] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert!(cycle.contains("a -> b: One, self"), "{cycle}");
        assert!(cycle.contains("b -> a: Two"), "{cycle}");
        assert!(!cycle.contains('c'), "{cycle}");
    }

    #[test]
    fn parents_tests_and_other_crates_make_no_cycle() {
        let found = of(&[
            ("", "mod a; mod b;"),
            ("a", "mod inner; use std::fs; pub struct Own;"),
            ("a/inner", "use super::Own; use crate::b::B;"),
            (
                "b",
                "pub struct B; #[cfg(test)] mod test { use crate::a::Own; }",
            ),
        ]);
        assert_eq!(found.cycles(), Vec::<String>::new());
    }

    #[test]
    fn a_re_export_hides_no_cycle() {
        let found = of(&[
            ("", "mod a;"),
            ("a", "mod x; mod y; pub use x::X; pub use y::Y;"),
            ("a/x", "use super::Y; pub struct X;"),
            ("a/y", "use super::X; pub struct Y;"),
        ])
        .cycles();
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn layers_are_held_to_the_table() {
        let lib = "//! | [`a`] | x | - |\n//! | [`b`], [`c`] | x | each other, a |\n\
                   //! | [`d`] | x | all |";
        let allowed = table(lib).unwrap();
        assert_eq!(allowed["a"], ["a"]);
        assert_eq!(allowed["b"], ["b", "c", "a", "b"]);
        assert_eq!(allowed["d"], ["a", "b", "c", "d", "d"]);
        let mut faults = Faults::default();
        of(&[
            ("a", "fn f() { super::b::g(); }"),
            ("b", "use crate::{a, c::X};"),
            ("e", ""),
        ])
        .check_layers(&allowed, &mut faults);
        assert_eq!(
            faults.0,
            [
                "a: `a` may not use `b` (src/lib.rs)",
                "e: the table in src/lib.rs has no layer `e`"
            ]
        );
    }
}
