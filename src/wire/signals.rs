//! Requests that signals make for PID 1, set by the board or the command line: words
//! `SIGNAL:MEANING`, separated by commas.

/// Names of the signals.
const NAMES: &[u8] =
    b"CONT INT PWR ALRM USR1 USR2 TERM RTMIN+3 RTMIN+4 RTMIN+5";
/// Number of signals.
pub const COUNT: usize = 10;
/// Names of the requests, in the order of [`REQUESTS`].
const WORDS: &[u8] = b"none off reboot halt";
const REQUESTS: [SignalRequest; 4] = [
    SignalRequest::Nothing,
    SignalRequest::Off,
    SignalRequest::Reboot,
    SignalRequest::Halt,
];

/// Request of a signal to PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalRequest {
    /// Nothing.
    Nothing,
    /// Power off.
    Off,
    /// Reboot.
    Reboot,
    /// Halt with the power on.
    Halt,
}

/// Request set for each signal, in the order of `NAMES`; `None` where none is
/// set.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignalRequests(pub [Option<SignalRequest>; COUNT]);

impl SignalRequests {
    /// Reads the words; calls `unknown` for each that is invalid.
    pub fn read(&mut self, text: &[u8], unknown: &mut dyn FnMut(&[u8])) {
        for word in text.split(|byte| *byte == b',') {
            if self.take(word).is_none() && !word.is_empty() {
                unknown(word);
            }
        }
    }

    /// Reads one word.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        let colon = word.iter().position(|byte| *byte == b':')?;
        let (name, meaning) = word.split_at_checked(colon)?;
        let meaning = REQUESTS.get(index_of(WORDS, meaning.get(1..)?)?)?;
        *self.0.get_mut(index_of(NAMES, name)?)? = Some(*meaning);
        Some(())
    }
}

/// Returns the index of `word` in `list`.
fn index_of(list: &[u8], word: &[u8]) -> Option<usize> {
    list.split(|byte| *byte == b' ')
        .position(|known| known == word)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn words_and_what_is_none() {
        let mut requests = SignalRequests::default();
        let mut unknown = Vec::new();
        let text = b"TERM:off,USR1:reboot,,RTMIN+5:halt,INT:none,CONT:reboot,\
            TERM,USR2:,PWR:sleep,ALRM:off:off,HUP:off,:off,:,CONT:off";
        requests.read(text, &mut |word| unknown.push(word.to_vec()));
        let meant = [
            Some(SignalRequest::Off),
            Some(SignalRequest::Nothing),
            None,
            None,
            Some(SignalRequest::Reboot),
            None,
            Some(SignalRequest::Off),
            None,
            None,
            Some(SignalRequest::Halt),
        ];
        assert_eq!(requests.0, meant);
        let unknown: Vec<_> =
            unknown.iter().map(|w| String::from_utf8_lossy(w)).collect();
        let words = "TERM USR2: PWR:sleep ALRM:off:off HUP:off :off :";
        assert_eq!(unknown.join(" "), words);
        assert_eq!(NAMES.split(|b| *b == b' ').count(), COUNT);
    }
}
