//! State of a link to a removed peer that is kept for the next link, in case the peer is added again.

use super::credit::RecvCredit;
use super::{Link, Pid};
use crate::link::LinkAccount;
use crate::stream::Lane;
use crate::wire::WireIncarnation;

/// State of a removed link that the next link to the same peer needs.
///
/// Without it, a late greeting from before the removal would be believed, and unacknowledged envelopes that had arrived
/// would be delivered a second time.
pub struct EarlierLink {
    peer: Pid,
    greetings: u32,
    incarnation: Option<WireIncarnation>,
    heard_greeting: u32,
    told: Option<WireIncarnation>,
    /// Streams of `incarnation`, each with the position up to which it is in the inbox.
    delivered: Vec<(u32, u64)>,
    /// Flow control of the incoming lanes, unread bytes included.
    recv_credit: [RecvCredit; Lane::COUNT],
    acknowledged: u64,
    sends: u64,
    segments: u64,
}

impl Link {
    /// Gives up the streams to this peer, whose send queues are closed then. Returns the state that outlives the link.
    pub fn into_earlier(mut self) -> EarlierLink {
        let acknowledged = self.acknowledged_messages();
        let delivered = self.incoming.iter().map(|stream| (stream.id(), stream.delivered())).collect();
        self.forget_incoming(|_| true);
        EarlierLink {
            peer: self.peer,
            greetings: self.greetings,
            incarnation: self.incarnation,
            heard_greeting: self.heard_greeting,
            told: self.told,
            delivered,
            recv_credit: self.recv_credit,
            acknowledged,
            sends: self.sends,
            segments: self.segments,
        }
    }

    /// Continues an earlier link of this server to the same peer. Takes over the count of greetings, the number of the
    /// peer's last greeting, the unread bytes, and the positions of the peer's streams.
    pub fn greet_after(&mut self, earlier: EarlierLink) {
        debug_assert_eq!(self.peer, earlier.peer);
        self.greetings = earlier.greetings;
        self.recv_credit = earlier.recv_credit;
        if earlier.incarnation.is_some() {
            (self.incarnation, self.heard_greeting) = (earlier.incarnation, earlier.heard_greeting);
            self.told = earlier.told;
            for (id, position) in earlier.delivered {
                self.open_incoming(id, position);
            }
        }
        self.acknowledged_before = earlier.acknowledged;
        (self.sends, self.segments) = (earlier.sends, earlier.segments);
    }

    /// Counts greetings from this number on, for a peer that this server may have greeted an unknown number of times.
    pub fn greet_from(&mut self, greetings: u32) {
        self.greetings = greetings;
    }
}

impl EarlierLink {
    /// Pid of the peer.
    pub fn peer(&self) -> Pid {
        self.peer
    }

    /// Number of greetings that this server has made for the peer.
    pub fn greetings(&self) -> u32 {
        self.greetings
    }

    /// Totals of the links to this peer.
    pub fn account(&self) -> LinkAccount {
        LinkAccount {
            pid: self.peer,
            acknowledged: self.acknowledged,
            bytes_held: 0,
            bytes_unread: self.recv_credit.iter().map(RecvCredit::unread).sum(),
            sends: self.sends,
            segments: self.segments,
        }
    }
}
