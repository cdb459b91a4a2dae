//! Stores the measured figures, one per round, measure and contender, and
//! computes their medians and ratios.

use std::collections::BTreeMap;

/// One figure of each round.
type Rounds = BTreeMap<usize, f64>;

/// All measured figures.
#[derive(Debug, Default)]
pub struct Figures(BTreeMap<(&'static str, &'static str), Rounds>);

/// Summary of a set of figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median.
    pub median: f64,
    /// The minimum.
    pub least: f64,
    /// The maximum.
    pub most: f64,
}

impl Figures {
    /// Records the median of the figures that a round gave for a measure and a
    /// contender.
    pub fn put(
        &mut self,
        measure: &'static str,
        contender: &'static str,
        round: usize,
        samples: &[f64],
    ) {
        if let Some(summary) = summary(samples.to_vec()) {
            let rounds = self.0.entry((measure, contender)).or_default();
            rounds.insert(round, summary.median);
        }
    }

    /// Returns the figures of a measure for a contender.
    fn rounds(&self, measure: &str, contender: &str) -> Option<&Rounds> {
        let mut all = self.0.iter();
        let found = all.find(|((m, c), _)| *m == measure && *c == contender);
        found.map(|(_, rounds)| rounds)
    }

    /// Returns the median, minimum and maximum of all rounds.
    pub fn summary(&self, measure: &str, contender: &str) -> Option<Summary> {
        let rounds = self.rounds(measure, contender)?;
        summary(rounds.values().copied().collect())
    }

    /// Returns the median of the ratios to another figure, round by round.
    pub fn ratio(
        &self,
        (measure, contender): (&str, &str),
        (other, base): (&str, &str),
    ) -> Option<Summary> {
        let figures = self.rounds(measure, contender)?;
        let base = self.rounds(other, base)?;
        let ratio = |(round, figure): (&usize, &f64)| {
            Some(figure / base.get(round).filter(|base| **base > 0.0)?)
        };
        summary(figures.iter().filter_map(ratio).collect())
    }
}

/// Summarises a set of figures; `None` for an empty one.
fn summary(mut figures: Vec<f64>) -> Option<Summary> {
    figures.sort_by(f64::total_cmp);
    let (least, most) = (*figures.first()?, *figures.last()?);
    let upper = figures.get(figures.len() / 2)?;
    let lower = figures.get((figures.len() - 1) / 2)?;
    let median = f64::midpoint(*lower, *upper);
    Some(Summary {
        median,
        least,
        most,
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut figures = Figures::default();
        for (round, ours, base) in [(0, 2.0, 1.0), (1, 30.0, 10.0)] {
            figures.put("start", "runt", round, &[ours]);
            figures.put("start", "floor", round, &[base]);
        }
        figures.put("start", "runt", 2, &[7.0, 9.0, 8.0]);
        let ratio = figures.ratio(("start", "runt"), ("start", "floor"));
        let expected = Summary {
            median: 2.5,
            least: 2.0,
            most: 3.0,
        };
        assert_eq!(ratio, Some(expected));
        assert_eq!(figures.summary("start", "runt").unwrap().median, 8.0);
        assert_eq!(figures.ratio(("stop", "runt"), ("start", "floor")), None);
    }
}
