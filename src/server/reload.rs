//! A reload: new addresses are bound first, then one pointer is swapped, then what is gone is closed. Whatever fails, fails
//! before the swap.

use super::{Running, Server, StartError, start_demos, wanted};
use crate::config::model::{BackendAddress, Config};
use crate::listener::Listener;
use crate::resolver;
use crate::snapshot::Snapshot;
use crate::sync::Arc;

impl Server {
    /// Puts another configuration in force, whole, or changes nothing. `[server]` stays as it was at the start.
    pub fn reload(&mut self, mut config: Config) -> Result<(), StartError> {
        let before = self.shared.published.current();
        config.server = before.config.server.clone();
        // The file was checked against its own slice_size, which needs a restart.
        config.limits.header_size = config.limits.header_size.min(config.server.slice_size);
        let places = wanted(&config);
        let mut entrances = Vec::new();
        let mut new = Vec::new();
        for (place, listen) in &places {
            let id = match self.listeners.iter().find(|running| running.listener.place == *place) {
                Some(running) => running.listener.entrance.id,
                None => {
                    self.next_entrance += 1;
                    let listener = Listener::bind(place, &config.listens[*listen], self.next_entrance)
                        .map_err(|error| StartError::Bind(place.clone(), error))?;
                    new.push((listener, config.listens[*listen].name.clone()));
                    self.next_entrance
                }
            };
            entrances.push((id, *listen));
        }
        start_demos(&config, &mut self.demos, &mut self.threads)?;
        // Nothing below can fail but for a thread.
        let next =
            Snapshot::build(config, before.generation + 1, entrances, Some(&before), |n| self.demos.get(&n).copied());
        let next = Arc::new(next);
        self.shared.cells.set_limit(next.config.limits.parked_heads);
        self.shared.access.configure(&next.config.log.access, next.config.log.format);
        let (stay, gone): (Vec<Running>, Vec<Running>) = std::mem::take(&mut self.listeners)
            .into_iter()
            .partition(|running| places.iter().any(|(place, _)| *place == running.listener.place));
        for running in &gone {
            running.listener.entrance.retire(Arc::clone(&before));
        }
        self.listeners = stay;
        for running in &mut self.listeners {
            if let Some(listen) = next.listen_of(running.listener.entrance.id).map(|index| &next.config.listens[index])
            {
                running.name.clone_from(&listen.name);
                running.listener.adjust(listen);
            }
        }
        self.shared.published.publish(Arc::clone(&next));
        drop(before);
        for (listener, name) in new {
            self.open(listener, name).map_err(|error| StartError::Resource("an acceptor", error))?;
        }
        for running in gone {
            running.listener.stop();
            self.retired.push(running.thread);
        }
        self.retired.retain(|thread| !thread.is_finished());
        self.shared.waiter.retire();
        self.resolve();
        Ok(())
    }

    /// Has the names of all backends asked for that need a resolver.
    pub(super) fn resolve(&self) {
        let snapshot = self.shared.published.current();
        let unknown: Vec<_> = snapshot
            .backends()
            .filter(|backend| match &backend.address {
                BackendAddress::Tcp { host, port } => resolver::known(host, *port).is_none(),
                BackendAddress::Unix(_) | BackendAddress::Demo(_) => false,
            })
            .cloned()
            .collect();
        if let Some(resolver) = &self.resolver {
            resolver::watch(resolver, unknown);
        }
    }
}
