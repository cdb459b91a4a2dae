//! Generates the completion of sv for bash, zsh and fish from
//! src/sv-commands.txt.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{board, board::Board, run, tool};

/// The table of the commands.
const TABLE: &str = include_str!("../../src/sv-commands.txt");

/// The options before the command and their meanings.
const OPTIONS: [(&str, &str); 5] = [
    ("-v", "wait for the effect of any command"),
    ("-w", "wait for at most so many seconds"),
    ("-j", "print JSON"),
    ("-V", "print the version"),
    ("--help", "print a summary"),
];

/// A command: its word, the kind of its operands, its meaning.
type Row = [&'static str; 3];

/// Returns the rows of the table.
fn rows() -> impl Iterator<Item = Row> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (word, rest) = line.split_once(' ')?;
        let (kind, meaning) = rest.trim_start().split_once(' ')?;
        Some([word, kind, meaning.trim()])
    })
}

/// Returns the files of a board's completion: their paths below /usr, and
/// their content.
pub fn files(board: &Board) -> Result<Vec<(String, String)>> {
    let fill = |template: &str| fill_in(template, board);
    let files = [
        (
            "bash-completion/completions/sv",
            include_str!("completion/sv.bash"),
        ),
        ("zsh/site-functions/_sv", include_str!("completion/sv.zsh")),
        (
            "fish/vendor_completions.d/sv.fish",
            include_str!("completion/sv.fish"),
        ),
    ];
    let files = files.map(|(path, text)| (format!("share/{path}"), fill(text)));
    for (path, text) in &files {
        ensure!(
            !text.contains('@'),
            "{path}: a word was not replaced:\n{text}"
        );
    }
    Ok(files.to_vec())
}

/// Replaces the placeholders of a script.
fn fill_in(template: &str, board: &Board) -> String {
    let all: Vec<Row> = rows().collect();
    let words = |kind: Option<&str>, gap: &str| {
        let of_kind = |row: &&Row| kind.is_none_or(|kind| row[1] == kind);
        let words = all.iter().filter(of_kind).map(|[word, ..]| *word);
        words.collect::<Vec<_>>().join(gap)
    };
    let options = OPTIONS.map(|(option, _)| option).join(" ");
    let described = all
        .iter()
        .map(|[word, _, meaning]| format!("    '{word}:{meaning}'"));
    let arguments = OPTIONS.map(|(option, meaning)| {
        let value = if option == "-w" { ":seconds:" } else { "" };
        format!("    '{option}[{meaning}]{value}' \\")
    });
    let options_fish = OPTIONS.map(|(option, meaning)| {
        let name = option.trim_start_matches('-');
        let flag = if name.len() > 1 { "-l" } else { "-s" };
        let value = if option == "-w" { " -x" } else { "" };
        let when = "-n 'not __fish_sv_command'";
        format!("complete -c sv {when} {flag} {name}{value} -d '{meaning}'")
    });
    let commands_fish = all.iter().map(|[word, _, meaning]| {
        let when = "-n 'not __fish_sv_command'";
        format!("complete -c sv {when} -a {word} -d '{meaning}'")
    });
    let lines = |lines: Vec<String>| lines.join("\n");
    template
        .replace("@OPTIONS@", &options)
        .replace("@COMMANDS@", &words(None, " "))
        .replace("@NONE@", &words(Some("none"), " | "))
        .replace("@SERVICES@", &words(Some("services"), " | "))
        .replace("@ALL@", &words(Some("all"), " | "))
        .replace("@NONE_WORDS@", &words(Some("none"), " "))
        .replace("@SERVICES_WORDS@", &words(Some("services"), " "))
        .replace("@ALL_WORDS@", &words(Some("all"), " "))
        .replace("@DESCRIBED@", &lines(described.collect()))
        .replace("@ARGUMENTS@", &lines(arguments.to_vec()))
        .replace("@OPTIONS_FISH@", &lines(options_fish.to_vec()))
        .replace("@COMMANDS_FISH@", &lines(commands_fish.collect()))
        .replace("@DIR@", &board.services)
        .replace("@OVERLAY@", &board.services_overlay)
        .replace("@OVERLAY_WORDS@", &board.services_overlay)
}

/// Lines typed, and the words that complete the last word of each.
const CASES: [(&str, &[&str]); 12] = [
    ("sv rest", &["restart"]),
    ("sv -v sta", &["start", "status"]),
    ("sv -w 5 stat", &["status"]),
    ("sv -vw 5 force-s", &["force-shutdown", "force-stop"]),
    ("sv -", &["-v", "-w", "-j", "-V", "--help"]),
    ("sv up h", &["httpd", "httpd/log"]),
    ("sv restart lease h", &["httpd", "httpd/log"]),
    ("sv why h", &["httpd"]),
    ("sv u l", &["lease"]),
    ("sv log -", &["-f", "-r"]),
    ("sv log -f l", &["lease"]),
    ("sv list h", &[]),
];

