//! What signals mean to PID 1, where board or command line say so: the words
//! `SIGNAL:MEANING`, with commas between them.

/// The signals, by their names in the words.
const NAMES: &[u8] =
    b"CONT INT PWR ALRM USR1 USR2 TERM RTMIN+3 RTMIN+4 RTMIN+5";
/// How many they are.
pub const COUNT: usize = 10;
/// What they can mean, in the order of [`MEANINGS`].
const WORDS: &[u8] = b"none off reboot halt";
const MEANINGS: [Meaning; 4] = [
    Meaning::Nothing,
    Meaning::Off,
    Meaning::Reboot,
    Meaning::Halt,
];

/// What a signal asks PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing.
    Nothing,
    /// Switch the power off.
    Off,
    /// Start again.
    Reboot,
    /// Stop with the power on.
    Halt,
}

/// What is said of each signal, in the order of `NAMES`; `None` where
/// nothing is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meanings(pub [Option<Meaning>; COUNT]);

impl Meanings {
    /// Reads the words; `unknown` gets those that say nothing known.
    pub fn read(&mut self, text: &[u8], unknown: &mut dyn FnMut(&[u8])) {
        for word in text.split(|byte| *byte == b',') {
            if self.take(word).is_none() && !word.is_empty() {
                unknown(word);
            }
        }
    }

    /// Takes one word.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        let colon = word.iter().position(|byte| *byte == b':')?;
        let (name, meaning) = word.split_at_checked(colon)?;
        let meaning = MEANINGS.get(index_of(WORDS, meaning.get(1..)?)?)?;
        *self.0.get_mut(index_of(NAMES, name)?)? = Some(*meaning);
        Some(())
    }
}

/// Which of the words of `list` it is.
fn index_of(list: &[u8], word: &[u8]) -> Option<usize> {
    list.split(|byte| *byte == b' ')
        .position(|known| known == word)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn words_and_what_is_none() {
        let mut meanings = Meanings::default();
        let mut unknown = Vec::new();
        let text = b"TERM:off,USR1:reboot,,RTMIN+5:halt,INT:none,CONT:reboot,\
            TERM,USR2:,PWR:sleep,ALRM:off:off,HUP:off,:off,:,CONT:off";
        meanings.read(text, &mut |word| unknown.push(word.to_vec()));
        let meant = [
            Some(Meaning::Off),
            Some(Meaning::Nothing),
            None,
            None,
            Some(Meaning::Reboot),
            None,
            Some(Meaning::Off),
            None,
            None,
            Some(Meaning::Halt),
        ];
        assert_eq!(meanings.0, meant);
        let unknown: Vec<_> =
            unknown.iter().map(|w| String::from_utf8_lossy(w)).collect();
        let words = "TERM USR2: PWR:sleep ALRM:off:off HUP:off :off :";
        assert_eq!(unknown.join(" "), words);
        assert_eq!(NAMES.split(|b| *b == b' ').count(), COUNT);
    }
}
