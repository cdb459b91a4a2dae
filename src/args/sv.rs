//! Parses the command line of `sv` (contract §4.1, §4.3).

use core::{ffi::CStr, time::Duration};

use super::getopt::{Getopt, Opt};
use crate::text::leading_number;

/// Letters of the options.
pub const OPTIONS: &[u8] = b"vw:jV";

/// Default time limit of a command that waits.
const LIMIT: Duration = Duration::from_secs(7);

/// Kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// One of runit's commands, including `status`.
    Command,
    /// `list`: shows all services in a table.
    List,
    /// `why`: shows the last ends of a service, and what it waits for.
    Why,
    /// `enable`: has a service supervised from now on and after each boot.
    Enable,
    /// `disable`: ends that.
    Disable,
    /// `log`: shows the lines in the log ring.
    Log,
}

/// Words that runit lacks. They are unknown in an init script.
const VERBS: [(&[u8], Verb); 5] = [
    (b"list", Verb::List),
    (b"why", Verb::Why),
    (b"enable", Verb::Enable),
    (b"disable", Verb::Disable),
    (b"log", Verb::Log),
];

/// Parsed command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Kind of request.
    pub verb: Verb,
    /// Command of [`Verb::Command`]; [`STATUS`] for all others.
    pub command: Command,
    /// `-j`: prints one JSON object for each service.
    pub json: bool,
    /// `log -f`: also shows future lines.
    pub follows: bool,
    /// `log -r`: shows lines as they are.
    pub raw: bool,
    /// Waits for the effect of the command.
    pub waits: bool,
    /// Maximum time to wait.
    pub limit: Duration,
    /// Number of arguments between the program's name and the first service.
    pub used: usize,
}

/// Reason why there is no request. A usage message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// `-V` was given.
    Version,
    /// An option is wrong.
    Option(Opt<'a>),
    /// The command is missing or unknown, or no service is named.
    Usage,
}

/// Parses `words`, the arguments after the program's name. `wait` is the value
/// of $SVWAIT. `lsb` means that the program was called as an init script,
/// whose name is that of the service.
pub fn request<'a>(
    words: impl Iterator<Item = &'a CStr> + Clone,
    wait: Option<&CStr>,
    lsb: bool,
) -> Result<Request, Error<'a>> {
    let seconds =
        |text: &CStr| Duration::from_secs(leading_number(text.to_bytes()).0);
    let mut request = Request {
        verb: Verb::Command,
        command: STATUS,
        json: false,
        follows: false,
        raw: false,
        waits: false,
        limit: wait.map_or(LIMIT, seconds),
        used: 0,
    };
    let mut options = Getopt::new(words.clone(), OPTIONS);
    for option in &mut options {
        match option {
            Opt::Flag(b'v') => request.waits = true,
            Opt::Flag(b'j') if !lsb => request.json = true,
            Opt::Flag(b'j') => return Err(Error::Option(Opt::Illegal(b'j'))),
            Opt::Value(_, text) => {
                request.limit = seconds(text);
                request.waits = true;
            }
            Opt::Flag(_) => return Err(Error::Version),
            Opt::Illegal(_) | Opt::Missing(_) => {
                return Err(Error::Option(option));
            }
        }
    }
    request.used = options.used().saturating_add(1);
    let mut words = words.skip(options.used());
    let word = match words.next() {
        // Without arguments it lists. With one of runit's options that is a
        // usage error, as in runit.
        None if !lsb && !request.waits => b"list",
        word => word.ok_or(Error::Usage)?.to_bytes(),
    };
    let mut verbs = VERBS.iter().filter(|_| !lsb);
    if let Some((_, verb)) = verbs.find(|(known, _)| *known == word) {
        request.verb = *verb;
    } else {
        request.command = command(word, lsb).ok_or(Error::Usage)?;
    }
    let command = &request.command;
    request.waits = !command.is_status() && (request.waits || command.waits);
    let mut name = words.next();
    while request.verb == Verb::Log {
        let option = match name.map(CStr::to_bytes) {
            Some(b"-f") => &mut request.follows,
            Some(b"-r") => &mut request.raw,
            _ => break,
        };
        *option = true;
        request.used = request.used.saturating_add(1);
        name = words.next();
    }
    let named = name.is_some();
    let fits = match request.verb {
        Verb::List => !named,
        Verb::Why => named,
        Verb::Enable | Verb::Disable | Verb::Log => named && !request.json,
        Verb::Command if request.json => named && command.is_status(),
        Verb::Command => named || lsb,
    };
    fits.then_some(request).ok_or(Error::Usage)
}

