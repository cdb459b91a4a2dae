//! Boot parameters: the words of /proc/cmdline that are meant for PID 1
//! (kernel-parameters(7)).

/// Request in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootParam<'a> {
    /// `single`, `S`: rescue after stage 1.
    Single,
    /// `emergency`: rescue before stage 1.
    Emergency,
    /// `runt.services=DIR`: the services directory.
    Services(&'a [u8]),
    /// `runt.rig=PROGRAM`: run it when services are up, then power off.
    Rig(&'a [u8]),
    /// `runt.rig-nonce=TEXT`: print it with the result of the program.
    RigNonce(&'a [u8]),
    /// `runt.rig-exit`: the machine has an exit device.
    RigExit,
    /// `runt.signals=WORDS`: requests that signals make, see `wire::signals`.
    Signals(&'a [u8]),
    /// A word that begins with `runt.` and has an unknown name or an invalid
    /// value.
    Unknown(&'a [u8]),
}

/// Returns the boot parameters of a command line in order. Words for the
/// kernel or for other programs are ignored.
pub fn boot_params(line: &[u8]) -> impl Iterator<Item = BootParam<'_>> {
    words(line).filter_map(boot_param)
}

/// Returns the words of a line, without the quotes around them.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = line;
    core::iter::from_fn(move || {
        let (word, tail) = word(rest)?;
        rest = tail;
        Some(word)
    })
}

/// Decodes a word.
fn boot_param(word: &[u8]) -> Option<BootParam<'_>> {
    match word {
        b"single" | b"S" => return Some(BootParam::Single),
        b"emergency" => return Some(BootParam::Emergency),
        _ => {}
    }
    let own = word.strip_prefix(b"runt.")?;
    let value = |name: &[u8]| own.strip_prefix(name).map(unquoted);
    if let Some(words) = value(b"signals=") {
        return Some(BootParam::Signals(words));
    }
    if let Some(nonce) = value(b"rig-nonce=") {
        return Some(BootParam::RigNonce(nonce));
    }
    if own == b"rig-exit" {
        return Some(BootParam::RigExit);
    }
    if own.starts_with(b"overlay=") || own.starts_with(b"verity=") {
        // `wire::root` reads it.
        return None;
    }
    let path = |name: &[u8]| {
        value(name).filter(|path| path.starts_with(b"/") && !path.contains(&0))
    };
    let services = path(b"services=").map(BootParam::Services);
    let known = services.or_else(|| path(b"rig=").map(BootParam::Rig));
    Some(known.unwrap_or(BootParam::Unknown(word)))
}

/// Splits the first word from a line. As in the kernel, a blank between double
/// quotes does not end a word.
fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.trim_ascii_start();
    let mut quoted = false;
    let end = line.iter().position(|byte| {
        quoted ^= *byte == b'"';
        !quoted && byte.is_ascii_whitespace()
    });
    let (word, rest) = line.split_at_checked(end.unwrap_or(line.len()))?;
    (!word.is_empty()).then_some((unquoted(word), rest))
}

/// Returns a word or value without the quotes around it.
pub fn unquoted(text: &[u8]) -> &[u8] {
    let inner = text.strip_prefix(b"\"");
    inner.map_or(text, |text| text.strip_suffix(b"\"").unwrap_or(text))
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    fn all(line: &[u8]) -> Vec<BootParam<'_>> {
        boot_params(line).collect()
    }

    #[test]
    fn words_and_their_requests() {
        use BootParam::{
            Emergency, Rig, RigExit, RigNonce, Services, Signals, Single,
            Unknown,
        };
        let line = b"console=ttyS0,115200 panic=-1 S runt.services=/a quiet \
            runt.services=\"/b c\" \"runt.services=/d e\" runt.colour=red \
            runt.overlay=tmpfs runt.verity=a:b:0 runt. runt.services=rel \
            runt.services runt.signals=\"a,b\" \
            runt.rig=/t runt.rig=t runt.rig-nonce=x runt.rig-exit -- single \
            emergency\n";
        let asked = [
            Single,
            Services(b"/a"),
            Services(b"/b c"),
            Services(b"/d e"),
            Unknown(b"runt.colour=red"),
            Unknown(b"runt."),
            Unknown(b"runt.services=rel"),
            Unknown(b"runt.services"),
            Signals(b"a,b"),
            Rig(b"/t"),
            Unknown(b"runt.rig=t"),
            RigNonce(b"x"),
            RigExit,
            Single,
            Emergency,
        ];
        assert_eq!(all(line), asked);
        assert_eq!(all(b"singles=1 xrunt.a rootS \"single x\""), []);
    }

    proptest! {
        #[test]
        fn any_line_is_read_to_its_end(line in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let count = boot_params(&line).count();
            prop_assert!(count <= line.len());
        }

        #[test]
        fn quoted_text_is_one_word(dir in "/[a-z /=.]{0,30}", before in "[a-z= ]{0,20}") {
            let line = format!("{before} runt.services=\"{dir}\" runt.x");
            let asked = all(line.as_bytes());
            let last = [BootParam::Services(dir.as_bytes()), BootParam::Unknown(b"runt.x")];
            prop_assert!(asked.ends_with(&last));
        }
    }
}
