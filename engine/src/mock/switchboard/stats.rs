//! Statistics of a server on a switchboard.

use std::collections::HashMap;

use super::Switchboard;
use crate::link::Pid;
use crate::stats::PeerStats;

impl Switchboard {
    /// Returns the statistics of a server for these peers.
    ///
    /// A switchboard has no acknowledgements: a delivered packet counts as acknowledged. A packet that was lost counts
    /// as best effort that was not sent again.
    pub fn stats(&mut self, pid: Pid, peers: &[Pid]) -> Vec<PeerStats> {
        let undelivered = self.undelivered(pid);
        let mut unread: HashMap<u32, u64> = HashMap::new();
        for (_, stream) in self.streams.iter_mut().filter(|(_, stream)| stream.to == pid) {
            *unread.entry(stream.from).or_default() += stream.unread();
        }
        let server = self.running.get(&pid).and_then(|place| self.servers[*place as usize].as_ref());
        let row = |&pid: &Pid| {
            let mut row = PeerStats { pid, ..PeerStats::default() };
            let Some(counts) = server.and_then(|server| server.counts.get(&pid)) else { return row };
            for counters in &counts.sending {
                row.messages_out += counters.messages();
                row.bytes_out += counters.bytes();
            }
            for inbound in &counts.receiving {
                row.messages_in += inbound.counters().messages();
                row.bytes_in += inbound.counters().bytes();
            }
            (row.dropped_expired, row.dropped_removed) = (counts.expired, counts.removed);
            row.dropped_withdrawn = counts.withdrawn;
            let gone = (counts.lost + counts.other_incarnation).saturating_sub(counts.duplicated);
            row.dropped_other_incarnation = counts.other_incarnation.min(gone);
            row.dropped_best_effort = gone - row.dropped_other_incarnation;
            let (in_flight, bytes) =
                undelivered.iter().find(|each| each.pid == pid).map_or((0, 0), |each| (each.messages, each.bytes));
            row.settle(Some(row.messages_out.saturating_sub(row.dropped() + in_flight)));
            row.bytes_held = bytes;
            row.bytes_unread = self.running.get(&pid).and_then(|place| unread.get(place)).copied().unwrap_or(0);
            row
        };
        peers.iter().map(row).collect()
    }
}
