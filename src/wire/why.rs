//! Reads and writes `supervise/why`: how `./run` ended recently, and what the
//! service waits for.
//!
//! The supervisor writes the record by rename when `./run` has ended, and
//! again when the reason to wait changes; `sv why` reads it. The record is
//! text with one fact a line and times in UTC in the format of svlogd's `-tt`:
//!
//! ```text
//! restarts 12
//! waits backoff until 2026-11-24_23:44:20.50000
//! died 2026-11-24_23:44:12.50000 exit 111 after 3 ms
//! died 2026-11-24_23:44:16.50000 signal 11 core after 40 ms
//! ```
//!
//! The oldest death comes first; `unknown` stands for how a process ended that
//! was not a child. A line that begins with an unknown word is
//! ignored, so that the record can be extended. When the wall clock was set,
//! times since the boot of the machine are rewritten so that each keeps its
//! age.

use heapless::Vec;

use super::{
    clock::Wall,
    control,
    stamp::{self, Style, stamp},
};
use crate::text::{Line, keep, whole_number};

/// Number of deaths kept; the oldest is dropped for a new one.
pub const DEATHS: usize = 8;

/// Maximum bytes of a record: 30 for the restarts, 49 for the wait, and 77 for
/// each death.
pub const BYTES: usize = 30 + 49 + 77 * DEATHS;

/// Way in which `./run` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathCause {
    /// It exited with this code.
    Exited(u8),
    /// It was ended by this signal; the flag is true if a core was dumped.
    Killed(u8, bool),
    /// Unknown: another supervisor had started it.
    Unknown,
}

/// One end of `./run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// Wall clock time. The record keeps hundred-thousandths of a second and
    /// years up to 9999.
    pub when: Wall,
    /// Exit code or signal.
    pub cause: DeathCause,
    /// Run time in milliseconds of the monotonic clock.
    pub runtime_ms: u64,
}

/// Reason why a service waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// None: it runs, or it is down because it is wanted down.
    Nothing,
    /// The second that runit waits after a short run.
    RestartPause,
    /// The longer pause that `runt/backoff` sets.
    Backoff,
    /// The slow retry of a service that died too often.
    Parked,
    /// The end of `./finish`.
    Finish,
    /// The end of the script `control/` with this letter.
    Control(u8),
    /// The lock of the supervise directory, which another supervisor holds.
    Lock,
    /// A process: the kernel refused to create one.
    Fork,
    /// The end of a process that another supervisor may have started for this
    /// service.
    Process,
    /// An operator's command: `./finish` exited with 125, which asks not to
    /// start the service again.
    Failed,
}

/// Words of the record for each reason, except those for scripts.
const WORDS: [(Waits, &str); 9] = [
    (Waits::Nothing, "nothing"),
    (Waits::RestartPause, "pace"),
    (Waits::Backoff, "backoff"),
    (Waits::Parked, "parked"),
    (Waits::Finish, "finish"),
    (Waits::Lock, "lock"),
    (Waits::Fork, "fork"),
    (Waits::Process, "process"),
    (Waits::Failed, "permanent-failure"),
];

/// Word for an unknown cause of a death.
pub const UNKNOWN: &str = "unknown";

/// Prefix of the letter of a script.
const CONTROL: &[u8] = b"control/";

/// Contents of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// Number of times that `./run` was restarted after it had ended by
    /// itself.
    pub restarts: u32,
    /// Reason of the current wait.
    pub waits: Waits,
    /// Time of the next try, if that is known.
    pub until: Option<Wall>,
    /// The last deaths, the oldest first.
    pub deaths: Vec<Death, DEATHS>,
}

impl Why {
    /// Returns the record of a service that never died.
    pub const fn new() -> Self {
        Self {
            restarts: 0,
            waits: Waits::Nothing,
            until: None,
            deaths: Vec::new(),
        }
    }

    /// Adds a death; drops the oldest when [`DEATHS`] are kept already.
    pub fn died(&mut self, death: Death) {
        let mut oldest = self.deaths.is_full();
        keep(&mut self.deaths, |_| !core::mem::take(&mut oldest));
        // The loop above made room.
        let _fits = self.deaths.push(death).is_ok();
    }

    /// Replaces every time by what `rewritten` returns for it. Returns false if
    /// none changed.
    pub fn restamp(&mut self, rewritten: &dyn Fn(Wall) -> Wall) -> bool {
        let mut changed = false;
        let deaths = self.deaths.iter_mut().map(|death| &mut death.when);
        for moment in deaths.chain(&mut self.until) {
            let old = core::mem::replace(moment, rewritten(*moment));
            changed |= *moment != old;
        }
        changed
    }
}

