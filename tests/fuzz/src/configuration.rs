//! Configurations: a text means the same with either line end and with a BOM, mistakes are inside of it, and what was
//! taken is taken again as it was understood.
//!
//! Not here: files, includes and the network; `parse_str` has none of them.

use std::fmt::Write as _;

use layer7router::config::{Loaded, Origin, Reports, parse_str};

const NAME: &str = "c.ini";

/// Checks one input.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let outcome = parse(text);
    if !text.contains('\r') && !text.starts_with('\u{feff}') {
        same(&outcome, &parse(&format!("\u{feff}{text}")));
        same(&outcome, &parse(&text.replace('\n', "\r\n")));
    }
    match outcome {
        Ok(loaded) => taken_again(&loaded),
        Err(reports) => inside(text, &reports),
    }
}

fn parse(text: &str) -> Result<Loaded, Reports> {
    parse_str(NAME, text, &|name| (name == "PORT").then(|| "8080".to_owned()))
}

fn same(one: &Result<Loaded, Reports>, other: &Result<Loaded, Reports>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.config, other.config);
            assert_eq!(one.settings, other.settings);
        }
        (Err(one), Err(other)) => {
            assert_eq!(one.iter().collect::<Vec<_>>(), other.iter().collect::<Vec<_>>());
        }
        _ => panic!("taken with one line end and refused with another: {one:?} {other:?}"),
    }
}

/// Each mistake is in a line that there is, at a column of it or right behind it; showing them does not panic.
fn inside(text: &str, reports: &Reports) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').collect();
    let mut shown = 0;
    for report in reports.iter() {
        shown += 1;
        let Some(place) = report.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(':')) else {
            assert!(report.starts_with("and ") && report.ends_with(" more"), "no place: {report}");
            continue;
        };
        // The source as a whole has neither a line nor a column.
        if place.starts_with(' ') {
            continue;
        }
        let mut numbers = place.split(':').map(str::parse::<usize>);
        let (Some(Ok(line)), Some(Ok(column))) = (numbers.next(), numbers.next()) else {
            panic!("no place: {report}");
        };
        assert!((1..=lines.len()).contains(&line), "no such line: {report}");
        assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "no such column: {report}");
    }
    assert!(shown > 0 && reports.len() >= shown.min(1000), "{shown} of {}", reports.len());
    assert!(!reports.render(false).trim().is_empty());
    assert!(!reports.render(true).trim().is_empty());
}

/// Written as it was understood, without what is the default anyway, it is the same configuration.
fn taken_again(loaded: &Loaded) {
    // A literal `${` would be a variable now.
    if loaded.settings.iter().any(|setting| setting.value.contains("${")) {
        return;
    }
    let (mut text, mut section) = (String::new(), None);
    for setting in loaded.settings.iter().filter(|setting| setting.origin != Origin::Default) {
        if section != Some(&setting.section) {
            let _ = writeln!(text, "[{}]", setting.section);
            section = Some(&setting.section);
        }
        let _ = writeln!(text, "{} = {}", setting.key, setting.value);
    }
    match parse(&text) {
        Ok(again) => assert_eq!(again.config, loaded.config, "{text}"),
        Err(reports) => panic!("{reports}\n{text}"),
    }
}
