//! Targets for command lines: a line of the input is an argument.

use std::ffi::{CStr, CString};

use runt::args::{
    chpst::{self, Alias},
    getopt::{Getopt, Opt},
    sv, svlogd, vlogger,
};

use crate::input::{Input, decimal, lines};

/// Returns the lines of an input that can be arguments.
fn words(data: &[u8]) -> Vec<CString> {
    let data = data.strip_suffix(b"\n").unwrap_or(data);
    lines(data)
        .filter_map(|line| CString::new(line).ok())
        .collect()
}

/// Returns the arguments as the readers take them.
fn arguments(words: &[CString]) -> impl Iterator<Item = &CStr> + Clone {
    words.iter().map(CString::as_c_str)
}

/// Options are those that a reader of whole arguments finds.
pub(crate) fn getopt(data: &[u8]) {
    let words = words(data);
    let mut options = Getopt::new(arguments(&words), b"ab:cV");
    let found: Vec<_> = options.by_ref().collect();
    let (known, used) = described(&words, b"ab:cV");
    assert_eq!(found, known);
    assert_eq!(options.used(), used);
}

/// Returns the options in `words` and the number of arguments that they take.
fn described<'a>(words: &'a [CString], known: &[u8]) -> (Vec<Opt<'a>>, usize) {
    let mut options = Vec::new();
    let mut used = 0;
    while let Some(word) = words.get(used) {
        let bytes = word.to_bytes();
        if bytes == b"--" {
            used += 1;
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            break;
        }
        used += 1;
        for (at, letter) in bytes.iter().copied().enumerate().skip(1) {
            let index = known.iter().position(|known| *known == letter);
            let Some(index) = index.filter(|_| letter != b':') else {
                options.push(Opt::Illegal(letter));
                continue;
            };
            if known.get(index + 1) != Some(&b':') {
                options.push(Opt::Flag(letter));
                continue;
            }
            let rest =
                CStr::from_bytes_with_nul(&word.as_bytes_with_nul()[at + 1..]);
            let rest = rest.unwrap();
            options.push(if !rest.is_empty() {
                Opt::Value(letter, rest)
            } else if let Some(next) = words.get(used) {
                used += 1;
                Opt::Value(letter, next)
            } else {
                Opt::Missing(letter)
            });
            break;
        }
    }
    (options, used)
}

/// Checks that a request of `sv` names its services behind the arguments that
/// it has used, and depends on nothing that follows the first of them.
///
/// The first line is $SVWAIT, empty if it is not set; the first byte of the
/// second is `l` for a call as an init script.
pub(crate) fn sv(data: &[u8]) {
    let mut input = Input(data);
    let wait = CString::new(input.line()).unwrap_or_default();
    let wait = (!wait.is_empty()).then_some(wait.as_c_str());
    let lsb = input.line().starts_with(b"l");
    let words = words(input.0);
    let Ok(request) = sv::request(arguments(&words), wait, lsb) else {
        return;
    };
    let list = request.verb == sv::Verb::List;
    assert!(request.used <= words.len() + usize::from(list));
    let named = request.used < words.len();
    assert!(if list { !named } else { named || lsb });
    let command = request.command;
    if request.verb != sv::Verb::Command {
        assert!(!lsb && command == sv::STATUS);
    }
    assert!(!request.waits || !command.is_status());
    assert!(command.act.iter().all(|b| b"udoxtkpcahiq12".contains(b)));
    assert!(!request.json || command.is_status());
    assert!(request.verb == sv::Verb::Log || !(request.follows || request.raw));
    if named && request.verb != sv::Verb::Log {
        let mut less = words[..request.used].to_vec();
        less.push(c"another".into());
        let again = sv::request(arguments(&less), wait, lsb);
        assert_eq!(again, Ok(request));
    }
}

/// Checks that a request of `chpst` depends on nothing behind the program's
/// name, and its values are within their bounds.
///
/// The first line is the name under which it is called.
pub(crate) fn chpst(data: &[u8]) {
    let mut input = Input(data);
    let name = input.line();
    let alias = Alias::named(name).unwrap_or(Alias::Chpst);
    assert_eq!(Alias::named(alias.name().as_bytes()), Some(alias));
    let words = words(input.0);
    let (request, used) = match chpst::request(alias, arguments(&words)) {
        Ok(read) => read,
        Err(chpst::Error::Long(_, name)) => {
            assert_eq!(alias, Alias::Chpst);
            assert!(!name.contains(&0));
            return;
        }
        Err(_) => return,
    };
    assert!(used < words.len(), "there is a program");
    let mut less = words[..used].to_vec();
    less.push(c"program".into());
    let again = chpst::request(alias, arguments(&less));
    assert_eq!(again, Ok((request, used)));
    let hardening = &request.hardening;
    assert!(hardening.umask.is_none_or(|mask| mask <= 0o777));
    assert!(hardening.nice.is_none_or(|nice| (-20..=19).contains(&nice)));
    assert!(
        hardening
            .io
            .is_none_or(|(class, level)| class < 4 && level < 8)
    );
    let priority = |(_, priority)| priority < 100;
    assert!(hardening.scheduler.is_none_or(priority));
    if let Some(text) = hardening.oom {
        let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+"));
        let number = decimal(digits.unwrap_or(text));
        assert!(number.is_some_and(|number| number <= 1000));
    }
    let limited = hardening.group_limits.iter().any(Option::is_some);
    assert!(!limited || hardening.group.is_some());
    match alias {
        Alias::Chpst => assert!(!request.account && !request.strict),
        Alias::Envdir => assert!(request.env_dir.is_some() && request.strict),
        Alias::Envuidgid => assert!(request.env_user.is_some()),
        Alias::Pgrphack => assert!(request.session),
        Alias::Setlock => assert!(request.lock.is_some()),
        Alias::Setuidgid => assert!(request.user.is_some()),
        Alias::Softlimit => assert!(request.lock.is_none()),
    }
}

/// Checks that a request of `svlogd` names a directory behind its options; a
/// replaced byte is not replaced again.
pub(crate) fn svlogd(data: &[u8]) {
    let words = words(data);
    let Ok((request, used)) = svlogd::request(arguments(&words)) else {
        return;
    };
    assert!(used < words.len());
    assert!(request.length > 0);
    let mut less = words[..used].to_vec();
    less.push(c"log".into());
    assert_eq!(svlogd::request(arguments(&less)), Ok((request, used)));
    for byte in 0..=255 {
        let shown = request.replace(byte);
        match request.replacement {
            None => assert_eq!(shown, byte),
            Some(new) => {
                assert!(shown == new || shown == byte);
                assert!(shown == new || (32..=126).contains(&shown));
                assert_eq!(request.replace(shown), shown);
            }
        }
    }
}

/// Checks that a request of `vlogger` depends on its options only.
pub(crate) fn vlogger(data: &[u8]) {
    let words = words(data);
    let Ok((request, used)) = vlogger::request(arguments(&words)) else {
        return;
    };
    assert!(used <= words.len());
    assert!(request.file.is_none() || used == words.len());
    if let Some(priority) = request.priority {
        assert!(priority.number() < 24 << 3);
    }
    let mut less = words[..used].to_vec();
    assert_eq!(vlogger::request(arguments(&less)), Ok((request, used)));
    if request.file.is_none() && words.len() > used {
        less.push(c"message".into());
        assert_eq!(vlogger::request(arguments(&less)), Ok((request, used)));
    }
}