/// The command `status`, which sends nothing and waits for nothing.
pub const STATUS: Command = Command::plain(b"");

/// Effect of a command on each service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Control bytes to send; none for `status` and `check`.
    pub act: &'static [u8],
    /// Conditions to wait for, one per byte, see `machine::completion`.
    pub tests: &'static [u8],
    /// Waits even without `-v` and `-w`.
    pub waits: bool,
    /// Kills what has not ended when the time is up.
    pub kills: bool,
}

impl Command {
    /// Returns a command that waits only with `-v` or `-w`.
    const fn plain(act: &'static [u8]) -> Self {
        Self {
            act,
            tests: act,
            waits: false,
            kills: false,
        }
    }

    /// Returns a command that waits for its effect; with `kills` it then
    /// kills what has not ended.
    const fn waits(act: &'static [u8], kills: bool) -> Self {
        Self {
            act,
            tests: act,
            waits: true,
            kills,
        }
    }

    /// Returns true for a command that starts a service. It needs a
    /// supervisor, so one that has still to appear is waited for (§16.9).
    pub fn starts(&self) -> bool {
        self.act.iter().any(|byte| matches!(byte, b'u' | b'o'))
    }

    /// Returns true for a command that only prints a status line.
    pub fn is_status(&self) -> bool {
        self.tests.is_empty()
    }
}

/// Command that waits: its word, its control bytes, true if it kills.
type Waiting = (&'static [u8], &'static [u8], bool);

/// Commands known only by the whole word.
const WORDS: [Waiting; 10] = [
    (b"start", b"u", false),
    (b"stop", b"d", false),
    (b"shutdown", b"x", false),
    (b"restart", b"tcu", false),
    (b"reload", b"h", false),
    (b"try-restart", b"tc", false),
    (b"force-reload", b"tc", true),
    (b"force-restart", b"tcu", true),
    (b"force-shutdown", b"x", true),
    (b"force-stop", b"d", true),
];

/// Commands known by their first letter, which is the byte that they send.
const PLAIN: &[u8] = b"udophaikq12ctx";

/// Other commands known by their first letter.
const LETTERS: [Waiting; 4] = [
    (b"X", b"x", true),
    (b"E", b"x", true),
    (b"D", b"d", true),
    (b"T", b"tc", true),
];

/// Returns the command for a word, or `None` for a usage error.
///
/// As an init script (`lsb`, `/etc/init.d/NAME`) a word that begins with `s`
/// must not be abbreviated.
pub fn command(word: &[u8], lsb: bool) -> Option<Command> {
    let waiting = |known: &[Waiting], word: &[u8]| {
        let mut known = known.iter();
        let (_, act, kills) = known.find(|(known, ..)| *known == word)?;
        Some(Command::waits(act, *kills))
    };
    if word == b"check" {
        return Some(Command {
            act: b"",
            ..Command::waits(b"C", false)
        });
    }
    if let Some(command) = waiting(&WORDS, word) {
        return Some(command);
    }
    if lsb && word.starts_with(b"s") && word != b"status" {
        return None;
    }
    let letter = word.get(..1)?;
    match letter {
        b"s" => return Some(STATUS),
        b"e" => return Some(Command::plain(b"x")),
        _ => {}
    }
    if let Some(act) = PLAIN.chunks(1).find(|act| *act == letter) {
        return Some(Command::plain(act));
    }
    waiting(&LETTERS, letter)
}

/// Returns true for a name that is used as a path, relative to the working
/// directory. Others are looked up in the services directory (contract §4.2).
pub fn is_path(name: &[u8]) -> bool {
    name.is_empty()
        || name.starts_with(b"/")
        || name.starts_with(b".")
        || name.last() == Some(&b'/')
}

#[cfg(test)]
mod test {
    use super::*;

    /// The table from which completion is made.
    #[test]
    fn every_word_is_in_the_table_of_commands() {
        let table = include_str!("../sv-commands.txt");
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        let words: Vec<_> =
            rows.map(|row| row.split(' ').next().unwrap()).collect();
        let whole = WORDS.iter().map(|(word, ..)| *word);
        for word in whole.chain(VERBS.iter().map(|(word, _)| *word)) {
            assert!(words.iter().any(|known| known.as_bytes() == word));
        }
        let starts = |letter: &u8| {
            let first = |word: &&str| word.as_bytes().first() == Some(letter);
            words.iter().any(first)
        };
        // `x` is `exit`.
        assert!(PLAIN.iter().all(|byte| *byte == b'x' || starts(byte)));
        for word in words {
            let verb = VERBS.iter().any(|(verb, _)| *verb == word.as_bytes());
            let known = verb || command(word.as_bytes(), false).is_some();
            assert!(known || word == "help", "{word}");
        }
    }

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

