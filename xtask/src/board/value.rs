//! The values that a key of a board file may have.

use toml::Value;

use super::families;

/// The values that a key may have.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// The triple of one of the [`TARGETS`].
    Target,
    /// A text of one line, with this beginning and this end.
    Text(&'static str, &'static str),
    /// An absolute path.
    Path,
    /// An absolute path, or an empty text.
    PathOrNone,
    /// `UID:GID`, or an empty text.
    Owner,
    /// The name of a file in /dev.
    Device,
    /// One of the [`SPEEDS`].
    Speed,
    /// Kernel parameters for the root.
    Root,
    /// Kernel parameters other than `console=`.
    Parameters,
    /// A number in this range.
    Number(i64, i64),
    /// A number greater than 0, with or without a fraction.
    Factor,
    /// true or false.
    Flag,
    /// A list of names.
    Names,
    /// A list of texts of one line.
    Texts,
    /// A list of families of programs, with those that they need.
    Families,
}
use Kind::{
    Device, Factor, Families, Flag, Names, Number, OneOf, Owner, Parameters,
    Path, PathOrNone, Root, Speed, Target, Text, Texts,
};

/// Targets that the tests build for: triple, Debian's name of the
/// architecture, QEMU's.
pub(super) const TARGETS: [[&str; 3]; 6] = [
    ["aarch64-unknown-linux-musl", "arm64", "aarch64"],
    ["arm-unknown-linux-musleabihf", "armel", "arm"],
    ["armv7-unknown-linux-musleabihf", "armhf", "arm"],
    ["mipsel-unknown-linux-musl", "mipsel", "mipsel"],
    ["riscv64gc-unknown-linux-musl", "riscv64", "riscv64"],
    ["x86_64-unknown-linux-musl", "amd64", "x86_64"],
];

/// Speeds of a serial line that Linux has a name for, from 1200 on.
const SPEEDS: [i64; 22] = [
    1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115_200, 230_400,
    460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000,
    2_000_000, 2_500_000, 3_000_000, 3_500_000, 4_000_000,
];

/// Parameters that `root` may contain: `src/wire/root.rs` reads them.
const ROOT: [&str; 8] = [
    "ro",
    "rw",
    "rootwait",
    "root=",
    "rootfstype=",
    "rootflags=",
    "runt.overlay=",
    "runt.verity=",
];

impl Kind {
    /// Returns true if a key may have this value.
    pub(super) fn permits(self, value: &Value) -> bool {
        let list = |each: fn(&str) -> bool| {
            let items = value.as_array();
            items.is_some_and(|all| {
                all.iter().all(|item| item.as_str().is_some_and(each))
            })
        };
        match self {
            Number(least, most) => value
                .as_integer()
                .is_some_and(|number| (least..=most).contains(&number)),
            Speed => value.as_integer().is_some_and(|n| SPEEDS.contains(&n)),
            Flag => value.is_bool(),
            Factor => {
                let whole = value.as_integer().map(|n| n > 0);
                let number = value.as_float().map(|n| n > 0.0);
                whole.or(number) == Some(true)
            }
            Names => list(is_name),
            Families => {
                let all = value.as_array().map_or(&[][..], Vec::as_slice);
                let all = all.iter().map(Value::as_str);
                let all: Option<Vec<_>> = all.collect();
                all.is_some_and(|all| !all.is_empty() && is_complete(&all))
            }
            Texts => list(is_line),
            _ => value.as_str().is_some_and(|text| self.permits_text(text)),
        }
    }

    /// Does the same for a text.
    fn permits_text(self, text: &str) -> bool {
        match self {
            OneOf(texts) => texts.contains(&text),
            Target => TARGETS.iter().any(|[triple, ..]| *triple == text),
            Text(begin, end) => {
                let inner = text.strip_prefix(begin);
                let inner = inner.and_then(|text| text.strip_suffix(end));
                is_line(text) && inner.is_some_and(|text| !text.is_empty())
            }
            Path => text.starts_with('/') && is_line(text),
            PathOrNone => text.is_empty() || Path.permits_text(text),
            Owner => text.is_empty() || is_owner(text),
            Device => {
                text.starts_with(|c: char| c.is_ascii_alphabetic())
                    && is_name(text)
            }
            Root => is_line(text) && words(text).iter().all(|w| is_root(w)),
            Parameters => {
                let console = |word: &String| word.starts_with("console=");
                is_line(text) && !words(text).iter().any(console)
            }
            Speed | Number(..) | Factor | Flag | Names | Texts | Families => {
                false
            }
        }
    }

    /// Describes the values that a key may have.
    pub(super) fn describe(self) -> String {
        match self {
            OneOf(texts) => texts.join(", "),
            Target => TARGETS.map(|[triple, ..]| triple).join(", "),
            Text("", "") => "a text of one line".into(),
            Text(begin, end) => format!("{begin}NAME{end}"),
            Path => "an absolute path".into(),
            PathOrNone => "an absolute path, or \"\" for none".into(),
            Owner => {
                let most = u32::MAX - 1;
                format!("UID:GID, two numbers up to {most}, or \"\"")
            }
            Device => "the name of a file in /dev, without /dev/, of letters, \
                digits and +-._"
                .into(),
            Speed => SPEEDS.map(|speed| speed.to_string()).join(", "),
            Root => format!("words of {}", ROOT.join(", ")),
            Parameters => "kernel parameters other than console=".into(),
            Number(least, i64::MAX) => format!("{least} or more"),
            Number(least, most) => format!("{least} to {most}"),
            Factor => "a number greater than 0".into(),
            Flag => "true, false".into(),
            Names => "a list of names of letters, digits and +-._".into(),
            Texts => "a list of texts of one line".into(),
            Families => {
                let all =
                    families().into_iter().map(|(name, needs)| {
                        match needs.join(" or ") {
                            none if none.is_empty() => name.into(),
                            needs => format!("{name} (with {needs})"),
                        }
                    });
                format!("a list of {}", all.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Returns true for families of programs that need no others.
fn is_complete(chosen: &[&str]) -> bool {
    let all = families();
    chosen.iter().all(|family| {
        all.iter().any(|(name, needs)| {
            let met = needs.iter().any(|need| chosen.contains(need));
            name == family && (met || needs.is_empty())
        })
    })
}

/// Returns true for a text without control characters.
fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Returns true for the name of a suite, a module or a device.
fn is_name(text: &str) -> bool {
    let is = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    !text.is_empty() && text.chars().all(is)
}

/// Returns true for `UID:GID`; the highest number is the kernel's "none".
fn is_owner(text: &str) -> bool {
    let is_id = |id: &str| id.parse::<u32>().is_ok_and(|id| id < u32::MAX);
    text.split_once(':')
        .is_some_and(|(uid, gid)| is_id(uid) && is_id(gid))
}

/// Returns true for one of the [`ROOT`] parameters, with a value if its name
/// ends with `=`.
fn is_root(word: &str) -> bool {
    ROOT.iter().any(|known| {
        let value = word.strip_prefix(known);
        value.is_some_and(|value| value.is_empty() != known.ends_with('='))
    })
}

/// Returns the kernel parameters of a text: words with blanks between them,
/// where double quotes protect blanks.
fn words(text: &str) -> Vec<String> {
    let mut quoted = false;
    let split = |c: char| {
        quoted ^= c == '"';
        c == ' ' && !quoted
    };
    let words = text.split(split).filter(|word| !word.is_empty());
    words.map(String::from).collect()
}
