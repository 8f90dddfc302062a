//! Whom a listen or a route serves: `allow` and `deny`, in the order of the file, the first that names the client decides.
//!
//! Not here: who the client is (`http::forwarded`), how often it may ask, what the refused are told (`error`).

use ipnet::IpNet;

use crate::http::forwarded::Peer;

/// Whom a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// Clients of these addresses.
    Network(IpNet),
    /// Every client on a Unix socket.
    Unix,
}

impl Who {
    fn names(self, client: Peer) -> bool {
        match (self, client) {
            (Self::Network(network), Peer::Ip(address)) => network.contains(&address),
            (Self::Unix, Peer::Unix) => true,
            (Self::Network(_), Peer::Unix) | (Self::Unix, Peer::Ip(_)) => false,
        }
    }
}

/// One `allow` or `deny`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// It is an `allow`.
    pub allow: bool,
    /// Of whom.
    pub who: Who,
}

/// All rules of one section. Without rules everyone is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    rules: Vec<Rule>,
    /// What holds for a client that no rule names.
    others: bool,
}

impl Admission {
    /// Of these rules, in their order. A list with an `allow` refuses whom it does not name: who writes down whom he
    /// serves and forgets the last `deny` must not serve everyone. A list of `deny` alone refuses nobody else.
    pub fn new(rules: Vec<Rule>) -> Self {
        let others = !rules.iter().any(|rule| rule.allow);
        Self { rules, others }
    }

    /// Whether this client is served.
    pub fn admits(&self, client: Peer) -> bool {
        self.rules.iter().find(|rule| rule.who.names(client)).map_or(self.others, |rule| rule.allow)
    }
}

impl Default for Admission {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` allows, `-` denies.
    fn admission(rules: &[&str]) -> Admission {
        let who = |text: &str| if text == "unix" { Who::Unix } else { Who::Network(text.parse().unwrap()) };
        let rule = |text: &&str| Rule { allow: text.starts_with('+'), who: who(&text[1..]) };
        Admission::new(rules.iter().map(rule).collect())
    }

    fn served<'a>(rules: &[&str], clients: &[&'a str]) -> Vec<&'a str> {
        let admission = admission(rules);
        let peer = |text: &str| if text == "unix" { Peer::Unix } else { Peer::Ip(text.parse().unwrap()) };
        clients.iter().copied().filter(|client| admission.admits(peer(client))).collect()
    }

    const CLIENTS: [&str; 5] = ["10.0.0.1", "10.1.0.1", "192.0.2.1", "2001:db8::1", "unix"];

    #[test]
    fn without_rules_everyone_is_served() {
        assert_eq!(served(&[], &CLIENTS), CLIENTS);
    }

    #[test]
    fn a_list_of_deny_alone_refuses_whom_it_names() {
        assert_eq!(served(&["-10.0.0.0/8"], &CLIENTS), ["192.0.2.1", "2001:db8::1", "unix"]);
        assert_eq!(served(&["-unix", "-::/0"], &CLIENTS), ["10.0.0.1", "10.1.0.1", "192.0.2.1"]);
    }

    #[test]
    fn a_list_with_an_allow_refuses_whom_it_does_not_name() {
        assert_eq!(served(&["+10.0.0.0/8"], &CLIENTS), ["10.0.0.1", "10.1.0.1"]);
        assert_eq!(served(&["+unix"], &CLIENTS), ["unix"]);
        assert_eq!(served(&["-10.1.0.0/16", "+2001:db8::/32"], &CLIENTS), ["2001:db8::1"]);
    }

    #[test]
    fn the_first_that_names_the_client_decides() {
        assert_eq!(served(&["-10.1.0.0/16", "+10.0.0.0/8"], &CLIENTS), ["10.0.0.1"]);
        assert_eq!(served(&["+10.1.0.0/16", "-10.0.0.0/8", "+0.0.0.0/0"], &CLIENTS), ["10.1.0.1", "192.0.2.1"]);
    }

    #[test]
    fn a_network_of_one_family_names_nobody_of_the_other() {
        assert_eq!(served(&["+0.0.0.0/0"], &CLIENTS), ["10.0.0.1", "10.1.0.1", "192.0.2.1"]);
        assert_eq!(served(&["+::/0"], &CLIENTS), ["2001:db8::1"]);
    }
}
