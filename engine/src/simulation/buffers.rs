//! Check after each step: receive buffers are bounded, however much is left unread.

use super::world::World;

impl World {
    /// Asserts that no event loop uses more receive buffers than its connections and links allow. If all inboxes of a
    /// machine are empty, the traffic through memory between its servers keeps at most one chunk for each end of a
    /// connection, and one for each event loop.
    pub(super) fn check_buffers(&self) {
        for machine in 0..self.plan.machines {
            let servers = || self.servers.iter().flatten().filter(|server| self.machine_of(server.me.0) == machine);
            let loops = || self.loops[self.loops_of(machine)].iter().flatten();
            for event_loop in loops() {
                let removed =
                    |node| servers().find(|server| server.node == node).map_or(0, |server| server.left_unread);
                event_loop.shard.check_buffers(removed);
            }
            let messages = loops().map(|each| each.registry.messages(each.shard_index as u32)).sum::<usize>();
            if messages == 0 && servers().all(|server| server.has_read_all()) {
                let chunks = loops().map(|each| each.sent.chunks_in_use()).sum::<usize>();
                // One more for each loop: a chunk whose contents belong to no stream.
                let most = loops().map(|each| each.shard.local_endpoints() + 1).sum::<usize>();
                assert!(chunks <= most, "machine {machine} keeps {chunks} chunks of what was sent, {most} may be");
            }
        }
    }
}
