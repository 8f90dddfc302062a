//! The first half of a start: what root is needed for, and nothing else.
//!
//! TCP ports are bound here; Unix sockets are bound by the second half, as the user that has to remove them, and to bind them
//! again after a reload.

use super::{HELPER_THREADS, STACK_SIZE, StartError, wanted};
use crate::bill::{self, Bill, Host, Need};
use crate::config::model::{BackendAddress, Config};
use crate::inherited::Inherited;
use crate::listener::{Listener, Place};
use crate::outgoing::HeadBuffer;
use crate::sync::Arc;

/// Each bound place, with the index of its listen.
type Bound = Vec<(Arc<Listener>, usize)>;

/// A router with ports and without threads.
pub struct Prepared {
    pub(super) config: Config,
    pub(super) bill: Bill,
    inherited: Inherited,
    places: Vec<(Place, usize)>,
    /// Of each place, if it is bound already.
    listeners: Vec<Option<Arc<Listener>>>,
}

impl Prepared {
    /// Checks the bill, and binds every TCP address.
    pub fn new(config: Config, inherited: Inherited) -> Result<Self, StartError> {
        let host = Host::read(config.server.identity.is_some());
        let places = wanted(&config, &inherited)?;
        let backends = config.pools.iter().flat_map(|pool| &pool.backends);
        let demos = backends.filter(|backend| matches!(backend.address, BackendAddress::Demo(_))).count();
        let need = Need {
            workers: config.server.workers,
            slice_size: config.server.slice_size,
            head_buffers: 2 * HeadBuffer::SIZE,
            cells: config.limits.parked_heads,
            listeners: places.len(),
            helper_threads: HELPER_THREADS + places.len() + demos,
            stack_size: STACK_SIZE,
        };
        let bill = Bill::of(&need, &host);
        bill::check(&bill, &host, &need).map_err(StartError::Bill)?;
        let mut prepared = Self { config, bill, inherited, listeners: vec![None; places.len()], places };
        prepared.bind(|place| !matches!(place, Place::Unix(_)))?;
        Ok(prepared)
    }

    /// Binds what these are and is not bound yet.
    fn bind(&mut self, which: impl Fn(&Place) -> bool) -> Result<(), StartError> {
        let mut id = 0;
        for ((place, listen), listener) in self.places.iter().zip(&mut self.listeners) {
            id += 1;
            if listener.is_none() && which(place) {
                let bound = Listener::bind(place, &self.config.listens[*listen], &self.inherited, id);
                *listener = Some(bound.map_err(|error| StartError::bind(place, error, &self.config))?);
            }
        }
        Ok(())
    }

    /// Binds the rest; all of them are in the order of the file.
    pub(super) fn finish(mut self) -> Result<(Config, Bill, Inherited, Bound), StartError> {
        self.bind(|_| true)?;
        let listens = self.places.iter().map(|(_, listen)| *listen);
        let bound = self.listeners.into_iter().zip(listens).filter_map(|(listener, listen)| Some((listener?, listen)));
        Ok((self.config, self.bill, self.inherited, bound.collect()))
    }
}
