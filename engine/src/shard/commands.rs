//! Commands of applications to a shard.

use super::Shard;
use super::connection::Connection;
use super::node::{Node, Stopping};
use super::timers::Timer;
use crate::driver::{Driver, with_cure};
use crate::events::Event;
use crate::link::Violation;
use crate::mailbox::Command;
use crate::roster::LinkKey;
use crate::session::Session;
use crate::time::Time;

impl<D: Driver> Shard<D> {
    pub(super) fn handle_command(&mut self, command: Command, now: Time) {
        match command {
            Command::Start { init, listener } => {
                let id = init.node;
                let listener = self.driver.listen(listener, init.local_addr);
                if let Err(error) = &listener {
                    init.events.push(Event::AcceptFailed { error: with_cure(error) }, now);
                }
                let listener = listener.ok();
                if let Some(listener) = listener {
                    self.put(listener, Connection::new(Session::ended(), id));
                }
                let node = Node::new(*init, listener, self.slept, self.most_strangers);
                let links = node.links.ids();
                self.nodes.insert(id, node);
                for link in links {
                    self.mark(LinkKey { node: id, link });
                }
            }
            Command::Open { link, mut stream } => {
                if let Some(slot) = self.slot(link) {
                    if slot.polled {
                        stream.poll();
                    }
                    slot.link.open(*stream);
                    self.mark(link);
                }
            }
            Command::Stop { node, patience, report } => match self.nodes.get_mut(&node) {
                Some(state) => {
                    let deadline = now + patience;
                    state.stopping = Some(Stopping { deadline, report: Some(report), leaving: false });
                    self.timers.set(Timer::Stop(node), &mut state.stop_timer, deadline);
                    if let Some(listener) = state.listener {
                        self.driver.close(listener);
                    }
                    for link in state.links.ids() {
                        self.request_ack(LinkKey { node, link });
                    }
                    self.poll_shutdown(node, now);
                }
                None => drop(report.send(Vec::new())),
            },
            Command::Add { link, pid, addresses } => self.add_peer(link, pid, addresses, now),
            Command::Move { link, addresses } => self.move_peer(link, addresses),
            // The requester may have gone away without waiting, here and below.
            Command::Remove { link, report } => {
                if let Some(undelivered) = self.remove_peer(link, now) {
                    let _ = report.send(undelivered);
                }
            }
            Command::Block { link, blocked, report } => {
                self.set_blocked(link, blocked, now);
                let _ = report.send(());
            }
            Command::Account { node, report } => drop(report.send(self.account(node))),
            // The application parses frames when it takes them. By then, the peer may have another connection.
            Command::Malformed { link, pid, session, lost } => {
                if let Some(node) = self.nodes.get(&link.node) {
                    node.lost(pid, lost);
                }
                if self.slot(link).is_some_and(|slot| slot.link.session() == session) {
                    self.violated(link, &Violation::Frames { lost }.to_string(), now);
                }
            }
            Command::WakeAt { at, alarm } => self.set_alarm(at, alarm),
            Command::Shutdown => self.shutdown = true,
        }
    }

    pub(super) fn request_ack(&mut self, key: LinkKey) {
        if let Some(slot) = self.slot(key) {
            slot.link.request_ack();
            self.mark(key);
        }
    }
}
