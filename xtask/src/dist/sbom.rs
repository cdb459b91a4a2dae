//! Lists what is linked into a release file, and writes the list as CycloneDX
//! 1.6 and as SPDX 2.3. A list made from Cargo.lock would be wrong: it has the
//! crates of the tests, and lacks those of the compiler.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{board, board::Board, build, run, setup, version::version};

/// The program, or a crate that is linked into it.
pub(super) struct Part {
    pub(super) name: String,
    version: String,
    /// An SPDX expression.
    licence: String,
    /// SHA-256 of the file, or of the crate's archive.
    sha256: Option<String>,
    /// A package URL, which identifies it.
    url: String,
    /// The place from which it can be downloaded, as SPDX has it.
    location: String,
    pub(super) licence_texts: Vec<PathBuf>,
}

/// Returns the program, then all crates that are linked into a board's file.
pub(super) fn parts(board: &Board, file: &Path) -> Result<Vec<Part>> {
    let packages = build::packages()?;
    let hashes = hashes()?;
    let mut parts = Vec::new();
    let linked = build::crates(board)?;
    let mut names: Vec<_> = linked
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let version = words.nth(1)?.trim_start_matches('v');
            Some((line.split_whitespace().next()?, version))
        })
        .collect();
    names.sort_unstable_by_key(|(name, _)| (*name != PROGRAM, *name));
    names.dedup();
    for (name, version) in names {
        let package = packages
            .iter()
            .find(|p| p["name"] == name && p["version"] == version);
        let package = package.with_context(|| format!("no crate {name}"))?;
        let text = |key: &str| {
            let text = package[key].as_str();
            text.with_context(|| format!("{name} has no {key}"))
        };
        let dir = Path::new(text("manifest_path")?).parent();
        let licence = text("license")?.replace('/', " OR ");
        let (sha256, location, licence_texts) = if name == PROGRAM {
            (Some(super::hash(file)?), "NOASSERTION".into(), Vec::new())
        } else {
            let crates = "https://crates.io/api/v1/crates";
            (
                hashes.get(&(name.into(), version.into())).cloned(),
                format!("{crates}/{name}/{version}/download"),
                texts_of_crate(dir.context("no directory")?, &licence)?,
            )
        };
        parts.push(Part {
            name: name.into(),
            version: version.into(),
            licence,
            sha256,
            url: format!("pkg:cargo/{name}@{version}"),
            location,
            licence_texts,
        });
    }
    parts.extend(of_compiler()?);
    Ok(parts)
}

/// The crate of the program.
const PROGRAM: &str = "runt-init";

/// The crates that come with the compiler's source: name, directory.
const OF_COMPILER: [(&str, &str); 2] = [
    ("compiler_builtins", "compiler-builtins/compiler-builtins"),
    ("core", "core"),
];

/// Returns the crates that come with the compiler's source.
fn of_compiler() -> Result<Vec<Part>> {
    let source = setup::core_source()?;
    let rustc = setup::rustc_version()?;
    let of = |name: &str, dir: &str| -> Result<Part> {
        let manifest = source.join(dir).join("Cargo.toml");
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        let manifest: toml::Table = toml::from_str(&text)?;
        let licence = manifest["package"]["license"].as_str();
        let licence = licence.context("no license")?;
        Ok(Part {
            name: name.into(),
            version: rustc.clone(),
            licence: licence.into(),
            sha256: None,
            url: format!("pkg:generic/rust@{rustc}#library/{dir}"),
            location: format!(
                "https://static.rust-lang.org/dist/rustc-{rustc}-src.tar.xz"
            ),
            licence_texts: texts_of_compiler(licence)?,
        })
    };
    OF_COMPILER
        .iter()
        .map(|(name, dir)| of(name, dir))
        .collect()
}

/// Returns the paths of a crate's licences, sorted. A crate that lacks them has
/// those that its manifest names.
fn texts_of_crate(dir: &Path, licence: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let upper = name.to_string_lossy().to_uppercase();
        let words = ["LICEN", "UNLICEN", "COPYING", "COPYRIGHT"];
        if words.iter().any(|word| upper.starts_with(*word)) {
            found.push(dir.join(name));
        }
    }
    if found.is_empty() {
        return texts_of_compiler(licence);
    }
    found.sort();
    Ok(found)
}

