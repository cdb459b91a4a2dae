//! How long the longest turn of the loop has lasted, kept where `runt limits`
//! finds it.
//!
//! A turn is from the wake-up to the next sleep: nobody is answered meanwhile.
//! The first scan, and what its owner did before it, is none: nobody can have
//! asked.

use core::time::Duration;

use crate::{
    sys::{AsFd, clock, file, rundir},
    text::Line,
    wire::clock::Instant,
};

use super::Supervisor;

/// How long between two records: while all goes wrong at once each turn may be
/// the longest yet.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest turn so far.
#[derive(Debug)]
pub(super) struct Latency {
    /// When this turn began.
    woke_at: Instant,
    worst: Duration,
    /// What the record says.
    published: Duration,
    /// When the next record may be written.
    due: Instant,
}

impl Latency {
    /// None yet.
    pub(super) fn new() -> Self {
        let now = clock::mono();
        Self {
            woke_at: now,
            worst: Duration::ZERO,
            published: Duration::ZERO,
            due: now.after(PAUSE),
        }
    }

    /// The loop woke up.
    pub(super) fn begin(&mut self, now: Instant) {
        self.woke_at = now;
    }

    /// The loop goes to sleep.
    pub(super) fn end(&mut self) {
        self.worst = self.worst.max(clock::mono().since(self.woke_at));
    }
}

impl Supervisor {
    /// Writes the record if there is a longer turn than it says: microseconds
    /// in decimal, as `turn` in the place of the services directory. Where
    /// that cannot be written nothing is kept.
    pub(super) fn publish_latency(&mut self) {
        let turns = &mut self.latency;
        let Some(services) = &self.services else {
            return;
        };
        if turns.worst == turns.published || turns.woke_at < turns.due {
            return;
        }
        turns.published = turns.worst;
        turns.due = turns.woke_at.after(PAUSE);
        let mut line = Line::new();
        let micros = turns.worst.as_secs().wrapping_mul(1_000_000);
        line.number(micros.wrapping_add(turns.worst.subsec_micros().into()));
        let written = rundir::open_for(services.path()).map(|place| {
            let [path, new] = rundir::LATENCY;
            file::replace(place.as_fd(), path, new, line.text("\n").as_bytes())
        });
        let _kept = written.is_ok();
    }
}
