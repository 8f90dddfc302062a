//! What is shown: one table of figures, one of ratios, both as Markdown; and a line for each cell while it runs.

use crate::candidate::{AGAINST, NGINX, NO_PROXY, ROUTER};
use crate::spread::{Spread, spread};
use crate::workload::Workload;
use crate::wrk::Errors;

/// What one candidate did under one load in one round.
#[derive(Debug, Clone)]
pub struct Cell {
    pub round: u32,
    pub workload: String,
    pub connections: u32,
    pub candidate: &'static str,
    pub requests_per_s: f64,
    /// Of the proxy's processes; nothing when there is no proxy.
    pub cpu_us: Option<f64>,
    /// Of the origin's: what a proxy's way to write costs its neighbour.
    pub origin_cpu_us: f64,
    pub switches: Option<f64>,
    /// Counted once, in a run of its own.
    pub syscalls: Option<f64>,
    pub pss_mb: Option<f64>,
    /// Of its threads, in the kernel.
    pub stacks_mb: Option<f64>,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// Of the warm-up too.
    pub errors: Errors,
}

impl Cell {
    /// One that could not be measured: an error, and no figure.
    pub fn failed(round: u32, workload: &Workload, candidate: &'static str) -> Self {
        Self {
            round,
            workload: workload.name.clone(),
            connections: workload.connections,
            candidate,
            requests_per_s: f64::NAN,
            cpu_us: None,
            origin_cpu_us: f64::NAN,
            switches: None,
            syscalls: None,
            pss_mb: None,
            stacks_mb: None,
            p50_us: f64::NAN,
            p99_us: f64::NAN,
            p999_us: f64::NAN,
            errors: Errors { runs: 1, ..Errors::default() },
        }
    }

    /// All that it costs its machine.
    pub fn memory_mb(&self) -> Option<f64> {
        Some(self.pss_mb? + self.stacks_mb?)
    }
}

/// One line for whoever waits.
pub fn progress(cell: &Cell) -> String {
    format!(
        "round {}  {:<14}  {:<13}  {:>7.0} requests/s  {:>6} CPU us  {} errors",
        cell.round,
        cell.workload,
        cell.candidate,
        cell.requests_per_s,
        cell.cpu_us.map_or("-".to_owned(), |us| format!("{us:.1}")),
        cell.errors.total()
    )
}

