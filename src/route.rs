//! Which route a request takes: tried in file order, the first that matches wins.
//!
//! Values of one condition are alternatives, different conditions must all hold. Bytes are compared as they will be
//! forwarded: neither decoded nor normalised. Names no socket and no thread.

use crate::http::Field;

/// `[route] host`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Lower case, no port, no trailing dot.
    Exact(String),
    /// `*.a.b` is kept as `.a.b`, lower case. Does not match `a.b`.
    Suffix(String),
}

/// `[route] path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// The whole path.
    Exact(String),
    /// `/v1/*` is kept as `/v1`; `/*` as the empty string. Matches `/v1`, `/v1/` and `/v1/x`, not `/v10`.
    Prefix(String),
}

/// `[route] header`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderPattern {
    /// Compared without case.
    pub name: String,
    /// `None`: the field is there, whatever it says.
    pub value: Option<String>,
}

/// What must hold for a route to be taken. An empty list is no condition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Indices of listeners.
    pub listens: Vec<usize>,
    /// Hosts.
    pub hosts: Vec<HostPattern>,
    /// Paths, without query.
    pub paths: Vec<PathPattern>,
    /// Methods, with case.
    pub methods: Vec<String>,
    /// Fields of the head.
    pub headers: Vec<HeaderPattern>,
}

/// What a request shows to the routes.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Index of the listener it came in by.
    pub listen: usize,
    /// Host without port.
    pub host: &'a [u8],
    /// Path without query.
    pub path: &'a [u8],
    /// Method.
    pub method: &'a str,
    /// The head's fields.
    pub fields: &'a [Field<'a>],
}

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// The index of the first route that matches.
    Route(usize),
    /// None does.
    None,
    /// Only the method failed: these would have matched, as an Allow field lists them.
    MethodNotAllowed(String),
}

/// The first route that matches.
pub fn find(routes: &[Conditions], asked: &Asked<'_>) -> Match {
    let mut allowed: Vec<&str> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        if !route.matches_all_but_method(asked) {
            continue;
        }
        if route.methods.is_empty() || route.methods.iter().any(|method| method == asked.method) {
            return Match::Route(index);
        }
        for method in &route.methods {
            if !allowed.contains(&method.as_str()) {
                allowed.push(method);
            }
        }
    }
    if allowed.is_empty() { Match::None } else { Match::MethodNotAllowed(allowed.join(", ")) }
}

impl Conditions {
    fn matches_all_but_method(&self, asked: &Asked<'_>) -> bool {
        any_or_empty(&self.listens, |&listen| listen == asked.listen)
            && any_or_empty(&self.hosts, |host| host.matches(asked.host))
            && any_or_empty(&self.paths, |path| path.matches(asked.path))
            && any_or_empty(&self.headers, |header| header.matches(asked.fields))
    }
}

fn any_or_empty<T>(conditions: &[T], holds: impl Fn(&T) -> bool) -> bool {
    conditions.is_empty() || conditions.iter().any(holds)
}

impl HostPattern {
    /// `host` has no port; a trailing dot is the root and means the same host.
    pub fn matches(&self, host: &[u8]) -> bool {
        let host = host.strip_suffix(b".").unwrap_or(host);
        match self {
            Self::Exact(exact) => host.eq_ignore_ascii_case(exact.as_bytes()),
            Self::Suffix(suffix) => {
                host.len() > suffix.len() && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix.as_bytes())
            }
        }
    }
}

impl PathPattern {
    /// `path` is without query.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact.as_bytes(),
            Self::Prefix(prefix) => {
                path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
        }
    }
}

impl HeaderPattern {
    fn matches(&self, fields: &[Field<'_>]) -> bool {
        fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(&self.name))
            .any(|field| self.value.as_ref().is_none_or(|value| field.value == value.as_bytes()))
    }
}

/// What is left of a path when a prefix is taken away: `/` when nothing is, and the whole path when it is not under it.
pub fn strip<'a>(path: &'a [u8], prefix: &str) -> &'a [u8] {
    match path.strip_prefix(prefix.as_bytes()) {
        Some([]) => b"/",
        Some(rest) if rest[0] == b'/' => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(host: &'a str, path: &'a str, method: &'a str, fields: &'a [Field<'a>]) -> Asked<'a> {
        Asked { listen: 0, host: host.as_bytes(), path: path.as_bytes(), method, fields }
    }

    #[test]
    fn hosts_compare_without_case_and_a_suffix_is_whole_labels() {
        let suffix = HostPattern::Suffix(".a.b".into());
        for (host, matches) in
            [("x.a.b", true), ("X.A.B", true), ("y.x.a.b.", true), ("a.b", false), ("xa.b", false), (".a.b", false)]
        {
            assert_eq!(suffix.matches(host.as_bytes()), matches, "{host}");
        }
        assert!(HostPattern::Exact("a.b".into()).matches(b"A.b"));
        assert!(!HostPattern::Exact("a.b".into()).matches(b"x.a.b"));
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let prefix = PathPattern::Prefix("/v1".into());
        for (path, matches) in
            [("/v1", true), ("/v1/", true), ("/v1/x", true), ("/v10", false), ("/", false), ("/V1", false)]
        {
            assert_eq!(prefix.matches(path.as_bytes()), matches, "{path}");
        }
        assert!(PathPattern::Prefix(String::new()).matches(b"/anything"));
        assert!(!PathPattern::Prefix(String::new()).matches(b"*"));
    }

    #[test]
    fn what_is_left_of_a_stripped_path_begins_with_a_slash() {
        for (path, left) in [("/v1/x", "/x"), ("/v1", "/"), ("/v1/", "/"), ("/v10", "/v10"), ("/x", "/x")] {
            assert_eq!(strip(path.as_bytes(), "/v1"), left.as_bytes(), "{path}");
        }
    }

    #[test]
    fn the_first_in_file_order_wins_and_all_conditions_must_hold() {
        let routes = [
            Conditions {
                methods: vec!["POST".into()],
                paths: vec![PathPattern::Exact("/a".into())],
                ..Conditions::default()
            },
            Conditions {
                hosts: vec![HostPattern::Exact("h".into()), HostPattern::Exact("g".into())],
                headers: vec![HeaderPattern { name: "X-Beta".into(), value: Some("1".into()) }],
                ..Conditions::default()
            },
            Conditions { listens: vec![1], ..Conditions::default() },
        ];
        let beta = [Field { name: "x-beta", value: b"1" }];
        assert_eq!(find(&routes, &asked("h", "/a", "POST", &[])), Match::Route(0));
        assert_eq!(find(&routes, &asked("g", "/a", "GET", &beta)), Match::Route(1));
        assert_eq!(find(&routes, &asked("g", "/a", "GET", &[])), Match::MethodNotAllowed("POST".into()));
        assert_eq!(find(&routes, &asked("g", "/b", "GET", &[])), Match::None);
        assert_eq!(find(&routes, &Asked { listen: 1, ..asked("g", "/b", "GET", &[]) }), Match::Route(2));
    }
}
