//! Implements `cargo xtask env`, which prints the variables that carry a
//! board's values to src/build.rs, for builds that cargo xtask does not run.

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::{board, build};

/// The language in which the variables are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Commands of sh(1): `eval "$(cargo xtask env ...)"`.
    #[default]
    #[value(name = "sh")]
    Shell,
    /// Lines of a makefile.
    Make,
    /// Lines of a bitbake recipe.
    Bitbake,
}

/// Implements `cargo xtask env`: writes to standard output.
pub fn run(name: &str, format: Format) -> Result<()> {
    let board = board::load(name)?;
    for (variable, value) in build::variables(&board)? {
        println!("{}", line(format, &variable, &value)?);
    }
    Ok(())
}

/// Returns the line that sets and exports a variable. Returns an error for a
/// value that the language cannot express.
fn line(format: Format, name: &str, value: &str) -> Result<String> {
    ensure!(
        !value.contains(['\n', '\0']),
        "{name} = {value:?}: a value is one line"
    );
    Ok(match format {
        Format::Shell => {
            format!("export {name}='{}'", value.replace('\'', r"'\''"))
        }
        Format::Make => {
            // A reference to no variable separates what would be read
            // together: backslashes before a `#`, and at the end of the line.
            let value = value.replace('$', "$$").replace('#', r"$()\#");
            let first = if value.starts_with([' ', '\t']) {
                "$()"
            } else {
                ""
            };
            let last = if value.ends_with('\\') { "$()" } else { "" };
            format!("export {name} := {first}{value}{last}")
        }
        Format::Bitbake => {
            ensure!(
                !value.contains("${"),
                "{name} = {value:?}: bitbake would expand it"
            );
            // The last quote of the line ends the value.
            format!("export {name} = \"{value}\"")
        }
    })
}

#[cfg(test)]
mod test {
    use std::{fs, process::Command};

    use super::*;

    /// Values that each of the languages would change if they were not quoted.
    const VALUES: [&str; 9] = [
        "",
        "/etc/runit/boot-good",
        " two  words ",
        "it's \"quoted\" `x`",
        "$HOME $(date) ${X} $$",
        r"back\slash \\ \# #",
        r"at the end\",
        "%p * ? [a] ~ ; & | < > !",
        "é\t.",
    ];

    /// Returns all lines in one format.
    fn lines(format: Format) -> String {
        let lines = VALUES.iter().enumerate().map(|(at, value)| {
            line(format, &format!("RUNT_{at}"), value).unwrap() + "\n"
        });
        lines.collect()
    }

    /// Checks the environment that a command prints as `env -0` does.
    fn check(command: &mut Command) {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        for (at, value) in VALUES.iter().enumerate() {
            let expected = format!("RUNT_{at}={value}");
            assert!(text.split('\0').any(|it| it == expected), "{expected:?}");
        }
    }

    #[test]
    fn a_shell_reads_every_value() {
        let script = lines(Format::Shell) + "env -0";
        check(Command::new("sh").args(["-c", &script]));
    }

    #[test]
    fn make_reads_every_value() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("Makefile");
        fs::write(&file, lines(Format::Make) + "all:\n\t@env -0\n").unwrap();
        check(Command::new("make").args(["-s", "-f"]).arg(&file));
    }

    #[test]
    fn bitbake_reads_what_is_between_the_first_and_the_last_quote() {
        let of = |value| line(Format::Bitbake, "RUNT_ROOT", value);
        let text = of("a \"b\" #c").unwrap();
        assert_eq!(text, "export RUNT_ROOT = \"a \"b\" #c\"");
        assert!(of("${TMPDIR}").is_err());
    }

    #[test]
    fn a_value_is_one_line() {
        assert!(line(Format::Shell, "RUNT_ROOT", "a\nb").is_err());
    }
}
