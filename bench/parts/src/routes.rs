//! A route among 1,000: how long it takes to find the first, one in the middle, the last, and that there is none.

use std::hint::black_box;

use layer7router::route::{Asked, Conditions, HostPattern, Match, PathPattern, find};

use crate::part::{Batch, again};

/// Routes of a table.
pub const COUNT: usize = 1000;

/// What the routes of a table go by.
#[derive(Debug, Clone, Copy)]
pub enum Table {
    /// `host = tenant-0123.example.org`
    Hosts,
    /// `path = /service-0123/*`
    Prefixes,
}

/// The request of this number, looked up again and again; the one behind the last matches none.
pub fn lookups(table: Table, number: usize) -> Batch {
    let lookup = Lookup::new(table, number);
    again(move || lookup.find())
}

struct Lookup {
    routes: Vec<Conditions>,
    host: String,
    path: String,
}

impl Lookup {
    fn new(table: Table, number: usize) -> Self {
        let routes = (0..COUNT).map(|number| conditions(table, number)).collect();
        match table {
            Table::Hosts => Self { routes, host: host(number), path: "/index.html".to_owned() },
            Table::Prefixes => {
                Self { routes, host: "www.example.org".to_owned(), path: prefix(number) + "/v1/items/17" }
            }
        }
    }

    fn find(&self) -> Match {
        let asked =
            Asked { listen: 0, host: self.host.as_bytes(), path: self.path.as_bytes(), method: "GET", fields: &[] };
        find(black_box(&self.routes), black_box(&asked))
    }
}

fn conditions(table: Table, number: usize) -> Conditions {
    match table {
        Table::Hosts => Conditions { hosts: vec![HostPattern::Exact(host(number))], ..Conditions::default() },
        Table::Prefixes => Conditions { paths: vec![PathPattern::Prefix(prefix(number))], ..Conditions::default() },
    }
}

fn host(number: usize) -> String {
    format!("tenant-{number:04}.example.org")
}

fn prefix(number: usize) -> String {
    format!("/service-{number:04}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_of_that_number_is_found_and_no_other() {
        for table in [Table::Hosts, Table::Prefixes] {
            for number in [0, COUNT / 2, COUNT - 1] {
                assert_eq!(Lookup::new(table, number).find(), Match::Route(number), "{table:?}");
            }
            assert_eq!(Lookup::new(table, COUNT).find(), Match::None, "{table:?}");
        }
    }
}
