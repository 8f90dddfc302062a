//! What is kept of a plan until its answer has left: the rest of it is used up when the request goes out.

use layer7router::answer::Asker;
use layer7router::http::Version;
use layer7router::plan::{Course, Plan};

/// What of the request decides how its answer is read and written, and what is done where there is none.
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

impl Facts {
    /// Those of a plan.
    pub fn of(plan: &Plan) -> Self {
        Self {
            asker: plan.asker,
            keep: plan.facts.keep,
            idempotent: matches!(&plan.course, Course::Forward(forward) if forward.idempotent),
            route: plan.facts.route,
        }
    }

    /// Whether chunks are for this client.
    pub fn reads_chunks(&self) -> bool {
        self.asker.version == Version::Http11
    }
}
