//! The plan of an exchange: what its head asks for, where it goes, and the head as the backend will see it.
//!
//! Everything that needs the parsed head is decided here, at once, so that its bytes may be used up afterwards. Reads and
//! writes nothing, and knows no session and no thread: the rebuilt head is gathered where the caller says. So the same code
//! serves under any I/O model, and `bench/variants` compares those with it.

use std::time::Instant;

use crate::admission::Admission;
use crate::answer::{Asker, OwnAnswer};
use crate::config::model::Action;
use crate::error::CloseReason;
use crate::http::forwarded::{Forwarded, Peer, Trusted, client_address};
use crate::http::framing::Body;
use crate::http::head::{HeadLimits, RequestHead, parse_request};
use crate::http::rebuild::{self, RequestRebuild};
use crate::http::template::Values;
use crate::http::{Refusal, Sink, no_fields};
use crate::ids::{IdMaker, RequestId};
use crate::rate::Buckets;
use crate::response::Facts;
use crate::route::{self, Asked, Match};
use crate::snapshot::Snapshot;
use crate::sync::Arc;

/// The scheme of every request: the listeners speak plain HTTP.
const SCHEME: &str = "http";
/// What is forwarded to a backend, as an Allow field lists it.
pub const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH";
/// Only our own token in Via is a loop, so that tiers of routers may follow one another.
const LOOP: Refusal = Refusal::new(508, "this request has been here before: a backend leads back to this router");
/// The body is over `body_size`.
pub const TOO_LARGE: Refusal = Refusal::new(413, "the request body is larger than this server takes");

/// What was decided.
#[derive(Debug)]
pub struct Plan {
    /// For the response half.
    pub facts: Facts,
    /// Who asked, for our own answers.
    pub asker: Asker,
    /// The right-most untrusted address.
    pub client: Peer,
    /// How much is to follow the head.
    pub body: Body,
    /// Bytes it may have: the route's limit, or everyone's.
    pub body_limit: Option<u64>,
    /// Its trailers may go on.
    pub trailers_pass: bool,
    /// The client said that this is its last request.
    pub last: bool,
    /// Index of the listener whose rules hold.
    listen: usize,
    /// Where it goes.
    pub course: Course,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Course {
    /// To a pool.
    Forward(Forward),
    /// Nowhere: the router answers, for this reason.
    Answer(OwnAnswer, CloseReason),
}

/// To a pool.
#[derive(Debug, Clone, Copy)]
pub struct Forward {
    /// Its index.
    pub pool: usize,
    /// The method may be repeated.
    pub idempotent: bool,
    /// The rebuilt head did not fit where it was gathered.
    pub overflowed: bool,
}

/// What a plan is made from, besides the head.
pub struct Maker<'a> {
    /// The exchange's configuration.
    pub snapshot: &'a Snapshot,
    /// The other end of its session.
    pub peer: Peer,
    /// Index of the listener it came in by.
    pub listen: usize,
    /// Another exchange may follow.
    pub may_keep: bool,
    /// The session may become a tunnel: else who asks for one is passed on as who does not.
    pub upgrades: bool,
    /// For Via.
    pub via: &'a str,
    /// When the exchange began.
    pub now: Instant,
}

