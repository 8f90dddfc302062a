//! A plot as SVG: one figure of every program against connections, as lines with their spread.

use std::fmt::Write;

use crate::spread::Spread;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 440.0;
/// Of the plot itself: left, right, top, bottom. The legend is at its right.
const PLOT: (f64, f64, f64, f64) = (80.0, 680.0, 50.0, 390.0);
const LEGEND_LINE: f64 = 20.0;
/// Told apart by most eyes, on white and on black.
const COLOURS: [&str; 14] = [
    "#888888", "#2e8b57", "#1f77b4", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#d62728", "#ff7f0e",
    "#4b6fff", "#66aa00", "#aa00aa", "#5f5f00",
];

/// How values become heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// From zero.
    Linear,
    /// Ten times as much is as far, everywhere.
    Log,
}

/// One program: its name, and a value for each number of connections.
#[derive(Debug)]
pub struct Line {
    pub name: &'static str,
    pub points: Vec<(u32, Spread)>,
    /// Drawn wider than the others.
    pub ours: bool,
}

/// The whole file; nothing when there is nothing to draw.
pub fn svg(title: &str, scale: Scale, lines: &[Line]) -> Option<String> {
    let mut levels: Vec<u32> = lines.iter().flat_map(|line| &line.points).map(|(level, _)| *level).collect();
    levels.sort_unstable();
    levels.dedup();
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, spread)| *spread);
    let top = values().map(|spread| spread.max).fold(0.0, f64::max);
    let least = values().map(|spread| spread.min).filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    if levels.len() < 2 || top <= 0.0 || !least.is_finite() {
        return None;
    }
    let ticks = ticks(scale, least, top);
    let (low, high) = (*ticks.first()?, *ticks.last()?);
    let (left, right, above, below) = PLOT;
    // The levels are far apart, and each is as important: the same distance for all.
    let x = |level: u32| {
        let index = levels.iter().position(|known| *known == level).unwrap_or(0);
        left + (right - left) * (index as f64 + 0.5) / levels.len() as f64
    };
    let y = |value: f64| {
        let share = match scale {
            Scale::Linear => (value - low) / (high - low),
            Scale::Log => (value.max(low) / low).log10() / (high / low).log10(),
        };
        below - (below - above) * share
    };

    let mut text = String::new();
    let mut add = |line: String| {
        let _never_fails = writeln!(text, "{line}");
    };
    add(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">"
    ));
    add(format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"));
    add(format!("<text x=\"{left}\" y=\"28\" font-size=\"17\">{}</text>", escaped(title)));
    for &tick in &ticks {
        let at = y(tick);
        add(format!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#dddddd\"/>"));
        let label = (left - 8.0, at + 4.0);
        add(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", label.0, label.1, short(tick)));
    }
    for &level in &levels {
        add(format!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{level}</text>", x(level), below + 20.0));
    }
    let middle = f64::midpoint(left, right);
    add(format!("<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">connections</text>", below + 40.0));
    for (index, line) in lines.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let width = if line.ours { 4.0 } else { 1.6 };
        let mut path = String::new();
        for (level, spread) in &line.points {
            let step = if path.is_empty() { 'M' } else { 'L' };
            let _never_fails = write!(path, "{step}{:.1} {:.1}", x(*level), y(spread.median));
            let (at, high, low) = (x(*level), y(spread.max), y(spread.min));
            add(format!("<path d=\"M{at:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.5\"/>"));
        }
        add(format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"));
        let (from, at) = (right + 20.0, above + LEGEND_LINE * index as f64);
        add(format!("<path d=\"M{from} {at:.1}h24\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"));
        add(format!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", from + 32.0, at + 4.0, escaped(line.name)));
    }
    add("</svg>".to_owned());
    Some(text)
}

/// Round values, the first at or below the least and the last at or above the most.
fn ticks(scale: Scale, least: f64, most: f64) -> Vec<f64> {
    match scale {
        Scale::Linear => {
            let rough = most / 5.0;
            let power = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0].map(|one| one * power).into_iter().find(|step| *step >= rough);
            let step = step.unwrap_or(10.0 * power);
            (0..).map(|count| f64::from(count) * step).take_while(|tick| *tick < most + step).collect()
        }
        Scale::Log => {
            let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
            (first..=last.max(first + 1)).map(|power| 10f64.powi(power)).collect()
        }
    }
}

/// `2.5 k`, as few digits as it has.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e6 => (value / 1e6, " M"),
        value if value >= 1e3 => (value / 1e3, " k"),
        value => (value, ""),
    };
    // The last digits of a sum are nobody's wish.
    format!("{}{unit}", (value * 1e3).round() / 1e3)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::spread;

    fn line(name: &'static str, points: &[(u32, f64)]) -> Line {
        let points = points.iter().filter_map(|&(level, value)| Some((level, spread([value])?))).collect();
        Line { name, points, ours: false }
    }

    #[test]
    fn ticks_are_round_and_hold_everything() {
        assert_eq!(ticks(Scale::Linear, 3.0, 87.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(Scale::Log, 70.0, 2_300.0), [10.0, 100.0, 1_000.0, 10_000.0]);
        assert_eq!(ticks(Scale::Log, 100.0, 100.0), [100.0, 1_000.0]);
        assert_eq!([0.0, 250.0, 2_500.0, 100e3, 3e6].map(short), ["0", "250", "2.5 k", "100 k", "3 M"]);
    }

    #[test]
    fn every_program_is_a_line_and_a_name() {
        let lines = [line("a<b", &[(1, 10.0), (64, 100.0)]), line("b", &[(64, 50.0)])];
        let text = svg("requests & more", Scale::Linear, &lines).unwrap();
        assert!(text.contains("requests &amp; more") && text.contains(">a&lt;b<") && text.contains(">b<"), "{text}");
        // Two of three levels would be at the sides; of two they are at a quarter and three quarters.
        assert!(text.contains("M230.0 356.0L530.0 50.0") || text.contains("M230.0 356.0L530.0"), "{text}");
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
    }

    #[test]
    fn nothing_is_drawn_of_nothing_or_of_one_level() {
        assert_eq!(svg("t", Scale::Log, &[]), None);
        assert_eq!(svg("t", Scale::Log, &[line("a", &[(64, 1.0)])]), None);
        assert_eq!(svg("t", Scale::Log, &[line("a", &[(1, 0.0), (64, 0.0)])]), None);
    }
}
