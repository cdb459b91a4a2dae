//! Tests that the help of each program fits on a screen, and that help and
//! manual have every option.

use super::{HELP, NAMES, retired, utmpset};
use crate::args::{
    chpst::{Alias, long},
    sv, svlogd, vlogger,
};

/// Columns and lines of a serial console.
const SCREEN: [usize; 2] = [80, 24];

/// Returns the help of a program.
fn help(name: &str) -> &'static str {
    let place = NAMES.lines().position(|known| known == name);
    HELP[place.unwrap()]
}

/// Returns the module documentation in a file.
fn manual(code: &str) -> String {
    let lines = code.lines().filter_map(|line| line.strip_prefix("//!"));
    lines
        .map(|line| format!("{}\n", line.trim_start()))
        .collect()
}

/// Returns true if a text describes an option of this letter, which stands
/// alone or before its value.
fn has_option(text: &str, letter: char) -> bool {
    let option = format!("-{letter}");
    let mut found = text.match_indices(&option);
    found.any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + option.len()..].chars().next();
        before.is_none_or(|c| " `".contains(c))
            && after.is_none_or(|c| " ,:`\n".contains(c))
    })
}

#[test]
fn every_program_has_help_that_fits_on_a_screen() {
    for name in NAMES.lines() {
        let text = help(name);
        assert!(text.starts_with(&format!("usage: {name}")), "{text}");
        // The prompt needs a line.
        assert!(text.lines().count() < SCREEN[1], "{text}");
        for line in text.lines() {
            assert!(line.len() <= SCREEN[0] && line.is_ascii(), "{line}");
        }
    }
}

#[test]
fn help_and_manual_have_every_option() {
    let retired_manual = include_str!("retired.rs");
    let chpst_manual = include_str!("chpst/mod.rs");
    let mut rows = vec![
        ("sv", include_str!("sv/mod.rs"), sv::OPTIONS),
        ("svlogd", include_str!("svlogd.rs"), svlogd::OPTIONS),
        ("vlogger", include_str!("vlogger.rs"), vlogger::OPTIONS),
        ("utmpset", include_str!("utmpset.rs"), utmpset::OPTIONS),
        ("runsvdir", include_str!("runsvdir.rs"), b"P"),
        ("runsvstat", retired_manual, retired::RUNSVSTAT),
        ("svwaitup", retired_manual, retired::SVWAITUP),
        ("svwaitdown", retired_manual, retired::SVWAITDOWN),
        ("svc", retired_manual, retired::SVC),
    ];
    let aliases = NAMES
        .lines()
        .filter_map(|name| Some((name, Alias::named(name.as_bytes())?)));
    rows.extend(
        aliases.map(|(name, alias)| (name, chpst_manual, alias.options())),
    );
    assert_eq!(rows.len(), 16);
    for (name, code, letters) in rows {
        let manual = manual(code);
        for letter in letters.iter().filter(|letter| **letter != b':') {
            let letter = char::from(*letter);
            assert!(has_option(help(name), letter), "{name}: help: {letter}");
            assert!(has_option(&manual, letter), "{name}: manual: {letter}");
        }
    }
    let manual = manual(chpst_manual);
    for (name, value) in long::all() {
        let option = format!("--{name} {value}");
        let option = option.trim();
        assert!(help("chpst").contains(option), "{option}");
        assert!(manual.contains(&format!("`{option}`")), "{option}");
    }
}

#[test]
fn help_and_manual_have_every_command_of_sv() {
    let manual = manual(include_str!("sv/mod.rs"));
    let table = include_str!("../sv-commands.txt");
    for row in table.lines().filter(|line| !line.starts_with('#')) {
        let word = row.split(' ').next().unwrap();
        let quoted = ["`", " "].map(|end| format!("`{word}{end}"));
        assert!(quoted.iter().any(|it| manual.contains(it)), "{word}");
        let mut words = help("sv").split([' ', ',', '\n']);
        // It is what prints it.
        assert!(word == "help" || words.any(|it| it == word), "{word}");
    }
}
