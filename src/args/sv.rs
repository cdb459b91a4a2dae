//! What a command line of `sv` asks for (contract §4.1, §4.3).

/// What one `sv` command does to every service it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The control bytes to send; none for `status` and `check`.
    pub act: &'static [u8],
    /// What is waited for: a test for each byte, see `machine::verdict`.
    pub tests: &'static [u8],
    /// Waits even without `-v` and `-w`.
    pub waits: bool,
    /// Kills what has not ended when the time is up.
    pub kills: bool,
}

impl Command {
    /// A command that is only sent, unless `-v` says to wait.
    const fn plain(act: &'static [u8]) -> Self {
        Self {
            act,
            tests: act,
            waits: false,
            kills: false,
        }
    }

    /// A command that waits for its effect.
    const fn waits(act: &'static [u8]) -> Self {
        Self {
            act,
            tests: act,
            waits: true,
            kills: false,
        }
    }

    /// A command that waits and then kills.
    const fn kills(act: &'static [u8]) -> Self {
        Self {
            act,
            tests: act,
            waits: true,
            kills: true,
        }
    }

    /// Whether it prints a status line and nothing else.
    pub fn is_status(&self) -> bool {
        self.tests.is_empty()
    }
}

/// Commands that are these words and no others.
const WORDS: [(&[u8], Command); 11] = [
    (b"start", Command::waits(b"u")),
    (b"stop", Command::waits(b"d")),
    (b"shutdown", Command::waits(b"x")),
    (b"restart", Command::waits(b"tcu")),
    (b"reload", Command::waits(b"h")),
    (b"try-restart", Command::waits(b"tc")),
    (b"force-reload", Command::kills(b"tc")),
    (b"force-restart", Command::kills(b"tcu")),
    (b"force-shutdown", Command::kills(b"x")),
    (b"force-stop", Command::kills(b"d")),
    (
        b"check",
        Command {
            act: b"",
            ..Command::waits(b"C")
        },
    ),
];

/// Commands that are known by their first letter.
const LETTERS: [(u8, Command); 20] = [
    (b'u', Command::plain(b"u")),
    (b'd', Command::plain(b"d")),
    (b'o', Command::plain(b"o")),
    (b'p', Command::plain(b"p")),
    (b'h', Command::plain(b"h")),
    (b'a', Command::plain(b"a")),
    (b'i', Command::plain(b"i")),
    (b'k', Command::plain(b"k")),
    (b'q', Command::plain(b"q")),
    (b'1', Command::plain(b"1")),
    (b'2', Command::plain(b"2")),
    (b'c', Command::plain(b"c")),
    (b't', Command::plain(b"t")),
    (b'x', Command::plain(b"x")),
    (b'e', Command::plain(b"x")),
    (b'X', Command::kills(b"x")),
    (b'E', Command::kills(b"x")),
    (b'D', Command::kills(b"d")),
    (b'T', Command::kills(b"tc")),
    (
        b's',
        Command {
            act: b"",
            ..Command::plain(b"")
        },
    ),
];

/// The command that a word stands for; `None` is a usage error.
///
/// In the LSB form (`lsb`, as `/etc/init.d/NAME`) a word that begins with `s`
/// has to be written out.
pub fn command(word: &[u8], lsb: bool) -> Option<Command> {
    let exact = WORDS.iter().find(|(known, _)| *known == word);
    if let Some((_, command)) = exact {
        return Some(*command);
    }
    if lsb && word.starts_with(b"s") && word != b"status" {
        return None;
    }
    let letter = word.first()?;
    let known = LETTERS.iter().find(|(known, _)| known == letter);
    known.map(|(_, command)| *command)
}

/// Whether a name is used as it is, from the working directory; others are
/// looked up in the services directory (contract §4.2).
pub fn is_path(name: &[u8]) -> bool {
    name.is_empty()
        || name.starts_with(b"/")
        || name.starts_with(b".")
        || name.ends_with(b"/")
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_table_of_the_contract() {
        // word, bytes, waits, kills
        let rows: &[(&str, &str, bool, bool)] = &[
            ("u", "u", false, false),
            ("up", "u", false, false),
            ("uwhatever", "u", false, false),
            ("down", "d", false, false),
            ("once", "o", false, false),
            ("pause", "p", false, false),
            ("hup", "h", false, false),
            ("alarm", "a", false, false),
            ("interrupt", "i", false, false),
            ("kill", "k", false, false),
            ("quit", "q", false, false),
            ("1", "1", false, false),
            ("2", "2", false, false),
            ("cont", "c", false, false),
            ("term", "t", false, false),
            ("exit", "x", false, false),
            ("xyz", "x", false, false),
            ("Exit", "x", true, true),
            ("X", "x", true, true),
            ("Down", "d", true, true),
            ("Term", "tc", true, true),
            ("start", "u", true, false),
            ("stop", "d", true, false),
            ("shutdown", "x", true, false),
            ("restart", "tcu", true, false),
            ("reload", "h", true, false),
            ("try-restart", "tc", true, false),
            ("force-reload", "tc", true, true),
            ("force-restart", "tcu", true, true),
            ("force-shutdown", "x", true, true),
            ("force-stop", "d", true, true),
            ("status", "", false, false),
            ("s", "", false, false),
        ];
        for (word, act, waits, kills) in rows {
            let found = command(word.as_bytes(), false).unwrap();
            assert_eq!(found.act, act.as_bytes(), "{word}");
            assert_eq!(found.tests, act.as_bytes(), "{word}");
            assert_eq!((found.waits, found.kills), (*waits, *kills), "{word}");
        }
        let check = command(b"check", false).unwrap();
        assert_eq!((check.act, check.tests), (&b""[..], &b"C"[..]));
        for word in ["", "r", "rest", "force", "f", "b", "Q", "-"] {
            assert_eq!(command(word.as_bytes(), false), None, "{word}");
        }
    }

    #[test]
    fn an_init_script_writes_words_out() {
        for word in ["start", "stop", "status", "shutdown"] {
            assert!(command(word.as_bytes(), true).is_some());
        }
        for word in ["s", "sta", "stat", "startx"] {
            assert_eq!(command(word.as_bytes(), true), None);
        }
    }

    #[test]
    fn names_and_paths() {
        for path in ["", "/a", "./a", "../a", "a/", ".a"] {
            assert!(is_path(path.as_bytes()), "{path}");
        }
        assert!(!is_path(b"a") && !is_path(b"a/log"));
    }
}