impl Default for Why {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends the word for a reason to wait: `pace`, `control/t`.
fn name(line: &mut Line, waits: Waits) -> &mut Line {
    if let Waits::Control(letter) = waits {
        return line.bytes(CONTROL).bytes(&[letter]);
    }
    let word = WORDS.iter().find(|(known, _)| *known == waits);
    line.text(word.map_or("", |(_, word)| word))
}

/// Encodes the record.
pub fn pack(why: &Why) -> Vec<u8, BYTES> {
    let mut record = Vec::new();
    let mut put = |line: &mut Line| {
        // BYTES holds the longest record: the tests below fill it.
        let _fits = record.extend_from_slice(line.finish()).is_ok();
    };
    put(Line::new().text("restarts ").number(why.restarts.into()));
    let mut line = Line::new();
    name(line.text("waits "), why.waits);
    if let Some(until) = why.until {
        line.text(" until ").bytes(moment(until).trim_ascii());
    }
    put(&mut line);
    for death in &why.deaths {
        let mut line = Line::new();
        line.text("died ").bytes(&moment(death.when));
        match death.cause {
            DeathCause::Exited(code) => line.text("exit ").number(code.into()),
            DeathCause::Killed(signal, core) => line
                .text("signal ")
                .number(signal.into())
                .text(if core { " core" } else { "" }),
            DeathCause::Unknown => line.text(UNKNOWN),
        };
        line.text(" after ").number(death.runtime_ms).text(" ms");
        put(&mut line);
    }
    record
}

/// One line of a record; times stay in their written form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    /// Number of restarts.
    Restarts(u64),
    /// Reason of the wait and its end, which is empty when not known.
    Waits(&'a [u8], &'a [u8]),
    /// Time at which `./run` ended, how it ended, and its run time in
    /// milliseconds.
    Died(&'a [u8], DeathCause, u64),
}

/// Decodes a line; `None` if it is malformed or unknown.
pub fn fact(line: &[u8]) -> Option<Fact<'_>> {
    let mut words = line.split(|byte| *byte == b' ');
    let mut word = || words.next().unwrap_or(b"");
    match word() {
        b"restarts" => Some(Fact::Restarts(whole_number(word())?)),
        b"waits" => {
            let what = word();
            let until = word() == b"until";
            Some(Fact::Waits(what, if until { word() } else { b"" }))
        }
        b"died" => {
            let when = word();
            let verb = word();
            let how = if verb == UNKNOWN.as_bytes() {
                word();
                DeathCause::Unknown
            } else {
                let number = u8::try_from(whole_number(word())?).ok()?;
                let core = word() == b"core";
                if core {
                    word();
                }
                match verb {
                    b"exit" => DeathCause::Exited(number),
                    _ => DeathCause::Killed(number, core),
                }
            };
            Some(Fact::Died(when, how, whole_number(word())?))
        }
        _ => None,
    }
}

/// Decodes a record; `None` if one of its times or numbers is malformed or its
/// last line has no newline.
pub fn unpack(record: &[u8]) -> Option<Why> {
    let mut why = Why::new();
    let lines = match record {
        [] => return Some(why),
        record => record.strip_suffix(b"\n")?,
    };
    for line in lines.split(|byte| *byte == b'\n') {
        match fact(line) {
            Some(Fact::Restarts(number)) => {
                why.restarts = u32::try_from(number).ok()?;
            }
            Some(Fact::Waits(what, until)) => {
                why.waits = waits(what)?;
                why.until = match until {
                    b"" => None,
                    until => Some(stamp::parse(until)?),
                };
            }
            Some(Fact::Died(when, how, lived)) => {
                let when = stamp::parse(when)?;
                why.died(Death {
                    when,
                    cause: how,
                    runtime_ms: lived,
                });
            }
            None if KNOWN.iter().any(|word| line.starts_with(word)) => {
                return None;
            }
            None => {}
        }
    }
    Some(why)
}

/// First words of the lines that are known.
const KNOWN: [&[u8]; 3] = [b"restarts", b"waits", b"died"];

/// Returns a time in the record's format, followed by a space.
fn moment(wall: Wall) -> stamp::Stamp {
    stamp(Style::Date, wall)
}

