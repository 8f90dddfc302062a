//! What remains of a run: the tables, every cell as JSON, a plot for each figure against connections.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::candidate::ROUTER;
use crate::chart::{self, Line, Scale};
use crate::report::{self, Cell};
use crate::spread::spread;
use crate::workload;

/// A plot: the name of its file, what is above it, its scale, and the figure.
type Plot = (&'static str, &'static str, Scale, fn(&Cell) -> Option<f64>);

const PLOTS: [Plot; 6] = [
    ("throughput", "Requests/s, 1 KB on kept connections", Scale::Linear, |cell| Some(cell.requests_per_s)),
    ("cpu", "CPU us/request, user and system", Scale::Linear, |cell| cell.cpu_us),
    ("p50", "Latency, median, us", Scale::Log, |cell| Some(cell.p50_us)),
    ("p99", "Latency, 99 %, us", Scale::Log, |cell| Some(cell.p99_us)),
    ("p999", "Latency, 99.9 %, us", Scale::Log, |cell| Some(cell.p999_us)),
    ("memory", "Memory, PSS and kernel stacks, MB", Scale::Log, Cell::memory_mb),
];

/// Writes all of it; what was there by these names is replaced.
pub fn write(directory: &Path, head: &str, tables: &str, cells: &[Cell]) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(told)?;
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).map_err(told);
    write("table.md", &format!("```text\n{}\n```\n\n{tables}", head.trim_end()))?;
    write("cells.json", &json(head, cells))?;
    for (name, title, scale, figure) in PLOTS {
        let name = format!("{name}.svg");
        match chart::svg(title, scale, &lines(cells, figure)) {
            Some(text) => write(&name, &text)?,
            // One of an earlier run would be taken for one of this.
            None => drop(fs::remove_file(directory.join(&name))),
        }
    }
    Ok(())
}

/// Of each program, at each level of kept connections.
fn lines(cells: &[Cell], figure: fn(&Cell) -> Option<f64>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (workload, name) in report::groups(cells) {
        let mut own = report::group(cells, workload, name).peekable();
        let Some(level) = own.peek().map(|cell| cell.connections) else { continue };
        let Some(value) = spread(own.filter_map(figure)) else { continue };
        if workload != workload::get(level) {
            continue;
        }
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push((level, value)),
            None => lines.push(Line { name, points: vec![(level, value)], ours: name == ROUTER }),
        }
    }
    for line in &mut lines {
        line.points.sort_by_key(|(level, _)| *level);
    }
    lines
}

/// A line for each cell, so that two runs can be compared by eye too.
fn json(head: &str, cells: &[Cell]) -> String {
    let lines = head.lines().filter(|line| !line.trim().is_empty());
    let head: Vec<String> = lines.map(|line| format!("    {}", text(line))).collect();
    let cells: Vec<String> = cells.iter().map(|one| format!("    {}", cell(one))).collect();
    format!("{{\n  \"head\": [\n{}\n  ],\n  \"cells\": [\n{}\n  ]\n}}\n", head.join(",\n"), cells.join(",\n"))
}

fn cell(cell: &Cell) -> String {
    let numbers = [
        ("requests_per_s", Some(cell.requests_per_s)),
        ("cpu_us", cell.cpu_us),
        ("origin_cpu_us", Some(cell.origin_cpu_us)),
        ("switches", cell.switches),
        ("syscalls", cell.syscalls),
        ("pss_mb", cell.pss_mb),
        ("stacks_mb", cell.stacks_mb),
        ("p50_us", Some(cell.p50_us)),
        ("p99_us", Some(cell.p99_us)),
        ("p999_us", Some(cell.p999_us)),
    ];
    let mut line = format!(
        "{{\"round\": {}, \"workload\": {}, \"connections\": {}, \"program\": {}",
        cell.round,
        text(&cell.workload),
        cell.connections,
        text(cell.candidate)
    );
    for (name, value) in numbers {
        // JSON has no word for what is no number.
        let value = value.filter(|value| value.is_finite()).map_or("null".to_owned(), |value| format!("{value:.3}"));
        let _never_fails = write!(line, ", \"{name}\": {value}");
    }
    let errors = cell.errors.named().map(|(name, count)| format!("\"{name}\": {count}"));
    format!("{line}, \"errors\": {{{}}}}}", errors.join(", "))
}

fn text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _never_fails = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::NGINX;
    use crate::room::Room;

    fn cells() -> Vec<Cell> {
        let mut cells = Vec::new();
        for workload in workload::all(&[1, 64]) {
            for candidate in [NGINX, ROUTER] {
                let requests_per_s = f64::from(workload.connections);
                cells.push(Cell { requests_per_s, ..Cell::failed(1, &workload, candidate) });
            }
        }
        cells
    }

    #[test]
    fn everything_is_there_and_an_older_plot_of_nothing_is_gone() {
        let room = Room::new("results").unwrap();
        let older = room.write("cpu.svg", b"older").unwrap();
        write(room.path(), "machine: a\n", "| table |\n", &cells()).unwrap();
        let read = |name: &str| fs::read_to_string(room.path().join(name)).unwrap();
        assert_eq!(read("table.md"), "```text\nmachine: a\n```\n\n| table |\n");
        assert!(read("cells.json").contains("\"machine: a\"") && read("throughput.svg").contains(">router<"));
        // No cell had any.
        assert!(!older.exists());
    }

    #[test]
    fn a_plot_has_levels_of_kept_connections_and_nothing_else() {
        let lines = lines(&cells(), |cell| Some(cell.requests_per_s));
        let levels = |line: &Line| line.points.iter().map(|(level, _)| *level).collect::<Vec<_>>();
        assert_eq!(
            lines.iter().map(|line| (line.name, line.ours)).collect::<Vec<_>>(),
            [(NGINX, false), (ROUTER, true)]
        );
        assert!(lines.iter().all(|line| levels(line) == [1, 64]), "{lines:?}");
    }

    #[test]
    fn a_cell_is_an_object_without_numbers_that_are_none() {
        let line = cell(&cells()[0]);
        assert!(
            line.starts_with("{\"round\": 1, \"workload\": \"get-1\", \"connections\": 1, \"program\": \"nginx\", ")
        );
        assert!(line.contains("\"requests_per_s\": 1.000, \"cpu_us\": null"), "{line}");
        assert!(line.contains("\"p50_us\": null"), "{line}");
        assert!(line.ends_with(
            "\"errors\": {\"connect\": 0, \"read\": 0, \"write\": 0, \"timeout\": 0, \"status\": 0, \"run\": 1}}"
        ));
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(text("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }
}