/// Returns the paths of the licences in an SPDX expression, which the compiler
/// comes with.
fn texts_of_compiler(licence: &str) -> Result<Vec<PathBuf>> {
    let sysroot =
        run::quiet(Command::new("rustc").args(["--print", "sysroot"]))?;
    let dir = Path::new(sysroot.trim()).join("share/doc/rust/licenses");
    let words = licence.split(|c| " ()".contains(c));
    let names = words.filter(|w| !["", "AND", "OR", "WITH"].contains(w));
    let mut texts: Vec<_> =
        names.map(|name| dir.join(format!("{name}.txt"))).collect();
    texts.sort();
    texts.dedup();
    for text in &texts {
        ensure!(text.exists(), "the compiler lacks {}", text.display());
    }
    Ok(texts)
}

/// Checks that the list has exactly the libraries that were compiled for a
/// board's file; `made` are their names.
pub(super) fn compare(board: &Board, made: &[String]) -> Result<()> {
    let listed = build::crates(board)?;
    let listed = listed.lines().filter_map(|line| line.split(' ').next());
    let listed = listed.chain(OF_COMPILER.map(|(name, _)| name));
    let mut listed: Vec<_> = listed
        .map(|name| if name == PROGRAM { "runt" } else { name })
        .map(|name| name.replace('-', "_"))
        .collect();
    listed.sort();
    listed.dedup();
    ensure!(
        listed == made,
        "{}: {made:?} are linked, and {listed:?} are listed",
        board.name
    );
    Ok(())
}

/// Returns the hashes of Cargo.lock by name and version.
fn hashes() -> Result<BTreeMap<(String, String), String>> {
    let text = fs::read_to_string(board::root().join("Cargo.lock"))?;
    let lock: toml::Table = toml::from_str(&text)?;
    let packages = lock["package"].as_array().context("no packages")?;
    let hashes = packages.iter().filter_map(|package| {
        let text = |key: &str| Some(package.get(key)?.as_str()?.to_owned());
        Some(((text("name")?, text("version")?), text("checksum")?))
    });
    Ok(hashes.collect())
}

/// Returns the list as a CycloneDX 1.6 document.
pub(super) fn cyclonedx(parts: &[Part]) -> Result<Value> {
    let component = |part: &Part, kind: &str| {
        let mut component = json!({
            "type": kind,
            "bom-ref": part.url,
            "name": part.name,
            "version": part.version,
            "purl": part.url,
            "licenses": [{ "expression": part.licence }],
        });
        if let Some(hash) = &part.sha256 {
            component["hashes"] =
                json!([{ "alg": "SHA-256", "content": hash }]);
        }
        component
    };
    let (program, crates) = parts.split_first().context("no program")?;
    let components = crates.iter().map(|part| component(part, "library"));
    let urls: Vec<&str> = crates.iter().map(|part| &*part.url).collect();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time()?,
            "component": component(program, "application"),
        },
        "components": components.collect::<Vec<_>>(),
        "dependencies": [{ "ref": program.url, "dependsOn": urls }],
    }))
}

/// Returns the list as an SPDX 2.3 document.
pub(super) fn spdx(title: &str, parts: &[Part]) -> Result<Value> {
    let id = |part: &Part| format!("SPDXRef-{}", part.name.replace('_', "-"));
    let program = parts.first().context("no program")?;
    let packages = parts.iter().map(|part| {
        let mut package = json!({
            "SPDXID": id(part),
            "name": part.name,
            "versionInfo": part.version,
            "downloadLocation": part.location,
            "filesAnalyzed": false,
            "licenseConcluded": part.licence,
            "licenseDeclared": part.licence,
            "copyrightText": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": part.url,
            }],
        });
        if let Some(hash) = &part.sha256 {
            package["checksums"] = json!([{
                "algorithm": "SHA256",
                "checksumValue": hash,
            }]);
        }
        package
    });
    let mut relations = vec![json!({
        "spdxElementId": "SPDXRef-DOCUMENT",
        "relationshipType": "DESCRIBES",
        "relatedSpdxElement": id(program),
    })];
    relations.extend(parts.iter().skip(1).map(|part| {
        json!({
            "spdxElementId": id(program),
            "relationshipType": "STATIC_LINK",
            "relatedSpdxElement": id(part),
        })
    }));
    let hash = program.sha256.as_deref().context("no hash")?;
    Ok(json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": title,
        "documentNamespace": format!("https://spdx.org/spdxdocs/{title}-{hash}"),
        "creationInfo": {
            "created": time()?,
            "creators": [format!("Tool: runt-xtask-{}", program.version)],
        },
        "packages": packages.collect::<Vec<_>>(),
        "relationships": relations,
    }))
}

/// Returns the time of the version as both formats write it.
fn time() -> Result<String> {
    let mut date = Command::new("date");
    date.args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d"]);
    let text = run::quiet(date.arg(format!("@{}", version()?.time)))?;
    Ok(text.trim().into())
}