    /// A command that starts a service sends `u` or `o`; one without a
    /// condition to wait for only prints.
    #[test]
    fn commands_that_start_and_commands_that_print() {
        let plain = |word: &&str| command(word.as_bytes(), false).unwrap();
        let starts = ["up", "once", "start", "restart", "force-restart"];
        assert!(starts.iter().map(plain).all(|command| command.starts()));
        let others = ["down", "exit", "stop", "term", "status", "check"];
        assert!(!others.iter().map(plain).any(|command| command.starts()));
        for word in starts.iter().chain(&others) {
            let prints = *word == "status";
            assert_eq!(plain(&word).is_status(), prints, "{word}");
        }
    }

    #[test]
    fn options_of_runit() {
        let read = |words: &[&'static CStr], wait| {
            request(words.iter().copied(), wait, false)
        };
        let limit = |words: &[&'static CStr], wait| {
            read(words, wait).unwrap().limit.as_secs()
        };
        assert_eq!(limit(&[c"up", c"a"], None), 7);
        assert_eq!(limit(&[c"up", c"a"], Some(c"30")), 30);
        assert_eq!(limit(&[c"-w", c"9", c"up", c"a"], Some(c"30")), 9);
        assert_eq!(read(&[c"-V"], None), Err(Error::Version));
        let illegal = Err(Error::Option(Opt::Illegal(b'x')));
        assert_eq!(read(&[c"-x", c"up", c"a"], None), illegal);
        let missing = Err(Error::Option(Opt::Missing(b'w')));
        assert_eq!(read(&[c"-w"], None), missing);
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
    fn command_lines() {
        let taken = |line: &str, lsb| {
            let words: Vec<std::ffi::CString> = line
                .split_whitespace()
                .map(|word| std::ffi::CString::new(word).unwrap())
                .collect();
            let words = words.iter().map(|word| word.as_c_str());
            let request = request(words, Some(c"3"), lsb).ok()?;
            let Request {
                verb,
                json,
                waits,
                limit,
                used,
                ..
            } = request;
            Some((verb, json, waits, limit.as_secs(), used))
        };
        use Verb::{Command, Disable, Enable, List, Log, Why};
        let rows = [
            ("", Some((List, false, false, 3, 1))),
            ("-j", Some((List, true, false, 3, 2))),
            ("list", Some((List, false, false, 3, 1))),
            ("list a", None),
            ("-v", None),
            ("-w1", None),
            ("-j status a", Some((Command, true, false, 3, 2))),
            ("-j up a", None),
            ("-j status", None),
            ("-j why a", Some((Why, true, false, 3, 2))),
            ("why", None),
            ("enable a", Some((Enable, false, false, 3, 1))),
            ("disable a", Some((Disable, false, false, 3, 1))),
            ("-j enable a", None),
            ("log a", Some((Log, false, false, 3, 1))),
            ("log -f a", Some((Log, false, false, 3, 2))),
            ("log -r -f a", Some((Log, false, false, 3, 3))),
            ("log -x", Some((Log, false, false, 3, 1))),
            ("log -f", None),
            ("log", None),
            ("-j log a", None),
            ("e a", Some((Command, false, false, 3, 1))),
            ("disablex a", Some((Command, false, false, 3, 1))),
            ("-v up a", Some((Command, false, true, 3, 2))),
            ("-w 9 start a", Some((Command, false, true, 9, 3))),
            ("-v status a", Some((Command, false, false, 3, 2))),
        ];
        for (line, expected) in rows {
            assert_eq!(taken(line, false), expected, "{line}");
        }
        for line in ["", "list", "why", "-j status"] {
            assert_eq!(taken(line, true), None, "{line}");
        }
        let exit = Some((Command, false, false, 3, 1));
        assert_eq!(taken("enable", true), exit);
        // An init script has no option of ours.
        assert_eq!(taken("status", true), exit);
        assert_eq!(taken("-j status a", true), None);
    }

    #[test]
    fn options_of_log() {
        let rows = [
            (&[c"log", c"a"][..], (false, false)),
            (&[c"log", c"-f", c"a"], (true, false)),
            (&[c"log", c"-r", c"a"], (false, true)),
            (&[c"log", c"-r", c"-f", c"a"], (true, true)),
            // Words after the first service name other services.
            (&[c"log", c"a", c"-r"], (false, false)),
            (&[c"status", c"-r"], (false, false)),
        ];
        for (words, expected) in rows {
            let words = words.iter().copied();
            let request = request(words, None, false).unwrap();
            assert_eq!((request.follows, request.raw), expected);
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
