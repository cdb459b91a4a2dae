//! Chooses the arguments that link the program, in the form that its linker
//! takes: a bare one, as `cargo xtask build` uses, or a compiler that calls
//! one.

/// Options of ld.lld and GNU ld alike, with one reason each: no libc and no
/// dynamic section; the entry has a name of its own, as the start files of a
/// libc, which the script drops, define `_start`; RELRO, unwind tables and a
/// build id have no use in the file; at `-O2` the linker merges a string with
/// the end of a longer one (300 bytes).
const OPTIONS: [&str; 8] = [
    "-nostdlib",
    "-static",
    "-no-pie",
    "-erunt_entry",
    "-znorelro",
    "--no-eh-frame-hdr",
    "--build-id=none",
    "-O2",
];

/// The form in which a linker takes its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// As they are: ld.lld, GNU ld.
    Bare,
    /// Those of the linker behind `-Wl,`: gcc, clang.
    Compiler,
}

/// Returns the flavor of a build as rustc determines it: from
/// `-Clinker-flavor` among its flags, else from the name of the linker, which
/// a flag or cargo's configuration may set; all of our targets use a compiler
/// by default.
pub(crate) fn flavor(flags: &[&str], configured: Option<&str>) -> Flavor {
    if let Some(name) = option(flags, "linker-flavor") {
        let bare = ["ld", "ld.lld", "gnu", "gnu-lld"].contains(&name);
        return if bare { Flavor::Bare } else { Flavor::Compiler };
    }
    let linker = option(flags, "linker").or(configured).unwrap_or("cc");
    let file = linker.rsplit('/').next().unwrap_or(linker);
    let name = file.rsplit('-').next().unwrap_or(file);
    match name {
        "ld" | "lld" | "ld.lld" | "ld.bfd" => Flavor::Bare,
        _ => Flavor::Compiler,
    }
}

/// Returns the value of a code generation option, `-Ckey=value` or `-C
/// key=value`: the last one counts.
fn option<'a>(flags: &[&'a str], key: &str) -> Option<&'a str> {
    let mut values = flags.iter().enumerate().filter_map(|(at, flag)| {
        let setting = match *flag {
            "-C" | "--codegen" => flags.get(at.checked_add(1)?).copied()?,
            flag => flag
                .strip_prefix("-C")
                .or_else(|| flag.strip_prefix("--codegen="))?,
        };
        setting.strip_prefix(key)?.strip_prefix('=')
    });
    values.next_back()
}

/// Returns the arguments for a linker of this flavor; `script` is the path of
/// link.ld.
pub(crate) fn arguments(flavor: Flavor, script: &str) -> Vec<String> {
    let options = OPTIONS.iter().map(|option| match (flavor, *option) {
        // A compiler has these itself: they also concern what it adds.
        (Flavor::Compiler, "-nostdlib" | "-static" | "-no-pie")
        | (Flavor::Bare, _) => (*option).to_string(),
        (Flavor::Compiler, option) => format!("-Wl,{option}"),
    });
    options.chain([format!("-T{script}")]).collect()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn flavors_are_those_of_rustc() {
        let of = |flags: &[&str], configured| flavor(flags, configured);
        assert_eq!(of(&[], None), Flavor::Compiler);
        for bare in ["rust-lld", "/usr/bin/ld.lld", "ld", "arm-linux-ld"] {
            assert_eq!(of(&[], Some(bare)), Flavor::Bare, "{bare}");
        }
        for compiler in ["gcc", "clang", "/x/arm-gcc", "target-rust-ccld"] {
            assert_eq!(of(&[], Some(compiler)), Flavor::Compiler, "{compiler}");
        }
        // A flag takes precedence over the configuration, the last over others.
        assert_eq!(of(&["-Clinker=gcc"], Some("ld")), Flavor::Compiler);
        let two = ["-C", "linker=cc", "-Clinker=rust-lld"];
        assert_eq!(of(&two, None), Flavor::Bare);
        let named = ["--codegen=linker-flavor=gnu-lld-cc", "-Clinker=rust-lld"];
        assert_eq!(of(&named, None), Flavor::Compiler);
        assert_eq!(of(&["-C", "linker-flavor=ld"], None), Flavor::Bare);
    }

    #[test]
    fn a_compiler_passes_the_linkers_options_on() {
        let words = arguments(Flavor::Compiler, "/a,b/link.ld");
        assert!(words.contains(&"-Wl,-erunt_entry".into()), "{words:?}");
        assert!(words.contains(&"-T/a,b/link.ld".into()), "{words:?}");
        assert!(words.contains(&"-static".into()), "{words:?}");
        let words = arguments(Flavor::Bare, "/link.ld");
        assert!(!words.iter().any(|word| word.starts_with("-Wl")));
    }
}
