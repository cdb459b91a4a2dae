//! Targets for files of settings, one a line: environment, kernel command line,
//! sysctl, modules, options of a service directory.

use runt::wire::{
    capability, cmdline, envdir, envfile, modules, options,
    rig::RigCommand,
    root::Root,
    signals::{COUNT, SignalRequests},
    sysctl::Setting,
    syslog::Priority,
};

use crate::input::{Input, decimal, is_part, lines};

/// Checks that the value of a file in an environment directory is the
/// beginning of its first line, without blanks at its end.
pub(crate) fn env_dir(data: &[u8]) {
    let value = envdir::value(data);
    let first = lines(data).next().unwrap();
    assert!(first.starts_with(value));
    assert!(
        first[value.len()..]
            .iter()
            .all(|b| matches!(b, b' ' | b'\t'))
    );
    assert!(!matches!(value.last(), Some(b' ' | b'\t')));
    assert_eq!(envdir::value(value), value);
}

/// Checks that the words of a rig's file are those of the text, and all of
/// them or none.
pub(crate) fn rig(data: &[u8]) {
    let words: Vec<_> = data.split_inclusive(|byte| *byte == 0).collect();
    let ended = |word: &&[u8]| word.ends_with(&[0]);
    let all = words.iter().all(ended);
    let Some(rig) = RigCommand::parse(data) else {
        return assert!(words.iter().filter(|word| ended(word)).count() < 2);
    };
    let command: Vec<_> = rig.words().collect();
    assert_eq!(command.len(), if all { words.len() - 2 } else { 0 });
    for (word, known) in command.iter().zip(&words[2..]) {
        assert_eq!(word.to_bytes_with_nul(), *known);
    }
    let nonce = words[0].strip_suffix(&[0]);
    assert_eq!(Some(rig.nonce), nonce);
    assert_eq!(rig.exit_device, words[1] == b"exit\0");
}

/// Checks that a value that is written in quotes is read as it was; a value
/// that is read is no longer than its line.
pub(crate) fn env_file(data: &[u8]) {
    for line in lines(data) {
        let Ok(Some((name, value))) = envfile::assignment(line) else {
            continue;
        };
        assert!(is_part(name, line));
        assert!(!name.is_empty() && !name[0].is_ascii_digit());
        let letter = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        assert!(name.iter().all(letter));
        let mut room = vec![0xff; line.len()];
        let length = value.write(&mut room).expect("it is no longer");
        assert!(name.len() + 1 + length <= line.len());
        let value_text = room[..length].to_vec();
        assert!(!value_text.contains(&0));
        // One byte less does not fit and writes nothing behind the room.
        if let Some(short) = length.checked_sub(1) {
            assert_eq!(value.write(&mut room[..short]), None);
        }
        let quoted = quote(name, &value_text);
        let again = envfile::assignment(&quoted).unwrap().unwrap();
        let mut other = vec![0; quoted.len()];
        let length = again.1.write(&mut other).unwrap();
        assert_eq!((again.0, &other[..length]), (name, &value_text[..]));
    }
    let text: Vec<u8> = data
        .iter()
        .copied()
        .filter(|b| !matches!(b, 0 | b'\n'))
        .collect();
    let quoted = quote(b"NAME", &text);
    let (_, value) = envfile::assignment(&quoted).unwrap().unwrap();
    let mut room = vec![0; quoted.len()];
    let length = value.write(&mut room).unwrap();
    assert_eq!(room[..length], text);
}

