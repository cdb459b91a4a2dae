//! Draws the figures as a chart: for each measure a bar for each contender.

use super::figures::Figures;

/// Height of a bar in pixels.
const ROW: f64 = 16.0;

/// Length of the longest bar in pixels.
const WIDE: f64 = 420.0;

/// Horizontal position at which bars begin.
const LEFT: f64 = 120.0;

/// Draws an SVG file. Bars are logarithmic: a figure that is a tenth of the
/// longest one gets a bar shorter by a quarter of the width.
pub fn draw(
    figures: &Figures,
    measures: &[&str],
    names: &[&'static str],
) -> String {
    let mut body = String::new();
    let mut y = 0.0;
    let text = |body: &mut String, x: f64, y: f64, class, words: &str| {
        body.push_str(&format!(
            "<text x=\"{x}\" y=\"{y}\" class=\"{class}\">{words}</text>\n"
        ));
    };
    for measure in measures {
        let found = names.iter().filter_map(|name| {
            Some((*name, figures.summary(measure, name)?.median))
        });
        let found: Vec<(&str, f64)> = found.collect();
        let most = found.iter().map(|(_, figure)| *figure).fold(0.0, f64::max);
        y += 1.8 * ROW;
        text(&mut body, 4.0, y, "measure", measure);
        for (name, figure) in found {
            y += ROW;
            let share = 1.0 + (figure / most).log10() / 4.0;
            let wide = if share.is_finite() {
                WIDE * share.max(0.0)
            } else {
                0.0
            };
            let class = name.split('-').next().unwrap_or(name);
            text(&mut body, 12.0, y, "name", name);
            body.push_str(&format!(
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"{wide:.1}\" height=\"{}\" \
                 class=\"{class}\"/>\n",
                y - 0.7 * ROW,
                0.8 * ROW
            ));
            let shown = format!("{figure:.2}");
            text(&mut body, LEFT + wide + 6.0, y, "name", &shown);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"{}\" \
         font-family=\"sans-serif\">\n<style>.measure{{font-size:13px;\
         font-weight:bold}}.name{{font-size:11px}}rect{{fill:#b8b8b8}}\
         .runt{{fill:#2f6fb0}}.floor{{fill:#6a9a5b}}</style>\n\
         <rect width=\"100%\" height=\"100%\" style=\"fill:white\"/>\n\
         {body}</svg>\n",
        y + ROW
    )
}