/// Checks the completion in each of the shells.
pub fn check() -> Result<()> {
    let bash = tool::program("bash", &["bash"])?;
    let fish = tool::program("fish", &["fish"])?;
    let zsh = tool::program("zsh", &["zsh"])?;
    let dir = tempfile::tempdir()?;
    let services = dir.path().join("services");
    for service in ["httpd/log", "lease", ".hidden"] {
        fs::create_dir_all(services.join(service))?;
    }
    let mut scripts = Vec::new();
    for (path, text) in files(&board::load(board::HOST)?)? {
        let name = path.rsplit('/').next().unwrap_or_default();
        // That of bash has the name of the program.
        let name = name.replace("sv", "script");
        let name = name.replace("_script", "_sv");
        let to = dir.path().join(name);
        fs::write(&to, text)?;
        scripts.push(to);
    }
    let shell = |program: &Path, script: &str, arguments: &[&str]| {
        let mut command = Command::new("timeout");
        command.arg("60").arg(program);
        let quiet = ["--no-config", "-c"];
        let plain = if program == fish {
            &quiet[..]
        } else {
            &quiet[1..]
        };
        command.args(plain).arg(script).args(arguments);
        command.current_dir(dir.path()).env("SVDIR", &services);
        command.env("HOME", dir.path()).env("ZDOTDIR", dir.path());
        run::quiet(command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8"))
    };
    for (line, expected) in CASES {
        let expected: BTreeSet<_> = expected.iter().copied().collect();
        let in_bash = "source ./script; read -ra COMP_WORDS <<< \"$0 \"; \
                       [[ $0 == *' ' ]] && COMP_WORDS+=(''); \
                       COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _sv; \
                       printf '%s\\n' \"${COMPREPLY[@]}\"";
        let printed = shell(&bash, in_bash, &[line])?;
        let found: BTreeSet<_> =
            printed.lines().filter(|line| !line.is_empty()).collect();
        ensure!(found == expected, "bash completes `{line}` by {found:?}");
        let in_fish = format!("source ./script.fish; complete -C '{line}'");
        let printed = shell(&fish, &in_fish, &[])?;
        let found: BTreeSet<_> = printed
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        ensure!(found == expected, "fish completes `{line}` by {found:?}");
    }
    fs::write(dir.path().join(".zshrc"), ZSHRC)?;
    let lines: Vec<_> = CASES.iter().map(|(line, _)| *line).collect();
    let printed = shell(&zsh, TYPE, &[&[""], &lines[..]].concat())?;
    let found: Vec<_> = printed.lines().collect();
    ensure!(found.len() == CASES.len(), "zsh prints\n{printed}");
    for ((line, expected), found) in CASES.iter().zip(found) {
        let completed = completed(line, expected);
        ensure!(
            found == completed,
            "zsh completes `{line}` to `{found}` instead of `{completed}`"
        );
    }
    Ok(())
}

/// Returns a line as a shell leaves it that completes the last word as far as
/// all candidates agree.
fn completed(line: &str, candidates: &[&str]) -> String {
    let (before, typed) = line.rsplit_once(' ').unwrap_or(("", line));
    match candidates {
        [] => line.into(),
        [only] => format!("{before} {only} "),
        [first, others @ ..] => {
            let agree = |length: &usize| {
                let prefix = &first[..*length];
                others.iter().all(|other| other.starts_with(prefix))
            };
            let length = (typed.len()..=first.len()).rev().find(agree);
            format!("{before} {}", &first[..length.unwrap_or(typed.len())])
        }
    }
}

/// Configuration of the zsh that is typed to: the key Ctrl-X shows the line and
/// clears it.
const ZSHRC: &str = r#"
PROMPT=READY
setopt no_beep no_auto_list no_auto_menu no_list_ambiguous no_prompt_sp
fpath=($PWD $fpath)
autoload -Uz compinit
compinit -u -D
show() { print -r -- "<$BUFFER>"; BUFFER= }
zle -N show
bindkey '^X' show
"#;

/// Types each argument after the first, and a tab, to a zsh on a terminal, and
/// prints what becomes of it.
const TYPE: &str = r#"
zmodload zsh/zpty
zpty shell 'zsh -d -i'
zpty -r shell out '*READY*'
for line in "${@[1,-1]}"; do
    zpty -w -n shell "$line"$'\t\x18'
    zpty -r shell out '*<*>*'
    out=${out#*<}
    print -r -- "${out%%>*}"
done
zpty -d shell
"#;

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_line_is_completed_as_far_as_the_candidates_agree() {
        assert_eq!(completed("sv rest", &["restart"]), "sv restart ");
        assert_eq!(completed("sv s", &["start", "status"]), "sv sta");
        assert_eq!(completed("sv -", &["-v", "-w"]), "sv -");
        assert_eq!(completed("sv x", &[]), "sv x");
    }

    #[test]
    fn every_script_has_every_command() {
        let board = board::load(board::HOST).unwrap();
        for (path, text) in files(&board).unwrap() {
            for [word, ..] in rows() {
                assert!(text.contains(word), "{path}: {word}");
            }
        }
        let kinds = ["services", "logs", "all", "none"];
        assert!(rows().all(|[_, kind, _]| kinds.contains(&kind)));
    }
}