impl Maker<'_> {
    /// Parses a whole head, decides, and gathers the rebuilt one in `out`, which the caller has emptied. `seen` is shown the
    /// head for the log.
    pub fn plan<O: Sink>(
        &self,
        head: &[u8],
        ids: &mut IdMaker,
        out: &mut O,
        seen: impl FnOnce(&RequestHead<'_, '_>),
    ) -> Result<Plan, Refusal> {
        let config = &self.snapshot.config;
        let mut fields = no_fields();
        let limits = HeadLimits { uri_size: config.limits.uri_size, header_count: config.limits.header_count };
        let mut head = parse_request(head, &mut fields, &limits)?;
        head.upgrade_websocket &= self.upgrades;
        seen(&head);
        let id = head.request_id().and_then(RequestId::accept).unwrap_or_else(|| ids.make());
        let listen = &config.listens[self.listen];
        let trusted = Trusted { networks: &listen.trusted.networks, unix: listen.trusted.unix };
        let (client, _) = client_address(self.peer, &trusted, head.fields);
        let asked = Asked {
            listen: self.listen,
            host: head.host_name(),
            path: head.path,
            method: head.method.as_str(),
            fields: head.fields,
        };
        let head_request = matches!(head.method, crate::http::head::Method::Head);
        let asker = Asker { version: head.version, head_request, id };
        let mut plan = Plan {
            facts: Facts {
                version: head.version,
                head_request,
                keep: self.may_keep && head.keep_alive,
                upgrade: head.upgrade_websocket,
                expects_continue: head.expects_continue,
                route: None,
                response_limit: config.timeouts.response,
            },
            asker,
            client,
            body: head.body,
            body_limit: config.limits.body_size,
            trailers_pass: head.trailers_pass,
            last: !head.keep_alive,
            listen: self.listen,
            course: Course::Answer(OwnAnswer::default(), CloseReason::NoRoute),
        };
        // Before anything else is told to whom it is not for.
        if let Some(refused) = self.refused(&listen.admission, &self.snapshot.listen_buckets[self.listen], &plan) {
            plan.course = refused;
            return Ok(plan);
        }
        if head.via().any(|line| contains(line, self.via)) {
            plan.course = failure(CloseReason::Refused(LOOP), &plan.asker.id);
            return Ok(plan);
        }
        if head.max_forwards() == Some(0) {
            // RFC 9110 section 7.6.2: who is asked at 0 answers itself.
            let fields = vec![("Allow".to_owned(), METHODS.as_bytes().to_vec())];
            plan.course = Course::Answer(OwnAnswer { status: 204, body: Vec::new(), fields }, CloseReason::Done);
            return Ok(plan);
        }
        plan.course = match route::find(&self.snapshot.conditions, &asked) {
            Match::Route(index) => {
                let route = &config.routes[index];
                plan.facts.route = Some(index);
                plan.facts.response_limit = route.timeout.unwrap_or(config.timeouts.response);
                plan.body_limit = route.body_size.unwrap_or(config.limits.body_size);
                if let Some(refused) = self.refused(&route.admission, &self.snapshot.route_buckets[index], &plan) {
                    plan.course = refused;
                    return Ok(plan);
                }
                match &route.action {
                    Action::Pool(pool) => self.forward(&plan, &head, *pool, out),
                    Action::Redirect { code, location } => {
                        let mut target = Vec::new();
                        let Ok(()) = location.put(&values(&plan, &head), &mut target);
                        let body = format!("{code}\n").into_bytes();
                        let fields = vec![("Location".to_owned(), target)];
                        own(plan.facts.route, self.snapshot, OwnAnswer { status: *code, body, fields })
                    }
                    Action::Respond { code, text } => {
                        let mut body = Vec::new();
                        let Ok(()) = text.put(&values(&plan, &head), &mut body);
                        body.push(b'\n');
                        own(plan.facts.route, self.snapshot, OwnAnswer { status: *code, body, fields: Vec::new() })
                    }
                }
            }
            Match::None => match listen.pool {
                Some(pool) => self.forward(&plan, &head, pool, out),
                None => failure(CloseReason::NoRoute, &plan.asker.id),
            },
            Match::MethodNotAllowed(allowed) => match listen.pool {
                // The listener's pool takes what no route matches.
                Some(pool) => self.forward(&plan, &head, pool, out),
                None => {
                    let mut answer = OwnAnswer::failure(CloseReason::MethodNotAllowed, &plan.asker.id);
                    answer.fields.push(("Allow".to_owned(), allowed.into_bytes()));
                    Course::Answer(answer, CloseReason::MethodNotAllowed)
                }
            },
        };
        Ok(plan)
    }

    /// What a client is told that a section does not serve, or whose bucket there is empty. One request is taken from it
    /// else.
    fn refused(&self, admission: &Admission, buckets: &Option<Arc<Buckets>>, plan: &Plan) -> Option<Course> {
        if !admission.admits(plan.client) {
            return Some(failure(CloseReason::Denied, &plan.asker.id));
        }
        let seconds = buckets.as_ref()?.take(plan.client, self.now).err()?;
        let mut answer = OwnAnswer::failure(CloseReason::RateLimited, &plan.asker.id);
        answer.fields.push(("Retry-After".to_owned(), seconds.to_string().into_bytes()));
        Some(Course::Answer(answer, CloseReason::RateLimited))
    }

    fn forward<O: Sink>(&self, plan: &Plan, head: &RequestHead<'_, '_>, pool: usize, out: &mut O) -> Course {
        if let (Body::Length(length), Some(limit)) = (plan.body, plan.body_limit)
            && length > limit
        {
            return failure(CloseReason::Refused(TOO_LARGE), &plan.asker.id);
        }
        // Nothing is sent on from where it is gathered: all that can go wrong is that it is full.
        let overflowed = put_head(head, plan, pool, self.snapshot, self.peer, self.via, out).is_err();
        Course::Forward(Forward { pool, idempotent: head.method.is_idempotent(), overflowed })
    }
}

