//! Check after each step: peers that come and go leave nothing behind.

use super::world::World;

impl World {
    /// Asserts that no table has more slots than there were links at once, and that only servers that were peers are
    /// remembered.
    pub(super) fn check_links(&mut self) {
        for server in 0..self.servers.len() {
            let place = self.loop_of(server);
            let (Some(running), Some(event_loop)) = (&mut self.servers[server], &self.loops[place]) else { continue };
            let (links, places) = (running.count_links(), running.outboxes.roster.sizes().places);
            let (most, me) = (running.most_links, running.me);
            let (counted, rows) = running.outboxes.stats.sizes();
            assert!(places <= most && counted <= most, "{me:?}: {most} links need {places} and {counted} places");
            assert!(running.outbox_places() <= most, "{me:?}: an outbox keeps more places than {most} links need");
            assert!(rows < self.plan.servers, "{me:?}: {rows} rows of statistics");
            let Some(sizes) = event_loop.shard.link_sizes(running.node) else { continue };
            assert!(sizes.links <= links, "{me:?}: {links} links, and the loop has {sizes:?}");
            assert!(sizes.places <= most, "{me:?}: {most} links at once, and the loop has {sizes:?}");
            assert!(sizes.links + sizes.remembered < self.plan.servers, "{me:?}: {sizes:?}");
        }
    }
}
