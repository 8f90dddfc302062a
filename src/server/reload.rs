//! A reload: new addresses are bound first, then one pointer is swapped, then what is gone is closed. Whatever fails, fails
//! before the swap.

use super::{Running, Server, StartError, join, start_demos, wanted};
use crate::clock;
use crate::config::model::{Config, Listen};
use crate::listener::{Listener, Place};
use crate::privilege::explained;
use crate::resolver;
use crate::snapshot::Snapshot;
use crate::sync::Arc;
use crate::waiter::LAST_REQUEST;

impl Server {
    /// Puts another configuration in force, whole, or changes nothing. `[server]` stays as it was at the start.
    pub fn reload(&mut self, mut config: Config) -> Result<(), StartError> {
        let before = self.shared.published.current();
        config.server = before.config.server.clone();
        // The file was checked against its own slice_size, which needs a restart.
        config.limits.header_size = config.limits.header_size.min(config.server.slice_size);
        let access = self.shared.access.open(&config.log.access);
        let access = access
            .map_err(|error| explained(error, config.server.identity.as_ref()))
            .map_err(|error| StartError::Resource("the access log", error))?;
        let places = wanted(&config, &self.inherited)?;
        let mut entrances = Vec::new();
        let mut new = Vec::new();
        let mut staying: Vec<u32> = Vec::new();
        for (place, listen) in &places {
            let name = &config.listens[*listen].name;
            let id = match self.running(place, name, &staying) {
                Some(id) => id,
                None => {
                    self.next_entrance += 1;
                    let listener = self.bind(place, &config.listens[*listen])?;
                    new.push((listener, name.clone()));
                    self.next_entrance
                }
            };
            staying.push(id);
            entrances.push((id, *listen));
        }
        start_demos(&config, &mut self.demos, &mut self.threads)?;
        let prepared: Vec<_> = new
            .into_iter()
            .map(|(listener, name)| self.prepare(listener, name))
            .collect::<Result<_, _>>()
            .map_err(|error| StartError::Resource("an acceptor", error))?;
        // Nothing below can fail.
        let next =
            Snapshot::build(config, before.generation + 1, entrances, Some(&before), |n| self.demos.get(&n).copied());
        let next = Arc::new(next);
        self.shared.cells.set_limit(next.config.limits.parked_heads);
        self.shared.access.configure(&next.config.log.access, next.config.log.format, access);
        let (stay, gone): (Vec<Running>, Vec<Running>) =
            std::mem::take(&mut self.listeners).into_iter().partition(|running| staying.contains(&running.entrance.id));
        for running in &gone {
            running.entrance.retire(Arc::clone(&before), clock::due_ms(LAST_REQUEST));
        }
        self.listeners = stay;
        for running in &mut self.listeners {
            let listen = next.listen_of(running.entrance.id).map(|index| &next.config.listens[index]);
            if let (Some(listen), Some(listener)) = (listen, running.listener.upgrade()) {
                running.name.clone_from(&listen.name);
                listener.adjust(listen);
            }
        }
        // Before the swap, so that the first requests of new backends find addresses.
        self.resolver.watch(next.backends(), resolver::AT_RELOAD);
        self.shared.published.publish(Arc::clone(&next));
        drop(before);
        for acceptor in prepared {
            self.open(acceptor);
        }
        for running in gone {
            running.stop();
            self.retired.push((running.place, running.thread));
        }
        self.retired.retain(|(_, thread)| !thread.is_finished());
        self.shared.waiter.retire();
        self.warn_of_unused();
        Ok(())
    }

    /// A listener of this place that no other line of the file has taken over; of the same name if there is one.
    fn running(&self, place: &Place, name: &str, taken: &[u32]) -> Option<u32> {
        let free = |running: &&Running| running.place == *place && !taken.contains(&running.entrance.id);
        let named = self.listeners.iter().filter(free).find(|running| running.name == name);
        named.or_else(|| self.listeners.iter().find(free)).map(|running| running.entrance.id)
    }

    fn bind(&mut self, place: &Place, listen: &Listen) -> Result<Arc<Listener>, StartError> {
        // Taken away a moment ago and wanted again: its acceptor is still emptying its queue.
        for (_, thread) in self.retired.extract_if(.., |(retired, _)| retired == place) {
            join(thread);
        }
        Listener::bind(place, listen, &self.inherited, self.next_entrance).map_err(|error| {
            let ours = self.listeners.iter().find(|running| running.place.overlaps(place));
            match ours {
                Some(running) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    StartError::Overlap(place.clone(), running.place.clone())
                }
                _ => self.config(|config| StartError::bind(place, error, config)),
            }
        })
    }
}