/// Decodes the word for a reason to wait.
fn waits(word: &[u8]) -> Option<Waits> {
    if let Some([letter]) = word.strip_prefix(CONTROL) {
        return control::decode(*letter).map(|_| Waits::Control(*letter));
    }
    let mut words = WORDS.iter();
    let known = words.find(|(_, known)| known.as_bytes() == word)?;
    Some(known.0)
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    /// Times that the record keeps exactly: up to the end of the year 9999.
    fn moments() -> impl Strategy<Value = Wall> {
        (0..253_402_300_800_u64, 0..100_000_u32).prop_map(|(secs, part)| Wall {
            secs,
            nanos: part * 10_000,
        })
    }

    fn deaths() -> impl Strategy<Value = Death> {
        let how = prop_oneof![
            any::<u8>().prop_map(DeathCause::Exited),
            (any::<u8>(), any::<bool>())
                .prop_map(|(signal, core)| DeathCause::Killed(signal, core)),
            Just(DeathCause::Unknown),
        ];
        (moments(), how, any::<u64>()).prop_map(|(when, how, lived)| Death {
            when,
            cause: how,
            runtime_ms: lived,
        })
    }

    fn whys() -> impl Strategy<Value = Why> {
        let letters = prop::sample::select(&b"udoxtkpcahiq12"[..]);
        let waits = (0..=WORDS.len(), letters).prop_map(|(at, letter)| {
            let word = WORDS.get(at);
            word.map_or(Waits::Control(letter), |(waits, _)| *waits)
        });
        let deaths = prop::collection::vec(deaths(), 0..12);
        let until = prop::option::of(moments());
        (any::<u32>(), waits, until, deaths).prop_map(
            |(restarts, waits, until, deaths)| {
                let mut why = Why {
                    restarts,
                    waits,
                    until,
                    deaths: Vec::new(),
                };
                for death in deaths {
                    why.died(death);
                }
                why
            },
        )
    }

    #[test]
    fn the_record_of_the_documentation() {
        let mut why = Why {
            restarts: 12,
            waits: Waits::Backoff,
            until: Some(Wall {
                secs: 1_795_563_860,
                nanos: 500_000_000,
            }),
            deaths: Vec::new(),
        };
        let mut died = |secs, how, lived| {
            let nanos = 500_000_000;
            let when = Wall { secs, nanos };
            why.died(Death {
                when,
                cause: how,
                runtime_ms: lived,
            });
        };
        died(1_795_563_852, DeathCause::Exited(111), 3);
        died(1_795_563_856, DeathCause::Killed(11, true), 40);
        let text = "restarts 12\n\
            waits backoff until 2026-11-24_23:44:20.50000\n\
            died 2026-11-24_23:44:12.50000 exit 111 after 3 ms\n\
            died 2026-11-24_23:44:16.50000 signal 11 core after 40 ms\n";
        assert_eq!(core::str::from_utf8(&pack(&why)), Ok(text));
        assert_eq!(unpack(text.as_bytes()), Some(why));
    }

    #[test]
    fn the_longest_record_fits() {
        let when = Wall { secs: 0, nanos: 0 };
        let mut why = Why {
            restarts: u32::MAX,
            waits: Waits::Control(b'x'),
            until: Some(when),
            deaths: Vec::new(),
        };
        let how = DeathCause::Killed(255, true);
        for lived in 0..=20 {
            let lived = u64::MAX - lived;
            why.died(Death {
                when,
                cause: how,
                runtime_ms: lived,
            });
        }
        assert_eq!(why.deaths.len(), DEATHS);
        assert_eq!(why.deaths[0].runtime_ms, u64::MAX - 13);
        let record = pack(&why);
        assert!(BYTES - record.len() < 12, "room that no record needs");
        assert_eq!(unpack(&record), Some(why));
    }

    #[test]
    fn a_record_that_is_cut_is_refused() {
        let mut why = Why::new();
        assert_eq!(unpack(b""), Some(why.clone()));
        why.died(Death {
            when: Wall { secs: 7, nanos: 0 },
            cause: DeathCause::Exited(1),
            runtime_ms: 5,
        });
        let record = pack(&why);
        assert_eq!(record[10..].iter().filter(|b| **b == b'\n').count(), 3);
        for length in 1..record.len() {
            let whole = record[length - 1] == b'\n';
            assert_eq!(unpack(&record[..length]).is_some(), whole);
        }
        let more = [&record[..], b"and more\n"].concat();
        assert_eq!(unpack(&more), Some(why));
    }

    #[test]
    fn every_time_is_rewritten() {
        let moment = |secs| Wall { secs, nanos: 0 };
        let record = |first, second, until| {
            let mut why = Why::new();
            for secs in [first, second] {
                let (when, how) = (moment(secs), DeathCause::Exited(1));
                why.died(Death {
                    when,
                    cause: how,
                    runtime_ms: 5,
                });
            }
            why.until = Some(moment(until));
            why
        };
        let mut why = record(10, 20, 30);
        assert!(!why.restamp(&|moment| moment));
        assert!(why.restamp(&|m| moment(m.secs + 1000)));
        assert_eq!(why, record(1010, 1020, 1030));
        let only = |m: Wall| moment(if m.secs == 1030 { 7 } else { m.secs });
        assert!(why.restamp(&only));
        assert_eq!(why, record(1010, 1020, 7));
    }

    proptest! {
        #[test]
        fn unpack_undoes_pack(why in whys()) {
            prop_assert_eq!(unpack(&pack(&why)), Some(why));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let _known = unpack(&bytes).is_some();
        }

        #[test]
        fn a_changed_record_is_decoded_or_refused(
            why in whys(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut record = pack(&why);
            let at = at.index(record.len());
            record[at] = byte;
            if let Some(why) = unpack(&record) {
                prop_assert!(unpack(&pack(&why)).is_some());
            }
        }
    }
}
