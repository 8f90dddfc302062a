//! What a request's head asks for, where it goes, and the head as its backend will see it.
//!
//! The decisions of the product's `plan`, in the same order, made with the same functions; that module itself is bound to the
//! product's sessions and buffers.

use layer7router::answer::{Asker, OwnAnswer};
use layer7router::config::model::Action;
use layer7router::error::CloseReason;
use layer7router::http::forwarded::{Forwarded, Peer, Trusted, client_address};
use layer7router::http::framing::Body;
use layer7router::http::head::{Method, RequestHead, parse_request};
use layer7router::http::rebuild::{self, RequestRebuild};
use layer7router::http::template::Values;
use layer7router::http::{Refusal, Version, no_fields};
use layer7router::ids::RequestId;
use layer7router::plan::{METHODS, TOO_LARGE};
use layer7router::route::{self, Asked, Match};

use crate::desk::Desk;

/// The scheme of every request.
const SCHEME: &str = "http";
/// Only our own token in Via is a loop.
const LOOP: Refusal = Refusal::new(508, "this request has been here before: a backend leads back to this router");

/// What was decided.
#[derive(Debug)]
pub struct Plan {
    /// For the answer.
    pub facts: Facts,
    /// How the body is framed.
    pub body: Body,
    /// Bytes it may have.
    pub body_limit: Option<u64>,
    /// Its trailers may go on.
    pub trailers_pass: bool,
    /// Where it goes.
    pub course: Course,
}

/// What of the request decides how its answer is read and written.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Who asked.
    pub asker: Asker,
    /// The client may have another exchange.
    pub keep: bool,
    /// The method may be repeated.
    pub idempotent: bool,
    /// Index of the route, for the fields it sets.
    pub route: Option<usize>,
}

/// Where a request goes.
#[derive(Debug)]
pub enum Course {
    /// To this backend; its head is rebuilt.
    Forward(usize),
    /// Nowhere: the router answers.
    Answer(OwnAnswer),
}

impl Facts {
    /// Of somebody whose request could not be read.
    pub fn unknown(id: RequestId) -> Self {
        Self { asker: Asker::unknown(id), keep: false, idempotent: false, route: None }
    }
}