/// Medians over the rounds, with their spread.
pub fn figures(cells: &[Cell]) -> String {
    let header = [
        "workload",
        "connections",
        "program",
        "requests/s",
        "CPU us/request",
        "p50",
        "p99",
        "p99.9",
        "errors",
        "origin CPU us",
        "switches/request",
        "calls/request",
        "memory",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (workload, candidate) in groups(cells) {
        let of = |value: &dyn Fn(&Cell) -> Option<f64>| spread(group(cells, workload, candidate).filter_map(value));
        let errors = group(cells, workload, candidate).fold(Errors::default(), |sum, cell| sum.plus(cell.errors));
        let connections = group(cells, workload, candidate).next().map_or(0, |cell| cell.connections);
        rows.push(vec![
            workload.to_owned(),
            connections.to_string(),
            candidate.to_owned(),
            rate(of(&|cell| Some(cell.requests_per_s))),
            shown(of(&|cell| cell.cpu_us), 1.0, 1, ""),
            time(of(&|cell| Some(cell.p50_us))),
            time(of(&|cell| Some(cell.p99_us))),
            time(of(&|cell| Some(cell.p999_us))),
            named(errors),
            shown(of(&|cell| Some(cell.origin_cpu_us)), 1.0, 1, ""),
            shown(of(&|cell| cell.switches), 1.0, 2, ""),
            shown(of(&|cell| cell.syscalls), 1.0, 2, ""),
            shown(of(&Cell::memory_mb), 1.0, 1, " MB"),
        ]);
    }
    table(&rows)
}

/// The router over each of the others, round by round: what drifts from round to round drifts in both.
pub fn ratios(cells: &[Cell]) -> String {
    let header = ["ratio", "workload", "requests/s", "CPU us/request", "p50", "p99", "p99.9", "memory"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let groups = groups(cells);
    for &(workload, candidate) in &groups {
        let others = groups.iter().filter(|(other, _)| *other == workload).map(|(_, name)| *name);
        for base in others.filter(|base| is_compared_with(candidate, base)) {
            let pairs: Vec<(&Cell, &Cell)> = group(cells, workload, candidate)
                .filter_map(|cell| {
                    group(cells, workload, base).find(|base| base.round == cell.round).map(|base| (cell, base))
                })
                .collect();
            let of = |value: &dyn Fn(&Cell) -> f64| {
                shown(spread(pairs.iter().map(|(cell, base)| value(cell) / value(base))), 1.0, 2, "")
            };
            rows.push(vec![
                format!("{candidate} / {base}"),
                workload.to_owned(),
                of(&|cell| cell.requests_per_s),
                of(&|cell| cell.cpu_us.unwrap_or(f64::NAN)),
                of(&|cell| cell.p50_us),
                of(&|cell| cell.p99_us),
                of(&|cell| cell.p999_us),
                of(&|cell| cell.memory_mb().unwrap_or(f64::NAN)),
            ]);
        }
    }
    table(&rows)
}

/// What is asked is how the router does beside each of the others, and how it was before.
fn is_compared_with(candidate: &str, base: &str) -> bool {
    match candidate {
        ROUTER => ![NO_PROXY, ROUTER, AGAINST].contains(&base),
        AGAINST => [NGINX, ROUTER].contains(&base),
        _ => false,
    }
}

/// Workload and candidate of each row, in the order of the first round.
pub fn groups(cells: &[Cell]) -> Vec<(&str, &'static str)> {
    let mut groups: Vec<(&str, &'static str)> = Vec::new();
    for cell in cells {
        if !groups.contains(&(&cell.workload, cell.candidate)) {
            // A workload's rows stand together, also when its first round had not all of them.
            let after = groups.iter().rposition(|(workload, _)| *workload == cell.workload);
            groups.insert(after.map_or(groups.len(), |at| at + 1), (&cell.workload, cell.candidate));
        }
    }
    groups
}

pub fn group<'a>(cells: &'a [Cell], workload: &'a str, candidate: &'a str) -> impl Iterator<Item = &'a Cell> {
    cells.iter().filter(move |cell| cell.workload == workload && cell.candidate == candidate)
}

/// `77.4 k (75.1..80.3)`.
fn shown(spread: Option<Spread>, scale: f64, digits: usize, unit: &str) -> String {
    let number = |value: f64| format!("{:.digits$}", value / scale);
    match spread {
        None => "-".to_owned(),
        Some(one) if one.count == 1 => format!("{}{unit}", number(one.median)),
        Some(all) => format!("{}{unit} ({}..{})", number(all.median), number(all.min), number(all.max)),
    }
}

/// Large ones in thousands.
fn rate(spread: Option<Spread>) -> String {
    match spread.map_or(0.0, |spread| spread.median) {
        rate if rate < 1e3 => shown(spread, 1.0, 1, ""),
        _ => shown(spread, 1e3, 1, " k"),
    }
}

/// In the unit of the median.
fn time(spread: Option<Spread>) -> String {
    match spread.map_or(0.0, |spread| spread.median) {
        us if us < 1e3 => shown(spread, 1.0, 0, " us"),
        us if us < 1e6 => shown(spread, 1e3, 2, " ms"),
        _ => shown(spread, 1e6, 2, " s"),
    }
}

/// `0`, or `12 (read 5, status 7)`.
fn named(errors: Errors) -> String {
    let kinds = errors.named().into_iter().filter(|(_, count)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(name, count)| format!("{name} {count}")).collect();
    if kinds.is_empty() { "0".to_owned() } else { format!("{} ({})", errors.total(), kinds.join(", ")) }
}

/// The first row is the header.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} |"));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        text += &line(row);
        if index == 0 {
            text += &format!("|{rule}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(round: u32, candidate: &'static str, requests_per_s: f64, cpu_us: f64) -> Cell {
        Cell {
            round,
            workload: "get-64".to_owned(),
            connections: 64,
            candidate,
            requests_per_s,
            cpu_us: Some(cpu_us),
            origin_cpu_us: 6.0,
            switches: Some(0.5),
            syscalls: Some(5.25),
            pss_mb: Some(12.0),
            stacks_mb: Some(8.0),
            p50_us: 800.0,
            p99_us: 5_950.0,
            p999_us: 9_950.0,
            errors: Errors::default(),
        }
    }

    #[test]
    fn a_row_is_the_median_of_its_rounds() {
        let cells = [cell(1, NGINX, 70e3, 11.0), cell(2, NGINX, 80e3, 12.5), cell(3, NGINX, 78e3, 11.5)];
        let text = figures(&cells);
        let row: Vec<&str> = text.lines().nth(2).unwrap().trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(row[..5], ["get-64", "64", NGINX, "78.0 k (70.0..80.0)", "11.5 (11.0..12.5)"]);
        assert_eq!(row[5..9], ["800 us (800..800)", "5.95 ms (5.95..5.95)", "9.95 ms (9.95..9.95)", "0"]);
        assert_eq!(row[9..], ["6.0 (6.0..6.0)", "0.50 (0.50..0.50)", "5.25 (5.25..5.25)", "20.0 MB (20.0..20.0)"]);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let cells = [
            cell(1, NGINX, 100e3, 10.0),
            cell(1, ROUTER, 90e3, 11.0),
            cell(2, NGINX, 50e3, 20.0),
            cell(2, ROUTER, 45e3, 22.0),
            cell(2, AGAINST, 90e3, 11.0),
        ];
        let text = ratios(&cells);
        let rows: Vec<String> = text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows,
            [
                "|router/nginx|get-64|0.90(0.90..0.90)|1.10(1.10..1.10)|1.00(1.00..1.00)|1.00(1.00..1.00)|1.00(1.00..1.00)|1.00(1.00..1.00)|",
                "|against/nginx|get-64|1.80|0.55|1.00|1.00|1.00|1.00|",
                "|against/router|get-64|2.00|0.50|1.00|1.00|1.00|1.00|",
            ]
        );
    }

    #[test]
    fn what_could_not_be_measured_is_an_error_without_figures() {
        let workload = &crate::workload::all(&[64])[0];
        let cells = [cell(1, NGINX, 70e3, 11.0), Cell::failed(1, workload, ROUTER)];
        let text = figures(&cells);
        let row: Vec<&str> = text.lines().nth(3).unwrap().trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(row, ["get-64", "64", ROUTER, "-", "-", "-", "-", "-", "1 (run 1)", "-", "-", "-", "-"]);
    }

    #[test]
    fn rows_of_a_workload_stand_together() {
        let other = |candidate| Cell { workload: "get-1".to_owned(), ..cell(1, candidate, 1.0, 1.0) };
        let cells = [cell(1, NGINX, 1.0, 1.0), other(NGINX), cell(2, ROUTER, 1.0, 1.0)];
        assert_eq!(groups(&cells), [("get-64", NGINX), ("get-64", ROUTER), ("get-1", NGINX)]);
    }

    #[test]
    fn errors_are_named() {
        assert_eq!(named(Errors::default()), "0");
        assert_eq!(named(Errors { read: 5, status: 7, ..Errors::default() }), "12 (read 5, status 7)");
    }

    #[test]
    fn what_is_not_there_is_a_dash() {
        let none = Cell { cpu_us: None, switches: None, pss_mb: None, ..cell(1, "no proxy", 140e3, 0.0) };
        assert!(figures(&[none]).lines().last().unwrap().contains("| -  "));
        assert_eq!(rate(spread([123.45])), "123.5");
    }
}
