//! Holds the bars, the targets that ours must meet, and prints the tables that
//! show the results.

use std::fs;

use anyhow::Result;

use super::{
    chart,
    figures::{Figures, Summary},
    measure,
};

/// The reference of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Reference {
    /// No reference: the figure itself is compared with the bar.
    Nothing,
    /// A contender and its measure, compared round by round.
    Figure(&'static str, &'static str),
    /// The figure of one service: the cost of a further one.
    One,
}

pub struct Bar {
    /// The measure.
    pub measure: &'static str,
    /// The contender.
    pub contender: &'static str,
    /// The reference.
    pub against: Reference,
    /// The maximum that is allowed.
    pub most: f64,
}

/// Returns a bar for `runt`: with 64 services, or on a board.
pub const fn bar(measure: &'static str, against: Reference, most: f64) -> Bar {
    Bar {
        measure,
        contender: "runt",
        against,
        most,
    }
}

/// Returns a bar for 256 services against 64.
const fn many(measure: &'static str, most: f64) -> Bar {
    Bar {
        measure,
        contender: "runt-256",
        against: Reference::Figure("runt", measure),
        most,
    }
}

/// Every bar.
const BARS: &[Bar] = {
    use Reference::{Figure, Nothing, One};
    use measure::{
        ADDED, ANSWER, DIRTY, DIRTY_LARGEST, KILLED, LATENCY, PROCESSES,
        PSS_LARGEST, REMOVED, RESTART, START, START_BUSY, START_CPU, STATUS,
        STOP, TURNS, WAKES,
    };
    &[
        bar(PROCESSES, Nothing, 2.0),
        bar(PSS_LARGEST, Nothing, 90.0),
        bar(DIRTY_LARGEST, Nothing, 52.0),
        bar(DIRTY, One, 0.6),
        bar(START, Figure("floor-files", START), 1.3),
        bar(START, Figure("floor", START), 2.0),
        bar(START_CPU, Figure("floor-files", START_CPU), 1.3),
        bar(START_CPU, Figure("floor", START_CPU), 2.0),
        bar(START_BUSY, Figure("floor-fork", START_BUSY), 1.3),
        bar(KILLED, Figure("floor", KILLED), 1.3),
        bar(RESTART, Figure("floor", RESTART), 3.0),
        bar(STATUS, Figure("floor", STATUS), 1.3),
        bar(ADDED, Nothing, 10.0),
        // It waits 2 s for the directory to settle.
        bar(REMOVED, Nothing, 2010.0),
        bar(WAKES, Nothing, 0.0),
        bar(TURNS, Nothing, 0.0),
        bar(STOP, Figure("floor", STOP), 1.5),
        bar(ANSWER, Nothing, 20.0),
        bar(LATENCY, Nothing, 20.0),
        many(START, 4.2),
        many(STOP, 4.2),
        many(STATUS, 4.2),
        many(KILLED, 1.2),
        many(RESTART, 1.2),
        many(ADDED, 1.2),
        many(REMOVED, 1.2),
    ]
};

/// Every measure, in the order of the tables.
const MEASURES: &[&str] = {
    use measure::{
        ADDED, ANSWER, DIRTY, DIRTY_LARGEST, KILLED, LATENCY, PROCESSES, PSS,
        PSS_LARGEST, REMOVED, RESTART, START, START_BUSY, START_CPU, STATUS,
        STOP, TURNS, WAKES,
    };
    &[
        PROCESSES,
        PSS,
        PSS_LARGEST,
        DIRTY,
        DIRTY_LARGEST,
        START,
        START_CPU,
        START_BUSY,
        KILLED,
        RESTART,
        STATUS,
        ADDED,
        REMOVED,
        STOP,
        WAKES,
        TURNS,
        ANSWER,
        LATENCY,
    ]
};

/// Prints both tables of `bench supervise`; saves them and the chart.
pub fn show(figures: &Figures, names: &[&'static str]) -> Result<()> {
    let title = "64 services, no logs; median [least-most] of the rounds";
    save("supervise", title, figures, (MEASURES, names), BARS)
}

/// Prints the table of all contenders and the bars; saves them and the chart
/// under a name.
pub fn save(
    name: &str,
    title: &str,
    figures: &Figures,
    (measures, names): (&[&str], &[&'static str]),
    bars: &[Bar],
) -> Result<()> {
    let rows = bars.iter().map(|bar| row(figures, bar) + "\n");
    let rows = rows.collect::<String>();
    let text = format!("{title}\n{}\n{rows}", peers(figures, measures, names));
    println!("{text}");
    let dir = super::output_dir()?;
    let table = dir.join(format!("{name}.txt"));
    fs::write(&table, text)?;
    let picture = dir.join(format!("{name}.svg"));
    fs::write(&picture, chart::draw(figures, measures, names))?;
    println!("{}\n{}", table.display(), picture.display());
    Ok(())
}

/// Returns the table of all contenders, measure by measure.
fn peers(figures: &Figures, measures: &[&str], names: &[&str]) -> String {
    let mut text = String::new();
    for measure in measures {
        text.push_str(&format!("{measure}\n"));
        for name in names {
            if let Some(summary) = figures.summary(measure, name) {
                text.push_str(&format!("    {name:<17}{}\n", span(summary)));
            }
        }
    }
    text
}

/// Returns the line of one bar.
fn row(figures: &Figures, bar: &Bar) -> String {
    let (measure, contender) = (bar.measure, bar.contender);
    let (found, against) = match bar.against {
        Reference::Nothing => {
            (figures.summary(measure, contender), String::new())
        }
        Reference::Figure(base, other) => (
            figures.ratio((measure, contender), (other, base)),
            format!("x {base}"),
        ),
        Reference::One => {
            let one = figures.summary(measure, "runt-1");
            let all = figures.summary(measure, contender);
            let further = one.zip(all).map(|(one, all)| {
                let each = (all.median - one.median) / 63.0;
                Summary {
                    median: each,
                    least: each,
                    most: each,
                }
            });
            (further, "each further".into())
        }
    };
    let what = format!("{contender}: {measure}");
    let asked = format!("<= {}", bar.most);
    let Some(found) = found else {
        return format!("{what:<48} not measured  {asked} {against}");
    };
    let verdict = if found.median <= bar.most {
        "pass"
    } else {
        "MISS"
    };
    format!("{verdict} {what:<48} {:<26} {asked} {against}", span(found))
}

/// Formats a median, with minimum and maximum if they differ.
fn span(summary: Summary) -> String {
    let Summary {
        median,
        least,
        most,
    } = summary;
    if least == most {
        return format!("{median:.2}");
    }
    format!("{median:.2} [{least:.2}-{most:.2}]")
}
