//! State of a server in its shard: its links, its inbox, its stop.

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::links::Links;
use super::shortages::Accepting;
use super::slot::LinkSlot;
use super::strangers::Strangers;
use super::timers::Entry;
use crate::delivery::InboxSender;
use crate::driver::{SocketId, Way, with_cure};
use crate::events::{Event, EventQueue, UnreportedDrops};
use crate::link::{DropReason, Link, Local, Notice, Pid, Undelivered};
use crate::mailbox::NodeInit;
use crate::roster::{LinkId, Roster};
use crate::stats::StatsTable;
use crate::time::Time;

/// Server in its shard.
pub(super) struct Node {
    pub(super) local: Arc<Local>,
    pub(super) listener: Option<SocketId>,
    pub(super) links: Links,
    roster: Arc<Roster>,
    /// Transports that the server may dial with.
    pub(super) way: Way,
    pub(super) inbox: InboxSender,
    pub(super) events: Arc<EventQueue>,
    pub(super) stats: Arc<StatsTable>,
    /// Closes the outboxes if the loop fails.
    pub(super) close_outboxes: Box<dyn Fn() + Send>,
    pub(super) stopping: Option<Stopping>,
    /// Number of sockets that are not closed yet, listener included.
    pub(super) open_sockets: usize,
    pub(super) accepting: Accepting,
    pub(super) strangers: Strangers,
    /// Entry of the listener in the shard's timers.
    pub(super) listener_timer: Option<Entry>,
    /// Number of links whose last dial got no socket, for lack of descriptors or memory.
    pub(super) starved: usize,
    /// Entry of the stop in the shard's timers.
    pub(super) stop_timer: Option<Entry>,
}

/// Stop under way.
pub(super) struct Stopping {
    pub(super) deadline: Time,
    pub(super) report: Option<mpsc::Sender<Vec<Undelivered>>>,
    /// Set once the Goodbyes are sent and the connections are ending.
    pub(super) leaving: bool,
}

impl Node {
    pub(super) fn new(init: NodeInit, listener: Option<SocketId>, slept: Duration, most_strangers: usize) -> Node {
        let local = init.local;
        let way = Way { memory: init.local_addr.is_some(), socket_bytes: local.socket_bytes };
        let links = Links::new(&local, init.peers, slept);
        Node {
            local,
            listener,
            links,
            roster: init.roster,
            way,
            inbox: init.inbox,
            events: init.events,
            stats: init.stats,
            close_outboxes: init.close_outboxes,
            stopping: None,
            open_sockets: usize::from(listener.is_some()),
            accepting: Accepting::Always,
            strangers: Strangers::new(most_strangers),
            listener_timer: None,
            starved: 0,
            stop_timer: None,
        }
    }

    /// Passes the notices of a link to the application.
    pub(super) fn tell(&mut self, link: LinkId, now: Time) {
        let Some(slot) = self.links.get_mut(link) else { return };
        if !slot.link.has_notices() {
            return;
        }
        let pid = slot.link.peer();
        let mut is_up = false;
        for notice in slot.link.take_notices() {
            let event = match notice {
                Notice::Dropped { count, reason } => {
                    self.stats.dropped(pid, count, reason);
                    self.events.dropped(&mut slot.drops, pid, count, reason);
                    continue;
                }
                Notice::Refused { reason } => Event::Refused { pid, reason },
                Notice::Up { incarnation } => {
                    self.roster.set_limit(link, slot.link.peer_limit());
                    // Precedes the event and all deliveries: an application that knows a run can answer it.
                    self.roster.set_incarnation(link, incarnation);
                    Event::Up { pid, incarnation }
                }
                Notice::Down { reason } => Event::Down { pid, reason },
                Notice::Restarted { incarnation } => Event::Restarted { pid, incarnation },
                Notice::Reset => Event::Reset { pid },
            };
            is_up |= matches!(event, Event::Up { .. });
            if !matches!(event, Event::Refused { .. }) {
                slot.drops.begin_anew();
            }
            self.events.push(event, now);
        }
        if is_up {
            // The peer has dialed this server meanwhile.
            self.set_starved(link, None, now);
        }
    }

    /// Records that a peer is removed: its link is taken out, and its `undelivered` envelopes are dropped.
    pub(super) fn removed(&mut self, id: LinkId, link: Link, undelivered: &Undelivered, now: Time) {
        let (pid, count, reason) = (undelivered.pid, undelivered.messages, DropReason::PeerRemoved);
        if count > 0 {
            self.stats.dropped(pid, count, reason);
            self.events.dropped(&mut UnreportedDrops::default(), pid, count, reason);
        }
        self.stats.removed(id);
        if let Some(forgotten) = self.links.remember(link) {
            self.stats.forget(forgotten);
        }
        self.events.push(Event::Removed { pid }, now);
    }

    /// Counts bytes of a peer that were acknowledged and cannot be read.
    pub(super) fn lost(&self, pid: Pid, bytes: u64) {
        self.stats.lost(pid, bytes);
    }

    /// Counts the undelivered envelopes of a server that stops.
    pub(super) fn account_for(&self, undelivered: &[Undelivered]) {
        for each in undelivered {
            self.stats.stopped(each.pid, each.messages);
        }
    }

    /// Returns an upper bound of the unacknowledged envelopes, by peer, for when they cannot be counted.
    pub(super) fn undelivered_at_most(&self) -> Vec<Undelivered> {
        self.stats.undelivered_at_most()
    }

    /// Returns the envelopes that are neither acknowledged nor dropped, by peer.
    pub(super) fn undelivered(&mut self) -> Vec<Undelivered> {
        self.links.iter_mut().map(LinkSlot::undelivered).filter(|undelivered| undelivered.messages > 0).collect()
    }

    /// Returns whether the listener is to accept connections.
    pub(super) fn accepts(&self) -> bool {
        self.stopping.is_none() && !self.strangers.are_full() && self.accepting != Accepting::Paused
    }

    /// Records the reason why the link's last dial got no socket. `None` if it got one, or needs none any more. The
    /// beginning of the first link's shortage and the end of the last one's are reported.
    pub(super) fn set_starved(&mut self, link: LinkId, shortage: Option<&io::Error>, now: Time) {
        let Some(slot) = self.links.get_mut(link) else { return };
        let was_starved = std::mem::replace(&mut slot.starved, shortage.is_some());
        match shortage {
            Some(error) if !was_starved => {
                self.starved += 1;
                if self.starved == 1 {
                    self.events.push(Event::DialFailed { error: with_cure(error) }, now);
                }
            }
            None if was_starved => {
                self.starved -= 1;
                if self.starved == 0 {
                    self.events.push(Event::DialResumed, now);
                }
            }
            _ => {}
        }
    }
}
