//! Packets that the switchboard delivers, loses, withholds or duplicates.

use super::{Packet, Server, Switchboard};
use crate::delivery::{Arrived, ArrivedBody};
use crate::link::DropReason;
use crate::roster::{LinkId, LinkKey};

impl Switchboard {
    /// Returns whether a packet may be given to the recipient that runs now: the packet is not for another incarnation
    /// alone.
    pub fn is_for_present(&self, packet: &Packet) -> bool {
        let place = self.running.get(&packet.to);
        let server = place.and_then(|place| self.servers[*place as usize].as_ref());
        packet.only.is_none_or(|only| server.is_none_or(|server| server.incarnation == only))
    }

    /// Puts a packet into its recipient's inbox. Returns `false` if the recipient does not run: the packet is lost
    /// then.
    pub fn deliver(&mut self, packet: Packet) -> bool {
        let Some(&place) = self.running.get(&packet.to) else {
            self.lose(packet);
            return false;
        };
        let (stream, length) = (&mut self.streams[packet.stream], packet.payload.len());
        stream.end(length);
        let is_first = stream.arrive(length);
        let (shared, incarnation) = (stream.shared().clone(), stream.incarnation);
        let is_present = self.running.get(&packet.from) == Some(&stream.from);
        if let Some(server) = &mut self.servers[place as usize] {
            let receiving = &mut server.counts.entry(packet.from).or_default().receiving;
            if is_first {
                receiving.push(shared.clone());
                // The sender may be heard before a link to it is up, if one direction is cut.
                if is_present && let Some(link) = server.outboxes.roster.link_of(packet.from) {
                    server.outboxes.roster.set_incarnation(link, incarnation);
                }
            }
            // The inbox returns this key when the application has read: see `collect`.
            let link = LinkKey { node: 0, link: LinkId::first(packet.stream as u32) };
            let body = ArrivedBody::Whole { id: packet.id, payload: packet.payload };
            server.inbox.push(Arrived {
                pid: packet.from,
                link,
                session: 0,
                incarnation,
                stream: shared,
                room: crate::wire::frame_bytes(length) as u64,
                body,
            });
            if self.touched.last() != Some(&place) {
                self.touched.push(place);
            }
        }
        self.ended(packet.stream);
        true
    }

    /// Loses a packet on its way.
    pub fn lose(&mut self, packet: Packet) {
        if let Some(server) = self.end(&packet) {
            server.counts.entry(packet.to).or_default().lost += 1;
        }
        self.ended(packet.stream);
    }

    /// Drops a packet because its recipient is another incarnation than it is for: see
    /// [`is_for_present`](Switchboard::is_for_present). The sender gets an event.
    pub fn withhold(&mut self, packet: Packet) {
        if let Some(server) = self.end(&packet) {
            let counts = server.counts.entry(packet.to).or_default();
            counts.other_incarnation += 1;
            server.events.dropped(&mut counts.unreported, packet.to, 1, DropReason::OtherIncarnation);
        }
        self.ended(packet.stream);
    }

    /// Ends a packet, and returns its sender.
    fn end(&mut self, packet: &Packet) -> Option<&mut Server> {
        let stream = &mut self.streams[packet.stream];
        stream.end(packet.payload.len());
        self.servers[stream.from as usize].as_mut()
    }

    /// Makes a second packet with the same envelope.
    pub fn duplicate(&mut self, packet: &Packet) -> Packet {
        let Packet { from, to, lane, id, ref payload, only, stream } = *packet;
        self.streams[stream].begin(payload.len());
        if let Some(server) = &mut self.servers[self.streams[stream].from as usize] {
            server.counts.entry(to).or_default().duplicated += 1;
        }
        Packet { from, to, lane, id, payload: payload.clone(), only, stream }
    }
}