/// Parses a whole head, decides, and puts the rebuilt one into `out`.
pub fn plan(bytes: &[u8], desk: &mut Desk, peer: Peer, out: &mut Vec<u8>) -> Result<Plan, Refusal> {
    let site = &*desk.site;
    let config = &site.config;
    let mut fields = no_fields();
    let mut head = parse_request(bytes, &mut fields, &site.limits)?;
    // Passed on as a plain request: there are no tunnels here.
    head.upgrade_websocket = false;
    let id = head.request_id().and_then(RequestId::accept).unwrap_or_else(|| desk.ids.make());
    let listen = &config.listens[0];
    let trusted = Trusted { networks: &listen.trusted.networks, unix: listen.trusted.unix };
    let (client, is_trusted) = client_address(peer, &trusted, head.fields);
    let asker = Asker { version: head.version, head_request: head.method == Method::Head, id };
    let mut plan = Plan {
        facts: Facts { asker, keep: head.keep_alive, idempotent: head.method.is_idempotent(), route: None },
        body: head.body,
        body_limit: config.limits.body_size,
        trailers_pass: head.trailers_pass,
        course: Course::Answer(OwnAnswer::default()),
    };
    let failure = |reason| Course::Answer(OwnAnswer::failure(reason, &id));
    if !listen.admission.admits(client) {
        plan.course = failure(CloseReason::Denied);
        return Ok(plan);
    }
    if head.via().any(|line| line.windows(site.via.len()).any(|part| part == site.via.as_bytes())) {
        plan.course = failure(CloseReason::Refused(LOOP));
        return Ok(plan);
    }
    if head.max_forwards() == Some(0) {
        let fields = vec![("Allow".to_owned(), METHODS.as_bytes().to_vec())];
        plan.course = Course::Answer(OwnAnswer { status: 204, body: Vec::new(), fields });
        return Ok(plan);
    }
    let asked =
        Asked { listen: 0, host: head.host_name(), path: head.path, method: head.method.as_str(), fields: head.fields };
    let values = Values {
        host: head.host,
        uri: head.path,
        query: head.query,
        client,
        scheme: SCHEME,
        request_id: id.as_bytes(),
    };
    let pool = match route::find(&site.conditions, &asked) {
        Match::Route(index) => {
            let route = &config.routes[index];
            plan.facts.route = Some(index);
            plan.body_limit = route.body_size.unwrap_or(config.limits.body_size);
            if !route.admission.admits(client) {
                plan.course = failure(CloseReason::Denied);
                return Ok(plan);
            }
            let mut answer = match &route.action {
                Action::Pool(pool) => Err(*pool),
                Action::Redirect { code, location } => {
                    let mut target = Vec::new();
                    let Ok(()) = location.put(&values, &mut target);
                    let fields = vec![("Location".to_owned(), target)];
                    Ok(OwnAnswer { status: *code, body: format!("{code}\n").into_bytes(), fields })
                }
                Action::Respond { code, text } => {
                    let mut body = Vec::new();
                    let Ok(()) = text.put(&values, &mut body);
                    body.push(b'\n');
                    Ok(OwnAnswer { status: *code, body, fields: Vec::new() })
                }
            };
            if let Ok(answer) = &mut answer {
                for (name, value) in &route.set_response_header {
                    answer.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                    answer.fields.push((name.clone(), value.clone().into_bytes()));
                }
            }
            answer.map_or_else(Some, |answer| {
                plan.course = Course::Answer(answer);
                None
            })
        }
        Match::None if listen.pool.is_none() => {
            plan.course = failure(CloseReason::NoRoute);
            None
        }
        Match::MethodNotAllowed(allowed) if listen.pool.is_none() => {
            let mut answer = OwnAnswer::failure(CloseReason::MethodNotAllowed, &id);
            answer.fields.push(("Allow".to_owned(), allowed.into_bytes()));
            plan.course = Course::Answer(answer);
            None
        }
        // The listener's pool takes what no route matches.
        Match::None | Match::MethodNotAllowed(_) => listen.pool,
    };
    let Some(pool) = pool else { return Ok(plan) };
    if let (Body::Length(length), Some(limit)) = (plan.body, plan.body_limit)
        && length > limit
    {
        plan.course = failure(CloseReason::Refused(TOO_LARGE));
        return Ok(plan);
    }
    let Some(backend) = site.pools[pool].next() else {
        plan.course = failure(CloseReason::NoBackend);
        return Ok(plan);
    };
    let route = plan.facts.route.map(|index| &config.routes[index]);
    put_head(
        &head,
        route,
        &values,
        &Forwarded { peer, trusted: is_trusted },
        (&site.via, &config.pools[pool].name),
        out,
    );
    plan.course = Course::Forward(backend);
    Ok(plan)
}

fn put_head(
    head: &RequestHead<'_, '_>,
    route: Option<&layer7router::config::model::Route>,
    values: &Values<'_>,
    forwarded: &Forwarded,
    (via, host_if_none): (&str, &str),
    out: &mut Vec<u8>,
) {
    let path = match route.and_then(|route| route.strip_prefix.as_deref()) {
        Some(prefix) => route::strip(head.path, prefix),
        None => head.path,
    };
    let how = RequestRebuild {
        path,
        query: head.query,
        set: route.map_or(&[], |route| &route.set_header),
        remove: route.map_or(&[], |route| &route.remove_header),
        values,
        forwarded,
        via,
        host_if_none,
    };
    let Ok(()) = rebuild::request(head, &how, out);
}

/// A router's own answer, put where answers go.
pub fn put_answer(answer: &OwnAnswer, facts: &Facts, keep: bool, desk: &mut Desk, out: &mut Vec<u8>) {
    let Ok(()) = answer.put(&facts.asker, desk.date.now(), keep, out);
}

/// Whether chunks are for this client.
pub fn reads_chunks(facts: &Facts) -> bool {
    facts.asker.version == Version::Http11
}
