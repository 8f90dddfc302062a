//! Routes: the match is that of a naive reading of the rule, "the first in file order of which all conditions hold".
//!
//! An input is lines, each a letter and a text: `R` begins a route, small letters are its conditions, other capitals are
//! the request. Not here: how conditions are written in a configuration (`configuration`).

use layer7router::http::Field;
use layer7router::route::{Asked, Conditions, HeaderPattern, HostPattern, Match, PathPattern, find, strip};

#[derive(Default)]
struct Request<'a> {
    listen: usize,
    host: &'a [u8],
    path: &'a [u8],
    method: &'a str,
    fields: Vec<Field<'a>>,
}

/// Checks one input.
pub fn check(input: &[u8]) {
    let (mut routes, mut request) = (Vec::new(), Request::default());
    for line in input.split(|b| *b == b'\n') {
        if let [letter, rest @ ..] = line {
            read(*letter, rest, &mut routes, &mut request);
        }
    }
    let Request { listen, host, path, method, ref fields } = request;
    let asked = Asked { listen, host, path, method, fields };
    assert_eq!(find(&routes, &asked), naive(&routes, &asked));
    for pattern in routes.iter().flat_map(|route| &route.paths) {
        let PathPattern::Prefix(prefix) = pattern else { continue };
        let stripped = strip(path, prefix);
        if pattern.matches(path) {
            assert!(stripped == b"/" || [prefix.as_bytes(), stripped].concat() == path);
            assert!(stripped.starts_with(b"/"), "{:?}", String::from_utf8_lossy(stripped));
        } else {
            assert_eq!(stripped, path);
        }
    }
}

fn read<'a>(letter: u8, rest: &'a [u8], routes: &mut Vec<Conditions>, request: &mut Request<'a>) {
    let number = rest.first().map_or(0, |digit| usize::from(*digit % 4));
    let Ok(text) = std::str::from_utf8(rest) else {
        // A request's host and path are bytes; all else is text.
        match letter {
            b'H' => request.host = rest,
            b'P' => request.path = rest,
            _ => {}
        }
        return;
    };
    let (name, value) = text.split_once(':').map_or((text, None), |(name, value)| (name, Some(value)));
    match letter {
        b'R' => routes.push(Conditions::default()),
        b'L' => request.listen = number,
        b'H' => request.host = rest,
        b'P' => request.path = rest,
        b'M' => request.method = text,
        b'F' => request.fields.push(Field { name, value: value.unwrap_or_default().as_bytes() }),
        _ => {
            let Some(route) = routes.last_mut() else { return };
            match letter {
                b'l' => route.listens.push(number),
                b'h' => route.hosts.push(HostPattern::Exact(text.to_ascii_lowercase())),
                b's' => route.hosts.push(HostPattern::Suffix(format!(".{}", text.to_ascii_lowercase()))),
                b'p' => route.paths.push(PathPattern::Exact(text.to_owned())),
                b'q' => route.paths.push(PathPattern::Prefix(text.to_owned())),
                b'm' => route.methods.push(text.to_owned()),
                b'f' => route.headers.push(HeaderPattern { name: name.to_owned(), value: value.map(str::to_owned) }),
                _ => {}
            }
        }
    }
}

/// The rule as it is written in README.md, without a thought for speed.
fn naive(routes: &[Conditions], asked: &Asked<'_>) -> Match {
    let but_for_method: Vec<usize> = (0..routes.len()).filter(|&n| holds(&routes[n], asked)).collect();
    let takes = |n: usize| routes[n].methods.is_empty() || routes[n].methods.contains(&asked.method.to_owned());
    if let Some(first) = but_for_method.iter().find(|&&n| takes(n)) {
        return Match::Route(*first);
    }
    let mut allowed: Vec<String> = Vec::new();
    for method in but_for_method.iter().flat_map(|&n| routes[n].methods.clone()) {
        if !allowed.contains(&method) {
            allowed.push(method);
        }
    }
    if but_for_method.is_empty() { Match::None } else { Match::MethodNotAllowed(allowed.join(", ")) }
}

fn holds(route: &Conditions, asked: &Asked<'_>) -> bool {
    let mut host = asked.host.to_ascii_lowercase();
    if host.ends_with(b".") {
        host.pop();
    }
    let host_is = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(exact) => host == exact.as_bytes(),
        HostPattern::Suffix(suffix) => host.ends_with(suffix.as_bytes()) && host != suffix.as_bytes(),
    };
    let path_is = |pattern: &PathPattern| match pattern {
        PathPattern::Exact(exact) => asked.path == exact.as_bytes(),
        PathPattern::Prefix(prefix) => {
            asked.path == prefix.as_bytes() || asked.path.starts_with(format!("{prefix}/").as_bytes())
        }
    };
    let field_is = |pattern: &HeaderPattern| {
        asked.fields.iter().any(|field| {
            let value = pattern.value.clone().map_or(field.value.to_vec(), String::into_bytes);
            field.name.eq_ignore_ascii_case(&pattern.name) && field.value == value
        })
    };
    let listens = route.listens.is_empty() || route.listens.contains(&asked.listen);
    let hosts = route.hosts.is_empty() || route.hosts.iter().any(host_is);
    let paths = route.paths.is_empty() || route.paths.iter().any(path_is);
    let headers = route.headers.is_empty() || route.headers.iter().any(field_is);
    listens && hosts && paths && headers
}
