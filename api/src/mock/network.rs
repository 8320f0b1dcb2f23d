//! The simulated network: decides when and whether each message arrives.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster_engine::mock::{Alarm, Packet, Switchboard};
use cluster_engine::{Event, Lane, LoopHandle, Pid, Undelivered};
use fastrand::Rng;
use slab::Slab;

use super::cuts::Cuts;
use super::history::{DropReason, Entry, Fate, Recorder, Sent};
use super::members::{Members, at};
use super::rng::{happens, up_to};
use super::{Conditions, Fault, Place, Totals};
use crate::DownReason;

/// Bytes that bandwidth counts for a frame in addition to its payload.
const HEADER_BYTES: u64 = 16;

/// State of a mock cluster, behind one lock. The caller sets the time.
pub(super) struct Network {
    pub(super) seed: u64,
    /// Time since the cluster was made.
    pub(super) now: Duration,
    published: Arc<AtomicU64>,
    pub(super) switchboard: Switchboard,
    pub(super) members: Members,
    pub(super) recorder: Recorder,
    pub(super) totals: Totals,
    rng: Rng,
    cuts: Cuts,
    conditions: BTreeMap<Place, Conditions>,
    is_holding: bool,
    /// Messages that wait until their recipient can be reached, by sender and recipient.
    held: BTreeMap<(Pid, Pid), VecDeque<Flight>>,
    agenda: BinaryHeap<Reverse<Due>>,
    /// Work of the agenda's entries, kept outside the heap: reordering the heap does not move the messages.
    work: Slab<Work>,
    /// Number of the last planned entry. It keeps entries of one time in the order in which they were planned.
    planned: u64,
    flying: u64,
    /// Time until which each bandwidth is used.
    busy: BTreeMap<(Place, Direction), Duration>,
    /// Arrival time of the last message that must stay in order.
    last_arrival: BTreeMap<(Pid, Pid, Lane), Duration>,
    packets: Vec<Packet>,
}

/// Message in flight, with its number in the history.
struct Flight {
    packet: Packet,
    record: u64,
}

/// Entry of the agenda. The first two fields order it, because numbers are unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Duration,
    number: u64,
    work: usize,
}

enum Work {
    Arrive(Flight),
    Fault(Fault),
    /// Check for peers whose silence has reached the peer timeout.
    Notice,
    /// Wake-up of an application.
    Wake(Alarm),
}

/// Direction of traffic at a server, which has one bandwidth for sent and one for received messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Out,
    In,
}

impl Network {
    pub(super) fn new(seed: u64, switchboard: Switchboard, peer_timeout: Duration, history: usize) -> Network {
        Network {
            seed,
            now: Duration::ZERO,
            published: Arc::default(),
            switchboard,
            members: Members::new(peer_timeout),
            recorder: Recorder::new(history),
            totals: Totals::default(),
            // The fork draws once: without it, neighbouring seeds have related histories.
            rng: Rng::with_seed(seed).fork(),
            cuts: Cuts::default(),
            conditions: BTreeMap::new(),
            is_holding: false,
            held: BTreeMap::new(),
            agenda: BinaryHeap::new(),
            work: Slab::new(),
            planned: 0,
            flying: 0,
            busy: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            packets: Vec::new(),
        }
    }

    /// Carries out all work that is due now. Returns whether there was any.
    pub(super) fn turn(&mut self) -> bool {
        let mut worked = false;
        loop {
            let mut more = false;
            while let Some(Reverse(due)) = self.agenda.peek()
                && due.at <= self.now
                && let Some(Reverse(due)) = self.agenda.pop()
            {
                more = true;
                match self.work.remove(due.work) {
                    Work::Arrive(flight) => {
                        self.flying -= 1;
                        self.arrive(flight);
                    }
                    Work::Fault(fault) => self.apply(fault),
                    Work::Notice => self.members.notice(self.now, &mut self.switchboard, &self.cuts),
                    Work::Wake(alarm) => alarm.wake(),
                }
            }
            let mut packets = std::mem::take(&mut self.packets);
            more |= self.switchboard.collect(self.time(), &mut packets);
            for (at, alarm) in self.switchboard.take_alarms() {
                self.push(Duration::from_nanos(at.as_nanos()), Work::Wake(alarm));
            }
            packets.drain(..).for_each(|packet| self.send(packet));
            self.packets = packets;
            if !more {
                break;
            }
            worked = true;
        }
        self.switchboard.wake();
        worked
    }