fn contains(value: &[u8], token: &str) -> bool {
    value.windows(token.len()).any(|part| part == token.as_bytes())
}

fn failure(reason: CloseReason, id: &RequestId) -> Course {
    Course::Answer(OwnAnswer::failure(reason, id), reason)
}

/// A route's own answer, with the response fields that the route sets.
fn own(route: Option<usize>, snapshot: &Snapshot, mut answer: OwnAnswer) -> Course {
    if let Some(route) = route.map(|index| &snapshot.config.routes[index]) {
        for (name, value) in &route.set_response_header {
            answer.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            answer.fields.push((name.clone(), value.clone().into_bytes()));
        }
    }
    Course::Answer(answer, CloseReason::Done)
}

fn values<'a>(plan: &'a Plan, head: &RequestHead<'_, 'a>) -> Values<'a> {
    Values {
        host: head.host,
        uri: head.path,
        query: head.query,
        client: plan.client,
        scheme: SCHEME,
        request_id: plan.asker.id.as_bytes(),
    }
}

fn put_head<S: Sink>(
    head: &RequestHead<'_, '_>,
    plan: &Plan,
    pool: usize,
    snapshot: &Snapshot,
    peer: Peer,
    via: &str,
    out: &mut S,
) -> Result<(), S::Error> {
    let route = plan.facts.route.map(|index| &snapshot.config.routes[index]);
    let listen = &snapshot.config.listens[plan.listen];
    let trusted = Trusted { networks: &listen.trusted.networks, unix: listen.trusted.unix }.contains(peer);
    let path = match route.and_then(|route| route.strip_prefix.as_deref()) {
        Some(prefix) => route::strip(head.path, prefix),
        None => head.path,
    };
    let how = RequestRebuild {
        path,
        query: head.query,
        set: route.map_or(&[], |route| &route.set_header),
        remove: route.map_or(&[], |route| &route.remove_header),
        values: &values(plan, head),
        forwarded: &Forwarded { peer, trusted },
        via,
        // As nginx names its upstream.
        host_if_none: &snapshot.config.pools[pool].name,
    };
    rebuild::request(head, &how, out)
}

impl Plan {
    /// The rebuilt head once more, from the same bytes, for one that did not fit where it was gathered.
    pub fn put_head_again<S: Sink<Error = std::io::Error>>(
        &self,
        bytes: &[u8],
        pool: usize,
        snapshot: &Snapshot,
        peer: Peer,
        via: &str,
        out: &mut S,
    ) -> Result<(), std::io::Error> {
        let limits = &snapshot.config.limits;
        let limits = HeadLimits { uri_size: limits.uri_size, header_count: limits.header_count };
        let mut fields = no_fields();
        // The same bytes were parsed for the plan, after the same empty lines.
        let start = bytes.iter().position(|&byte| byte != b'\r' && byte != b'\n').unwrap_or(0);
        match parse_request(&bytes[start..], &mut fields, &limits) {
            Ok(mut head) => {
                head.upgrade_websocket = self.facts.upgrade;
                put_head(&head, self, pool, snapshot, peer, via, out)
            }
            Err(refusal) => Err(std::io::Error::other(refusal.why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// As a wire that takes everything.
    #[derive(Default)]
    struct Taken(Vec<u8>);

    impl Sink for Taken {
        type Error = std::io::Error;

        fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }

    #[test]
    fn a_head_that_is_put_again_is_the_same() {
        let file = "[listen:a]\naddress = :1\npool = p\n[pool:p]\nbackend = 127.0.0.1:1\n";
        let loaded = config::parse_str("a.ini", file, &|_| None).unwrap_or_else(|reports| panic!("{reports}"));
        let snapshot = Snapshot::build(loaded.config, 1, Vec::new(), None, |_| None);
        let peer = Peer::Ip([192, 0, 2, 1].into());
        let asked = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        for upgrades in [true, false] {
            let now = Instant::now();
            let maker = Maker { snapshot: &snapshot, peer, listen: 0, may_keep: true, upgrades, via: "v", now };
            let (mut once, mut again) = (Vec::new(), Taken::default());
            let plan = maker.plan(asked, &mut IdMaker::default(), &mut once, |_| ()).expect("a request");
            plan.put_head_again(asked, 0, &snapshot, peer, "v", &mut again).expect("room");
            let once = String::from_utf8(once).expect("text");
            assert_eq!(once, String::from_utf8(again.0).expect("text"));
            assert_eq!(once.contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"), upgrades, "{once}");
            assert_eq!(plan.facts.upgrade, upgrades);
        }
    }
}
