//! End of all servers of a loop that has failed.

use std::collections::BTreeMap;

use super::Shard;
use super::node::Node;
use crate::callback::caught;
use crate::driver::Driver;
use crate::events::Event;
use crate::link::Undelivered;
use crate::mailbox::Command;
use crate::time::Time;

impl<D: Driver> Shard<D> {
    /// Ends every server, because the loop takes no further turn: the outboxes accept no more envelopes, and each
    /// server gets an event. Returns the undelivered envelopes. The caller then drops the shard, which ends the streams
    /// and inboxes.
    ///
    /// The loop may have failed in the middle of any operation, so a panic in one server does not keep the others from
    /// ending.
    pub(crate) fn fail(&mut self, message: &str, now: Time) -> BTreeMap<u32, Vec<Undelivered>> {
        for node in self.nodes.values() {
            let _ = caught(|| (node.close_outboxes)());
        }
        // Every accepted envelope is in a stream that is known here, or that is announced by a waiting command.
        while let Some(command) = self.mailbox.next_command() {
            // The command is dropped, so a requester that waits for an answer learns that there is none.
            let _ = caught(|| self.handle_last_command(command, now));
        }
        let mut undelivered = BTreeMap::new();
        for (id, node) in &mut self.nodes {
            let counted = caught(|| node.count_at_end(now)).unwrap_or_else(|_| node.undelivered_at_most());
            node.account_for(&counted);
            undelivered.insert(*id, counted);
            node.events.push(Event::EngineFailed { message: message.to_owned() }, now);
        }
        undelivered
    }

    fn handle_last_command(&mut self, command: Command, now: Time) {
        match command {
            Command::Start { init, .. } => {
                (init.close_outboxes)();
                self.nodes.insert(init.node, Node::new(*init, None, self.slept, self.most_strangers));
            }
            Command::Add { link, pid, addresses } => self.add_peer(link, pid, addresses, now),
            Command::Open { link, stream } => {
                let node = self.nodes.get_mut(&link.node);
                if let Some(slot) = node.and_then(|node| node.links.get_mut(link.link)) {
                    slot.link.open(*stream);
                }
            }
            _ => {}
        }
    }
}

impl Node {
    /// Counts the envelopes that are neither acknowledged nor dropped, by peer. Reports the dropped ones.
    fn count_at_end(&mut self, now: Time) -> Vec<Undelivered> {
        for link in self.links.ids() {
            self.tell(link, now);
        }
        self.undelivered()
    }
}