    /// Present time on the engine's clock.
    pub(super) fn time(&self) -> cluster_engine::Time {
        at(self.now)
    }

    /// Advances to the next scheduled work, at most to `until`, and carries it out. Returns `false` if there was none.
    pub(super) fn step(&mut self, until: Option<Duration>) -> bool {
        if self.turn() {
            return true;
        }
        match self.next_due() {
            Some(next) if until.is_none_or(|until| next <= until) => {
                self.advance_to(next);
                self.turn();
                true
            }
            _ => {
                self.advance_to(until.unwrap_or_default());
                false
            }
        }
    }

    /// Advances the present time to `time`, unless it is later already.
    pub(super) fn advance_to(&mut self, time: Duration) {
        self.now = self.now.max(time);
        let nanoseconds = u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX);
        self.published.store(nanoseconds, Ordering::Release);
    }

    /// Present time in nanoseconds, readable without the network's lock. Applications that the network wakes read it
    /// while the network has work.
    pub(super) fn published(&self) -> Arc<AtomicU64> {
        self.published.clone()
    }

    /// Time of the next scheduled work.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.agenda.peek().map(|Reverse(due)| due.at)
    }

    /// Returns whether a message is in flight. Held messages do not count.
    pub(super) fn is_flying(&self) -> bool {
        self.flying > 0
    }

    /// Schedules a fault.
    pub(super) fn plan(&mut self, at: Duration, fault: Fault) {
        self.push(at, Work::Fault(fault));
    }

    /// Carries out a fault now.
    pub(super) fn apply(&mut self, fault: Fault) {
        self.recorder.write(Entry::Fault { at: self.now, fault: Box::new(fault.clone()) });
        if self.cuts.change(&fault) {
            self.cuts_changed();
            return;
        }
        match fault {
            Fault::Set(place, conditions) if conditions == Conditions::default() => {
                self.conditions.remove(&place);
            }
            Fault::Set(place, conditions) => {
                self.conditions.insert(place, conditions);
            }
            Fault::HoldWhilePartitioned(is_holding) => self.is_holding = is_holding,
            Fault::Crash(pid) => self.leave(pid, DownReason::Closed),
            _ => {}
        }
    }

    fn cuts_changed(&mut self) {
        if self.members.cuts_changed(self.now, &mut self.switchboard, &self.cuts) {
            self.push(self.now + self.members.peer_timeout, Work::Notice);
        }
        self.release();
    }

    /// Starts a server: see [`Switchboard::join`].
    pub(super) fn join(&mut self, pid: Pid, loop_handle: &LoopHandle) -> cluster_engine::mock::Ends {
        self.members.add(pid);
        let now = self.time();
        for peer in self.switchboard.running().collect::<Vec<_>>() {
            self.switchboard.meet(peer, pid, now);
        }
        let incarnation = self.members.draw_incarnation(pid, &mut self.rng);
        let ends = self.switchboard.join(pid, incarnation, self.members.peers_of(pid), loop_handle, now);
        self.recorder.write(Entry::Started { at: self.now, pid });
        self.members.started(pid, self.now, &mut self.switchboard, &self.cuts);
        self.release();
        ends
    }

    /// Adds a peer again that the server had removed.
    pub(super) fn add_peer(&mut self, pid: Pid, peer: Pid) {
        self.switchboard.tell(pid, Event::Added { pid: peer }, self.time());
        self.members.meets_again(pid, peer, self.now, &mut self.switchboard, &self.cuts);
    }

    /// Ends a server, and tells its peers the reason.
    pub(super) fn leave(&mut self, pid: Pid, reason: DownReason) {
        if !self.switchboard.is_running(pid) {
            return;
        }
        let held: Vec<(Pid, Pid)> = self.held.keys().filter(|(from, _)| *from == pid).copied().collect();
        for flight in self.take_held(&held) {
            self.drop_packet(flight, DropReason::SenderGone);
        }
        self.switchboard.leave(pid);
        self.recorder.write(Entry::Stopped { at: self.now, pid });
        self.members.stopped(pid, reason, self.now, &mut self.switchboard, &self.cuts);
    }

    /// Removes a server from the cluster.
    pub(super) fn remove(&mut self, pid: Pid) {
        self.leave(pid, DownReason::Stopped);
        self.members.remove(pid);
        for peer in self.switchboard.running().collect::<Vec<_>>() {
            self.switchboard.part(peer, pid);
        }
        let held: Vec<(Pid, Pid)> = self.held.keys().filter(|(_, to)| *to == pid).copied().collect();
        for flight in self.take_held(&held) {
            self.drop_packet(flight, DropReason::NotRunning);
        }
    }

    /// Returns the undelivered envelopes of the server's outboxes by peer, and whether waiting may deliver some of
    /// them.
    pub(super) fn undelivered(&mut self, pid: Pid) -> (Vec<Undelivered>, bool) {
        let undelivered = self.switchboard.undelivered(pid);
        let reachable = |peer: Pid| self.switchboard.is_running(peer) && !self.cuts.between(pid, peer);
        let helps = undelivered.iter().any(|each| reachable(each.pid));
        (undelivered, helps)
    }

    /// Takes a message that has left its outbox, and its duplicate if there is one.
    fn send(&mut self, packet: Packet) {
        self.totals.sent += 1;
        let twice = self.each_place(&packet, |conditions| conditions.duplicate);
        if twice.into_iter().any(|probability| happens(&mut self.rng, probability)) {
            self.totals.duplicated += 1;
            let second = self.switchboard.duplicate(&packet);
            self.depart(packet, false);
            self.depart(second, true);
        } else {
            self.depart(packet, false);
        }
    }

    fn depart(&mut self, packet: Packet, is_duplicate: bool) {
        let record = self.recorder.write(Entry::Sent(Sent::new(self.now, &packet, is_duplicate)));
        let flight = Flight { packet, record };
        match self.obstacle(&flight) {
            Some(reason) => self.hold_or_drop(flight, reason),
            None => self.fly(flight),
        }
    }

    /// Applies the conditions on the way: drops, delays or delivers the message.
    fn fly(&mut self, flight: Flight) {
        if self.conditions.is_empty() {
            return self.deliver(flight);
        }
        let lost = self.each_place(&flight.packet, |conditions| conditions.drop);
        if lost.into_iter().any(|probability| happens(&mut self.rng, probability)) {
            return self.drop_packet(flight, DropReason::Chance);
        }
        let at = self.arrival(&flight.packet);
        if at <= self.now && self.next_due().is_none_or(|due| due > self.now) {
            return self.deliver(flight);
        }
        self.flying += 1;
        self.push(at, Work::Arrive(flight));
    }

    /// Returns the arrival time of a message that departs now.
    fn arrival(&mut self, packet: &Packet) -> Duration {
        let (from, to) = (packet.from, packet.to);
        let mut at = self.now;
        let (mut in_order, mut held_back) = (false, Duration::ZERO);
        for (place, direction) in way(from, to) {
            let Some(conditions) = self.conditions.get(&place) else { continue };
            in_order |= conditions.in_order;
            if let Some(bytes_per_second) = conditions.bytes_per_second {
                // `Everywhere` applies to each link. The link may have its own bandwidth in addition.
                let meter = match place {
                    Place::Everywhere => (Place::Link { from, to }, Direction::In),
                    _ => (place, direction),
                };
                let free = self.busy.entry(meter).or_default();
                let nanoseconds = u128::from(packet.payload.len() as u64 + HEADER_BYTES) * 1_000_000_000;
                let takes = Duration::from_nanos((nanoseconds / u128::from(bytes_per_second)) as u64);
                *free = (*free).max(at) + takes;
                at = *free;
            }
            at += conditions.delay.draw(&mut self.rng);
            if happens(&mut self.rng, conditions.reorder) {
                held_back += up_to(&mut self.rng, conditions.reorder_by);
            }
        }
        if held_back > Duration::ZERO {
            self.totals.reordered += 1;
            return at + held_back;
        }
        if in_order {
            let last = self.last_arrival.entry((from, to, packet.lane)).or_default();
            *last = (*last).max(at);
            at = *last;
        }
        at
    }

    /// Delivers a message whose time has come, unless its recipient cannot be reached.
    fn arrive(&mut self, flight: Flight) {
        match self.obstacle(&flight) {
            Some(reason) => self.hold_or_drop(flight, reason),
            None => self.deliver(flight),
        }
    }

    fn deliver(&mut self, flight: Flight) {
        if !self.switchboard.is_for_present(&flight.packet) {
            return self.drop_packet(flight, DropReason::OtherIncarnation);
        }
        if self.switchboard.deliver(flight.packet) {
            self.totals.delivered += 1;
            self.recorder.settle(flight.record, Fate::Delivered { at: self.now });
        }
    }

    fn obstacle(&self, flight: &Flight) -> Option<DropReason> {
        let Packet { from, to, .. } = flight.packet;
        if !self.switchboard.is_running(to) {
            Some(DropReason::NotRunning)
        } else {
            self.cuts.between(from, to).then_some(DropReason::Cut)
        }
    }

    fn hold_or_drop(&mut self, flight: Flight, reason: DropReason) {
        let (from, to) = (flight.packet.from, flight.packet.to);
        if !self.is_holding || !self.switchboard.is_running(from) || !self.members.contains(to) {
            return self.drop_packet(flight, reason);
        }
        self.totals.held += 1;
        self.totals.held_ever += 1;
        self.recorder.settle(flight.record, Fate::Held);
        self.held.entry((from, to)).or_default().push_back(flight);
    }

    fn drop_packet(&mut self, flight: Flight, reason: DropReason) {
        let Flight { packet, record } = flight;
        match reason {
            DropReason::Chance => self.totals.lost += 1,
            DropReason::Cut => self.totals.cut += 1,
            DropReason::NotRunning => self.totals.not_running += 1,
            DropReason::SenderGone => self.totals.sender_gone += 1,
            DropReason::OtherIncarnation => self.totals.other_incarnation += 1,
        }
        self.recorder.settle(record, Fate::Dropped { at: self.now, reason });
        match reason {
            DropReason::OtherIncarnation => self.switchboard.withhold(packet),
            _ => self.switchboard.lose(packet),
        }
    }

    /// Sends the held messages whose recipients can be reached.
    fn release(&mut self) {
        let is_free = |(from, to): &&(Pid, Pid)| self.switchboard.is_running(*to) && !self.cuts.between(*from, *to);
        let free: Vec<(Pid, Pid)> = self.held.keys().filter(is_free).copied().collect();
        for flight in self.take_held(&free) {
            self.recorder.settle(flight.record, Fate::UnderWay);
            self.fly(flight);
        }
    }

    /// Removes the messages held on these links and returns them.
    fn take_held(&mut self, links: &[(Pid, Pid)]) -> Vec<Flight> {
        let flights: Vec<Flight> = links.iter().filter_map(|link| self.held.remove(link)).flatten().collect();
        self.totals.held -= flights.len() as u64;
        flights
    }

    /// Returns a probability for each place on the way.
    fn each_place(&self, packet: &Packet, probability: impl Fn(&Conditions) -> f64) -> [f64; 4] {
        if self.conditions.is_empty() {
            return [0.0; 4];
        }
        way(packet.from, packet.to).map(|(place, _)| self.conditions.get(&place).map_or(0.0, &probability))
    }

    fn push(&mut self, at: Duration, work: Work) {
        self.planned += 1;
        let work = self.work.insert(work);
        self.agenda.push(Reverse(Due { at: at.max(self.now), number: self.planned, work }));
    }
}

/// Returns the places that a message passes.
fn way(from: Pid, to: Pid) -> [(Place, Direction); 4] {
    [
        (Place::Everywhere, Direction::Out),
        (Place::Server(from), Direction::Out),
        (Place::Link { from, to }, Direction::Out),
        (Place::Server(to), Direction::In),
    ]
}
