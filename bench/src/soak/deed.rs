//! What a request asks its origin to do, written in its target; both sides of a soak read it here.

use super::dice::Dice;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Answer with a body.
    Get,
    /// Read a body, compare it, then answer.
    Sum,
    /// Send the body back while it comes.
    Echo,
    /// Answer first, read the body after it.
    Early,
    /// Answer later than the route waits.
    Late,
    /// Two interim answers, then the answer.
    Interim,
    /// Break off in the middle of the answer.
    Cut,
    /// Switch protocols, send back what comes; end after so many bytes if `answer` says how many.
    Tunnel,
}

/// How the origin says where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Length,
    Chunked,
    Close,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    pub act: Act,
    pub ending: Ending,
    /// Bytes of request body.
    pub request: u64,
    /// Bytes of the answer's body.
    pub answer: u64,
}

const ACTS: [(Act, &str); 8] = [
    (Act::Get, "get"),
    (Act::Sum, "sum"),
    (Act::Echo, "echo"),
    (Act::Early, "early"),
    (Act::Late, "late"),
    (Act::Interim, "interim"),
    (Act::Cut, "cut"),
    (Act::Tunnel, "tunnel"),
];
const ENDINGS: [(Ending, &str); 3] =
    [(Ending::Length, "length"), (Ending::Chunked, "chunked"), (Ending::Close, "close")];

impl Deed {
    pub fn get(answer: u64, ending: Ending) -> Self {
        Self { act: Act::Get, ending, request: 0, answer }
    }

    /// For lists of what happened.
    pub fn name(&self) -> &'static str {
        name(&ACTS, self.act)
    }

    /// The query of a target.
    pub fn query(&self) -> String {
        let Self { act, ending, request, answer } = self;
        format!("do={}&as={}&in={request}&out={answer}", name(&ACTS, *act), name(&ENDINGS, *ending))
    }

    pub fn parse(query: &str) -> Option<Self> {
        let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        Some(Self {
            act: named(&ACTS, value("do")?)?,
            ending: named(&ENDINGS, value("as")?)?,
            request: value("in")?.parse().ok()?,
            answer: value("out")?.parse().ok()?,
        })
    }
}

impl Ending {
    /// One of those that leave the connection open.
    pub fn any_kept(dice: &mut Dice) -> Self {
        dice.pick(&[Self::Length, Self::Chunked])
    }
}

fn name<T: PartialEq>(all: &[(T, &'static str)], wanted: T) -> &'static str {
    all.iter().find(|(one, _)| *one == wanted).map_or("?", |(_, name)| name)
}

fn named<T: Copy>(all: &[(T, &'static str)], wanted: &str) -> Option<T> {
    all.iter().find(|(_, name)| *name == wanted).map(|(one, _)| *one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_read_as_it_was_written() {
        for (act, _) in ACTS {
            for (ending, _) in ENDINGS {
                let deed = Deed { act, ending, request: 7, answer: 1 << 20 };
                assert_eq!(Deed::parse(&deed.query()), Some(deed));
            }
        }
        assert_eq!(Deed::parse("do=get&as=length&in=0"), None);
    }
}