/// Returns an assignment with the value in double quotes.
fn quote(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut line = [name, b"=\""].concat();
    for byte in value {
        if matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.push(b'"');
    line
}

/// Checks that the words of a command line are parts of it in order, those of
/// a plain line are those that the standard library splits, and each request
/// is one word.
pub(crate) fn cmdline(data: &[u8]) {
    let words: Vec<_> = cmdline::words(data).collect();
    let mut rest = data;
    for word in &words {
        assert!(is_part(word, data));
        let at = rest.windows(word.len().max(1)).position(|w| w == *word);
        let at = at.filter(|_| !word.is_empty()).unwrap_or(0);
        rest = &rest[at + word.len()..];
    }
    if !data.contains(&b'"') {
        let plain = data.split(u8::is_ascii_whitespace);
        assert!(plain.filter(|word| !word.is_empty()).eq(words.clone()));
    }
    // Quotes that are closed do not reach into what follows.
    if data.iter().filter(|byte| **byte == b'"').count() % 2 == 0 {
        let more = [data, b" single"].concat();
        assert_eq!(cmdline::words(&more).count(), words.len() + 1);
        assert_eq!(
            cmdline::boot_params(&more).last(),
            Some(cmdline::BootParam::Single)
        );
    }
    for param in cmdline::boot_params(data) {
        match param {
            cmdline::BootParam::Services(path)
            | cmdline::BootParam::Rig(path) => {
                assert!(path.starts_with(b"/") && !path.contains(&0));
            }
            cmdline::BootParam::Signals(text)
            | cmdline::BootParam::RigNonce(text) => {
                assert!(is_part(text, data));
            }
            cmdline::BootParam::Unknown(word) => {
                assert!(word.starts_with(b"runt.") && words.contains(&word));
            }
            cmdline::BootParam::Single
            | cmdline::BootParam::Emergency
            | cmdline::BootParam::RigExit => {}
        }
    }
    assert!(cmdline::boot_params(data).count() <= words.len());
    let mut root = Root::default();
    root.read(data);
    // Reading it again changes nothing, as the last word counts.
    let once = root;
    root.read(data);
    assert_eq!(root, once);
    let has = |key: &[u8]| words.iter().any(|word| word.starts_with(key));
    assert!(root.device.is_empty() || has(b"root="));
    assert!(root.overlay.is_empty() || has(b"runt.overlay="));
    assert_eq!(root.wait, words.contains(&&b"rootwait"[..]));
}

/// Checks that each word of `runt.signals` sets one request or is reported.
pub(crate) fn signals(data: &[u8]) {
    let words: Vec<_> = data.split(|byte| *byte == b',').collect();
    let mut unknown = 0;
    let mut requests = SignalRequests::default();
    requests.read(data, &mut |word| {
        assert!(is_part(word, data) && words.contains(&word));
        unknown += 1;
    });
    let set = requests.0.iter().flatten().count();
    let some = words.iter().filter(|word| !word.is_empty()).count();
    assert!(set <= COUNT && set + unknown <= some);
    assert_eq!(set == 0, unknown == some);
    let mut one_by_one = SignalRequests::default();
    words
        .iter()
        .for_each(|word| one_by_one.read(word, &mut |_| {}));
    assert_eq!(requests.0, one_by_one.0);
}

/// Checks that a setting is one line's, its path is below /proc/sys/ as far as
/// its name is, and a line written from it is the same setting.
pub(crate) fn sysctl(data: &[u8]) {
    for line in lines(data) {
        let Some(setting) = Setting::parse(line) else {
            let text = line.trim_ascii();
            let comment = matches!(text.first(), None | Some(b'#' | b';'));
            assert!(comment || !text.contains(&b'='));
            continue;
        };
        assert!(is_part(setting.value, line));
        assert_eq!(setting.value.trim_ascii(), setting.value);
        let Ok(path) = setting.path() else { continue };
        let name = path.as_bytes().strip_prefix(b"/proc/sys/").unwrap();
        assert!(name.len() < line.len());
        // With slashes first, a name is its path.
        if name.contains(&b'/') && !name.starts_with(b"-") {
            let first = name.iter().find(|b| matches!(b, b'.' | b'/'));
            let optional: &[u8] = if setting.optional { b"-" } else { b"" };
            let plain = name.trim_ascii() == name;
            if first == Some(&b'/') && plain && !name.contains(&b'=') {
                let again = [optional, name, b" = ", setting.value].concat();
                if let Some(again) = Setting::parse(&again) {
                    let path_again = again.path().unwrap();
                    assert_eq!(path_again.as_bytes(), path.as_bytes());
                    assert_eq!(again.value, setting.value);
                    assert_eq!(again.optional, setting.optional);
                }
            }
        }
    }
}

/// Checks that the files of a module are those of its line of modules.dep: its
/// own first.
///
/// The first line is one of /etc/modules, the others are modules.dep.
pub(crate) fn modules(data: &[u8]) {
    let mut input = Input(data);
    let line = input.line();
    let Some(module) = modules::Module::parse(line) else {
        let first = line.trim_ascii().first();
        assert!(matches!(first, None | Some(b'#' | b';')));
        return;
    };
    assert!(is_part(module.name, line) && is_part(module.parameters, line));
    assert!(!module.name.iter().any(u8::is_ascii_whitespace));
    for line in lines(input.0) {
        let Some(files) = modules::files(line, module.name) else {
            continue;
        };
        let files: Vec<_> = files.collect();
        let own = line.split(|byte| *byte == b':').next().unwrap();
        assert_eq!(files[0], own);
        assert!(files.iter().skip(1).all(|file| {
            !file.is_empty() && !file.contains(&b' ') && !file.contains(&b':')
        }));
        let base = own.rsplit(|byte| *byte == b'/').next().unwrap();
        assert_eq!(&base[module.name.len()..][..3], b".ko");
    }
}

/// Checks that numbers, signals and words of a service directory and of
/// command lines are read as the standard library reads them, or refused.
pub(crate) fn options(data: &[u8]) {
    let text = data.trim_ascii();
    let number = options::number(data);
    let known = decimal(text).and_then(|number| u32::try_from(number).ok());
    assert_eq!(number, known);
    let words: Vec<_> = data
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .collect();
    let numbers: Option<Vec<_>> =
        words.iter().map(|word| options::number(word)).collect();
    let numbers = numbers.filter(|numbers| numbers.len() <= 4);
    let backoff = options::backoff(data);
    assert_eq!(backoff.is_some(), numbers.is_some());
    if let (Some(backoff), Some(numbers)) = (backoff, numbers) {
        let all = [
            backoff.first,
            backoff.cap,
            backoff.reset_after,
            backoff.jitter,
        ];
        assert_eq!(all[..numbers.len()], numbers);
    }
    if let Some(signal) = options::down_signal(data) {
        let name = text.strip_prefix(b"SIG").unwrap_or(text);
        assert!(name.is_ascii(), "{signal:?}");
        let blank = [b" SIG", name, b"\n"].concat();
        assert_eq!(options::down_signal(&blank), Some(signal));
    }
    let kill = options::group_kill(data);
    assert_eq!(kill.is_some(), text.is_empty() || text == b"mixed");
    if let Some(set) = capability::set(data) {
        let numbers: Vec<_> = (0..64)
            .filter(|number| set >> number & 1 == 1)
            .map(|number| number.to_string())
            .collect();
        let list = match numbers.as_slice() {
            [] => "none".to_string(),
            some => some.join(","),
        };
        assert_eq!(capability::set(list.as_bytes()), Some(set));
        if !data.starts_with(b"~") {
            let without = capability::set(&[b"~", data].concat());
            assert_eq!(without, Some(!set));
        }
    }
    if let Some(priority) = Priority::parse(data) {
        assert!(priority.number() < 24 << 3);
        let [level, facility] = priority.names().map(|name| name.to_bytes());
        let name = [facility, b".", level].concat();
        assert_eq!(Priority::parse(&name), Some(priority));
    }
}
